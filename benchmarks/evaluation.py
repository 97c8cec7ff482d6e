"""What measuring a model costs: the whole suite in one pass, against one pass a metric as evaluators usually do it.

    python benchmarks/evaluation.py --model DIR --reference DIR --data TOFU --golden full_timing.json --out PAGE.md

The plain way: every metric runs the model itself over its rows, 32 in the order of the data, padded, with logits at every
position; every answer brings its own prompt; answers are generated to the end by `model.generate`; the gradient is one
backward pass a row. Metric by metric it is what open-unlearning computes, so that its stored times can be laid beside.
Both sides take turns over slices of the rows in one process; memory is measured in a process for each side.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rouge_score import rouge_scorer
from torch.nn.functional import cross_entropy

from unlearnkit.measure import measure
from unlearnkit.measure.one_pass import default_budget, score_answers
from unlearnkit.models.load import load_model
from unlearnkit.score import score_table
from unlearnkit.tasks import load_task
from unlearnkit.tasks.base import Row, Task
from unlearnkit.text.template import Encoded, Template

BATCH, NEW_TOKENS, SLICE = 32, 200, 128
SHORT = {"forget": "forget", "retain": "retain", "real_authors": "ra", "world_facts": "wf"}


def padded(rows: Sequence[Encoded], left: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, mask and labels of a batch."""
    width = max(len(row.ids) for row in rows)
    ids, mask = torch.zeros(2, len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), -100)
    for place, row in enumerate(rows):
        here = slice(width - len(row.ids), width) if left else slice(0, len(row.ids))
        ids[place, here], mask[place, here] = torch.tensor(row.ids), 1
        labels[place, here] = torch.tensor([-100] * row.prompt_length + list(row.answer))
    return ids, mask, labels


class Plain:
    """One pass a metric."""

    def __init__(self, model: Any, template: Template, task: Task, other: Any) -> None:
        self.model, self.template, self.sets, self.other = model, template, task.evaluation, other

    def metrics(self, gradient: bool) -> dict[str, Callable[[], object]]:
        """What each metric does, by open-unlearning's name."""
        jobs: dict[str, Callable[[], object]] = {}
        for split, short in SHORT.items():
            rows = self.sets[split]
            jobs[f"{short}_Q_A_Prob"] = lambda rows=rows: self.losses(self.encoded(rows))
            if rows and rows[0].paraphrase is not None:
                jobs[f"{short}_Q_A_PARA_Prob"] = lambda rows=rows: self.losses(self.encoded(rows, "paraphrase"))
            jobs[f"{short}_Q_A_PERT_Prob"] = lambda rows=rows: [
                self.losses(self.template.encode_all([(row.question, row.perturbed[k]) for row in rows]))
                for k in range(len(rows[0].perturbed) if rows else 0)
            ]
            jobs[f"{short}_Q_A_ROUGE"] = lambda rows=rows: self.answers(rows)
        forget = self.encoded(self.sets["forget"])
        both = [forget, self.encoded(self.sets["holdout"])]
        jobs["extraction_strength"] = jobs["exact_memorization"] = lambda: self.tokens(forget, "argmax")
        jobs["mia_loss"] = jobs["mia_zlib"] = lambda: [self.losses(rows) for rows in both]
        jobs["mia_min_k"] = lambda: [self.tokens(rows, "logp") for rows in both]
        # the peer runs the model twice here, once for the tokens and once for the vocabulary
        jobs["mia_min_k_plus_plus"] = lambda: [self.tokens(rows, how) for rows in both for how in ("logp", "moments")]
        if self.other is not None:
            jobs["mia_reference"] = lambda: [self.losses(rows, who) for rows in both for who in (None, self.other)]
        if gradient:
            jobs["mia_gradnorm"] = lambda: [self.gradients(rows) for rows in both]
        return jobs

    def encoded(self, rows: Sequence[Row], what: str = "answer") -> list[Encoded]:
        return self.template.encode_all([(row.question, getattr(row, what)) for row in rows])

    @torch.no_grad()
    def losses(self, rows: Sequence[Encoded], model: Any = None) -> list[float]:
        out: list[float] = []
        for start in range(0, len(rows), BATCH):
            ids, mask, labels = padded(rows[start : start + BATCH])
            logits = (model or self.model)(input_ids=ids, attention_mask=mask).logits[:, :-1]
            each = cross_entropy(logits.transpose(-1, -2).contiguous(), labels[:, 1:], reduction="none")
            out += (each.sum(-1) / (labels[:, 1:] != -100).sum(-1)).tolist()
        return out

    @torch.no_grad()
    def tokens(self, rows: Sequence[Encoded], how: str) -> list[Any]:
        out: list[Any] = []
        for start in range(0, len(rows), BATCH):
            ids, mask, labels = padded(rows[start : start + BATCH])
            logits, labels = self.model(input_ids=ids, attention_mask=mask).logits, labels[:, 1:]
            if how == "argmax":
                out += (logits[:, :-1].argmax(-1) == labels).tolist()
                continue
            logp = logits.log_softmax(-1)[:, :-1]
            if how == "logp":
                out += logp.gather(-1, labels.clamp_min(0)[..., None]).squeeze(-1).unbind()
                continue
            for own in (each[scored] for each, scored in zip(logp, labels != -100, strict=True)):  # row by row
                mean = (own.exp() * own).sum(-1)
                out.append((own.exp() * own.square()).sum(-1) - mean.square())
        return out

    @torch.no_grad()
    def answers(self, rows: Sequence[Row]) -> list[Any]:
        scorer, out = rouge_scorer.RougeScorer(["rouge1", "rougeL"], use_stemmer=True), []
        encoded = self.encoded(rows)
        for start in range(0, len(rows), BATCH):
            prompts = [Encoded(row.prompt, row.prompt_length) for row in encoded[start : start + BATCH]]
            ids, mask, _ = padded(prompts, left=True)
            told = self.model.generate(ids, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False)
            texts = self.template.tokenizer.batch_decode(told[:, ids.shape[1] :], skip_special_tokens=True)
            out += [
                scorer.score(row.answer, text) for row, text in zip(rows[start : start + BATCH], texts, strict=True)
            ]
        return out

    def gradients(self, rows: Sequence[Encoded]) -> list[float]:
        out = []
        for row in rows:
            ids, mask, labels = padded([row])
            self.model.zero_grad()
            logits = self.model(input_ids=ids, attention_mask=mask).logits[0, row.prompt_length - 1 : -2]
            cross_entropy(logits, labels[0, row.prompt_length : -1]).backward()
            norms = [parameter.grad.norm() for parameter in self.model.parameters() if parameter.grad is not None]
            out.append(float(torch.stack(norms).mean()))
        self.model.zero_grad()
        return out


def ours(model: Any, template: Template, task: Task, other: Any, gradient: bool) -> None:
    """The same scores from one pass."""
    table = measure(model, template, task, max_new_tokens=NEW_TOKENS, gradient_norm=gradient)
    if other is not None:
        pairs = [(row.question, row.answer) for split in ("forget", "holdout") for row in task.evaluation[split]]
        score_answers(other, template.encode_all(pairs), default_budget(other))
    score_table(table, intervals=False)


# ----------------------------------------------------------------------------------------------------------- measuring


def part(task: Task, start: int, end: int) -> Task:
    """Some rows of each set."""
    few = {split: rows[start:end] for split, rows in task.evaluation.items()}
    return Task(task.name, [], task.forget, [], few)


def prepared(given: argparse.Namespace) -> tuple[Any, Template, Task, Any]:
    """Model, template, task of --rows rows a set, and the reference attack's model."""
    model, tokenizer = load_model(given.model)
    other = load_model(given.reference).model if given.reference else None
    task = load_task(given.task, data=given.data, holdout=given.holdout)
    return model, Template(tokenizer), part(task, 0, given.rows), other


def cpu(act: Callable[[], object]) -> float:
    """Processor seconds, of all threads."""
    before = time.process_time()
    act()
    return time.process_time() - before


def compared(given: argparse.Namespace) -> dict[str, Any]:
    """Processor seconds of each plain metric and of our pass without and with gradients, slice by slice in turn."""
    model, template, task, other = prepared(given)
    warm = part(task, 0, 2)
    ours(model, template, warm, other, True)
    for job in Plain(model, template, warm, other).metrics(True).values():
        job()
    plain: dict[str, float] = {}
    mine = {"without": 0.0, "with": 0.0}
    longest = max(len(rows) for rows in task.evaluation.values())
    for number, start in enumerate(range(0, longest, SLICE)):
        some = part(task, start, start + SLICE)

        def by_us(some: Task = some) -> None:
            mine["without"] += cpu(lambda: ours(model, template, some, other, False))
            mine["with"] += cpu(lambda: ours(model, template, some, other, True))

        if number % 2:
            by_us()
        for name, job in Plain(model, template, some, other).metrics(True).items():
            plain[name] = plain.get(name, 0.0) + cpu(job)
        if not number % 2:
            by_us()
    return {"plain": plain, "ours": mine, "rows": {split: len(rows) for split, rows in task.evaluation.items()}}


def alone(given: argparse.Namespace) -> dict[str, float]:
    """One side in this process: processor seconds, and the peak of its memory before and after, in MiB."""
    model, template, task, other = prepared(given)
    side, gradient = given.alone.split(",")
    Path("/proc/self/clear_refs").write_text("5")  # from here on the peak counts: not what loading the data took
    before = resident("VmRSS")
    if side == "ours":
        seconds = cpu(lambda: ours(model, template, task, other, gradient == "1"))
    else:
        jobs = Plain(model, template, task, other).metrics(gradient == "1")
        seconds = cpu(lambda: [job() for job in jobs.values()])
    rows = sum(1 + (row.paraphrase is not None) + len(row.perturbed) for s in task.evaluation.values() for row in s)
    return {"cpu": seconds, "before": before, "peak": resident("VmHWM"), "answers": rows}


def resident(field: str) -> float:
    """Resident memory of this process, now (VmRSS) or at its peak (VmHWM), in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def apart(side: str, gradient: bool, rows: int) -> dict[str, float]:
    """`alone` in a process of its own."""
    said = subprocess.run(
        [sys.executable, *sys.argv, "--alone", f"{side},{int(gradient)}", "--rows", str(rows)],
        capture_output=True,
        check=True,
    )
    found: dict[str, float] = json.loads(said.stdout.splitlines()[-1])
    return found


# --------------------------------------------------------------------------------------------------------------- words


def page(found: dict[str, Any], given: argparse.Namespace, command: str) -> str:
    """The results, made of what was measured."""
    plain, mine = found["plain"], found["ours"]
    whole, less = sum(plain.values()), sum(plain.values()) - plain["mia_gradnorm"]
    lines = ["# What measuring a model costs", "", "Written by `benchmarks/evaluation.py`:", "", f"    {command}", ""]
    lines += [f"{found['machine']}; load average {found['load'][0]:.1f} before, {found['load'][1]:.1f} after. Rows: "]
    lines[-1] += ", ".join(f"{count} {split.replace('_', ' ')}" for split, count in found["rows"].items()) + "."
    lines += ["", "| suite | plain, processor s | ours, processor s | ratio | aim |", "|---|---|---|---|---|"]
    lines.append(f"| without gradient norms | {less:.1f} | {mine['without']:.1f} | {less / mine['without']:.1f} | 8 |")
    lines.append(f"| with gradient norms | {whole:.1f} | {mine['with']:.1f} | {whole / mine['with']:.1f} | 4 |")
    lines += ["", "| peak memory, MiB | plain | ours |", "|---|---|---|"]
    for gradient, said in ((False, "without gradient norms"), (True, "with gradient norms")):
        cells = [found["memory"][f"{side}{int(gradient)}"] for side in ("plain", "ours")]
        cells = [f"{one['peak']:.0f} ({one['peak'] - one['before']:.0f} above the loaded model)" for one in cells]
        lines.append(f"| {said} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *growth(found["growth"]), "", *fairness(plain, found["rows"], given.golden)])


def growth(found: dict[str, list[dict[str, float]]]) -> list[str]:
    """Cost and memory by rows."""
    lines = ["## Growth of ours", "", "| rows | gradient norms | answers | processor s | ms an answer | peak MiB |"]
    lines.append("|---|---|---|---|---|---|")
    for gradient, name in (("0", "without"), ("1", "with")):
        for times, one in zip((1, 4, 16), found[gradient], strict=True):
            cost = f"{one['cpu']:.1f} | {1000 * one['cpu'] / one['answers']:.1f} | {one['peak']:.0f}"
            lines.append(f"| {times}x | {name} | {one['answers']:.0f} | {cost} |")
    return lines


def fairness(plain: dict[str, float], rows: dict[str, int], golden: Path | None) -> list[str]:
    """The plain way's seconds a row beside the peer's, metric by metric."""
    lines = ["## Is the plain way a fair one?", ""]
    known = {} if golden is None else {one["metric"]: one for one in json.loads(golden.read_text())["metrics"]}
    shared = {name: seconds for name, seconds in plain.items() if known.get(name, {}).get("cpu_s")}
    if not shared:
        return [*lines, "No times of the peer were given (`--golden`)."]
    full = {"forget": 400, "retain": 400, "ra": 100, "wf": 117}
    have = {SHORT[split]: count for split, count in rows.items() if split in SHORT}
    scaled = {}
    for name, seconds in shared.items():
        short = name.split("_")[0] if name.split("_")[0] in full else "forget"
        scaled[name] = seconds * full[short] / have[short] / known[name]["cpu_s"]
    speed = sorted(scaled.values())[len(scaled) // 2]
    lines += [
        f"The peer's times are of another machine state (two threads); the median metric takes {speed:.2f} of its "
        "processor time here. Relative to that:",
        "",
        "| metric | plain here, s | peer, s | plain / peer, over the median | within 20 % |",
        "|---|---|---|---|---|",
    ]
    for name, ratio in scaled.items():
        near = "yes" if abs(ratio / speed - 1) <= 0.2 else "no"
        lines.append(f"| {name} | {shared[name]:.2f} | {known[name]['cpu_s']:.2f} | {ratio / speed:.2f} | {near} |")
    return lines


def main() -> None:
    """Measure, and print or write the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", required=True)
    options.add_argument("--reference", help="the reference attack's model; without it that attack is left out")
    options.add_argument("--data", required=True, type=Path)
    options.add_argument("--task", default="tofu:forget10")
    options.add_argument("--holdout", default="tofu:800-1199")
    options.add_argument("--golden", type=Path, help="open-unlearning's times by metric (full_timing.json)")
    options.add_argument("--rows", type=int, default=400, help="of each set, at most")
    options.add_argument("--out", type=Path)
    options.add_argument("--alone", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.alone:
        print(json.dumps(alone(given)))
        return
    load = os.getloadavg()[0]
    found = compared(given)
    found["memory"] = {
        f"{side}{int(g)}": apart(side, g, given.rows) for side in ("plain", "ours") for g in (False, True)
    }
    sizes = [max(1, given.rows // 16 * times) for times in (1, 4, 16)]
    found["growth"] = {str(int(g)): [apart("ours", g, size) for size in sizes] for g in (False, True)}
    found |= {
        "load": [load, os.getloadavg()[0]],
        "machine": f"{platform.machine()}, {torch.get_num_threads()} CPU threads, torch {torch.__version__}",
    }
    shown = [os.path.relpath(one) if one.startswith("/") else one for one in sys.argv[1:]]
    text = page(found, given, " ".join(["python", "benchmarks/evaluation.py", *shown]))
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
