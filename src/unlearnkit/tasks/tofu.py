"""TOFU (arXiv 2401.06121): 4000 questions on 200 fictitious authors, cut into what to forget and what to keep.

The authors stand one behind the other, 20 questions each, and every split is a slice of `full`: `forgetNN` is the last
NN percent, `retainNN` the first. So any percentage can be cut, also those that the data set does not ship. Where the
data holds a file of the split, both must agree row by row. Texts stay as they are, with their double blanks, headings
left over from generation and the one question that two authors share.

What is asked: all rows to forget; of the rows to keep those of `retain_perturbed` that are in the retain split; the
real authors and the world facts. A row has its paraphrase and its five wrong answers where the data has them (forget10
and the first 400 rows); real authors and world facts have the three options that are not the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from unlearnkit.errors import UserError
from unlearnkit.tasks.base import FORGET, HOLDOUT, REAL_AUTHORS, RETAIN, WORLD_FACTS, Row, Task
from unlearnkit.tasks.rows import Record, read_records, read_refusals, read_rows
from unlearnkit.tasks.splits import SPLITS as SPLITS
from unlearnkit.tasks.splits import Split, parse_range, parse_split

DESCRIPTION = "200 fictitious authors, 4000 questions, from the hub (locuslab/TOFU) or from --data DIR"

HUB_ID = "locuslab/TOFU"
HUB_REVISION = "324592d84ae4f482ac7249b9285c2ecdb53e3a68"

FULL_FILE, RETAIN_FILE, REFUSALS_FILE = "full.json", "retain_perturbed.json", "idontknow.jsonl"
FACTS = (REAL_AUTHORS, WORLD_FACTS)
NEEDED = (FULL_FILE, "forget10_perturbed.json", RETAIN_FILE, *(f"{name}_perturbed.json" for name in FACTS))
AUTHOR_PERTURBATIONS, FACT_PERTURBATIONS = 5, 3


def load(
    split: str, *, data: str | Path | None = None, holdout: str | None = None, refusals: str | Path | None = None
) -> Task:
    """The task `tofu:SPLIT`.

    data      a directory that holds TOFU's files; without it they come from the hub's cache or the hub.
    holdout   rows that neither the model to test nor its reference was trained on, for membership inference: a file of
              JSON lines with `question` and `answer`, or `tofu:FIRST-LAST`, rows of `full`. Whether the models saw them
              is for the caller to know: every row of `full` is either to forget or in the retain split. Only an overlap
              with the forget set, which no model can make right, is refused.
    refusals  a file of refusals, one a line; without it the data's `idontknow.jsonl`, else the library's own list.
    """
    cut = parse_split(split)
    folder = _local_folder(Path(data)) if data is not None else _hub_folder()
    full, asked = _read_full(folder)
    retain, forget = cut.cut(full, str(folder / FULL_FILE))
    _check_shipped(folder, cut, retain, forget)
    evaluation: dict[str, Sequence[Row]] = {FORGET: forget, RETAIN: retain[:asked]}
    evaluation |= {name: _read_facts(folder, name) for name in FACTS}
    if holdout is not None:
        evaluation[HOLDOUT] = _read_holdout(holdout, full, forget)
    return Task(
        name=f"tofu:{cut.name}",
        train={"full": full, "forget": forget, "retain": retain}[cut.part],
        forget=forget,
        retain=retain,
        evaluation=evaluation,
        refusals=_refusals(folder, refusals),
    )


def _local_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such directory; --data wants one that holds {', '.join(NEEDED)}")
    _require(folder)
    return folder


def _require(folder: Path) -> None:
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder}: {', '.join(missing)} missing; a TOFU directory holds {', '.join(NEEDED)} (JSON lines, as "
            f"the hub's {HUB_ID} has them)"
        )


def _hub_folder() -> Path:
    """The files at the pinned revision: from the hub's cache where they are all there (a revision never changes)."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot(local_files_only: bool) -> Path:
        place = snapshot_download(
            HUB_ID,
            repo_type="dataset",
            revision=HUB_REVISION,
            allow_patterns=["*.json"],
            local_files_only=local_files_only,
        )
        return Path(place)

    try:
        folder = snapshot(local_files_only=True)
        _require(folder)
    except (LocalEntryNotFoundError, UserError):
        try:
            folder = snapshot(local_files_only=False)
        except Exception as problem:  # the hub's client lets errors of its network libraries through
            why = f"{type(problem).__name__}: {problem}".splitlines()[0]
            raise UserError(
                f"tofu: {HUB_ID} is not in the hub's cache and cannot be downloaded ({why}); "
                f"give a directory that holds it with --data DIR, or load it once with a network"
            ) from None
        _require(folder)
    return folder


def _read_full(folder: Path) -> tuple[list[Row], int]:
    """The rows of `full`, with what the `*_perturbed` files add, and how many of the first are asked as retain rows."""
    full = read_rows(folder / FULL_FILE)
    for path in sorted(folder.glob("forget[0-9][0-9]_perturbed.json")):
        retain, _ = parse_split(path.stem.removesuffix("_perturbed")).cut(full, str(folder / FULL_FILE))
        _attach(full, len(retain), len(full), path)
    return full, _attach(full, 0, None, folder / RETAIN_FILE)


def _attach(full: list[Row], start: int, stop: int | None, path: Path) -> int:
    """Add what a `*_perturbed` file says to rows `start` to `stop` of `full`, which it must repeat; their number."""
    records = read_records(path)
    rows = [Row(start + place, record.text("question"), record.text("answer")) for place, record in enumerate(records)]
    _check_same(rows, full[start : stop or start + len(rows)], [record.where for record in records], path)
    for row, record in zip(rows, records, strict=True):
        perturbed = record.texts("perturbed_answer", AUTHOR_PERTURBATIONS)
        more = replace(row, paraphrase=record.text("paraphrased_answer"), perturbed=perturbed)
        if full[row.index].perturbed and full[row.index] != more:
            raise UserError(
                f"{record.where}: another file of the data has other texts for row {row.index} of {FULL_FILE}"
            )
        full[row.index] = more
    return len(rows)


def _check_same(rows: Sequence[Row], expected: Sequence[Row], wheres: Sequence[str], path: Path) -> None:
    """`rows`, read from `path`, must be the questions and answers of `expected`, in order."""
    for row, want, where in zip(rows, expected, wheres, strict=False):
        for field in ("question", "answer"):
            if getattr(row, field) != getattr(want, field):
                raise UserError(f"{where}: field '{field}' is not that of row {want.index} of {FULL_FILE}")
    if len(rows) != len(expected):
        raise UserError(f"{path}: holds {len(rows)} rows where {FULL_FILE} has {len(expected)} for it")


def _check_shipped(folder: Path, cut: Split, retain: Sequence[Row], forget: Sequence[Row]) -> None:
    """The data's own files of both sides of a cut, where it has them, must be the cut."""
    for part, rows in (("retain", retain), ("forget", forget)):
        path = folder / f"{Split(part, cut.percent).name}.json"
        if cut.percent and path.is_file():
            records = read_records(path)
            shipped = [Row(0, record.text("question"), record.text("answer")) for record in records]
            _check_same(shipped, rows, [record.where for record in records], path)


def _read_facts(folder: Path, name: str) -> list[Row]:
    """Real authors or world facts: the wrong answers are the other options, checked where the options are there."""
    records = read_records(folder / f"{name}_perturbed.json")
    rows = [
        Row(
            place,
            record.text("question"),
            record.text("answer"),
            perturbed=record.texts("perturbed_answer", FACT_PERTURBATIONS),
        )
        for place, record in enumerate(records)
    ]
    with_options = folder / f"{name}.json"
    if with_options.is_file():
        _check_options(rows, read_records(with_options), with_options)
    return rows


def _check_options(rows: Sequence[Row], records: Sequence[Record], path: Path) -> None:
    if len(rows) != len(records):
        raise UserError(f"{path}: holds {len(records)} rows, {path.stem}_perturbed.json {len(rows)}")
    for row, record in zip(rows, records, strict=True):
        options = [record.text(f"option{number}") for number in range(1, FACT_PERTURBATIONS + 2)]
        if (record.text("question"), record.text("answer")) != (row.question, row.answer):
            raise UserError(f"{record.where}: question or answer is not that of {path.stem}_perturbed.json")
        if sorted(options) != sorted([row.answer, *row.perturbed]):
            raise UserError(f"{record.where}: its options are not the answers of {path.stem}_perturbed.json")


def _read_holdout(holdout: str, full: Sequence[Row], forget: Sequence[Row]) -> Sequence[Row]:
    chosen = parse_range(holdout, "tofu", len(full))
    rows = [full[index] for index in chosen] if chosen is not None else read_rows(Path(holdout))
    forgotten = _texts(forget)
    for row in rows:
        if (row.question, row.answer) in forgotten:
            raise UserError(
                f"holdout '{holdout}': row {row.index} is in the forget set; give rows that the model never saw"
            )
    return rows


def _texts(rows: Iterable[Row]) -> set[tuple[str, str]]:
    return {(row.question, row.answer) for row in rows}


def _refusals(folder: Path, refusals: str | Path | None) -> tuple[str, ...]:
    if refusals is not None:
        return read_refusals(Path(refusals))
    if (folder / REFUSALS_FILE).is_file():
        return read_refusals(folder / REFUSALS_FILE)
    from unlearnkit.tasks.refusals import own_refusals

    return tuple(own_refusals())
