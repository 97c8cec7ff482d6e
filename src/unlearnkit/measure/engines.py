"""Generation by another engine than the model at hand: vLLM, where it is installed and there is a GPU."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import torch

from unlearnkit.errors import UserError, unknown

# From prompts (token ids), the longest answer and the tokens that end one to answers (token ids).
Speaker = Callable[[Sequence[tuple[int, ...]], int, frozenset[int]], list[list[int]]]
ENGINES = ("own", "vllm")
# The scored model stays on the GPU beside the engine's copy of it.
_SHARE_OF_MEMORY = 0.5


def speaker(engine: str, model: str, dtype: str = "float32") -> Speaker | None:
    """Who generates: None for the model at hand ("own"), or vLLM with the same weights, greedily.

    model  a folder or a Hub id, as vLLM loads it itself
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if engine == "own":
        return None
    if importlib.util.find_spec("vllm") is None:
        raise UserError("--engine vllm needs vLLM: pip install vllm, or leave --engine out")
    if not torch.cuda.is_available():
        raise UserError("--engine vllm needs a GPU; leave --engine out")
    if model.startswith(("mini:", "init:")):
        raise UserError(f"--engine vllm loads a folder or a Hub id, not '{model}'; leave --engine out")
    vllm: Any = importlib.import_module("vllm")
    engine_of_model = vllm.LLM(
        model=model, dtype=dtype, seed=0, trust_remote_code=False, gpu_memory_utilization=_SHARE_OF_MEMORY
    )

    def speak(prompts: Sequence[tuple[int, ...]], longest: int, stops: frozenset[int]) -> list[list[int]]:
        how = vllm.SamplingParams(temperature=0.0, max_tokens=longest, stop_token_ids=sorted(stops), detokenize=False)
        said = engine_of_model.generate([{"prompt_token_ids": list(prompt)} for prompt in prompts], how, use_tqdm=False)
        return [list(one.outputs[0].token_ids) for one in said]

    return speak
