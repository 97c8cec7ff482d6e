"""Put an unlearned model on the Hub: weights, tokeniser, card and record, and nothing that holds the forgotten rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unlearnkit.errors import UserError
from unlearnkit.records.weights import has_weights

# Tables, logs, checkpoints and reports stay at home: tables hold every question with its answer.
WANTED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "chat_template*",
    "vocab.*",
    "merges.txt",
    "added_tokens.json",
    "README.md",
    "record.json",
)
NEVER = ("*/*",)


def check_name(repository: str) -> None:
    """Refuse what can be no name of a repository before anything is trained."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # used, though not listed

    try:
        validate_repo_id(repository)
    except HFValidationError as problem:
        raise UserError(f"--push-to-hub {repository!r}: {str(problem).splitlines()[0]}") from None


def push(folder: str | Path, repository: str, private: bool = True, api: Any = None) -> str:
    """Upload the model in a run's folder to `repository` (made if need be); returns the address of the commit.

    private  a new repository is seen by its owner only; publishing is a decision of its own
    api      `huggingface_hub.HfApi`, signed in as the user is
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    if not has_weights(folder):
        raise UserError(f"{folder}: there is no model in it to put on the Hub")
    hub = api or HfApi()
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        done = hub.upload_folder(
            repo_id=repository,
            folder_path=str(folder),
            allow_patterns=list(WANTED),
            ignore_patterns=list(NEVER),
            commit_message="A model unlearned with unlearnkit, with its card and its record",
        )
    except (HfHubHTTPError, LocalTokenNotFoundError, OSError) as problem:
        raise UserError(f"{repository}: the Hub did not take the model ({str(problem).splitlines()[0]})") from None
    return str(done)
