"""The trainer: the Hub's `Trainer` with an objective for a loss, exact under any cut of the step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import PrinterCallback

from unlearnkit.errors import Diverged, UserError
from unlearnkit.models.forward import layer_place
from unlearnkit.models.load import context_length
from unlearnkit.models.reference import Live, Reference
from unlearnkit.objectives import Objective
from unlearnkit.training import processes
from unlearnkit.training.checkpoints import WholeCheckpoints
from unlearnkit.training.columns import Shelf
from unlearnkit.training.config import UnlearnConfig
from unlearnkit.training.data import Example, Examples, StepLoader, StepSampler
from unlearnkit.training.gradients import average_gradients
from unlearnkit.training.multipliers import Multipliers
from unlearnkit.training.passes import Passes, Totals
from unlearnkit.training.references import reference_for
from unlearnkit.training.sharding import is_sharded, shard
from unlearnkit.training.wrapped import WrappedStep
from unlearnkit.training.wrappers.find import parse_wrapper


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
        self.shelf = shelf
        self.spread = args.shard and processes.several()
        self.wrapper = None if args.wrap is None else parse_wrapper(args.wrap)
        if self.wrapper is not None:
            self.wrapper.check(self.objective)
        self._refuse_long_rows()
        self._prepare_hidden_states()
        self.passes = Passes(
            examples, args.token_budget, args.device, self.spread, self.compute_loss_context_manager, self._backward
        )
        self._logged = torch.zeros_like(self.passes.means)  # each term's means, summed since they were last logged
        self._steps_since = 0
        if self.multipliers.values:
            self.add_callback(self.multipliers)

    @property
    def reference(self) -> Reference | None:
        """What the terms compare with, once it was taken; None where no term does."""
        return self.passes.reference

    @property
    def multipliers(self) -> Multipliers:
        """The weights that change as training goes."""
        return self.passes.multipliers

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
        self.passes.reference = reference_for(
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
        return batches, self.passes.totals(self.model, batches)

    def _backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)

    def training_step(  # type: ignore[override]  # a batch here is a list of examples
        self, model: Any, inputs: list[Example], num_items_in_batch: Any = None
    ) -> Tensor:
        """Forward and backward over one batch, piece by piece; returns this process's share of the step's loss."""
        totals: Totals = num_items_in_batch
        last = self.accelerator.sync_gradients
        if self.wrapper is None:
            loss = self.passes.run(model, inputs, totals)
            if last and not self.spread:
                average_gradients(model.parameters())
        elif last:  # it is a function of the whole step's gradients, so all rows are run together
            loss = WrappedStep(self.passes, model, totals).take(self.wrapper)
        else:
            loss = torch.zeros((), dtype=torch.float64, device=self.args.device)
        if last:
            self._close_step()
        return loss

    def _close_step(self) -> None:
        """All rows of the step were run: what follows from each term's mean over them."""
        self._logged += self.passes.means
        self._steps_since += 1
        if self.multipliers.values:
            self.multipliers.step(self.passes.summed(self.passes.means).tolist(), self.state.epoch or 0.0)
        self.passes.means.zero_()

    # -- watching it -------------------------------------------------------------------------------------------------

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """The gradient's norm; one that is no number ends the run before the weights are touched."""
        norm = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if not torch.isfinite(torch.as_tensor(norm)).all():
            raise Diverged(self._diverged())
        return norm

    def _diverged(self) -> str:
        parts = dict(zip(self.objective.labels, self.passes.summed(self._logged).tolist(), strict=True))
        bad = [label for label, part in parts.items() if not torch.isfinite(torch.tensor(part))]
        named = f"the loss of '{bad[0]}'" if bad else f"the gradient of '{max(parts, key=lambda one: abs(parts[one]))}'"
        said = ", ".join(f"{label}={part:.4g}" for label, part in parts.items())
        return (
            f"step {self.state.global_step + 1}: {named} is not a finite number ({said}); "
            "the weights are those of the step before. Try a smaller learning rate."
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log each term's own loss beside the sum: `loss/npo`, `loss/rt`."""
        if "loss" in logs and self._steps_since:
            parts = self.passes.summed(self._logged) / self._steps_since
            logs.update(
                {f"loss/{label}": float(part) for label, part in zip(self.objective.labels, parts, strict=True)}
            )
            logs.update({f"multiplier/{label}": value for label, value in self.multipliers.values.items()})
            self._logged.zero_()
            self._steps_since = 0
        super().log(logs, start_time)

    def floating_point_ops(self, inputs: list[Example]) -> int:  # type: ignore[override]
        """Six operations a parameter and token, forward and backward."""
        tokens = sum(len(answer.row.ids) for example in inputs for answer in example.values())
        model: Any = self.model
        return 6 * tokens * int(model.num_parameters(exclude_embeddings=True))
