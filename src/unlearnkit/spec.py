"""What defines a run: two runs with the same spec must give the same numbers. Digests, never paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from unlearnkit.canonical import sha256_of


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides a run's outcome, and nothing else.

    kind      "finetune", "unlearn", "eval" or "demo"
    task      the task's name, such as "tofu:forget10"
    model     digest of the weights that the run starts from, or of the configuration and seed of a new model
    template  digest of how questions are put
    data      digests of the task's rows, by use
    settings  objective, learning rate, epochs, seed, protocol, ...: JSON values
    """

    kind: str
    task: str
    model: str
    template: str
    data: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def id(self) -> str:
        """SHA-256 of the spec's canonical form.

        >>> RunSpec("eval", "mini:forget10", "m", "t").id == RunSpec("eval", "mini:forget10", "m", "t", {}, {}).id
        True
        """
        return sha256_of(self.to_json())
