"""Put what commands generated into the README: the demo's table and picture, what the claims found, and the tree with one
line a file; and a claim's page, or the small TOFU run's table and times, into docs/results.

.venv/bin/python docs/generate.py DEMO_FOLDER      (after `make demo`, DEMO_FOLDER is demo)
.venv/bin/python docs/generate.py --check          (are the tree and the claims in the README true?)
.venv/bin/python docs/generate.py --result FOLDER  (the page and pictures of `unlearnkit reproduce ... --out FOLDER`)
.venv/bin/python docs/generate.py --small FOLDER   (what `examples/tofu_small.sh DATA FOLDER` left)
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
SHOWN = ("forget_quality", "model_utility", "forget_rouge", "forget_truth_ratio")


def tree() -> str:
    """Every module of the package with the first line of its docstring."""
    package = ROOT / "src/unlearnkit"
    lines = ["```", "src/unlearnkit/"]
    for path in sorted(package.rglob("*.py"), key=lambda one: (one.parent.parts, one.name != "__init__.py", one.name)):
        said = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]
        depth = len(path.relative_to(package).parts) - 1
        if path.name == "__init__.py":
            if depth:
                lines.append(f"{'  ' * depth}{path.parent.name + '/':<{30 - 2 * depth}}{said}")
            continue
        lines.append(f"{'  ' * (depth + 1)}{path.name:<{28 - 2 * depth}}{said}")
    return "\n".join([*lines, "```"])


def demo_table(folder: Path) -> str:
    """The last measured epoch of each method, and for `npo + rt` its best one, from the demo's results."""
    entries = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    lines = ["| model | epoch | " + " | ".join(name.replace("_", " ") for name in SHOWN) + " |", "|---" * 6 + "|"]
    for method in dict.fromkeys(entry["objective"] for entry in entries):
        run = [entry for entry in entries if entry["objective"] == method]
        kept = [max(run, key=lambda entry: entry["forget_quality"] * entry["model_utility"])]
        if run[-1] is not kept[0]:
            kept.append(run[-1])
        lines += [_line(entry, best=entry is kept[0] and len(run) > 1) for entry in kept]
    return "\n".join(lines)


def _line(entry: dict[str, float | str], best: bool) -> str:
    cells = [_cell(float(entry[name])) for name in SHOWN]
    return f"| {entry['objective']} | {entry['epoch']}{' (best)' if best else ''} | " + " | ".join(cells) + " |"


def _cell(value: float) -> str:
    return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.2f}"


def claims_table(before: str) -> str:
    """The table of claims with its column of what was found filled in from the pages that each row links."""
    marked = _marked("claims").search(before)
    if marked is None:
        sys.exit("no markers for claims in the page")
    heads, line, *rows = marked[2].strip().splitlines()
    filled = []
    for row in rows:
        *said, _, links = (cell.strip() for cell in row.strip("|").split("|"))
        pages = re.findall(r"\]\((docs/results/\w+\.md)\)", links)
        filled.append("| " + " | ".join([*said, "; ".join(map(found, pages)), links]) + " |")
    return "\n".join([heads, line, *filled])


def found(page: str) -> str:
    """Whether the page's claim held, and how many of the things that it stands on."""
    text = (ROOT / page).read_text(encoding="utf-8").split("\n## ")[0]
    held = re.findall(r"^\|.*\| (yes|\*\*no\*\*) \|.*\|$", text, re.MULTILINE)
    yes = held.count("yes")
    return "held" if "**Held.**" in text else f"did not hold ({yes} of {len(held)} parts did)"


def _marked(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}:begin -->\n)(.*?)(<!-- {name}:end -->)", re.DOTALL)


def put(text: str, name: str, inside: str) -> str:
    """Replace what stands between the markers of that name."""
    if not _marked(name).search(text):
        sys.exit(f"no markers for {name} in the page")
    return _marked(name).sub(lambda found: found[1] + inside + "\n" + found[3], text)


def keep_result(folder: Path) -> None:
    """A claim's page into docs/results, its pictures into docs/pictures; on given data it has a page of its own."""
    said = json.loads((folder / "claim.json").read_text(encoding="utf-8"))
    page = (folder / "page.md").read_text(encoding="utf-8")
    for picture in said["pictures"]:
        page = page.replace(f"]({picture})", f"](../pictures/{picture})")
        shutil.copyfile(folder / picture, ROOT / "docs/pictures" / picture)
    name = said["claim"].replace("-", "_") + ("_data" if said.get("inputs") else "")
    (ROOT / f"docs/results/{name}.md").write_text(page, encoding="utf-8")


def keep_small(folder: Path) -> None:
    """Table, picture and run times of the small TOFU run into the page whose reading is written by hand."""
    page = ROOT / "docs/results/tofu_small.md"
    text = put(page.read_text(encoding="utf-8"), "table", (folder / "comparison/table.md").read_text("utf-8").strip())
    times = [line.split(" s: unlearnkit ") for line in (folder / "times.txt").read_text("utf-8").splitlines()]
    rows = [
        f"| `unlearnkit {said.split()[0]}` | {Path(said.split()[-1]).name} | {seconds} |" for seconds, said in times
    ]
    text = put(text, "times", "\n".join(["| command | into | seconds |", "|---|---|---|", *rows]))
    shutil.copyfile(folder / "comparison/tradeoff.png", ROOT / "docs/pictures/tofu_small.png")
    page.write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Write, or with --check only compare."""
    kinds = {"--result": keep_result, "--small": keep_small}
    if arguments and arguments[0] in kinds:
        kinds[arguments[0]](Path(arguments[1]))
        return
    before = README.read_text(encoding="utf-8")
    after = put(before, "tree", tree())
    after = put(after, "claims", claims_table(before))
    if arguments and arguments[0] != "--check":
        folder = Path(arguments[0])
        after = put(after, "demo", demo_table(folder))
        (ROOT / "docs/pictures").mkdir(exist_ok=True)
        shutil.copyfile(folder / "tradeoff.png", ROOT / "docs/pictures/demo_tradeoff.png")
    if "--check" in arguments:
        sys.exit(0 if before == after else "README.md is not as src/ and docs/results are: run docs/generate.py")
    README.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
