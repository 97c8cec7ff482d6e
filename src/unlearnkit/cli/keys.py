"""`unlearnkit keys`: make a key to sign with, and show the public one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb `keys` to the command line."""
    keys = typer.Typer(no_args_is_help=True, help="Keys to sign events with: make one, show one.")
    app.add_typer(keys, name="keys")

    @keys.command("new")
    def new(out: Annotated[Path, typer.Option(help="The folder for the two key files.")]) -> None:
        """Make an Ed25519 key pair; the private file is readable by its owner only and never overwritten."""
        from unlearnkit.records.keys import fingerprint, new_key, public_hex, read_public_key

        private, public = new_key(out)
        hexadecimal = public_hex(read_public_key(public))
        print(f"private key   {private} (keep it to yourself)\npublic key    {public}")
        print(f"public bytes  {hexadecimal}\nfingerprint   {fingerprint(hexadecimal)}")

    @keys.command("show")
    def show(key: Annotated[Path, typer.Argument(help="A public or a private key file.")]) -> None:
        """Print the public half of a key and its fingerprint."""
        from unlearnkit.records.keys import fingerprint, public_hex, read_any_key

        hexadecimal = public_hex(read_any_key(key))
        print(f"public bytes  {hexadecimal}\nfingerprint   {fingerprint(hexadecimal)}")
