"""`unlearnkit unlearn`: change a model so that a forget set is forgotten."""

from __future__ import annotations

from typing import Annotated

import typer

from unlearnkit.cli import options as opt
from unlearnkit.cli import training_options as train

Formula = Annotated[str, typer.Option("--objective", help="What to minimise, such as 'npo(beta=0.1) + 5*rt'.")]
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
        objective: Formula,
        out: opt.Out,
        data: opt.Data = None,
        refusals: opt.Refusals = None,
        lr: train.Lr = 1e-5,
        epochs: train.Epochs = 10,
        batch_size: train.BatchSize = 8,
        accumulate: train.Accumulate = 1,
        warmup: train.Warmup = 0.0,
        schedule: train.Schedule = "linear",
        weight_decay: train.WeightDecay = 0.01,
        max_grad_norm: train.Clip = 1.0,
        seed: train.Seed = 0,
        pairing: Pairing = "epoch",
        token_budget: train.TokenBudget = 2048,
        gradient_checkpointing: train.Checkpointing = False,
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
        from unlearnkit.run.settings import Settings
        from unlearnkit.run.train import unlearn
        from unlearnkit.tasks import load_task
        from unlearnkit.text.template import Template

        if push_to_hub is not None:
            check_name(push_to_hub)
        formula = parse_objective(objective)
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
            pairing=pairing,
            token_budget=token_budget,
            gradient_checkpointing=gradient_checkpointing,
        )
        quiet_libraries()
        check_place(out)
        watch = train.watching(measure, protocol, reference, max_new_tokens)
        rows = load_task(task, data=data, refusals=refusals, holdout=holdout)
        start = starting_model(model, task=rows)
        with progress_bar() as progress:
            done = unlearn(
                start,
                Template(start.loaded.tokenizer, template, system),
                rows,
                formula,
                out,
                settings,
                watch=watch,
                save_checkpoints=checkpoints,
                force=force,
                progress=progress,
            )
        show_trajectory([{"objective": str(formula), **entry} for entry in done.trajectory])
        print(f"unlearned {len(rows.forget)} rows of {rows.name} with {formula}: {done.folder.path}")
        if push_to_hub is not None:
            print(f"on the Hub: {push(done.folder.path, push_to_hub)}")
