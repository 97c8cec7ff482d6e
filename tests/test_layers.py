"""The house's order: who may import whom, what stays light, what is printed where. Read from the syntax and tried."""

from __future__ import annotations

import ast
import importlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "unlearnkit"
ROOT = Path(__file__).parents[1] / "src" / PACKAGE

# Top to bottom: a module imports only from its own line and from the lines above it.
LAYERS = (
    ("errors", "canonical", "files", "spec", "stats", "table"),
    ("tasks",),
    ("text",),
    ("models",),
    ("objectives",),
    ("training",),
    ("measure",),
    ("score",),
    ("audit",),
    ("records",),
    ("report",),
    ("run", "sweep", "sweep_ray"),
    ("claims",),
    ("cli",),
)
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}
APART = ({"training", "measure"},)  # what may not import one another, whatever the order says

HEAVY = ("torch", "transformers")
SLOW_TO_IMPORT = (
    *HEAVY,
    "datasets",
    "peft",
    "accelerate",
    "pyarrow",
    "scipy",
    "pandas",
    "matplotlib",
    "huggingface_hub",
    "ray",
)
WITHOUT_TORCH = (
    "errors",
    "canonical",
    "files",
    "spec",
    "table",
    "tasks",
    "score",
)  # these run where torch is not even installed
SHAPELESS = ("util", "utils", "helper", "helpers", "common", "misc")


def module_name(path: Path) -> str:
    parts = (PACKAGE, *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8"), str(path)) for name, path in FILES.items()}
EVERY = pytest.mark.parametrize("name", FILES)


def layer(name: str) -> str | None:
    """The layer's name of a module of ours; None for the package's own door."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else None


def within(name: str, layers: tuple[str, ...]) -> bool:
    return layer(name) in layers


def imports(name: str, *, at_run_time: bool = False) -> Iterator[tuple[str, int]]:
    """What a module imports, wherever in the file, with the line. `at_run_time` leaves out imports for types only."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(TREES[name]):
        if at_run_time and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(below for statement in node.body for below in ast.walk(statement))
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}, line {node.lineno}: a relative import; write the whole name"
            source = node.module or ""
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield (inner if inner in FILES else source), node.lineno


def ours(name: str, *, at_run_time: bool = False) -> Iterator[tuple[str, int]]:
    for target, line in imports(name, at_run_time=at_run_time):
        if target == PACKAGE or target.startswith(f"{PACKAGE}."):
            yield target, line


def reached(start: str) -> dict[str, str]:
    """Every module of ours that a module reaches by imports at run time, each with the module that imports it."""
    found, waiting = {start: start}, [start]
    while waiting:
        here = waiting.pop()
        for target, _ in ours(here, at_run_time=True):
            if target in FILES and target not in found:
                found[target] = here
                waiting.append(target)
    return found


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)


def test_there_are_modules_to_look_at() -> None:
    assert len(FILES) > 20


@EVERY
def test_a_module_is_in_a_layer(name: str) -> None:
    assert layer(name) is None or layer(name) in DEPTH, (
        f"{FILES[name]}: '{layer(name)}' is in no layer; give it a place in LAYERS of this test and in the architecture"
    )


@EVERY
def test_a_module_imports_only_from_its_own_layer_and_those_above(name: str) -> None:
    here = layer(name)
    for target, line in ours(name):
        there = layer(target)
        if here is None or there is None:
            continue  # the door imports nothing until asked; from it comes only the version
        allowed = [each for names in LAYERS[: DEPTH[here] + 1] for each in names]
        assert there in allowed, (
            f"{FILES[name]}, line {line}: {here}/ must not import {target}: {there}/ is below {here}/"
        )
        for pair in APART:
            assert here == there or {here, there} != pair, (
                f"{FILES[name]}, line {line}: {here}/ and {there}/ stay apart"
            )


def test_the_door_imports_nothing_of_ours() -> None:
    assert list(ours(PACKAGE)) == [], "unlearnkit/__init__.py must stay lazy: import a name when it is first used"


@EVERY
def test_nothing_comes_through_the_door_but_the_version(name: str) -> None:
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            names = {alias.name for alias in node.names if f"{PACKAGE}.{alias.name}" not in FILES}
            assert names <= {"__version__"}, (
                f"{FILES[name]}, line {node.lineno}: {sorted(names)} from `{PACKAGE}` hides the layer; import the module"
            )


def test_no_two_modules_import_each_other() -> None:
    graph = {
        # A module may ask its own package which files lie in it; Python has begun to import that package anyway.
        name: {target for target, _ in ours(name, at_run_time=True) if not f"{name}.".startswith(f"{target}.")}
        for name in FILES
    }
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as problem:
        pytest.fail("modules import each other in a circle: " + " -> ".join(problem.args[1]))


@pytest.mark.parametrize("name", [name for name in FILES if within(name, WITHOUT_TORCH)])
def test_light_layers_reach_neither_torch_nor_transformers(name: str) -> None:
    """Also not through a function's own import."""
    found = reached(name)
    for module in found:
        for target, line in imports(module, at_run_time=True):
            if target.split(".")[0] in HEAVY:
                way = [module]
                while way[-1] != name:
                    way.append(found[way[-1]])
                pytest.fail(f"{FILES[module]}, line {line}: imports {target}, reached by {' <- '.join(way)}")


BLOCKED = """
import importlib, sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ImportError(f"{name} is not to be imported here")
sys.meta_path.insert(0, Wall())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_light_layers_are_imported_where_torch_is_not_installed() -> None:
    names = [name for name in FILES if within(name, WITHOUT_TORCH)]
    done = run(BLOCKED, *names)
    assert done.returncode == 0, done.stderr
    wall = run(BLOCKED, f"{PACKAGE}.stats")
    assert "torch is not to be imported here" in wall.stderr, "the wall of this test lets torch through"


LOADED = "import sys; {}; print([name for name in sys.argv[1:] if name in sys.modules])"


def test_the_package_is_imported_without_heavy_libraries() -> None:
    done = run(LOADED.format(f"import {PACKAGE}; dir({PACKAGE})"), *SLOW_TO_IMPORT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


HELP = """
import sys
names, sys.argv = sys.argv[1:], ["unlearnkit", "--help"]
from unlearnkit.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print([name for name in names if name in sys.modules], file=sys.stderr)
"""


def test_help_is_printed_without_heavy_libraries() -> None:
    done = run(HELP, *SLOW_TO_IMPORT)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]", f"`unlearnkit --help` imports {done.stderr}"
    assert "tasks" in done.stdout


def test_claims_are_listed_without_heavy_libraries() -> None:
    done = run(HELP.replace('"--help"', '"reproduce", "--list"'), *SLOW_TO_IMPORT)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]", f"`unlearnkit reproduce --list` imports {done.stderr}"
    assert "npo-synthetic" in done.stdout


def test_help_takes_less_than_half_a_second_of_processor_time() -> None:
    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run(HELP).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(4)) < 0.5  # the least of four: a busy machine is no fault of ours


@EVERY
def test_a_module_can_be_imported(name: str) -> None:
    importlib.import_module(name)


@EVERY
def test_a_module_says_what_it_is_for(name: str) -> None:
    text = ast.get_docstring(TREES[name])
    assert text, f"{FILES[name]}: no docstring; its first line says what the file is for"
    assert text.splitlines()[0].strip().endswith((".", ":", "!", "?")), f"{FILES[name]}: the first line is a sentence"


@EVERY
def test_a_module_has_a_name_that_says_something(name: str) -> None:
    words = name.split(".")[-1].strip("_").split("_")
    assert not set(words) & set(SHAPELESS), f"{FILES[name]}: name it after what it holds"


@EVERY
def test_only_the_command_line_prints(name: str) -> None:
    if within(name, ("cli",)):
        return
    lines = [
        node.lineno
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write", "typer.echo")
    ]
    assert not lines, f"{FILES[name]}, line {lines[0]}: prints; return it, log it, or do it in cli/"


def test_every_folder_is_a_package() -> None:
    without = [path for path in ROOT.rglob("*") if path.is_dir() and any(path.glob("*.py"))]
    missing = [os.fspath(path) for path in without if not (path / "__init__.py").is_file()]
    assert not missing, f"no __init__.py in {missing}: an installed package would lack these folders"
