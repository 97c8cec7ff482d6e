"""What a step of `npo + rt` costs, against the plain recipe: seconds, memory, and how both grow with rows and tokens.

    python benchmarks/training.py --model MODEL --data TOFU_FOLDER --steps 30 --out docs/results/training_speed.md

The plain recipe is what most code does: one forward pass each for forget rows, retain rows and the reference, padded
apart, logits at every position, a second model in memory. Same model, rows, batch and optimiser; the steps of all recipes
take turns in one process, so that a busy machine slows all alike. Memory is measured in a process of its own for each.
Without --model a new one of --shape is drawn: "tiny", "llama-3.2-1b" or "llama-3.1-8b" (with --lora on a GPU).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy, logsigmoid, pad

from unlearnkit.models.load import default_device, load_model
from unlearnkit.objectives import parse_objective
from unlearnkit.run.settings import Settings
from unlearnkit.tasks import load_task
from unlearnkit.tasks.base import Row
from unlearnkit.text.template import Encoded, Template
from unlearnkit.training.data import FILLER, Examples, StepSampler
from unlearnkit.training.trainer import UnlearnTrainer

OBJECTIVE, BETA, RATE = "npo(beta=0.1) + rt", 0.1, 1e-5
PEER = Path(__file__).parents[1] / "../shared/golden/unlearn_timing.json"
FIELDS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "tie_word_embeddings",
)
SHAPES: dict[str, dict[str, Any]] = {  # hidden, intermediate, layers, heads, key-value heads, vocabulary, tied
    name: dict(zip(FIELDS, sizes, strict=True))
    for name, sizes in {
        "tiny": (192, 512, 4, 6, 6, 4096, True),
        "llama-3.2-1b": (2048, 8192, 16, 32, 8, 128256, True),
        "llama-3.1-8b": (4096, 14336, 32, 32, 8, 128256, False),
    }.items()
}
Batch = list[dict[str, Any]]


class Cost(NamedTuple):
    """Of one step: seconds on the clock, and of processor time over all threads."""

    wall: float
    processor: float


class Ours:
    """The trainer's own step: the same methods that `train` calls."""

    def __init__(
        self, model: Any, tokenizer: Any, rows: tuple[list[Row], list[Row]], given: argparse.Namespace
    ) -> None:
        examples = Examples(parse_objective(OBJECTIVE), Template(tokenizer), forget=rows[0], retain=rows[1])
        settings = Settings(
            lr=RATE, epochs=1, batch_size=given.batch, token_budget=given.token_budget, lora=given.lora,
            gradient_checkpointing=given.checkpointing,
        )  # fmt: skip
        scratch = Path(tempfile.mkdtemp())
        self.trainer = UnlearnTrainer(settings.adapted(model), settings.config(scratch, OBJECTIVE, "no"), examples)
        before = time.perf_counter()
        self.trainer.prepare_reference()
        self.reference_seconds = time.perf_counter() - before
        self.trainer.create_optimizer()
        self.trainer.model = self.trainer.accelerator.prepare_model(self.trainer.model)

    def batches(self) -> list[Batch]:
        """One epoch, as the trainer deals it."""
        return [batch for batch in self.trainer.get_train_dataloader() if all(batch)]

    def step(self, batch: Batch) -> None:
        trainer = self.trainer
        batches, totals = trainer.get_batch_samples(iter([batch]), 1, trainer.args.device)
        trainer.accelerator.gradient_state._set_sync_gradients(True)
        trainer.training_step(trainer.model, batches[0], totals)
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
        trainer.optimizer.step()
        trainer.model.zero_grad()


class Plain:
    """The plain recipe. `terms` is "npo + rt", or "ga" for the yardstick: one forward pass of the forget rows."""

    def __init__(self, model: Any, reference: Any, terms: str) -> None:
        self.model, self.reference, self.terms = model, reference, terms
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)

    def step(self, batch: Batch) -> None:
        device = next(self.model.parameters()).device
        forget = padded([example["forget"].row for example in batch], device)
        self.model.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            if self.terms == "ga":
                loss = -self.model(**forget, use_cache=False).loss
            else:
                mine = sequence_nll(self.model, forget)
                with torch.no_grad():
                    theirs = sequence_nll(self.reference, forget)
                retain = padded([example["retain"].row for example in batch], device)
                loss = -2 / BETA * logsigmoid(BETA * (mine - theirs)).mean()
                loss = loss + self.model(**retain, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.model.zero_grad()


def padded(rows: Sequence[Encoded], device: torch.device) -> dict[str, torch.Tensor]:
    """Rows of one set, padded to the longest of them; labels are -100 on prompts and padding."""
    width = max(len(row.ids) for row in rows)
    ids = torch.stack([pad(torch.tensor(row.ids), (0, width - len(row.ids))) for row in rows])
    mask = torch.stack([torch.arange(width) < len(row.ids) for row in rows]).long()
    answers = torch.stack([(torch.arange(width) >= row.prompt_length) for row in rows]) & (mask == 1)
    parts = {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(~answers, -100)}
    return {name: part.to(device) for name, part in parts.items()}


def sequence_nll(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The summed negative log-likelihood of each answer, from logits at every position."""
    inputs = {name: part for name, part in batch.items() if name != "labels"}
    logits = model(**inputs, use_cache=False).logits[:, :-1].float().transpose(1, 2)
    return cross_entropy(logits, batch["labels"][:, 1:], ignore_index=-100, reduction="none").sum(-1)


# ---------------------------------------------------------------------------------------------------------- measuring


def fresh(given: argparse.Namespace) -> tuple[Any, Any]:
    """A model and a tokeniser: the given ones, or a new model of a known shape."""
    loaded = load_model(given.model)
    if given.shape is None:
        return loaded.model, loaded.tokenizer
    from transformers import AutoConfig, AutoModelForCausalLM

    config: Any = AutoConfig.for_model("llama", max_position_embeddings=4096, **SHAPES[given.shape])
    torch.manual_seed(0)
    with default_device():
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval(), loaded.tokenizer


def rows_of(given: argparse.Namespace, times: int = 1) -> tuple[list[Row], list[Row]]:
    """Forget and retain rows; `times` lengthens every answer."""
    task = load_task("tofu:forget10", data=given.data)
    return tuple(  # type: ignore[return-value]
        [Row(row.index, row.question, " ".join([row.answer] * times)) for row in part]
        for part in (task.forget, task.retain)
    )


def timed(run: Callable[[], None]) -> Cost:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Cost(time.perf_counter() - wall, time.process_time() - processor)


def speed(given: argparse.Namespace) -> dict[str, Any]:
    """The median step of each recipe, and the median over batches of its ratio to ours; their steps take turns.

    Where other programs slow a step at random, a ratio of two steps of the same batch, taken one after the other, says
    more than a ratio of medians.
    """
    ours = Ours(*fresh(given), rows_of(given), given)
    recipes: dict[str, Any] = {"ours": ours}
    if not given.lora:
        recipes |= {
            "plain": Plain(fresh(given)[0], fresh(given)[0], "npo + rt"),
            "ga": Plain(fresh(given)[0], None, "ga"),
        }
    costs: dict[str, list[Cost]] = {name: [] for name in recipes}
    batches = cycle(ours.batches())
    for number in range(given.steps + 3):
        batch = next(batches)
        for name, recipe in recipes.items():
            cost = timed(lambda recipe=recipe, batch=batch: recipe.step(batch))  # type: ignore[misc]
            if number >= 3:  # the first ones warm up
                costs[name].append(cost)
    found = {name: [statistics.median(column) for column in zip(*costs[name], strict=True)] for name in costs}
    paired = {
        name: [
            statistics.median(one[n] / mine[n] for one, mine in zip(costs[name], costs["ours"], strict=True))
            for n in range(2)
        ]
        for name in costs
    }
    least = {name: [min(column) for column in zip(*costs[name], strict=True)] for name in costs}
    tokens = statistics.mean(sum(len(a.row.ids) for e in batch for a in e.values()) for batch in ours.batches())
    matrices = int(ours.trainer.model.num_parameters(exclude_embeddings=True))
    fixed = {"paired": paired, "least": least, "count": given.steps}
    return {"steps": found, **fixed, "reference": ours.reference_seconds, "tokens": tokens, "parameters": matrices}


def memory(name: str, given: argparse.Namespace) -> dict[str, float]:
    """MiB before the first step (one model loaded) and at the most, of one recipe alone in this process."""
    model, tokenizer = fresh(given)
    forget, retain = rows_of(given)
    examples = Examples(parse_objective(OBJECTIVE), Template(tokenizer), forget=forget, retain=retain)
    order = StepSampler(len(examples), given.batch, 1, 0, 1, seed=0)
    batches = cycle([[examples[one] for one in places] for places in order if all(at != FILLER for _, at in places)])
    before = resident("VmRSS")
    recipe: Any
    if name == "ours":
        recipe = Ours(model, tokenizer, (forget, retain), given)
    else:
        recipe = Plain(model, fresh(given)[0] if name == "plain" else None, "npo + rt" if name == "plain" else "ga")
    for _ in range(12):
        recipe.step(next(batches))
    peak = resident("VmHWM")
    if torch.cuda.is_available():
        before, peak = 0.0, torch.cuda.max_memory_allocated() / 2**20
    return {"before": before, "peak": peak}


def resident(field: str) -> float:
    """MiB of this program: VmRSS now, VmHWM at the most. (`ru_maxrss` would count the process that started it too.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 2**10


def growth(given: argparse.Namespace) -> dict[str, list[float]]:
    """Processor seconds of a step of 1, 4 and 16 times the rows, and of as many tokens a row."""
    model, tokenizer = fresh(argparse.Namespace(**{**vars(given), "shape": given.shape or "tiny"}))
    base = {"batch": 4, "lora": None}
    cases = [("rows", {"batch": 4 * n}, 1) for n in (1, 4, 16)] + [("tokens", {}, n) for n in (1, 4, 16)]
    found: dict[str, list[float]] = {"rows": [], "tokens": [], "row_tokens": [], "token_tokens": []}
    for kind, more, times in cases:
        asked = argparse.Namespace(**{**vars(given), **base, **more})
        forget, retain = rows_of(given, times)
        ours = Ours(model, tokenizer, (forget[: 4 * asked.batch], retain), asked)  # a step to warm up, three that count
        first, *batches = ours.batches()
        ours.step(first)
        costs = [timed(lambda ours=ours, batch=batch: ours.step(batch)).processor for batch in batches]  # type: ignore[misc]
        seen = [sum(len(a.row.ids) for e in batch for a in e.values()) for batch in batches]
        found[kind].append(statistics.median(costs))
        found["row_tokens" if kind == "rows" else "token_tokens"].append(statistics.mean(seen))
    return found


def apart(name: str, arguments: list[str]) -> dict[str, float]:
    """`memory` in a process of its own."""
    said = subprocess.run([sys.executable, __file__, *arguments, "--alone", name], capture_output=True, check=True)
    found: dict[str, float] = json.loads(said.stdout.splitlines()[-1])
    return found


# -------------------------------------------------------------------------------------------------------------- words


NO_GPU = [
    "No GPU was at hand: the 1B and 8B shapes and the utilisation of an H200 were **not measured**. There:",
    "",
    "    python benchmarks/training.py --model MODEL --shape llama-3.2-1b --data TOFU_FOLDER --token-budget 16384",
    "    python benchmarks/training.py --model MODEL --shape llama-3.1-8b --data TOFU_FOLDER --lora r=16 --checkpointing",
    "",
]
READING = """What is saved: the reference's pass (its log-probabilities are columns), padding (rows of all views are
pooled, sorted by length and cut where padding is least), logits at positions that are not scored, and
the second model. What is not saved is the blocks' own work on the rows' tokens, which both do with the
same code. The peak of the process counts some 500 MiB of libraries and data, equal on both sides, which
hide the ratio on a model as small as this one; "above the loaded model" leaves them out. Time a token
grows a little with the length of rows, as attention does, and falls with their number.
"""


def report(found: dict[str, Any], given: argparse.Namespace, command: str) -> str:
    """The page, made of what was measured."""
    steps, mem = found["speed"]["steps"], found["memory"]
    names = {"ours": "`npo + rt`, ours", "plain": "`npo + rt`, plain recipe", "ga": "`ga`, plain recipe"}
    lines = ["# What a training step costs", "", "Written by `benchmarks/training.py`:", "", f"    {command}", ""]
    lines += [f"{found['speed']['count']} steps of each recipe, after three to warm up, batch {given.batch}.", ""]
    lines += [f"{found['machine']}; load average {found['load'][0]:.1f} before and {found['load'][1]:.1f} after.", ""]
    if max(found["load"]) > 1 and not torch.cuda.is_available():
        lines += ["**The machine was not idle.** Steps took turns, so ratios stand better than seconds do.", ""]
    lines += ["| recipe | s a step | processor s a step | the least of them | peak MiB | above the loaded model |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, (wall, processor) in steps.items():
        least = found["speed"]["least"][name]
        peak = f"{mem[name]['peak']:.0f} | {mem[name]['peak'] - mem[name]['before']:.0f}"
        lines.append(f"| {names[name]} | {wall:.3f} | {processor:.3f} | {least[1]:.3f} | {peak} |")
    lines += ["", f"The reference's columns: {found['speed']['reference']:.1f} s, once before training.", ""]
    if "plain" in steps:
        lines += verdicts(found["speed"], mem)
    if torch.cuda.is_available():
        flops = 6 * found["speed"]["tokens"] * found["speed"]["parameters"] / steps["ours"][0]
        lines += [
            f"Model FLOPs: {flops / 1e12:.0f} TFLOP/s, {flops / 989e12:.1%} of an H200's dense bfloat16 peak.",
            "",
        ]
    else:
        lines += NO_GPU
    lines += [READING]
    return "\n".join(lines + growth_table(found["growth"]))


def verdicts(speed: dict[str, Any], mem: dict[str, Any]) -> list[str]:
    """Ratios beside their aims, and whether the plain recipe is a fair one."""
    plain, ga, least = speed["paired"]["plain"], speed["paired"]["ga"], speed["least"]
    over = (mem[name]["peak"] - mem[name]["before"] for name in ("ours", "plain"))
    rows = [
        ("plain / ours, seconds, median over batches", plain[0], ">= 2"),
        ("plain / ours, processor seconds, median over batches", plain[1], ">= 2"),
        ("plain / ours, least processor seconds", least["plain"][1] / least["ours"][1], ">= 2"),
        ("ours / plain, peak memory", mem["ours"]["peak"] / mem["plain"]["peak"], "<= 0.6"),
        ("ours / plain, memory above the loaded model", next(over) / next(over), "<= 0.6"),
    ]
    judged = [(name, value, aim, value >= 2 if aim == ">= 2" else value <= 0.6) for name, value, aim in rows]
    lines = [
        "| ratio | measured | aim |",
        "|---|---|---|",
        *(f"| {name} | {value:.2f} | {aim}{'' if met else ': missed'} |" for name, value, aim, met in judged),
    ]
    if PEER.is_file():
        known = {entry["method"]: entry["median_step_cpu_s"] for entry in json.loads(PEER.read_text())}
        peer, mine = known["NPO"] / known["GradAscent"], plain[1] / ga[1]
        fair = "fair" if abs(mine / peer - 1) <= 0.2 else "NOT within 20 %, so the ratios above say little"
        lines += [
            "",
            f"Plain NPO / plain GA: {mine:.2f} in processor seconds; the peer's: {peer:.2f} ({fair}).",
        ]
    return [*lines, ""]


def growth_table(found: dict[str, list[float]]) -> list[str]:
    """Cost by rows and by tokens, per token."""
    lines = ["## Growth", "", "| | tokens a step | processor s a step | µs a token |", "|---|---|---|---|"]
    for kind, tokens in (("rows", "row_tokens"), ("tokens", "token_tokens")):
        for times, seconds, count in zip((1, 4, 16), found[kind], found[tokens], strict=True):
            what = f"{times}x the {'rows' if kind == 'rows' else 'length of answers'}"
            lines.append(f"| {what} | {count:.0f} | {seconds:.3f} | {1e6 * seconds / count:.0f} |")
    return [*lines, ""]


def main() -> None:
    """Measure, and print or write the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", required=True, help="a model; with --shape only its tokenizer is taken")
    options.add_argument("--shape", choices=SHAPES)
    options.add_argument("--data", required=True, type=Path)
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--steps", type=int, default=30)
    options.add_argument("--token-budget", type=int, default=2048)
    options.add_argument("--lora")
    options.add_argument("--checkpointing", action="store_true")
    options.add_argument("--out", type=Path)
    options.add_argument("--alone", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.alone:
        print(json.dumps(memory(given.alone, given)))
        return
    load, arguments = [os.getloadavg()[0]], sys.argv[1:]
    found: dict[str, Any] = {"speed": speed(given), "growth": growth(given)}
    found["memory"] = {name: apart(name, arguments) for name in found["speed"]["steps"]}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    found |= {
        "load": [*load, os.getloadavg()[0]],
        "machine": f"{platform.machine()}, {device}, torch {torch.__version__}",
    }
    shown = [os.path.relpath(one) if one.startswith("/") else one for one in arguments]
    page = report(found, given, " ".join(["python", "benchmarks/training.py", *shown]))
    if given.out:
        given.out.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
