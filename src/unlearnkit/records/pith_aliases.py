"""The aliases of a Pith record that follow from the record itself, and those that can not be true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlearnkit.canonical import ALIAS_LENGTHS, short_number
from unlearnkit.records.numbering import OURS, is_run_record, year_of


def implied_aliases(record: Mapping[str, Any], digest: str) -> dict[str, str]:
    """The alias of each kind that follows: the short numbers, arXiv's names of the paper, a run's own number."""
    number = short_number(digest)
    found = {f"pith_short_{length}": number[:length] for length in ALIAS_LENGTHS}
    source = record.get("source")
    if isinstance(source, dict) and source.get("kind") == "arxiv":
        name, version = str(source.get("id")), source.get("version")
        found |= {"arxiv": name, "arxiv_version": f"{name}v{version}", "doi": f"10.48550/arxiv.{name}"}
    if is_run_record(record):
        found[OURS] = f"{OURS}:{year_of(record)}:{number}"
    return found


def alias_problems(aliases: Any, record: Mapping[str, Any], digest: str) -> list[str]:
    """What is wrong with a list of aliases.

    Each kind that follows from the record is there once and right, no other kind claims its value, and the list is in
    order. Only the DOI may be left out, or stand beside others, as a paper has its journal's too.
    """
    if not isinstance(aliases, list) or not all(isinstance(item, dict) for item in aliases):
        return ["source_aliases is no list of aliases"]
    pairs = [(str(item.get("alias_kind")), str(item.get("alias_value"))) for item in aliases]
    wanted = implied_aliases(record, digest)
    problems = []
    for kind, value in wanted.items():
        said = [each for its_kind, each in pairs if its_kind == kind]
        if said != [value] and not (kind == "doi" and (not said or value in said)):
            problems.append(f"{kind} is {', '.join(said) or 'missing'}, the record gives {value}")
    owner = {value: kind for kind, value in wanted.items()}
    problems += [f"{value} stands as {kind}" for kind, value in pairs if owner.get(value, kind) != kind]
    if len(set(pairs)) < len(pairs) or pairs != sorted(pairs):
        problems.append("the aliases are not in order, or one stands twice")
    return problems
