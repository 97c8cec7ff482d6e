"""The trainer: the Hub's `Trainer` with an objective for a loss, exact under any cut of the step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PrinterCallback, Trainer

from unlearnkit.errors import Diverged, UserError
from unlearnkit.models.forward import layer_place
from unlearnkit.models.load import context_length
from unlearnkit.models.reference import Columns, Live, Reference
from unlearnkit.objectives import Objective
from unlearnkit.training.config import UnlearnConfig
from unlearnkit.training.data import Example, Examples, StepLoader, StepSampler
from unlearnkit.training.multipliers import Multipliers
from unlearnkit.training.step import cut, piece_views, statistic_sums, step_weights, term_sums


class StepTotals(NamedTuple):
    """What the whole optimiser step has in common, over its accumulation steps and processes.

    weights     how many examples or tokens each term averages over; (terms,)
    statistics  the step's mean of each term's statistic, None for terms without one
    """

    weights: Tensor
    statistics: list[Tensor | None]


class UnlearnTrainer(Trainer):
    """Minimises `examples.objective`. Callbacks, trackers, checkpoints, resuming and the Hub are those of `Trainer`.

    model     the model to change, in float32 (bf16 by autocast on a GPU)
    args      an `UnlearnConfig`
    examples  the rows of each view, with their pairing
    """

    def __init__(self, model: Any, args: UnlearnConfig, examples: Examples, tokenizer: Any = None, **more: Any) -> None:
        super().__init__(
            model=model,
            args=args,
            train_dataset=examples,
            processing_class=tokenizer,
            **more,
        )
        self.remove_callback(PrinterCallback)  # what a run says goes to its log and its progress bar
        self.examples = examples
        self.objective: Objective = examples.objective
        self.token_budget = args.token_budget
        self.reference: Reference | None = None
        self._refuse_long_rows()
        self._prepare_hidden_states(args)
        self._parts = torch.zeros(len(self.objective.terms), dtype=torch.float64)
        self._step_parts = torch.zeros_like(self._parts)
        self._parts_since = 0
        self.multipliers = Multipliers(self.objective)
        if self.multipliers.values:
            self.add_callback(self.multipliers)

    # -- before the first step -----------------------------------------------------------------------------------

    def _refuse_long_rows(self) -> None:
        limit, longest = context_length(self.model), self.examples.longest()
        if limit is not None and longest > limit:
            raise UserError(
                f"a row of the task has {longest} tokens but the model reads at most {limit}; shorten the row or take "
                "a model with a longer context"
            )

    def _prepare_hidden_states(self, args: UnlearnConfig) -> None:
        """See that the layer is there, and tell processes that the layers above it may get no gradient."""
        if self.objective.hidden_layer is not None:
            layer_place(self.model, self.objective.hidden_layer)
            args.ddp_find_unused_parameters = True

    def prepare_reference(self) -> None:
        """Compute or set aside what the objective reads of the reference: the model as it is now.

        Nothing where no term reads one; columns of log-probabilities where that is enough; the adapter switched off or a
        frozen copy only where logits or hidden states are read.
        """
        needs = {view: need for view, need in self.objective.reference_need().items() if need != "none"}
        if not needs:
            return
        adapter = hasattr(self.model, "disable_adapter")
        if set(needs.values()) <= {"tokens"} and all(self.objective.needs(v, "all")[1] == {"none"} for v in needs):
            epochs = -(-int(self.args.num_train_epochs * 1000) // 1000)
            rows = {view: self.examples.used(view, epochs) for view in needs}
            self.reference = Columns.of(self.model, rows, 2 * self.token_budget, off=adapter)
        else:
            self.reference = Live(self.model, off=True) if adapter else Live.frozen_copy(self.model)

    def train(self, *given: Any, **named: Any) -> Any:
        """Train; the reference is taken first, from the weights that the run starts with."""
        if self.reference is None:
            self.prepare_reference()
        return super().train(*given, **named)

    def get_train_dataloader(self) -> StepLoader:
        """Rows dealt to this process; see `StepSampler`."""
        sampler = StepSampler(
            len(self.examples),
            batch=self.args.per_device_train_batch_size,
            slots=self.args.world_size * self.args.gradient_accumulation_steps,
            rank=self.args.process_index,
            world=self.args.world_size,
            seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
        )
        return StepLoader(self.examples, batch_sampler=sampler, collate_fn=list)

    # -- a step ----------------------------------------------------------------------------------------------------

    def get_batch_samples(
        self, epoch_iterator: Iterator[list[Example]], num_batches: int, device: torch.device
    ) -> tuple[list[list[Example]], Any]:
        """The step's batches of this process, with the totals over all of them and all processes."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        examples = [example for batch in batches for example in batch]
        weights = self._summed(step_weights(self.objective, batches))
        weights = torch.where(weights == 0, 1, weights)  # a term with nothing to average over has a loss of 0
        statistics: list[Tensor | None] = []
        for _, term in self.objective.terms:
            if not term.wants_statistic:
                statistics.append(None)
                continue
            sums = self._summed(statistic_sums(self.model, term, self.reference, examples, self.token_budget))
            statistics.append((sums[:-1] / sums[-1]).float().to(device))
        return batches, StepTotals(weights, statistics)

    def _summed(self, values: Tensor) -> Tensor:
        """Summed over processes, in float64."""
        if self.args.world_size == 1:
            return values
        moved = values.to(self.args.device)
        torch.distributed.all_reduce(moved)
        return moved.cpu()

    def training_step(  # type: ignore[override]  # a batch here is a list of examples
        self, model: Any, inputs: list[Example], num_items_in_batch: Any = None
    ) -> Tensor:
        """Forward and backward over one batch, piece by piece; returns this process's share of the step's loss.

        The gradient of the last piece is synchronised, those before it are not. A batch of fillers alone still takes
        part in that, with a loss of zero.
        """
        model.train()
        totals: StepTotals = num_items_in_batch
        pieces = cut(self.objective, inputs, self.token_budget)
        empty = not pieces
        if empty:
            pieces = cut(self.objective, [self.examples[(0, 0)]], self.token_budget)
        loss = torch.zeros((), dtype=torch.float64)
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            with nullcontext() if last else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager():
                    share = self._share(model, piece, totals, empty)
                self.accelerator.backward(share)
            loss += share.detach().double().cpu()
        self._parts_since += int(self.accelerator.sync_gradients)
        if self.accelerator.sync_gradients and self.multipliers.values:
            self.multipliers.step(self._summed(self._step_parts).tolist(), self.state.epoch or 0.0)
            self._step_parts.zero_()
        return loss.to(self.args.device)

    def _share(self, model: Any, piece: Any, totals: StepTotals, empty: bool) -> Tensor:
        """A piece's part of the step's loss. Processes average their gradients, hence the factor world_size."""
        views = piece_views(model, self.objective, self.reference, piece)
        sums = term_sums(self.objective, views, totals.statistics)
        share = torch.zeros((), device=self.args.device)
        for number, ((weight, _), total) in enumerate(zip(self.objective.terms, sums, strict=True)):
            if total is None:
                continue
            if empty:
                share = share + 0.0 * total
                continue
            part = total / totals.weights[number].to(total.dtype)
            self._parts[number] += part.detach().double().cpu()
            self._step_parts[number] += part.detach().double().cpu()
            share = share + weight * self.multipliers.of(number) * self.args.world_size * part
        return share

    # -- watching it -------------------------------------------------------------------------------------------------

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """The gradient's norm; one that is no number ends the run before the weights are touched."""
        norm = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        if not torch.isfinite(torch.as_tensor(norm)).all():
            raise Diverged(self._diverged())
        return norm

    def _diverged(self) -> str:
        parts = dict(zip(self.objective.labels, self._parts.tolist(), strict=True))
        bad = [label for label, part in parts.items() if not torch.isfinite(torch.tensor(part))]
        named = f"the loss of '{bad[0]}'" if bad else f"the gradient of '{max(parts, key=lambda one: abs(parts[one]))}'"
        said = ", ".join(f"{label}={part:.4g}" for label, part in parts.items())
        return (
            f"step {self.state.global_step + 1}: {named} is not a finite number ({said}); "
            "the weights are those of the step before. Try a smaller learning rate."
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log each term's own loss beside the sum: `loss/npo`, `loss/rt`."""
        if "loss" in logs and self._parts_since:
            parts = self._summed(self._parts) / self._parts_since
            logs.update(
                {f"loss/{label}": float(part) for label, part in zip(self.objective.labels, parts, strict=True)}
            )
            logs.update({f"multiplier/{label}": value for label, value in self.multipliers.values.items()})
            self._parts.zero_()
            self._parts_since = 0
        super().log(logs, start_time)

    def floating_point_ops(self, inputs: list[Example]) -> int:  # type: ignore[override]
        """Six operations a parameter and token, forward and backward."""
        tokens = sum(len(answer.row.ids) for example in inputs for answer in example.values())
        model: Any = self.model
        return 6 * tokens * int(model.num_parameters(exclude_embeddings=True))
