"""What the experiment shows: the checks that the claim stands on, and its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearnkit.claims.base import Check
from unlearnkit.claims.synthetic.agreement import MEANS_WITHIN, OUTLIER, Agreement, nearest
from unlearnkit.claims.synthetic.divergence import Growth, growth
from unlearnkit.claims.synthetic.runs import Bundle, Experiment
from unlearnkit.claims.synthetic.settings import BETAS, GAPS, beta_name

LINEAR = 0.999  # R² of GA's forget KL against t
NEAR_GA = 0.9  # of GA's forget KL: how far NPO at the least β has come at step 1000
EARLY = 1000
_BETAS = ", ".join(f"{beta:g}" for beta in BETAS)
COMPARED = ("GA", "GA+RT", "IDK+RT", "NPO", "NPO+RT", "DPO+RT")  # in figure 4


def grown(long: Bundle, first: float) -> dict[str, Growth]:
    """The fits of the mean forget KL from step `first` on, for GA and for NPO at each β."""
    return {
        method: growth(long.steps, long[f"{method}/forget_kl"].mean(0), first)
        for method in ("GA", *map(beta_name, BETAS))
    }


def last_distances(bundle: Bundle, method: str) -> tuple[float, float]:
    """The medians over the seeds of forget and retain distance at the last measured step."""
    forget, retain = (float(np.median(bundle[f"{method}/{q}"][:, -1])) for q in ("forget_distance", "retain_distance"))
    return forget, retain


def checks(experiment: Experiment, fits: Mapping[str, Growth], agreed: Agreement | None) -> list[Check]:
    """In the order of the claim's sentence."""
    found = [_linear(fits), _logarithmic(fits), _falling(fits), _tends_to_ga(experiment.long)]
    found += [_nearest(experiment.gaps[gap], gap) for gap in GAPS]
    return found if agreed is None else [*found, *_agreements(agreed)]


def _linear(fits: Mapping[str, Growth]) -> Check:
    line = fits["GA"].linear
    said = f"R² {line.r2:.5f} against t, {1000 * line.slope:.2f} nats per 1000 steps"
    return Check("GA's forget KL grows linearly", line.r2 > LINEAR and line.slope > 0, said)


def _logarithmic(fits: Mapping[str, Growth]) -> Check:
    pairs = {beta: fits[beta_name(beta)] for beta in BETAS}
    held = all(fit.logarithmic.r2 > fit.linear.r2 for fit in pairs.values())
    said = ", ".join(f"β={beta:g}: {fit.logarithmic.r2:.4f} > {fit.linear.r2:.4f}" for beta, fit in pairs.items())
    if not held:
        said = said.replace(" > ", " to ")
    return Check("NPO's grows logarithmically for every β: R² against ln t above R² against t", held, said)


def _falling(fits: Mapping[str, Growth]) -> Check:
    slopes = [fits[beta_name(beta)].logarithmic.slope for beta in BETAS]
    said = ", ".join(f"{slope:.2f}" for slope in slopes) + f" nats a unit of ln t at β = {_BETAS}"
    return Check("the larger β, the slower", bool(np.all(np.diff(slopes) < 0)), said)


def _tends_to_ga(long: Bundle) -> Check:
    """Proposition 1: as β → 0, NPO is GA."""
    shares = near_ga(long)
    held = bool(np.all(np.diff(shares) < 0)) and shares[0] > NEAR_GA
    said = ", ".join(f"{share:.3f}" for share in shares) + f" of GA's forget KL at step {EARLY}, at β = {_BETAS}"
    return Check("NPO tends to GA as β falls", held, said)


def near_ga(long: Bundle) -> list[float]:
    """The forget KL of NPO over that of GA at step 1000, for each β."""
    ascent = long.at("GA/forget_kl", EARLY).mean()
    return [float(long.at(f"{beta_name(beta)}/forget_kl", EARLY).mean() / ascent) for beta in BETAS]


def _nearest(bundle: Bundle, gap: float) -> Check:
    """Of figure 4's methods, the one whose larger distance to the retrained model is least at the end."""
    ends = {method: last_distances(bundle, method) for method in COMPARED}
    best = min(ends, key=lambda method: max(ends[method]))
    other = min((method for method in ends if method != "NPO+RT"), key=lambda method: max(ends[method]))
    words = [f"{method} {ends[method][0]:.4f} and {ends[method][1]:.4f}" for method in dict.fromkeys(("NPO+RT", other))]
    where = "clouds apart" if gap else "no gap"
    said = f"median forget and retain distance at the last step: {', next '.join(words)}, GA {ends['GA'][0]:.3f} and "
    said += f"{ends['GA'][1]:.3f}"
    return Check(f"NPO+RT ends nearest to the retrained model on both clouds, {where}", best == "NPO+RT", said)


def _agreements(agreed: Agreement) -> list[Check]:
    said = f"{agreed.compared} means, largest relative difference {agreed.worst:.1e} ({agreed.worst_name})"
    within = f"{agreed.medians_within} of {agreed.medians}"
    return [
        Check("every seed draws the label counts of the paper's code", agreed.labels, "retain and forget, five seeds"),
        Check(f"means are those of the paper's code, within {MEANS_WITHIN:g}", agreed.worst < MEANS_WITHIN, said),
        Check(
            "medians lie within one standard deviation of its means", agreed.medians_within == agreed.medians, within
        ),
    ]


def numbers(experiment: Experiment, fits: Mapping[str, Growth], agreed: Agreement | None) -> dict[str, Any]:
    """For `claim.json`."""
    return {
        "divergence": {
            method: {
                "r2_linear": fit.linear.r2,
                "slope_per_1000_steps": 1000 * fit.linear.slope,
                "r2_logarithmic": fit.logarithmic.r2,
                "slope_per_ln_step": fit.logarithmic.slope,
            }
            for method, fit in fits.items()
        },
        "share_of_ga_at_step_1000": dict(zip(map(str, BETAS), near_ga(experiment.long), strict=True)),
        "last_step": {f"gap={gap:g}": _last(bundle) for gap, bundle in experiment.gaps.items()},
        "labels": {seed: dict(counts) for seed, counts in experiment.labels.items()},
        "least_forget_distance": dict(
            zip(map(str, experiment.seeds), nearest(experiment.gaps[1.0], COMPARED).tolist(), strict=True)
        ),
        "agreement": None if agreed is None else agreed._asdict(),
    }


def _last(bundle: Bundle) -> dict[str, dict[str, dict[str, float]]]:
    """Each method's quantities at the last measured step: median, mean, standard deviation over the seeds."""
    out: dict[str, dict[str, dict[str, float]]] = {}
    for name, values in bundle.curves.items():
        method, quantity = name.split("/")
        end = values[:, -1]
        said = {"median": float(np.median(end)), "mean": float(end.mean()), "sd": float(end.std())}
        out.setdefault(method, {})[quantity] = said
    return out


def outliers(experiment: Experiment) -> dict[int, float]:
    """Seeds whose forget distance stays high whatever the method, with clouds apart, and how low it came."""
    least = nearest(experiment.gaps[1.0], COMPARED)
    return {seed: float(low) for seed, low in zip(experiment.seeds, least, strict=True) if low > OUTLIER}
