"""How long merging ledgers takes and how much memory it needs: make signed events, merge them in a process of its own.

    python benchmarks/ledger_merge.py --events 100000

Of the events 40 % announce records (of twenty scores each), 40 % replicate, 20 % attest; a tenth of the lines stands in
both ledgers, and one line in a thousand is damaged. Making them is not timed.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unlearnkit.canonical import canonical_bytes, sha256_of
from unlearnkit.records.events import ATTESTATION, CREATED, REPLICATION, creation_payload, make_event
from unlearnkit.records.ledger import merge
from unlearnkit.records.record import Inputs, Outputs, Run, build_record

SIGNERS = 50


def main() -> None:
    """Make the ledgers, run the merge twice in a child each, print one JSON object."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=100_000)
    options.add_argument("--merge", nargs="+", type=Path, help=argparse.SUPPRESS)  # what the child does
    given = options.parse_args()
    if given.merge:
        print(json.dumps(timed_merge(given.merge)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make_ledgers(folder, given.events)
        first = child([*paths, folder / "out.jsonl"])
        again = child([folder / "out.jsonl", *reversed(paths), folder / "again.jsonl"])
        if first["state_sha256"] != again["state_sha256"]:
            raise SystemExit("the state depends on the order of the inputs")
        size = sum(path.stat().st_size for path in paths)
    print(
        json.dumps(
            {"events": given.events, "input_mebibytes": size // 2**20, "merge": first, "merge_again": again}, indent=2
        )
    )


def make_ledgers(folder: Path, events: int) -> list[Path]:
    """Two ledgers with so many different events together."""
    keys = [Ed25519PrivateKey.generate() for _ in range(SIGNERS)]
    dice = random.Random(0)
    paths = [folder / "a.jsonl", folder / "b.jsonl"]
    recent: list[str] = ["sha256:" + "0" * 64]
    with open(paths[0], "wb") as a, open(paths[1], "wb") as b:
        for index in range(events):
            line = canonical_bytes(one_event(index, dice, keys, recent)) + b"\n"
            if dice.random() < 0.001:
                line = line[: len(line) // 2] + b"\n"
            place = dice.random()
            for stream in (a, b) if place < 0.1 else (a,) if place < 0.55 else (b,):
                stream.write(line)
    return paths


def one_event(index: int, dice: random.Random, keys: list[Ed25519PrivateKey], recent: list[str]) -> dict[str, Any]:
    """An event of the mixture; what it is about is one of the last thousand records."""
    key, kind = dice.choice(keys), dice.random()
    if kind < 0.4:
        record = one_record(index, dice)
        bare = {name: part for name, part in record.items() if name != "number"}
        recent.append("sha256:" + sha256_of(bare))
        del recent[:-1000]
        return make_event(CREATED, f"spec:{record['source']['id']}", creation_payload(record), key, "bench")
    if kind < 0.8:
        payload = {"way": "re-run", "scores": scores(dice), "agrees": True, "record": None}
        return make_event(REPLICATION, dice.choice(recent), payload, key, "bench")
    return make_event(ATTESTATION, dice.choice(recent), {"statement": f"seen, number {index}"}, key, "bench")


def one_record(index: int, dice: random.Random) -> dict[str, Any]:
    """A run record of ordinary size."""
    return build_record(
        spec={"task": "tofu:forget10", "objective": "npo(beta=0.1) + rt", "seed": index},
        run=Run("tofu:forget10", "npo(beta=0.1) + rt", index, "unlearnkit", "a/model"),
        provenance={"unlearnkit": "0.1.0", "commit": "0" * 40, "packages": {"torch": "2.13.0"}},
        inputs=Inputs({"forget": "a" * 64}, "b" * 64, "c" * 64),
        outputs=Outputs("d" * 64, "e" * 64),
        scores=scores(dice),
        verdict={"label": None, "reason": "none"},
        losses={"npo": [dice.random() for _ in range(20)]},
        steps=list(range(20)),
    )


def scores(dice: random.Random) -> dict[str, dict[str, Any]]:
    """Twenty scores."""
    found = {}
    for number in range(20):
        value = dice.random()
        found[f"metric_{number}"] = {
            "value": value,
            "n": 400,
            "interval": [value - 0.01, value + 0.01],
            "direction": "higher is better",
            "reason": None,
        }
    return found


def child(paths: list[Path]) -> dict[str, Any]:
    """Merge in a process of its own, so that its peak memory is the merge's."""
    done = subprocess.run([sys.executable, __file__, "--merge", *map(str, paths)], check=True, capture_output=True)
    return dict(json.loads(done.stdout))


def timed_merge(paths: list[Path]) -> dict[str, Any]:
    """Merge all but the last path into the last."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    summary = merge(paths[:-1], paths[-1], paths[-1].with_name(paths[-1].name + ".state.json"))
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "of_which_imports": before // 1024,
        "valid": summary.valid_count,
        "invalid": summary.invalid_count,
        "state_sha256": summary.state_sha256,
    }


if __name__ == "__main__":
    main()
