"""The data of the experiment: two Gaussian clouds with labels, seen through random features."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

DIMENSIONS, FEATURES = 16, 128
RETAIN, FORGET, EVALUATED = 1000, 200, 1000
RETAIN_WEIGHTS, FORGET_WEIGHTS = (1.0,), (1.0, 0.0, 0.0)  # of a cloud's components: the forget cloud's first counts


class Cloud(NamedTuple):
    """features (rows, 128) and labels (rows,), 0 or 1."""

    features: Tensor
    labels: Tensor


class Problem(NamedTuple):
    """One seed's data. `refusals` are labels of the forget rows drawn by a fair coin: "I don't know"."""

    retain: Cloud
    forget: Cloud
    refusals: Tensor
    seen_retain: Cloud
    seen_forget: Cloud


def draw_problem(seed: int, gap: float) -> Problem:
    """Draw the problem of a seed, in float64.

    x ~ N(∓gap·1, I₁₆) with − for retain, y = 1 with probability σ(∓((x − E x)·u + 1)), u = 1/√16; features ReLU(W x) with
    W (128, 16) of N(0, 1/16). gap = 1 sets the clouds apart, gap = 0 puts them on each other. The last two clouds, of 1000
    rows each, are for evaluation alone.

    Order and kind of the draws are those of the paper's code, so that the numbers can be compared: a label is one
    `multinomial` draw over two softmax columns, a point's label is drawn before the next point.
    """
    source = torch.Generator().manual_seed(seed)
    weights = torch.randn(FEATURES, DIMENSIONS, generator=source, dtype=torch.float64) / math.sqrt(DIMENSIONS)
    retain = _cloud(RETAIN, -1, gap, weights, RETAIN_WEIGHTS, source)
    forget = _cloud(FORGET, 1, gap, weights, FORGET_WEIGHTS, source)
    coin = torch.full((FORGET, 2), 0.5, dtype=torch.float64)
    refusals = torch.multinomial(coin, 1, generator=source).squeeze(1)
    seen_retain = _cloud(EVALUATED, -1, gap, weights, RETAIN_WEIGHTS, source)
    return Problem(retain, forget, refusals, seen_retain, _cloud(EVALUATED, 1, gap, weights, FORGET_WEIGHTS, source))


def _cloud(
    rows: int, side: int, gap: float, weights: Tensor, components: tuple[float, ...], source: Generator
) -> Cloud:
    # which component a row comes from changes nothing here, but the draw moves the generator on
    torch.multinomial(torch.tensor(components, dtype=torch.float64), rows, replacement=True, generator=source)
    direction = torch.full((DIMENSIONS,), 1 / math.sqrt(DIMENSIONS), dtype=torch.float64)
    points, labels = [], []
    for _ in range(rows):
        point = torch.randn(DIMENSIONS, generator=source, dtype=torch.float64)
        logit = side * (point @ direction + 1)
        columns = torch.stack([torch.zeros_like(logit), logit]).softmax(0)
        labels.append(torch.multinomial(columns, 1, generator=source))
        points.append(point)
    return Cloud(torch.relu((torch.stack(points) + side * gap) @ weights.T), torch.cat(labels))
