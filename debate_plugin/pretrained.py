"""A model and its tokenizer from a folder or hub id, and adapter folders: what engine and training both open."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

from debate_plugin.errors import InputError, needs
from debate_plugin.lineage import refuse_other_base

with needs("train"):
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging


def load(model: str | Path, **placed: Any) -> tuple[Any, Any]:
    """The causal model, in the precision it was saved in, and its tokenizer; `placed` is for `from_pretrained`.

    Raises:
        InputError: there is no such model, or it has no chat template.
    """
    tokenizer = load_tokenizer(model)
    with _explained(model):
        weights = AutoModelForCausalLM.from_pretrained(str(model), dtype="auto", use_safetensors=True, **placed)
    if tokenizer.chat_template is None:
        raise InputError(f"expected a chat model, {str(model)!r} has no chat template; use an instruct model")
    return weights, tokenizer


def load_tokenizer(model: str | Path) -> Any:
    """The tokenizer alone.

    Raises:
        InputError: there is no such model.
    """
    with _explained(model):
        return AutoTokenizer.from_pretrained(str(model))


@contextmanager
def _explained(model: str | Path) -> Iterator[None]:
    try:
        with hushed():
            yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InputError(
            f"expected a model folder in the transformers layout or a hub id, {str(model)!r} did not load "
            f"({first_line}); check the path"
        ) from error


def prompt_ids(tokenizer: Any, messages: Any, *, tools: Any = None) -> list[int]:
    """The token ids of a chat up to where the assistant speaks: what a model is asked with."""
    encoded: Any = tokenizer.apply_chat_template(messages, tools=tools, add_generation_prompt=True, return_dict=True)
    return list(encoded["input_ids"])


def fingerprint(model: Any) -> str:
    """What a model's weights are known by: names, shapes and up to 4,096 values of each, evenly spaced.

    Hashing every weight of a large model would take as long as loading it.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        values = weight.detach().flatten()
        some = values[:: max(1, len(values) // 4096)][:4096].to("cpu", torch.float32)
        digest.update(f"{name} {tuple(weight.shape)} ".encode())
        digest.update(some.numpy().tobytes())
    return digest.hexdigest()


def adapter_folder(folder: str | Path, *, fingerprint: str) -> str:
    """The folder, if there is a LoRA adapter in safetensors in it that was not made for another base.

    Raises:
        InputError: there is none, or its lineage names a base of another fingerprint.
    """
    if not (Path(folder) / "adapter_model.safetensors").is_file():
        raise InputError(
            f"expected a LoRA adapter folder with adapter_model.safetensors, found none in {folder}; check the path"
        )
    refuse_other_base(folder, fingerprint)
    return str(folder)


@contextmanager
def hushed() -> Iterator[None]:
    """Without the libraries' own bars, and without their warnings about names that they use of one another."""
    hub = getLogger("huggingface_hub")  # tells of each retry; what came of them all is one line of ours
    level_of_hub = hub.level
    hub.setLevel(ERROR)
    bars_were_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves these untyped
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)
            yield
    finally:
        hub.setLevel(level_of_hub)
        if bars_were_on:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves these untyped
