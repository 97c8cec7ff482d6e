"""Conventions of scoring as rows of data: whose numbers a score is meant to be comparable with."""

from __future__ import annotations

from dataclasses import dataclass

from unlearnkit.errors import unknown

# Metrics that read single tokens, and therefore must say whether the final end-of-sequence token counts.
TOKENWISE = frozenset({"extraction_strength", "exact_memorization", "min_k", "min_k_plus_plus"})


@dataclass(frozen=True)
class Protocol:
    """One convention.

    rows               how many rows of each set are scored, from the first; None for all. Where it is a number, forget
                       rows without perturbed answers are left out first, as the NPO paper did for forget20 to forget90.
    drops_eos          metrics that leave the final end-of-sequence token out; every other metric keeps it.
    epsilon            added to denominators of ratios of probabilities. 0: ratios are differences of logarithms.
    extraction_floor   extraction strength is 1/L, not 0, where not even the last token is matched.
    cut_generation     generations end where prompt and answer reach 200 tokens together.
    privleak_default   AUC of a retain model to assume where none is given; None: PrivLeak is then missing.
    """

    name: str
    about: str
    rows: int | None = None
    drops_eos: frozenset[str] = TOKENWISE
    epsilon: float = 0.0
    extraction_floor: bool = False
    cut_generation: bool = False
    privleak_default: float | None = None

    def convention(self, metric: str) -> tuple[bool, bool]:
        """How a token-wise metric is computed: protocols that agree on this may share its row scores."""
        return metric in self.drops_eos, self.extraction_floor and metric == "extraction_strength"


PROTOCOLS = {
    row.name: row
    for row in (
        Protocol("unlearnkit", "every row, logarithms throughout, nothing assumed"),
        Protocol(
            "tofu",
            "the code of TOFU (arXiv:2401.06121) and NPO (arXiv:2404.05868): first 300 rows, 200 tokens with the prompt",
            rows=300,
            drops_eos=frozenset(),
            cut_generation=True,
        ),
        Protocol(
            "open-unlearning",
            "locuslab/open-unlearning at d3d7cf9: every row, epsilon 1e-10, extraction strength never 0",
            epsilon=1e-10,
            extraction_floor=True,
            privleak_default=0.5,
        ),
    )
}


def protocol(name: str) -> Protocol:
    """The protocol of that name.

    >>> protocol("tofu").rows
    300
    >>> protocol("tufo")
    Traceback (most recent call last):
    unlearnkit.errors.UserError: unknown protocol 'tufo'. Did you mean 'tofu'? Known: open-unlearning, tofu, unlearnkit
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
