"""`unlearnkit finetune`: train a model on a split, to make a target or a retain model."""

from __future__ import annotations

import typer

from unlearnkit.cli import options as opt
from unlearnkit.cli import training_options as train


def register(app: typer.Typer) -> None:
    """Add the verb `finetune` to the command line."""

    @app.command("finetune")
    def finetune_model(
        model: opt.ModelName,
        task: opt.TaskName,
        out: opt.Out,
        data: opt.Data = None,
        lr: train.Lr = 1e-5,
        epochs: train.Epochs = 5,
        batch_size: train.BatchSize = 32,
        accumulate: train.Accumulate = 1,
        warmup: train.Warmup = 0.0,
        schedule: train.Schedule = "linear",
        weight_decay: train.WeightDecay = 0.01,
        max_grad_norm: train.Clip = 1.0,
        seed: train.Seed = 0,
        token_budget: train.TokenBudget = 2048,
        gradient_checkpointing: train.Checkpointing = False,
        sampling: train.Sampling = "random",
        optimizer: train.Optimizer = "adamw",
        weights: train.Weights = "fp32",
        lora: train.LoraText = None,
        quantize: train.Quantize = None,
        merge: train.Merge = False,
        shard: train.Shard = False,
        tokenizer: train.Tokenizer = None,
        template: opt.TemplateText = None,
        system: opt.System = None,
        measure: train.Measured = "no",
        protocol: opt.Protocol = "unlearnkit",
        reference: opt.Reference = None,
        max_new_tokens: opt.MaxNewTokens = 200,
        checkpoints: train.Checkpoints = True,
        force: opt.Force = False,
    ) -> None:
        """Train on the rows of a split (tofu:full for a target model, tofu:retain90 for a retain model)."""
        from unlearnkit.cli.progress import progress_bar, quiet_libraries
        from unlearnkit.run.folder import check_place
        from unlearnkit.run.models import starting_model
        from unlearnkit.run.settings import Settings
        from unlearnkit.run.train import finetune
        from unlearnkit.tasks import load_task
        from unlearnkit.text.template import Template
        from unlearnkit.training import processes

        quiet_libraries()
        settings = Settings(
            lr=lr,
            epochs=epochs,
            batch_size=batch_size,
            accumulate=accumulate,
            warmup=warmup,
            schedule=schedule,
            weight_decay=weight_decay,
            max_grad_norm=max_grad_norm,
            seed=seed,
            token_budget=token_budget,
            gradient_checkpointing=gradient_checkpointing,
            sampling=sampling,
            optimizer=optimizer,
            weights=weights,
            lora=lora,
            quantize=quantize,
            merge=merge,
            shard=shard,
        )
        processes.join()
        check_place(out)
        watch = train.watching(measure, protocol, reference, max_new_tokens)
        rows = load_task(task, data=data)
        start = starting_model(
            model, task=rows, tokenizer=tokenizer, seed=seed, dtype=settings.weights, quantize=quantize
        )
        with progress_bar() as progress:
            done = finetune(
                start,
                Template(start.loaded.tokenizer, template, system),
                rows,
                out,
                settings,
                watch=watch,
                save_checkpoints=checkpoints,
                force=force,
                progress=progress,
            )
        if processes.rank() == 0:
            print(f"finetuned on {len(rows.train)} rows of {rows.name}: {done.folder.path}")
