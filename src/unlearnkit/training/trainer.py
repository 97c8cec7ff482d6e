"""The trainer: the Hub's `Trainer` with an objective for a loss, exact under any cut of the step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import PrinterCallback

from unlearnkit.errors import Diverged, UserError
from unlearnkit.models.forward import layer_place
from unlearnkit.models.load import context_length
from unlearnkit.models.reference import Live, Reference
from unlearnkit.objectives import Objective, Term
from unlearnkit.training import processes
from unlearnkit.training.checkpoints import WholeCheckpoints
from unlearnkit.training.columns import Shelf
from unlearnkit.training.config import UnlearnConfig
from unlearnkit.training.data import Example, Examples, StepLoader, StepSampler
from unlearnkit.training.gradients import average_gradients
from unlearnkit.training.multipliers import Multipliers
from unlearnkit.training.references import reference_for
from unlearnkit.training.sharding import is_sharded, shard
from unlearnkit.training.step import Piece, cut, piece_views, statistic_sums, step_weights, term_sums, tied_views


class StepTotals(NamedTuple):
    """What the whole optimiser step has in common, over its accumulation steps and processes.

    weights     how many examples or tokens each term averages over; (terms,)
    statistics  the step's mean of each term's statistic, None for terms without one
    """

    weights: Tensor
    statistics: list[Tensor | None]


class UnlearnTrainer(WholeCheckpoints):
    """Minimises `examples.objective`. Callbacks, trackers, checkpoints, resuming and the Hub are those of `Trainer`.

    model     the model to change, in float32 (bf16 by autocast on a GPU)
    args      an `UnlearnConfig`
    examples  the rows of each view, with their pairing
    shelf     where the reference's columns are kept between runs, if anywhere
    """

    def __init__(
        self,
        model: Any,
        args: UnlearnConfig,
        examples: Examples,
        tokenizer: Any = None,
        shelf: Shelf | None = None,
        **more: Any,
    ) -> None:
        args._n_gpu = min(args.n_gpu, 1)  # several GPUs are for several processes, not for `nn.DataParallel`
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
        self.shelf = shelf
        self.spread = args.shard and processes.several()
        self._refuse_long_rows()
        self._prepare_hidden_states()
        # on the device: to fetch a number is to wait for the pass that it comes from
        self._parts = torch.zeros(len(self.objective.terms), dtype=torch.float64, device=args.device)
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

    def _prepare_hidden_states(self) -> None:
        """See that the layer is there, and that the terms can compare its hidden states with what they have."""
        if self.objective.hidden_layer is not None:
            layer_place(self.model, self.objective.hidden_layer)
            for _, term in self.objective.terms:
                term.check_width(self.model.config.get_text_config().hidden_size)

    def create_accelerator_and_postprocess(self) -> None:
        """Processes share their gradients here (see `gradients`), so the model stays as it is, but for its precision."""
        super().create_accelerator_and_postprocess()
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise UserError(
                "the launcher shards the model itself; launch without its FSDP or DeepSpeed and give --shard"
            )
        self.accelerator.prepare_model = partial(self.accelerator.prepare_model, evaluation_mode=True)

    def prepare_reference(self) -> None:
        """Take the reference from the model as it is now; see `references`."""
        self.reference = reference_for(
            self.model,
            self.examples,
            epochs=-(-int(self.args.num_train_epochs * 1000) // 1000),
            dtype=f"{next(self.model.parameters()).dtype}/{self.accelerator.mixed_precision}/{self.args.device.type}",
            precision=self.accelerator.autocast(),
            frozen=self._frozen_copy,
            shelf=self.shelf,
        )

    def _frozen_copy(self) -> Live:
        """The model as it is now, run and spread over processes as the model in training is."""
        live = Live.frozen_copy(self.model)
        if self.spread:
            shard(live.model)
        self.accelerator.prepare_model(live.model)
        return live

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Sharding comes after a checkpoint's weights were read and before the optimiser takes hold of them."""
        if self.spread and not is_sharded(self.model):
            shard(self.model)
        return super().create_optimizer(model)

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
            lengths=self.examples.lengths() if self.args.train_sampling_strategy == "group_by_length" else None,
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
        statistics = [
            self._statistic(term, examples).to(device) if term.wants_statistic else None
            for _, term in self.objective.terms
        ]
        return batches, StepTotals(weights, statistics)

    def _statistic(self, term: Term, examples: list[Example]) -> Tensor:
        """The mean of a term's statistic over the step. Where weights are gathered, all processes run alike."""
        sums = torch.zeros(term.statistics + 1, dtype=torch.float64)
        together = [[example] for example in examples] if self.spread else [examples]
        self.model.eval()
        for some in together:
            real = any(some)
            rows = some if real or not self.spread else [self.examples[(0, 0)]]
            sums += float(real) * statistic_sums(self.model, term, self.reference, rows, self.token_budget)
        sums = self._summed(sums)
        return (sums[:-1] / sums[-1]).float()

    def _summed(self, values: Tensor) -> Tensor:
        """Summed over processes, in float64."""
        return processes.summed(values.to(self.args.device)).cpu()

    def training_step(  # type: ignore[override]  # a batch here is a list of examples
        self, model: Any, inputs: list[Example], num_items_in_batch: Any = None
    ) -> Tensor:
        """Forward and backward over one batch, piece by piece; returns this process's share of the step's loss.

        Processes share their gradients when the step is complete, so each has the pieces that its rows need, and none
        where they are all fillers. Only a sharded model is run equally often by all.
        """
        model.train()
        totals: StepTotals = num_items_in_batch
        loss = torch.zeros((), dtype=torch.float64, device=self.args.device)
        for piece, idle in self._pieces(inputs):
            with self.compute_loss_context_manager():
                share = self._share(model, piece, totals, idle)
            self.accelerator.backward(share)
            loss += share.detach()
        if self.accelerator.sync_gradients and not self.spread:
            average_gradients(model.parameters())
        self._parts_since += int(self.accelerator.sync_gradients)
        if self.accelerator.sync_gradients and self.multipliers.values:
            self.multipliers.step(self._summed(self._step_parts).tolist(), self.state.epoch or 0.0)
            self._step_parts.zero_()
        return loss

    def _pieces(self, examples: list[Example]) -> list[tuple[Piece, bool]]:
        """What this process runs, and whether a piece is idle: only there because the others run one like it.

        Where weights are gathered, all processes run the same number of pieces of the same views.
        """
        if not self.spread:
            return [(piece, False) for piece in cut(self.objective, examples, self.token_budget)]
        pieces: list[tuple[Piece, bool]] = []
        for views in tied_views(self.objective):
            part = Objective(tuple(one for one in self.objective.terms if set(one[1].reads) <= set(views)))
            mine = cut(part, examples, self.token_budget)
            (idle,) = cut(part, [self.examples[(0, 0)]], self.token_budget)
            more = processes.largest(len(mine)) - len(mine)
            pieces += [(piece, False) for piece in mine] + [(idle, True)] * more
        return pieces

    def _share(self, model: Any, piece: Piece, totals: StepTotals, idle: bool) -> Tensor:
        """A piece's part of the step's loss. Processes average their gradients, hence the factor world_size."""
        views = piece_views(model, self.objective, self.reference, piece)
        sums = term_sums(self.objective, views, totals.statistics)
        share = torch.zeros((), device=self.args.device)
        for number, ((weight, _), total) in enumerate(zip(self.objective.terms, sums, strict=True)):
            if total is None:
                continue
            if idle:
                share = share + 0.0 * total
                continue
            part = total / totals.weights[number].to(total.dtype)
            self._parts[number] += part.detach()
            self._step_parts[number] += part.detach()
            share = share + weight * self.multipliers.of(number) * self.args.world_size * part
        return share

    # -- watching it -------------------------------------------------------------------------------------------------

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """The gradient's norm; one that is no number ends the run before the weights are touched."""
        norm = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if not torch.isfinite(torch.as_tensor(norm)).all():
            raise Diverged(self._diverged())
        return norm

    def _diverged(self) -> str:
        parts = dict(zip(self.objective.labels, self._summed(self._parts).tolist(), strict=True))
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
