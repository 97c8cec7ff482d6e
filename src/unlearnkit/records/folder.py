"""What a run's folder holds beside its record: the tables that its scores compare with, and those of its epochs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnkit.records.record import TABLE_NAME

if TYPE_CHECKING:
    from unlearnkit.table import Table

COMPARED = "compared"  # the folder of those tables, so that a run can be scored again without anything else
ROLES = ("reference", "target", "second_retain", "mia_reference")


def keep_compared(folder: Path, tables: Mapping[str, Table]) -> None:
    """Write the tables that a run's scores compare with, by role, into its folder."""
    if tables:
        (folder / COMPARED).mkdir(exist_ok=True)
    for role, table in tables.items():
        table.save(folder / COMPARED / f"{role}.parquet")


def read_compared(folder: Path) -> dict[str, Table]:
    """The tables that lie there, by role."""
    from unlearnkit.table import Table

    places = {role: folder / COMPARED / f"{role}.parquet" for role in ROLES}
    return {role: Table.load(place) for role, place in places.items() if place.is_file()}


def table_place(folder: Path) -> Path | None:
    """The run's own table, where it was measured."""
    place = folder / TABLE_NAME
    return place if place.is_file() else None


def epoch_places(folder: Path) -> dict[int, Path]:
    """The tables of the measured epochs, in order; epoch 0 is the model before the first step."""
    found = (path for path in (folder / "epochs").glob("*.parquet") if path.stem.isdigit())
    return {int(path.stem): path for path in sorted(found, key=lambda path: int(path.stem))}
