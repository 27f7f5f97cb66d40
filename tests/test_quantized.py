"""A base in 4 bits: what it needs is missed before anything is read."""

import builtins
from pathlib import Path
from typing import Any

import pytest
import torch
from test_preflight import chats

from debate_plugin import abacus
from debate_plugin.errors import InputError, MissingExtraError
from debate_plugin.training.lora import LoraSettings
from debate_plugin.training.sft import train_sft

FOUR_BITS = LoraSettings(quantize="4bit")


def test_without_a_gpu_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="expected a GPU to train on a base in 4 bits"):
        train_sft(abacus.FOLDER, chats(tmp_path / "rows.jsonl"), tmp_path / "out", settings=FOUR_BITS)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_without_bitsandbytes_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from debate_plugin.training.quantized import refuse_without_gpu

    whole = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "bitsandbytes":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return whole(name, *args)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"'bitsandbytes', .* pip install 'debate-plugin\[qlora\]'"):
        refuse_without_gpu()


def test_other_precisions_are_refused() -> None:
    with pytest.raises(InputError, match="expected none or 4bit as quantize, got '8bit'"):
        LoraSettings(quantize="8bit")  # type: ignore[arg-type]  # what a caller without a type checker may do
