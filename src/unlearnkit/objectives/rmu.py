"""RMU: steer the hidden states of the forget set in a random direction and hold those of the retain set."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from unlearnkit.errors import UserError
from unlearnkit.objectives.base import Need, Reduction, Term
from unlearnkit.stats import TokenStats, View


@dataclass(frozen=True)
class RMU(Term):
    r"""L = E[‖h(x_f) − c u‖²] + α E[‖h(x_r) − h_ref(x_r)‖²], RMU (arXiv:2403.03218), section 4.

    h is what one layer puts out at the tokens of the answer; squares are averaged over an answer's tokens, then over
    examples. u is a unit vector whose entries are drawn uniformly from [0, 1) by `seed` before it is normalised, or the
    direction of the vector in the JSON file `direction`. layer=-1 is as deep as layer 7 of 32, the paper's choice for
    Zephyr-7B (there with c = 6.5). alpha=0 reads no retain rows: `rmu(alpha=0) + rt`.

    variant="original" is the peers' code (OpenUnlearning). It takes the mean over the layer's width where the formula has
    the sum, and by a slip of shapes it divides each answer's sum not by its own length but by all lengths of the batch in
    turn: mean(sums) mean(1/length). With answers of equal length it is the formula over the width. Their direction is that
    of seed 0, and so is ours. (The paper's code trains three MLP matrices around the layer, the peers all parameters.)

    >>> mask = torch.tensor([[True, True], [True, False]])
    >>> still = TokenStats(torch.zeros(2, 2), mask, None, torch.zeros(2, 2, 4)); views = View(still), View(still, still)
    >>> [round(loss, 4) for loss in RMU(c=2.0)(*views).tolist()]  # ‖0 − 2u‖² = 4
    [4.0, 4.0]
    >>> original = RMU(c=2.0, variant="original"); inverse = original.statistic(*views).mean(0)
    >>> round(original(*views, statistic=inverse).mean().item(), 4)  # sums 2 and 1, mean(1/length) 3/4
    1.125
    """

    summary = "E[‖h(x_f) − c u‖²] + α E[‖h(x_r) − h_ref(x_r)‖²] at one layer"
    paper = "arXiv:2403.03218"
    reference = "hidden"
    policy = "hidden"
    layer: int = -1
    c: float = 2.0
    alpha: float = 1.0
    seed: int = 0
    direction: str = ""
    variant: Literal["paper", "original"] = "paper"

    @property
    def reduction(self) -> Reduction:
        return "examples"

    @property
    def reads(self) -> tuple[str, ...]:
        return ("forget", "retain") if self.alpha else ("forget",)

    def reference_on(self, view: str) -> Need:
        return "hidden" if view == "retain" else "none"

    @property
    def hidden_layer(self) -> int | None:
        return self.layer

    def check_width(self, width: int) -> None:
        self._unit(width)

    @property
    def wants_statistic(self) -> bool:
        return self.variant == "original"

    @property
    def statistics(self) -> int:
        return len(self.reads)

    def statistic(self, *views: View) -> Tensor:
        return torch.stack([1 / view.policy.length for view in views], dim=-1)

    def __call__(self, *views: View, statistic: Tensor | None = None) -> Tensor:
        forget = views[0].policy
        assert forget.hidden is not None
        goal = self.c * self._unit(forget.hidden.shape[-1]).to(forget.hidden.device)
        inverse = [None, None] if statistic is None else list(statistic)
        loss = self._distance(forget, goal, inverse[0])
        if self.alpha:
            held = views[1].reference.hidden
            assert held is not None
            loss = loss + self.alpha * self._distance(views[1].policy, held.float(), inverse[1])
        return loss

    def _distance(self, stats: TokenStats, goal: Tensor, inverse_length: Tensor | None) -> Tensor:
        """The squared distance from the goal, averaged over an answer's tokens; (batch,)."""
        assert stats.hidden is not None
        squares = (stats.hidden.float() - goal).square()
        if inverse_length is None:
            return (squares.sum(-1) * stats.mask).sum(-1) / stats.length
        return (squares.mean(-1) * stats.mask).sum(-1) * inverse_length

    def _unit(self, width: int) -> Tensor:
        """The direction that forget states are steered in, of length 1; (width,)."""
        if self.direction:
            vector = _read_vector(self.direction, width)
        else:
            vector = torch.rand(width, generator=torch.Generator().manual_seed(self.seed))
        return torch.nn.functional.normalize(vector, dim=0)


def _read_vector(path: str, width: int) -> Tensor:
    """A vector from JSON: a list of numbers, or an object that holds one."""
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise UserError(f"rmu(direction={path!r}): not a readable JSON file ({type(problem).__name__})") from None
    if isinstance(stored, dict) and len(stored) == 1:
        stored = next(iter(stored.values()))
    if not isinstance(stored, list) or not all(type(value) in (int, float) for value in stored):
        raise UserError(f"rmu(direction={path!r}): a list of numbers is needed")
    if len(stored) != width or not any(stored):
        raise UserError(
            f"rmu(direction={path!r}): {len(stored)} numbers; the layer has a width of {width}, not all zero"
        )
    return torch.tensor(stored, dtype=torch.float32)
