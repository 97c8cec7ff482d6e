"""The checks of the graph snapshots in a Pith state: where a snapshot contradicts the record, or itself."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from unlearnkit.canonical import canonical_bytes
from unlearnkit.records.checks import Check, judge, skipped
from unlearnkit.records.pith_events import as_dict

SECTIONS = ("author_claims", "claims", "formal_canon", "references")
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PLAIN = re.compile(r"[ -#%-\[\]-z|~]*", re.ASCII)  # all of ASCII but what TeX reads: $ \ { }
_VERDICT_KEYS = {"pith_extraction.headline": "pith_extraction_headline"}


def check_snapshots(current: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[Check]:
    """Every check of every snapshot; none where there is none."""
    events = current.get("graph_snapshots")
    found = [as_dict(as_dict(event).get("payload")) for event in events] if isinstance(events, list) else []
    if not found:
        return
    problems = [problem for payload in found for problem in _payload_problems(payload, record)]
    targets = [as_dict(event).get("target") for event in events or []]
    problems += [f"the target of a snapshot is {target!r}, not 'graph'" for target in targets if target != "graph"]
    yield judge("snapshot", problems, "it agrees with the record, its verdict and its own counts")
    yield from _check_titles(found, record)
    yield skipped("snapshot_hashes", "what snapshot_sha256 is taken over is not in the file")


def canon_text(text: str) -> str:
    """A title or an abstract as its hash takes it: lower case, every run of white space one space.

    Read off the titles of the TOFU and NPO papers and the abstract of the latter, which it gives the right hashes.
    """
    return " ".join(text.lower().split())


def _payload_problems(payload: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[str]:
    graph = as_dict(payload.get("graph_snapshot"))
    verdict = as_dict(graph.get("verdict"))
    if "verdict_id" in payload and payload["verdict_id"] != verdict.get("id"):
        yield f"verdict_id is {payload['verdict_id']!r}, the verdict's id {verdict.get('id')!r}"
    yield from _paper_problems(graph, record)
    for name in SECTIONS:
        if name in graph:
            yield from _section_problems(name, as_dict(graph[name]))
    yield from _claim_problems(graph, verdict)


def _paper_problems(graph: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[str]:
    paper, metadata = as_dict(graph.get("paper")), as_dict(record.get("metadata"))
    copies = {"cross_cats": "cross_cats_sorted"} | {name: name for name in ("license", "primary_cat", "submitted_at")}
    for mine, theirs in copies.items():
        if mine in paper and _differs(paper[mine], metadata.get(theirs)):
            yield f"paper.{mine} is {paper[mine]!r}, the record's {theirs} {metadata.get(theirs)!r}"
    if "source" in graph and _differs(graph["source"], record.get("source")):
        yield f"its source is {graph['source']!r}, the record's {record.get('source')!r}"


def _section_problems(name: str, section: Mapping[str, Any]) -> Iterator[str]:
    """A count is the length of its items; parts of a count, and a sample, are not larger than it."""
    if not _DIGEST.fullmatch(str(section.get("snapshot_sha256"))):
        yield f"{name}.snapshot_sha256 is no SHA-256"
    count = section.get("evidence_count" if name == "formal_canon" else "count")
    if type(count) is not int or count < 0:
        yield f"{name} has the count {count!r}"
        return
    if "items" in section and (not isinstance(section["items"], list) or len(section["items"]) != count):
        yield f"{name}.count is {count}, which is not the number of its items"
    for part in ("strong_count", "internal_anchors", "resolved_work"):
        value = section.get(part, 0)
        if type(value) is not int or not 0 <= value <= count:
            yield f"{name}.{part} is {value!r} of {count}"
    if "sample" in section and (not isinstance(section["sample"], list) or len(section["sample"]) > count):
        yield f"{name}.sample holds more than the {count} counted"


def _claim_problems(graph: Mapping[str, Any], verdict: Mapping[str, Any]) -> Iterator[str]:
    """A claim names the place in the verdict that it repeats."""
    items = as_dict(graph.get("claims")).get("items")
    for item in items if isinstance(items, list) else []:
        claim = as_dict(item)
        scheme, _, place = str(claim.get("source")).partition(".")
        original = verdict.get(_VERDICT_KEYS.get(place, place))
        if scheme == "verdict" and _differs(claim.get("text"), original):
            yield f"the claim {claim.get('claim_id')!r} is not what {claim.get('source')!r} says"
    paper, said = as_dict(graph.get("paper")), verdict.get("pith_extraction_headline")
    if "headline" in paper and "pith_extraction_headline" in verdict and _differs(paper["headline"], said):
        yield "paper.headline is not the verdict's"


def _check_titles(payloads: list[Mapping[str, Any]], record: Mapping[str, Any]) -> Iterator[Check]:
    papers = [as_dict(as_dict(payload.get("graph_snapshot")).get("paper")) for payload in payloads]
    metadata = as_dict(record.get("metadata"))
    titles = [paper["title"] for paper in papers if "title" in paper]
    wrong = [title for title in titles if _sha(title) != metadata.get("title_canon_sha256")]
    surely = [title for title in wrong if not isinstance(title, str) or _PLAIN.fullmatch(title)]
    if surely or (titles and not wrong):
        problems = [f"{title!r} does not have the record's title_canon_sha256" for title in surely]
        yield judge("title", problems, "its hash is the record's title_canon_sha256")
    else:
        yield skipped("title", "how letters outside of ASCII, or TeX, enter its hash is not known" if wrong else "none")
    abstracts = [paper.get("abstract_excerpt") for paper in papers]
    if any(_sha(abstract) != metadata.get("abstract_canon_sha256") for abstract in abstracts):
        yield skipped("abstract", "the file holds an excerpt; the record's hash is of the whole")
    else:
        yield judge("abstract", [], "its hash is the record's abstract_canon_sha256")


def _sha(text: Any) -> str | None:
    return hashlib.sha256(canon_text(text).encode()).hexdigest() if isinstance(text, str) else None


def _differs(one: Any, other: Any) -> bool:
    return canonical_bytes(one) != canonical_bytes(other)
