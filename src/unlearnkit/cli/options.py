"""Options that several verbs share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelName = Annotated[
    str, typer.Option("--model", help="A Hub id, a folder, mini:target, mini:retain90 or init:CONFIG.json.")
]
TaskName = Annotated[
    str, typer.Option("--task", help="What to forget and keep, such as tofu:forget10 or mini:forget10.")
]
Data = Annotated[Path | None, typer.Option("--data", help="The folder that holds the data; by default the Hub's.")]
Holdout = Annotated[
    str | None,
    typer.Option("--holdout", help="Rows that no model saw, for membership inference: FILE, tofu:800-1199, or mini."),
]
Refusals = Annotated[Path | None, typer.Option("--refusals", help='Answers of the "I don\'t know" kind, one a line.')]
Alternates = Annotated[
    Path | None,
    typer.Option("--alternates", help="Other answers for altpo, JSON lines; else the task's or the model's own."),
]
Out = Annotated[Path, typer.Option("--out", help="The folder to write; the same run in it is resumed.")]
Force = Annotated[bool, typer.Option("--force", help="Move another run in --out aside.")]
TemplateText = Annotated[
    str | None,
    typer.Option("--template", help="chat, plain, or a text with {question} that ends in {answer}."),
]
System = Annotated[str | None, typer.Option("--system", help="A system message for chat templates.")]
Protocol = Annotated[
    str, typer.Option("--protocol", help="Whose conventions to score by: unlearnkit, tofu or open-unlearning.")
]
Reference = Annotated[
    Path | None, typer.Option("--reference", help="The retain model's table, evaluation folder or upstream log.")
]
Target = Annotated[Path | None, typer.Option("--target", help="The same of the model before unlearning.")]
MaxNewTokens = Annotated[int, typer.Option("--max-new-tokens", min=0, help="The longest generation; 0 for none.")]
Budget = Annotated[
    int | None,
    typer.Option("--token-budget", min=1, help="Padded tokens of one batch; bounds memory, changes nothing."),
]
