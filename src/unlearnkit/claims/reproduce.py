"""A claim from question to answer: its folder, its run, `claim.json` and the page."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearnkit.claims.base import CELLS, Answer, Claim, Request
from unlearnkit.claims.page import Circumstances, cores, load, machine, render
from unlearnkit.errors import UserError
from unlearnkit.run.folder import RunFolder, write_json, write_text
from unlearnkit.spec import RunSpec
from unlearnkit.sweep import Progress, processor_seconds


@dataclass(frozen=True)
class Options:
    """What a user may choose, for one claim or for all; `models` belong to `data`."""

    quick: bool = False
    seeds: tuple[int, ...] = ()
    data: Path | None = None
    models: Path | None = None
    workers: int | None = None
    ray: str | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.models is not None and self.data is None:
            raise UserError(f"--models {self.models}: these models belong to data; give --data DATA too")


def reproduce(claim: Claim, out: str | Path, options: Options, progress: Progress | None = None) -> dict[str, Any]:
    """Run the claim into the folder `out`; returns what `claim.json` holds.

    A finished folder of the same claim with the same options is read. A beginning is taken up: finished cells are not run
    again. Where and with how many processes it runs is no part of its identity.
    """
    seeds = options.seeds or claim.seeds_for(options.quick, options.data is not None)
    if options.data is not None and not claim.takes_data:
        given = "--data out" if options.models is None else "--data and --models out"
        raise UserError(f"--data {options.data}: the claim {claim.name} makes its own data; leave {given}")
    if len(set(seeds)) != len(seeds):
        raise UserError(f"--seeds {','.join(map(str, seeds))}: a seed stands twice in it")
    settings = {"claim": claim.name, "quick": options.quick, "seeds": list(seeds)}
    inputs = dict(claim.inputs(options.data, options.models))
    spec = RunSpec("claim", claim.name, "", "", inputs, settings)
    folder = RunFolder.claim(out, spec, options.force)
    if folder.state == "finished":
        return read_claim(folder.path)
    here = machine()  # before the work: the commit that it starts from
    began, resumed = time.perf_counter(), any(folder.path.glob(f"{CELLS}/*.json"))
    workers = options.workers or min(claim.workers, cores())
    request = Request(folder.path, options.quick, seeds, options.data, options.models, workers, options.ray, progress)
    answer = claim.run(request)
    around = Circumstances(
        command=_command(claim, options),
        seeds=seeds,
        seconds=round(time.perf_counter() - began, 1),
        processor_seconds=processor_seconds(folder.path / CELLS),
        resumed=resumed,
        workers=workers,
        ray=options.ray is not None,
        load=load(),
        machine=here,
        inputs=inputs,
    )
    return _leave(folder, claim, answer, around)


def read_claim(folder: Path) -> dict[str, Any]:
    """What a finished claim left in `claim.json`."""
    found: dict[str, Any] = json.loads((folder / "claim.json").read_text(encoding="utf-8"))
    return found


def _leave(folder: RunFolder, claim: Claim, answer: Answer, around: Circumstances) -> dict[str, Any]:
    """Write `claim.json` and `page.md`, and say that the folder is finished."""
    said = {
        "claim": claim.name,
        "held": answer.held,
        "numbers": dict(answer.numbers),
        "sentence": claim.sentence,
        "paper": claim.paper,
        "verdict": answer.verdict,
        "checks": [check._asdict() for check in answer.checks],
        "pictures": [picture.file for picture in answer.pictures],
        **around.to_json(),
    }
    write_json(folder.path / "claim.json", said)
    write_text(folder.path / "page.md", render(claim, answer, around))
    folder.finish({"claim": "claim.json", "page": "page.md"})
    return said


def _command(claim: Claim, options: Options) -> str:
    """As a reader would type it: folders stay words."""
    said = ["unlearnkit reproduce", claim.name]
    said += ["--quick"] if options.quick else []
    said += [f"--seeds {','.join(map(str, options.seeds))}"] if options.seeds else []
    said += ["--data DATA"] if options.data is not None else []
    said += ["--models MODELS"] if options.models is not None else []
    said += [f"--workers {options.workers}"] if options.workers else []
    said += ["--ray ADDRESS"] if options.ray is not None else []
    return " ".join([*said, "--out DIR"])
