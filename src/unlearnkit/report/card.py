"""The model card of an unlearned model, in the Hub's format: what it was to forget, how, and what was measured."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from unlearnkit.canonical import revive
from unlearnkit.report.comparison import number
from unlearnkit.report.words import CAVEAT, LABELS, NONE

# Where a data set lies on the Hub; the embedded world lies nowhere.
HUB_DATASETS = {"tofu": "locuslab/TOFU"}
SHOWN = (
    "forget_quality",
    "model_utility",
    "forget_probability",
    "forget_rouge",
    "forget_truth_ratio",
    "extraction_strength",
    "exact_memorization",
    "retain_probability",
    "retain_rouge",
)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def model_card(record: Mapping[str, Any]) -> str:
    """The card of the model that a run record is of: YAML with a `model-index`, then Markdown. It quotes no row."""
    return f"---\n{_data(record).to_yaml()}\n---\n\n{_text(record)}"


def _data(record: Mapping[str, Any]) -> ModelCardData:
    run = record["run"]
    task = _plain(run["task"])  # a line of its own could end the YAML
    dataset, _, split = task.partition(":")
    base = run["model"] if _HUB_ID.fullmatch(run["model"]) else None
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=HUB_DATASETS.get(dataset, dataset),
            dataset_name=task,
            dataset_config=split,
            metric_type=name,
            metric_name=name.replace("_", " "),
            metric_value=value,
        )
        for name, value in _values(record).items()
    ]
    return ModelCardData(
        base_model=base,
        datasets=[HUB_DATASETS[dataset]] if dataset in HUB_DATASETS else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["unlearning", "unlearnkit"],
        model_name=f"{_plain(run['model'])}, unlearned" if results else None,
        eval_results=results or None,
    )


def _values(record: Mapping[str, Any]) -> dict[str, float]:
    scores = revive(record["scores"])
    found = {name: scores[name]["value"] for name in SHOWN if name in scores}
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def _text(record: Mapping[str, Any]) -> str:
    run, verdict = record["run"], record["verdict"]
    headline, sentence = LABELS.get(str(verdict.get("label")), NONE)
    papers = [f"[arXiv:{name}](https://arxiv.org/abs/{name})" for name in _arxiv(record)]
    said = [
        f"# {_plain(run['model'])}, unlearned on {_plain(run['task'])}",
        f"This model was made from {_plain(run['model'])} to forget the forget set of `{_plain(run['task'])}`, by "
        f"minimising `{_plain(run['method'])}` ({', '.join(papers)}) with unlearnkit.",
        f"**{headline}.** {sentence} {CAVEAT}",
        _table(record) or "Nothing was measured.",
        "Values are scored on the rows of the task under the protocol "
        f"`{_plain(run['protocol'])}`, with 95 % intervals over the rows. Forget quality compares with a retain "
        "model; without one it is left out.",
        "## Check it",
        f"Its record is `{_plain(str(record['number']))}`, in `record.json`: settings, versions, digests of data, "
        "weights and tables, the loss of every step.",
        "```sh\nunlearnkit verify .   # record.json against the weights beside it\n```",
        "## Limits",
        "Unlearning by training is approximate. What is measured as forgotten may come back by relearning, by "
        "quantisation, in another language or under another prompt. Do not rely on it alone where the law asks for "
        "deletion.",
    ]
    return "\n\n".join(said) + "\n"


def _table(record: Mapping[str, Any]) -> str:
    scores = revive(record["scores"])
    lines = [
        f"| {name.replace('_', ' ')} | {number(value)} | {_interval(scores[name]['interval'])} | {scores[name]['n']} |"
        for name, value in _values(record).items()
    ]
    return "\n".join(["| metric | value | 95 % interval | rows |", "|---|---|---|---|", *lines]) if lines else ""


def _interval(ends: Any) -> str:
    return "" if ends is None else f"{number(ends[0])} to {number(ends[1])}"


def _arxiv(record: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(re.sub(r"[^\w.]", "", paper["arxiv"]) for paper in record["papers"]))


def _plain(text: str) -> str:
    """A name as it may stand in Markdown: no markup, no line of its own.

    >>> _plain("npo(beta=0.1) + rt"), _plain("a`<b>|c")
    ('npo(beta=0.1) + rt', 'abc')
    """
    return re.sub(r"[^\w .,:()+*/=@\-]", "", text)[:200]
