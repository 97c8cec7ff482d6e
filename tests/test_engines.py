"""Another engine for generations: asked for in vain in one line, and where it is there, asked the right thing.

The real engine needs a GPU; here a stand-in with its interface, which the tiny model answers for, takes its place.
"""

from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from unlearnkit.cli.main import run
from unlearnkit.errors import UserError
from unlearnkit.measure import measure
from unlearnkit.measure.engines import speaker
from unlearnkit.models.load import load_model
from unlearnkit.tasks.base import Row, Task
from unlearnkit.text.template import Template


def test_vllm_that_is_not_there_is_one_line(
    tiny_folder: Path, tofu_like: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["eval", "--model", str(tiny_folder), "--task", "tofu:forget40", "--data", str(tofu_like)]
    if "vllm" in sys.modules or torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert run([*said, "--out", str(tmp_path / "out"), "--engine", "vllm"]) == 2
    assert "--engine vllm needs" in capsys.readouterr().err
    assert run([*said, "--out", str(tmp_path / "out"), "--engine", "vlm"]) == 2
    assert "Did you mean 'vllm'" in capsys.readouterr().err


def test_the_engine_is_asked_for_greedy_answers(
    tiny_folder: Path, sentences: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_model(str(tiny_folder), device=torch.device("cpu"))

    class LLM:
        def __init__(self, **given: Any) -> None:
            assert given["trust_remote_code"] is False

        def generate(self, prompts: list[dict[str, list[int]]], how: Any, use_tqdm: bool) -> list[Any]:
            assert how.temperature == 0
            out = []
            for prompt in prompts:
                ids = torch.tensor([prompt["prompt_token_ids"]])
                more = loaded.model.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=how.max_tokens, do_sample=False
                )[0, ids.shape[1] :].tolist()
                out.append(SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(more))]))
            return out

    fake: Any = ModuleType("vllm")
    fake.LLM, fake.SamplingParams = LLM, lambda **given: SimpleNamespace(**given)
    fake.__spec__ = importlib.machinery.ModuleSpec("vllm", None)
    monkeypatch.setitem(sys.modules, "vllm", fake)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    speaks = speaker("vllm", str(tiny_folder))
    with pytest.raises(UserError, match="a folder or a Hub id"):
        speaker("vllm", "mini:target")
    monkeypatch.undo()
    rows = [Row(n, asked, said) for n, (asked, said) in enumerate(sentences[:8])]
    task = Task("small", rows, rows[:4], rows[4:], {"forget": rows[:4], "retain": rows[4:]})
    own, theirs = (
        measure(loaded.model, Template(loaded.tokenizer), task, max_new_tokens=7, speaker=one) for one in (None, speaks)
    )
    assert theirs.data.equals(own.data)
