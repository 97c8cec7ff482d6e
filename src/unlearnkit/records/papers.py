"""The papers that runs build on: arXiv id, Pith number where it has one, and BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from unlearnkit import __version__

METHOD, BENCHMARK = "method", "benchmark"
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


@dataclass(frozen=True)
class Paper:
    """A paper by its arXiv id: `key` is its BibTeX key, `pith` its Pith number where that is known."""

    arxiv: str
    key: str
    title: str
    authors: str
    year: int
    pith: str | None = None


TOFU = "2401.06121"
PAPERS = {
    paper.arxiv: paper
    for paper in (
        Paper(
            TOFU,
            "maini2024tofu",
            "{TOFU}: A Task of Fictitious Unlearning for {LLM}s",
            "Maini, Pratyush and Feng, Zhili and Schwarzschild, Avi and Lipton, Zachary C. and Kolter, J. Zico",
            2024,
            "pith:2024:CKQSJSYXKAYGDX6EIU3EIOSV2E",
        ),
        Paper(
            "2404.05868",
            "zhang2024npo",
            "Negative Preference Optimization: From Catastrophic Collapse to Effective Unlearning",
            "Zhang, Ruiqi and Lin, Licong and Bai, Yu and Mei, Song",
            2024,
            "pith:2024:OUY3FJZZ64YXYLASJSH3UPIBMZ",
        ),
        Paper(
            "2305.18290",
            "rafailov2023dpo",
            "Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
            "Rafailov, Rafael and Sharma, Archit and Mitchell, Eric and Ermon, Stefano and Manning, Christopher D. and "
            "Finn, Chelsea",
            2023,
        ),
        Paper(
            "2402.01306",
            "ethayarajh2024kto",
            "{KTO}: Model Alignment as Prospect Theoretic Optimization",
            "Ethayarajh, Kawin and Xu, Winnie and Muennighoff, Niklas and Jurafsky, Dan and Kiela, Douwe",
            2024,
        ),
    )
}
# The data sets whose rows, or whose form of rows, come from a paper.
_BENCHMARKS = {"tofu": TOFU, "mini": TOFU}


def papers_of(task: str, sources: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The papers of a run, as its record names them.

    task     "tofu:forget10": its benchmark's paper
    sources  where the terms of the objective say they come from (`Term.paper`): "arXiv:2404.05868"

    >>> [(paper["role"], paper["arxiv"]) for paper in papers_of("tofu:forget10", ["arXiv:2404.05868, eq. 3"])]
    [('benchmark', '2401.06121'), ('method', '2404.05868')]
    """
    names = [(BENCHMARK, _BENCHMARKS[data]) for data in [task.partition(":")[0]] if data in _BENCHMARKS]
    names += [(METHOD, name) for source in sources for name in _ARXIV.findall(source)]
    return [
        {"role": role, "arxiv": name, "pith": PAPERS[name].pith if name in PAPERS else None}
        for role, name in dict.fromkeys(names)
    ]


def bibtex_of(record: Mapping[str, Any]) -> str:
    """BibTeX for the papers that a run record names, each once, and for the library with the record's number."""
    roles: dict[str, list[str]] = {}
    for paper in record["papers"]:
        roles.setdefault(paper["arxiv"], []).append(paper["role"])
    entries = [_entry(name, ", ".join(roles[name])) for name in roles]
    return "\n\n".join([*entries, _library(record)]) + "\n"


def _entry(name: str, role: str) -> str:
    paper = PAPERS.get(name)
    plain = re.sub(r"[^\w.]", "", name)
    fields = {} if paper is None else {"title": paper.title, "author": paper.authors, "year": str(paper.year)}
    fields |= {"eprint": plain, "archivePrefix": "arXiv", "url": f"https://arxiv.org/abs/{plain}"}
    note = [f"{_plain_text(role)} of the run"] + ([paper.pith] if paper and paper.pith else [])
    return _bibtex("misc", paper.key if paper else f"arxiv{plain}", {**fields, "note": ", ".join(note)})


def _library(record: Mapping[str, Any]) -> str:
    number, at = str(record["number"]), str(record["metadata"]["submitted_at"])
    fields = {
        "title": "{unlearnkit}: unlearning in large language models, as formulas, measured once, and checkable",
        "author": "{unlearnkit contributors}",
        "year": at[:4],
        "version": _plain_text(str(record["provenance"].get("unlearnkit") or __version__)),
        "note": f"run record {number}",
    }
    return _bibtex("software", "unlearnkit", fields)


def _bibtex(kind: str, key: str, fields: Mapping[str, str]) -> str:
    lines = [f"  {name:<13} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def _plain_text(text: str) -> str:
    """Text of a record that is not trusted, without what BibTeX or TeX would read as a command."""
    return re.sub(r"[^\w .,:()+\-]", "", text)[:80]
