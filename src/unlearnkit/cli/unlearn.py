"""`unlearnkit unlearn`: change a model so that a forget set is forgotten."""

from __future__ import annotations

from typing import Annotated

import typer

from unlearnkit.cli import options as opt
from unlearnkit.cli import training_options as train

Formula = Annotated[
    str | None, typer.Option("--objective", help="What to minimise, such as 'npo(beta=0.1) + 5*rt'; or give --preset.")
]
PresetName = Annotated[
    str | None, typer.Option("--preset", help="A tuned start, such as npo; what is given beside it counts more.")
]
Lr = Annotated[float | None, typer.Option("--lr", help="AdamW's learning rate; 1e-5, or the preset's.")]
Epochs = Annotated[float | None, typer.Option("--epochs", help="Passes over the forget set; 10, or the preset's.")]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", help="Rows of one step, a process; 8, or the preset's step divided.")
]
Warmup = Annotated[
    float | None, typer.Option("--warmup", help="Steps, or a share of all steps if below 1; 0, or the preset's.")
]
Push = Annotated[
    str | None,
    typer.Option("--push-to-hub", help="NAME/MODEL on the Hub for the model, its card and its record; private."),
]
Pairing = Annotated[str, typer.Option("--pairing", help="epoch: new partners every epoch; frozen: NPO's original.")]


def register(app: typer.Typer) -> None:
    """Add the verb `unlearn` to the command line."""

    @app.command("unlearn")
    def unlearn_model(
        model: opt.ModelName,
        task: opt.TaskName,
        out: opt.Out,
        objective: Formula = None,
        preset: PresetName = None,
        data: opt.Data = None,
        refusals: opt.Refusals = None,
        alternates: opt.Alternates = None,
        lr: Lr = None,
        epochs: Epochs = None,
        batch_size: BatchSize = None,
        accumulate: train.Accumulate = 1,
        warmup: Warmup = None,
        schedule: train.Schedule = "linear",
        weight_decay: train.WeightDecay = 0.01,
        max_grad_norm: train.Clip = 1.0,
        seed: train.Seed = 0,
        pairing: Pairing = "epoch",
        token_budget: train.TokenBudget = 2048,
        gradient_checkpointing: train.Checkpointing = False,
        sampling: train.Sampling = "random",
        optimizer: train.Optimizer = "adamw",
        weights: train.Weights = "fp32",
        lora: train.LoraText = None,
        quantize: train.Quantize = None,
        merge: train.Merge = False,
        shard: train.Shard = False,
        wrap: train.Wrap = None,
        template: opt.TemplateText = None,
        system: opt.System = None,
        measure: train.Measured = "end",
        protocol: opt.Protocol = "unlearnkit",
        reference: opt.Reference = None,
        holdout: opt.Holdout = None,
        max_new_tokens: opt.MaxNewTokens = 200,
        checkpoints: train.Checkpoints = True,
        push_to_hub: Push = None,
        force: opt.Force = False,
    ) -> None:
        """Unlearn a forget set; the changed model, its losses and its measured epochs are written to --out."""
        from unlearnkit.cli.progress import progress_bar, quiet_libraries
        from unlearnkit.cli.trajectory import show_trajectory
        from unlearnkit.objectives import parse_objective
        from unlearnkit.run.folder import check_place
        from unlearnkit.run.models import starting_model
        from unlearnkit.run.push import check_name, push
        from unlearnkit.run.settings import Settings, starting_point
        from unlearnkit.run.train import unlearn
        from unlearnkit.tasks import load_task
        from unlearnkit.text.template import Template
        from unlearnkit.training import processes

        if push_to_hub is not None:
            check_name(push_to_hub)
        quiet_libraries()
        processes.join()
        point = starting_point(
            preset, objective, accumulate, lr=lr, epochs=epochs, batch_size=batch_size, warmup=warmup
        )
        formula = parse_objective(point.objective)
        settings = Settings(
            **point.settings,
            accumulate=accumulate,
            schedule=schedule,
            weight_decay=weight_decay,
            max_grad_norm=max_grad_norm,
            seed=seed,
            pairing=pairing,
            token_budget=token_budget,
            gradient_checkpointing=gradient_checkpointing,
            sampling=sampling,
            optimizer=optimizer,
            weights=weights,
            lora=lora,
            quantize=quantize,
            merge=merge,
            shard=shard,
            wrap=wrap,
        )
        check_place(out)
        watch = train.watching(measure, protocol, reference, max_new_tokens)
        rows = load_task(task, data=data, refusals=refusals, holdout=holdout)
        start = starting_model(model, task=rows, dtype=settings.weights, quantize=quantize)
        with progress_bar() as progress:
            done = unlearn(
                start,
                Template(start.loaded.tokenizer, template, system),
                rows,
                formula,
                out,
                settings,
                alternates=alternates,
                watch=watch,
                save_checkpoints=checkpoints,
                force=force,
                progress=progress,
            )
        if processes.rank() != 0:
            return
        show_trajectory([{"objective": str(formula), **entry} for entry in done.trajectory])
        print(f"unlearned {len(rows.forget)} rows of {rows.name} with {formula}: {done.folder.path}")
        if push_to_hub is not None:
            print(f"on the Hub: {push(done.folder.path, push_to_hub)}")
