"""Other models that read what a model said: a classifier's probability, and how surprised a language model is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModelForSequenceClassification

from unlearnkit.errors import UserError
from unlearnkit.measure.one_pass import default_budget, score_answers
from unlearnkit.models.digest import weights_digest
from unlearnkit.models.load import Loaded, context_length, default_device, load_tokenizer
from unlearnkit.table import Table
from unlearnkit.text.template import Encoded, Template

AT_ONCE = 32
CLASSIFIER, SURPRISE = "fluency_classifier", "generation_loss"


class Judges(NamedTuple):
    """Who reads the generations, if anybody.

    classifier  a sequence-classification model; its first class is that of clean text
    reader      a causal language model, such as the retain model
    """

    classifier: Loaded | None = None
    reader: Loaded | None = None

    def for_spec(self) -> dict[str, str]:
        """Digests of their weights."""
        named = {"fluency_model": self.classifier, "perplexity_model": self.reader}
        return {name: weights_digest(one.model) for name, one in named.items() if one is not None}

    def judged(self, table: Table) -> Table:
        """The table with what they say of every generation, by set and row, under "stored" in its metadata."""
        if self.classifier is None and self.reader is None:
            return table
        columns = ("split", "index", "question", "generation")
        rows = [row for row in table.data.select(columns).to_pylist() if row["generation"] is not None]
        found: dict[str, list[float]] = {}
        if self.classifier is not None:
            found[CLASSIFIER] = clean_probabilities(self.classifier, [row["generation"] for row in rows])
        if self.reader is not None:
            found[SURPRISE] = surprises(self.reader, [(row["question"], row["generation"]) for row in rows])
        stored = {name: _by_row(rows, values) for name, values in found.items()}
        return Table(table.data, {**table.meta, "stored": stored, "judges": self.for_spec()})


def load_classifier(name: str) -> Loaded:
    """A sequence-classification model of the Hub's layout with its tokeniser: safetensors only, no remote code."""
    tokenizer = load_tokenizer(name)
    try:
        model: Any = AutoModelForSequenceClassification.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError, SafetensorError) as problem:
        raise UserError(f"--fluency-model {name} could not be loaded: {str(problem).splitlines()[0]}") from None
    return Loaded(model.to(default_device()).eval(), tokenizer)


@torch.no_grad()
def clean_probabilities(judge: Loaded, texts: Sequence[str]) -> list[float]:
    """p(class 0 | text) of each text, cut where the classifier's context ends; (texts,)."""
    model, tokenizer = judge
    limit = context_length(model) or 512
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    out = [math.nan] * len(texts)
    for start in range(0, len(order), AT_ONCE):
        places = order[start : start + AT_ONCE]
        given = tokenizer(
            [texts[n] for n in places], truncation=True, max_length=limit, padding=True, return_tensors="pt"
        )
        given = {key: given[key].to(model.device) for key in ("input_ids", "attention_mask")}
        for place, p in zip(places, model(**given).logits.float().softmax(-1)[:, 0].tolist(), strict=True):
            out[place] = p
    return out


def surprises(judge: Loaded, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Mean negative log-probability a token of each answer to its question under the judge, in nats; (pairs,).

    An answer is cut where the judge's context ends; a question that fills it is a `UserError`.
    """
    limit = context_length(judge.model)
    rows = [Encoded(row.ids[:limit], row.prompt_length) for row in Template(judge.tokenizer).encode_all(pairs)]
    for row, (question, _) in zip(rows, pairs, strict=True):
        if not row.answer:
            raise UserError(
                f"--perplexity-model reads {limit} tokens, and this question alone has them: {question[:60]!r}"
            )
    scored = score_answers(judge.model, rows, default_budget(judge.model))
    return [float(-one.logp.astype(np.float64).mean()) for one in scored]


def _by_row(rows: Sequence[Mapping[str, Any]], values: Sequence[float]) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for row, value in zip(rows, values, strict=True):
        out.setdefault(row["split"], {})[str(row["index"])] = value
    return out
