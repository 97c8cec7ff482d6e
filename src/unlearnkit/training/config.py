"""The settings of a run, on top of the Hub's `TrainingArguments`. A method's hyperparameters are in the objective."""

from __future__ import annotations

from dataclasses import dataclass, field

from transformers import TrainingArguments
from transformers.trainer_utils import SaveStrategy


@dataclass
class UnlearnConfig(TrainingArguments):
    """`TrainingArguments` with the defaults of the field, and what unlearning adds.

    objective     the formula, such as "npo(beta=0.1) + 5*rt"; "rt" alone is finetuning
    token_budget  padded tokens of one forward pass. It bounds memory and never changes a result: however a step is cut,
                  the sum over its rows is the same
    pairing       "epoch" draws a new retain row and a new refusal for each forget row in every epoch, as a function of
                  (seed, epoch, index); "frozen" is the NPO authors' `manual_seed(index)`
    wrap          a way to take the step, such as "sam(rho=0.01)"; see `training.wrappers`
    shard         spread weights, gradients and optimiser state over the processes (FSDP2)
    """

    objective: str = field(default="npo(beta=0.1) + rt", metadata={"help": "what is minimised, as a formula"})
    token_budget: int = field(default=2048, metadata={"help": "padded tokens of one forward pass"})
    pairing: str = field(default="epoch", metadata={"help": "epoch or frozen"})
    wrap: str | None = field(default=None, metadata={"help": "a way to take the step: sam(rho=0.01), gru"})
    shard: bool = field(default=False, metadata={"help": "spread the model over the processes"})

    learning_rate: float = field(default=1e-5, metadata={"help": "the papers' learning rate"})
    num_train_epochs: float = field(default=10.0, metadata={"help": "passes over the forget set"})
    per_device_train_batch_size: int = field(default=8, metadata={"help": "forget rows a process and forward step"})
    weight_decay: float = field(default=0.01, metadata={"help": "AdamW's decoupled weight decay"})
    logging_steps: float = field(default=1, metadata={"help": "a line of the loss log every so many steps"})
    save_strategy: SaveStrategy | str = field(default="epoch", metadata={"help": "when to write a checkpoint"})
    save_total_limit: int | None = field(default=2, metadata={"help": "checkpoints to keep"})
    use_cache: bool = field(default=True, metadata={"help": "leave the saved configuration as the model's own"})
    # A loss that is no number must stop the run, not be replaced by an average of earlier ones in the log.
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "never hide a loss that is not finite"})
    report_to: str | list[str] | None = field(default="none", metadata={"help": "trackers, such as tensorboard"})
    remove_unused_columns: bool = field(default=False, metadata={"help": "batches hold rows, not model inputs"})
    disable_tqdm: bool | None = field(default=True, metadata={"help": "the progress bar is our own"})
