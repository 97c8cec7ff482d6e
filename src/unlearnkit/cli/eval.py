"""`unlearnkit eval`: measure a model on a task and score it."""

from __future__ import annotations

from typing import Annotated

import typer

from unlearnkit.cli import options as opt

GradientNorm = Annotated[
    bool, typer.Option("--gradient-norm", help="Also the attack by the gradient's size: a backward pass a row.")
]
Engine = Annotated[str, typer.Option("--engine", help="What generates: own, or vllm (a GPU, and vLLM installed).")]
FluencyModel = Annotated[
    str | None,
    typer.Option("--fluency-model", help="A text classifier that reads the generations: a Hub id or folder."),
]
PerplexityModel = Annotated[
    str | None, typer.Option("--perplexity-model", help="A language model that reads them, such as the retain model.")
]


def register(app: typer.Typer) -> None:
    """Add the verb `eval` to the command line."""

    @app.command("eval")
    def evaluate_model(
        model: opt.ModelName,
        task: opt.TaskName,
        out: opt.Out,
        data: opt.Data = None,
        protocol: opt.Protocol = "unlearnkit",
        reference: opt.Reference = None,
        target: opt.Target = None,
        holdout: opt.Holdout = None,
        template: opt.TemplateText = None,
        system: opt.System = None,
        max_new_tokens: opt.MaxNewTokens = 200,
        token_budget: opt.Budget = None,
        gradient_norm: GradientNorm = False,
        engine: Engine = "own",
        fluency_model: FluencyModel = None,
        perplexity_model: PerplexityModel = None,
        force: opt.Force = False,
    ) -> None:
        """Measure a model once and score it: DIR/table.parquet and DIR/scores.json."""
        from unlearnkit.cli.progress import progress_bar, quiet_libraries
        from unlearnkit.cli.score import show
        from unlearnkit.errors import UserError
        from unlearnkit.measure.engines import speaker
        from unlearnkit.measure.judges import Judges, load_classifier
        from unlearnkit.models.load import load_model
        from unlearnkit.run.evaluate import evaluate, read_reference
        from unlearnkit.run.folder import check_place
        from unlearnkit.run.models import starting_model
        from unlearnkit.score.protocols import protocol as known_protocol
        from unlearnkit.tasks import load_task
        from unlearnkit.text.template import Template
        from unlearnkit.training import processes

        quiet_libraries()
        processes.join()
        check_place(out)
        known_protocol(protocol)
        rows = load_task(task, data=data, holdout=holdout)
        compared, before = read_reference(reference), read_reference(target)
        start = starting_model(model, task=rows)
        loaded = start.loaded
        if engine != "own" and processes.several():
            raise UserError("--engine vllm runs in one process; launch one, or leave --engine out")
        speaks = speaker(engine, model)
        judges = Judges(
            None if fluency_model is None else load_classifier(fluency_model),
            None if perplexity_model is None else load_model(perplexity_model),
        )
        with progress_bar() as progress:
            scores = evaluate(
                loaded,
                Template(loaded.tokenizer, template, system),
                rows,
                out,
                protocol=protocol,
                reference=compared,
                target=before,
                max_new_tokens=max_new_tokens,
                token_budget=token_budget,
                gradient_norm=gradient_norm,
                judges=judges,
                speaker=speaks,
                force=force,
                progress=progress,
                name=start.name,
            )
        if processes.rank() == 0:
            show(scores)
