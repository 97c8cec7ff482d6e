"""What a page says in words: what was asked, what came of it, and what the numbers behind it mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from unlearnkit.report.comparison import number
from unlearnkit.report.gather import Run, Story

# Each verdict of `score.verdict`, as a headline and as a sentence for people who do not know the field.
LABELS = {
    "untouched": ("Not forgotten", "Every view of the forget set is where it was before unlearning."),
    "partly forgotten": ("Partly forgotten", "More is left than a model has that never saw the rows."),
    "forgotten": ("Forgotten", "No view that was taken tells the model from one that never saw the rows."),
    "over-forgotten": (
        "Over-forgotten",
        "The model shuns the answers more than a model that never saw them, which gives away that something was removed.",
    ),
    "collapsed": ("Collapsed", "What else the model could do is lost with what it should forget."),
}
NONE = ("No verdict", "Too little was measured to say what was forgotten.")
CAVEAT = "A verdict describes what was measured. It certifies nothing."


class Told(NamedTuple):
    """The verdict of one run in words."""

    name: str
    label: str
    tone: str
    sentence: str
    details: list[str]
    reason: str
    strength: str


def told(story: Story, run: Run) -> Told:
    """The verdict of a run: a headline, a sentence, and the numbers that a reader asks for first."""
    label = run.verdict.get("label")
    headline, sentence = LABELS.get(str(label), NONE)
    return Told(
        run.name,
        headline,
        str(label).replace(" ", "-") if label in LABELS else "none",
        sentence,
        [line for line in (_answers(story, run), _utility(story, run), _quality(run)) if line],
        str(run.verdict.get("reason") or ""),
        str(run.verdict.get("strength") or ""),
    )


class Asked(NamedTuple):
    """What was to be forgotten: by which model, how many rows, and the first of them."""

    model: str
    size: int
    question: str
    answer: str


def asked(story: Story) -> Asked:
    """What was to be forgotten."""
    rows = story.runs[0].table.data.select(["split", "kind", "question", "text"]).to_pylist()
    forget = [row for row in rows if row["split"] == "forget" and row["kind"] == "answer"]
    first = forget[0] if forget else {"question": "", "text": ""}
    return Asked(story.runs[0].record["run"]["model"], len(forget), first["question"] or "", first["text"] or "")


def _value(scores: Mapping[str, Any], name: str) -> float | None:
    held = scores.get(name)
    value = None if held is None else held["value"]
    return value if isinstance(value, int | float) else None


def _of(scores: Any, name: str) -> float | None:
    return None if scores is None else _value(scores.to_json()["scores"], name)


def _answers(story: Story, run: Run) -> str:
    after = _value(run.scores, "forget_probability")
    if after is None:
        return ""
    before, unseen = _of(story.before, "forget_probability"), _of(story.retain, "forget_probability")
    compared = [f"{number(before)} before"] if before is not None else []
    compared += [f"{number(unseen)} for a model that never saw them"] if unseen is not None else []
    return f"Probability of the forgotten answers: {number(after)}" + (
        f" ({', '.join(compared)})." if compared else "."
    )


def _utility(story: Story, run: Run) -> str:
    after, before = _value(run.scores, "model_utility"), _of(story.before, "model_utility")
    if after is None:
        return ""
    share = f", {after / before:.0%} of what it was" if before else ""
    return f"Model utility: {number(after)}{share}."


def _quality(run: Run) -> str:
    quality = _value(run.scores, "forget_quality")
    if quality is None:
        return ""
    can = "cannot be told" if quality > 0.05 else "can be told"
    return f"Forget quality: {number(quality)}; by its truth ratios it {can} from a model that never saw the rows."
