"""Unlearning in large language models: objectives as formulas, one measuring pass, scores that can be checked.

The names below are imported when they are first used, so that `import unlearnkit` and `unlearnkit --help` stay quick.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0.dev0"

_DOOR = {
    "Settings": "unlearnkit.run.settings",
    "Table": "unlearnkit.table",
    "Task": "unlearnkit.tasks.base",
    "Template": "unlearnkit.text.template",
    "UnlearnConfig": "unlearnkit.training.config",
    "UnlearnTrainer": "unlearnkit.training.trainer",
    "UserError": "unlearnkit.errors",
    "Watch": "unlearnkit.run.train",
    "evaluate": "unlearnkit.run.evaluate",
    "finetune": "unlearnkit.run.train",
    "load_task": "unlearnkit.tasks",
    "parse_objective": "unlearnkit.objectives",
    "read_measurements": "unlearnkit.score",
    "score_table": "unlearnkit.score",
    "starting_model": "unlearnkit.run.models",
    "unlearn": "unlearnkit.run.train",
}
__all__ = list(_DOOR)


def __getattr__(name: str) -> Any:
    if name not in _DOOR:
        raise AttributeError(f"module 'unlearnkit' has no attribute '{name}'")
    return getattr(importlib.import_module(_DOOR[name]), name)


def __dir__() -> list[str]:
    return ["__version__", *__all__]
