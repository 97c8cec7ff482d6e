"""Options of training, shared by the verbs that train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from unlearnkit.run.train import Watch

Lr = Annotated[float, typer.Option("--lr", help="AdamW's learning rate.")]
Epochs = Annotated[float, typer.Option("--epochs", help="Passes over the rows.")]
BatchSize = Annotated[int, typer.Option("--batch-size", help="Rows of one step, a process.")]
Accumulate = Annotated[int, typer.Option("--accumulate", help="Batches of one step; changes memory, not results.")]
Warmup = Annotated[float, typer.Option("--warmup", help="Steps, or a share of all steps if below 1.")]
Schedule = Annotated[str, typer.Option("--schedule", help="linear, cosine, constant or constant_with_warmup.")]
WeightDecay = Annotated[float, typer.Option("--weight-decay", help="AdamW's weight decay.")]
Clip = Annotated[float, typer.Option("--max-grad-norm", help="Clip the gradient at this norm; 0 for never.")]
Seed = Annotated[int, typer.Option("--seed", help="Order, pairing and new weights follow from it.")]
TokenBudget = Annotated[int, typer.Option("--token-budget", help="Padded tokens of one forward pass; bounds memory.")]
Checkpointing = Annotated[
    bool, typer.Option("--gradient-checkpointing", help="Compute activations twice and keep them once.")
]
Sampling = Annotated[str, typer.Option("--sampling", help="random, or group_by_length: less padding in a step.")]
Optimizer = Annotated[str, typer.Option("--optimizer", help="adamw, sgd, adafactor; on a GPU adamw_8bit and others.")]
Weights = Annotated[str, typer.Option("--weights", help="fp32, or bf16 for a frozen model below --lora.")]
LoraText = Annotated[
    str | None, typer.Option("--lora", help="Train an adapter: r=16[,alpha=32,dropout=0.05,targets=q_proj+v_proj].")
]
Quantize = Annotated[str | None, typer.Option("--quantize", help="nf4: the model below --lora in four bits (GPU).")]
Merge = Annotated[bool, typer.Option("--merge", help="Add the adapter into the weights and save a whole model.")]
Wrap = Annotated[
    str | None, typer.Option("--wrap", help="How to take the step: 'sam(rho=0.01)' against relearning, or gru.")
]
Shard = Annotated[bool, typer.Option("--shard", help="Spread the model over the processes of torchrun (FSDP2).")]
Measured = Annotated[str, typer.Option("--measure", help="When to measure on the way: epoch, end or no.")]
Tokenizer = Annotated[str | None, typer.Option("--tokenizer", help="For init:CONFIG: whose tokenizer to take.")]
Checkpoints = Annotated[
    bool, typer.Option("--checkpoints/--no-checkpoints", help="Keep the last two epochs, to resume from.")
]


def watching(measured: str, protocol: str, reference: Path | None, max_new_tokens: int) -> Watch | None:
    """The `Watch` that --measure and its companions ask for, or None."""
    from unlearnkit.errors import unknown
    from unlearnkit.run.evaluate import read_reference
    from unlearnkit.run.train import Watch
    from unlearnkit.score.protocols import protocol as known_protocol

    known_protocol(protocol)
    if measured not in ("epoch", "end", "no"):
        raise unknown("--measure", measured, ("epoch", "end", "no"))
    table = read_reference(reference)
    if measured == "no":
        return None
    return Watch(every_epoch=measured == "epoch", reference=table, protocol=protocol, max_new_tokens=max_new_tokens)
