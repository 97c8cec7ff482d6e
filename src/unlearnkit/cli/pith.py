"""`unlearnkit pith`: verify Pith records, and write a run as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from unlearnkit.records.pith import Verified


def register(app: typer.Typer) -> None:
    """Add the verb `pith` to the command line."""
    pith = typer.Typer(no_args_is_help=True, help="Pith records: verify one, export a run as one.")
    app.add_typer(pith, name="pith")

    @pith.command("verify")
    def verify(
        file: Annotated[Path, typer.Argument(help="An open graph state, a canonical record, or a run's record.json.")],
        number: Annotated[str | None, typer.Option(help="The number or short alias that it should have.")] = None,
        public_key: Annotated[Path | None, typer.Option(help="Check its receipt under this Ed25519 key.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    ) -> None:
        """Recompute every hash, number and alias that the file gives; exit code 1 where one is wrong."""
        from unlearnkit.canonical import read_json
        from unlearnkit.records.keys import read_public_key
        from unlearnkit.records.pith import verify as verified

        key = None if public_key is None else read_public_key(public_key)
        found = verified(read_json(file), number, key)
        print(json.dumps(found.to_json(), ensure_ascii=False, indent=2) if as_json else _text(found))
        if not found.ok:
            raise typer.Exit(1)

    @pith.command("export")
    def export(
        record: Annotated[Path, typer.Argument(help="A record.json, or the folder of a run.")],
        out: Annotated[Path | None, typer.Option(help="The file to write; standard output without it.")] = None,
        ledger: Annotated[list[Path] | None, typer.Option(help="A ledger with events of this run; repeatable.")] = None,
        key: Annotated[Path | None, typer.Option(help="Sign the creation with this private key.")] = None,
        signer: Annotated[str, typer.Option(help="The name to sign under.")] = "anonymous",
    ) -> None:
        """Write a run record and its events as a Pith open graph state."""
        from unlearnkit.canonical import canonical_bytes
        from unlearnkit.files import write_whole
        from unlearnkit.records.export import export_state
        from unlearnkit.records.keys import read_private_key
        from unlearnkit.records.record import read_record

        private = None if key is None else read_private_key(key)
        state = export_state(read_record(record), ledger or [], private, signer)
        if out is None:
            print(canonical_bytes(state).decode())
            return
        write_whole(out, [canonical_bytes(state), b"\n"])
        print(f"{state['pith_number']}  {state['event_count']} events  -> {out}")


def _text(found: Verified) -> str:
    from unlearnkit.records.checks import first_failed

    width = max((len(check.name) for check in found.checks), default=0)
    lines = [f"{check.status:<11}  {check.name:<{width}}  {check.detail}" for check in found.checks]
    wrong = first_failed(found.checks)
    if wrong is not None:
        return "\n".join([*lines, f"REFUSED ({found.kind}): {wrong.name}: {wrong.detail}"])
    return "\n".join([*lines, f"sha256  {found.canonical_sha256}", f"number  {found.number}"])
