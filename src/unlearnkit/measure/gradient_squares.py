"""|G|^2 of each row's gradient G and each tensor, from one backward pass over a batch's activations.

For a linear layer with inputs x_t and gradients g_t of its outputs the row's gradient is G = sum_t g_t x_t^T, and

    |G|^2 = sum_{t,u} (x_t . x_u) (g_t . g_u),

so that T^2 (in + out) operations replace T in out, and no row's gradient is ever formed. An embedding's rows are sums of
g_t over equal tokens. What is neither goes through `torch.func`, row by row in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unlearnkit.models.forward import answer_logits, output_head
from unlearnkit.stats import token_logp
from unlearnkit.text.batches import Batch, collate
from unlearnkit.text.template import Encoded


def mean_losses(model: Any, batch: Batch) -> Tensor:
    """Mean loss of each row's answer; (batch,)."""
    logp = token_logp(answer_logits(model, batch).logits, batch.targets)
    rows = batch.predicts // batch.input_ids.shape[1]
    sums = logp.new_zeros(len(batch.input_ids)).index_add(0, rows, logp)
    return -sums / batch.mask.sum(-1)


class Owners(NamedTuple):
    """Which modules hold the model's parameters.

    tied  the output head holds the embedding's matrix
    """

    embedding: nn.Embedding
    head: nn.Linear
    others: list[nn.Module]
    tied: bool


def owners_of(model: Any) -> Owners | None:
    """None where the parameters do not lie in one embedding, linear layers and other small modules, each its own."""
    found = [module for module in model.modules() if list(module.parameters(recurse=False))]
    embeddings = [module for module in found if isinstance(module, nn.Embedding)]
    head = output_head(model)
    if len(embeddings) != 1 or type(head) is not nn.Linear:
        return None
    tied = head.weight is embeddings[0].weight
    held = [parameter for module in found for parameter in module.parameters(recurse=False)]
    if len(held) - tied != len(list(model.parameters())) or any(list(module.children()) for module in found):
        return None
    if not all(parameter.is_floating_point() for parameter in held):
        return None
    others = [module for module in found if module not in (embeddings[0], head)]
    return Owners(embeddings[0], head, others, tied)


class Unlike(Exception):
    """A module that was not called as the fast way needs it: once, with the rows in its first dimension."""


def batch_norms(model: Any, owners: Owners, rows: Sequence[Encoded]) -> Tensor:
    """`plain_norm` of each row, from one backward pass over the activations; (rows,)."""
    batch = collate(rows, device=owners.embedding.weight.device)
    squares = _Squares(owners, batch)
    for parameter in model.parameters():
        parameter.requires_grad_(False)  # the gradients of activations are all that is needed
    handles = [
        owners.embedding.register_forward_hook(squares.embedded),
        owners.head.register_forward_hook(squares.predicted),
        *(module.register_forward_hook(squares.passed) for module in owners.others),
    ]
    try:
        with torch.enable_grad():
            mean_losses(model, batch).sum().backward()  # type: ignore[no-untyped-call]
    finally:
        for handle in handles:
            handle.remove()
        for parameter in model.parameters():
            parameter.requires_grad_(True)
    return squares.mean_norm()


class _Squares:
    """Collects |G|^2 of every tensor for every row while the backward pass goes by."""

    def __init__(self, owners: Owners, batch: Batch) -> None:
        self.owners, self.batch = owners, batch
        self.found: dict[int, Tensor] = {}
        self._head: tuple[Tensor, Tensor] | None = None
        self._later: list[tuple[nn.Module, Tensor, Tensor]] = []

    def mean_norm(self) -> Tensor:
        """Mean over the tensors, when the pass is over and no hook is left; (rows,)."""
        for module, seen, gradient in self._later:
            for name, square in _row_squares(module, seen, gradient).items():
                self._keep(getattr(module, name), square)
        modules = [self.owners.embedding, self.owners.head, *self.owners.others]
        if self.found.keys() != {id(held) for module in modules for held in module.parameters(recurse=False)}:
            raise Unlike
        return torch.stack([square.clamp_min(0).sqrt() for square in self.found.values()]).mean(0)

    def embedded(self, module: Any, given: tuple[Any, ...], output: Tensor) -> Tensor:
        """The embedding: where the backward pass ends."""
        if given[0].shape != self.batch.input_ids.shape:
            raise Unlike
        start = output.detach().requires_grad_()
        scale = (
            torch.as_tensor(getattr(module, "embed_scale", 1.0)).float().to(output.device)
        )  # Gemma's rows are scaled
        _on_gradient(start, lambda gradient: self._keep(module.weight, self._embedding(scale * gradient.float())))
        return start

    def predicted(self, module: Any, given: tuple[Any, ...], output: Tensor) -> None:
        """The output head, which sees only the scored positions."""
        seen = given[0].detach()
        _on_gradient(output, lambda gradient: self._predicted(module, seen, gradient))

    def passed(self, module: Any, given: tuple[Any, ...], output: Any) -> None:
        """A layer on the way."""
        if not isinstance(output, Tensor) or len(given) != 1 or len(given[0]) != len(self.batch.input_ids):
            raise Unlike
        seen = given[0].detach()
        _on_gradient(output, lambda gradient: self._passed(module, seen, gradient))

    def _keep(self, parameter: Tensor, square: Tensor) -> None:
        if id(parameter) in self.found:
            raise Unlike
        self.found[id(parameter)] = square

    def _passed(self, module: Any, seen: Tensor, gradient: Tensor) -> None:
        if type(module) is nn.Linear and seen.dim() == 3:
            self._linear(module, seen.float(), gradient.float())
        else:
            self._later.append((module, seen, gradient))

    def _linear(self, module: nn.Linear, seen: Tensor, gradient: Tensor) -> None:
        self._keep(module.weight, linear_squares(seen, gradient))
        if module.bias is not None:
            self._keep(module.bias, gradient.sum(1).square().sum(-1))

    def _predicted(self, module: nn.Linear, seen: Tensor, gradient: Tensor) -> None:
        mask = self.batch.mask
        inputs = seen.new_zeros(*mask.shape, seen.shape[-1]).float()
        inputs[mask] = seen.float()
        outputs = gradient.new_zeros(*mask.shape, gradient.shape[-1]).float()
        outputs[mask] = gradient.float()
        if not self.owners.tied:
            self._linear(module, inputs, outputs)
            return
        self._head = inputs, outputs
        if module.bias is not None:
            self._keep(module.bias, outputs.sum(1).square().sum(-1))

    def _embedding(self, gradient: Tensor) -> Tensor:
        """|A + B|^2 of the embedding's part A and, where it is tied, the output head's part B."""
        ids = self.batch.input_ids
        if self.owners.embedding.padding_idx is not None:
            gradient = gradient * (ids != self.owners.embedding.padding_idx)[..., None]
        same = (ids[:, :, None] == ids[:, None, :]).to(gradient.dtype)
        square = (torch.bmm(gradient, gradient.mT) * same).sum((1, 2))
        if self._head is None:
            return square
        inputs, outputs = self._head
        at_tokens = outputs.gather(2, ids[:, None, :].expand(-1, outputs.shape[1], -1))
        both = (at_tokens * torch.bmm(inputs, gradient.mT)).sum((1, 2))
        return square + linear_squares(inputs, outputs) + 2 * both


def _on_gradient(value: Tensor, act: Callable[[Tensor], None]) -> None:
    value.register_hook(act)  # type: ignore[no-untyped-call]


def linear_squares(seen: Tensor, gradient: Tensor) -> Tensor:
    """|sum_t g_t x_t^T|^2 of each row: (rows, time, in), (rows, time, out) -> (rows,), the cheaper of two ways.

    >>> x, g = torch.tensor([[[1.0, 2.0], [3.0, 0.0]]]), torch.tensor([[[1.0], [1.0]]])
    >>> linear_squares(x, g).item()  # |(4, 2)|^2
    20.0
    """
    time, wide, high = seen.shape[1], seen.shape[2], gradient.shape[2]
    if time * (wide + high) < wide * high:
        return (torch.bmm(seen, seen.mT) * torch.bmm(gradient, gradient.mT)).sum((1, 2))
    return torch.stack([(one.mT @ other).square().sum() for one, other in zip(gradient, seen, strict=True)])


def _row_squares(module: nn.Module, seen: Tensor, gradient: Tensor) -> dict[str, Tensor]:
    """|G|^2 of each parameter of any module for each row, by running the module alone."""

    def product(weights: dict[str, Tensor], one: Tensor, other: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(module, weights, (one[None],))
        return (out.float() * other[None].float()).sum()

    weights = {name: value.detach() for name, value in module.named_parameters(recurse=False)}
    each = torch.func.vmap(torch.func.grad(product), in_dims=(None, 0, 0))(weights, seen, gradient)
    return {name: part.float().flatten(1).square().sum(-1) for name, part in each.items()}
