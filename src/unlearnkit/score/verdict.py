"""What the scores amount to, in plain words: one of five labels with the numbers and thresholds that led to it.

Every view of the forget set is put on a scale where the model before unlearning is at 1 and the retain model at 0. A
verdict describes what was measured. It certifies nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from unlearnkit.score.measured import Floats, Measured, Missing
from unlearnkit.score.metric import Case, TableMetric
from unlearnkit.score.metrics.exact_memorization import ExactMemorization
from unlearnkit.score.metrics.extraction_strength import ExtractionStrength
from unlearnkit.score.metrics.fluency import Fluency
from unlearnkit.score.metrics.forget_quality import ForgetQuality
from unlearnkit.score.metrics.model_utility import ModelUtility
from unlearnkit.score.metrics.probability import ForgetLoss, Probability
from unlearnkit.score.metrics.rouge import Rouge
from unlearnkit.score.metrics.truth_ratio import TruthRatioNormalised
from unlearnkit.score.resampling import DRAWS, percentile

UNTOUCHED, PARTLY, FORGOTTEN, OVER, COLLAPSED = LABELS = (
    "untouched",
    "partly forgotten",
    "forgotten",
    "over-forgotten",
    "collapsed",
)


@dataclass(frozen=True)
class Thresholds:
    """Where one label ends and the next begins. Positions: 1 the model before unlearning, 0 the retain model.

    untouched     every view is at least here, and the median at least halfway from here to 1
    over          a view without a floor is at or below minus this: as far beyond the retain model as the target was short
    utility       model utility below this share of the target's (else the retain model's) is collapse
    fluency       the same for the fluency of generations, of the lesser of target's and retain model's
    told_apart    forget quality below this is no chance: retain models of other seeds and shorter finetuning have 0.33
                  to 1 on the embedded world, TOFU's 7B ones 0.87 to 1
    """

    untouched: float = 0.8
    over: float = 1.0
    utility: float = 0.5
    fluency: float = 0.5
    told_apart: float = 0.05


class View(NamedTuple):
    """One way to look for what is left.

    metric     what is read
    tolerance  a position up to here is what retain models of other seeds reach
    by_heart   its value for a model that has every answer by heart, where no target was given; None: not known
    unseen     its value for a model that never saw the rows, where no retain model was given; None: not known
    floor      does it stop falling, so that it cannot tell forgotten from over-forgotten?
    """

    metric: TableMetric
    tolerance: float
    by_heart: float | None
    unseen: float | None
    floor: bool = True


# `unseen` is what TOFU's Llama-2-7B retain models reach (probability 0.15, ROUGE-L recall 0.40), a little more for ES.
VIEWS = (
    View(ExtractionStrength(), 0.10, 1.0, 0.1),
    View(ExactMemorization(), 0.20, 1.0, None),
    View(Probability("forget"), 0.10, 1.0, 0.15),
    View(Rouge("forget"), 0.25, 1.0, 0.4),
    View(TruthRatioNormalised(), 0.40, None, None, floor=False),
    View(ForgetLoss(), 0.20, 0.0, None, floor=False),
)


class Reading(NamedTuple):
    """A view of this model: its value, those at the ends of the scale, and where on the scale it lies (95 %)."""

    view: View
    value: float
    retain: float
    target: float
    position: float
    interval: tuple[float, float] | None

    def tells(self) -> bool:
        """Is more left than chance and another seed would leave?"""
        return self.position > self.view.tolerance and (self.interval is None or self.interval[0] > 0)


def verdict(case: Case, thresholds: Thresholds | None = None) -> dict[str, Any]:
    """Label, reason, strength, and the numbers and thresholds behind them, as plain values.

    Without a retain model or a target the ends of the scale are assumed ones, and "strength" says that it is weaker;
    over-forgetting is told only against a retain model. The label is None where fewer than two views can be read.
    """
    rules = thresholds or Thresholds()
    readings, lacking = _readings(case)
    lost, shares = _lost(case, rules)
    told: dict[str, Any] = {
        "label": None,
        "reason": "",
        "strength": _strength(case),
        "views": {reading.view.metric.name: _plain(reading) for reading in readings},
        "shares": shares,
        "forget_quality": _forget_quality(case),
        "thresholds": asdict(rules) | {"tolerance": {view.metric.name: view.tolerance for view in VIEWS}},
        "not_read": lacking,
    }
    told["label"], told["reason"] = _decide(readings, lost, told["forget_quality"], rules)
    return told


def _decide(
    readings: Sequence[Reading], lost: Sequence[str], quality: float | None, rules: Thresholds
) -> tuple[str | None, str]:
    if lost:
        return COLLAPSED, "; ".join(lost)
    if len(readings) < 2:
        return None, "fewer than two views of the forget set can be read; see `not_read`"
    beyond = [each for each in readings if not each.view.floor and each.position <= -rules.over]
    if beyond:
        return OVER, f"further from the retain model than the target was, on the other side: {_named(beyond)}"
    positions = [each.position for each in readings]
    if min(positions) >= rules.untouched and float(np.median(positions)) >= (1 + rules.untouched) / 2:
        return UNTOUCHED, f"every view is where the model before unlearning was: {_named(readings)}"
    left = [each for each in readings if each.tells()]
    if left:
        return PARTLY, f"more is left than in a model that never saw the rows: {_named(left)}"
    if quality is not None and quality < rules.told_apart:
        return (
            PARTLY,
            f"truth ratios tell it from the retain model: forget quality {quality:.3g} (below {rules.told_apart})",
        )
    return FORGOTTEN, f"no view tells the model from one that never saw the rows: {_named(readings)}"


def _readings(case: Case) -> tuple[list[Reading], dict[str, str]]:
    readings, lacking = [], {}
    for view in VIEWS:
        try:
            readings.append(_read(view, case))
        except Missing as lack:
            lacking[view.metric.name] = str(lack)
    return readings, lacking


def _read(view: View, case: Case) -> Reading:
    metric = view.metric
    value, draws = metric.of(case.model).value, metric.draws_of(case.model)
    retain, retain_draws = _end(view, case, case.reference, view.unseen, "retain model")
    target, target_draws = _end(view, case, case.target, view.by_heart, "target model")
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = percentile(target_draws - retain_draws)
        positions = (draws - retain_draws) / (target_draws - retain_draws)
    if ends is None or ends[0] <= 0 <= ends[1]:
        raise Missing("target and retain model do not differ in it beyond chance")
    if not np.isfinite(value):
        raise Missing("its value is infinite")
    return Reading(view, value, retain, target, (value - retain) / (target - retain) + 0.0, percentile(positions))


def _end(view: View, case: Case, measured: Measured | None, assumed: float | None, whose: str) -> tuple[float, Floats]:
    """One end of the scale: the value of another model's table, or an assumed one."""
    if measured is None:
        if assumed is None:
            raise Missing(f"no {whose} given, and no value to assume instead")
        return assumed, np.full(DRAWS, assumed)
    case.same_rows("forget", case.model.rows("forget"), measured, measured.rows("forget"))
    return view.metric.of(measured).value, view.metric.draws_of(measured)


def _lost(case: Case, rules: Thresholds) -> tuple[list[str], dict[str, float]]:
    """What of utility and fluency fell below its threshold, in words; and both as shares of what they were."""
    lost, shares = [], {}
    for metric, least in ((ModelUtility(), rules.utility), (Fluency(), rules.fluency)):
        before = _before(metric, case)
        try:
            now = metric.of(case.model).value
        except Missing:
            continue
        if before:
            shares[metric.name] = now / before
            if now < least * before:
                lost.append(f"{metric.name} fell to {now:.3g} from {before:.3g}, below {least:.0%} of it")
    return lost, shares


def _before(metric: TableMetric, case: Case) -> float | None:
    """What the metric may be expected to be; None where neither model was given."""
    found = []
    for measured in (case.target, case.reference):
        try:
            found += [] if measured is None else [metric.of(measured).value]
        except Missing:
            continue
    if not found:
        return None
    return min(found) if metric.name == Fluency.name else found[0]


def _forget_quality(case: Case) -> float | None:
    try:
        return ForgetQuality().value(case).value
    except Missing:
        return None


def _strength(case: Case) -> str:
    absent = [name for name, held in (("retain model", case.reference), ("target", case.target)) if held is None]
    if not absent:
        return "compared with the retain model and with the model before unlearning"
    return f"weaker: no {' and no '.join(absent)} given, assumed values stand in for it"


def _plain(reading: Reading) -> Mapping[str, Any]:
    return {
        "value": reading.value,
        "retain": reading.retain,
        "target": reading.target,
        "position": reading.position,
        "interval": None if reading.interval is None else list(reading.interval),
    }


def _named(readings: Sequence[Reading]) -> str:
    return ", ".join(f"{each.view.metric.name} {each.value:.3g} (position {each.position:.2f})" for each in readings)
