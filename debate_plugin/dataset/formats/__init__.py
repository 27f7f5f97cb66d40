"""The formats, one a file: how a row is written for the library that reads it.

Which words carry loss survives in each: a format that has no word for it gets the row in parts that mean the same, or
refuses it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from debate_plugin.dataset.formats.alpaca import alpaca, alpaca_info
from debate_plugin.dataset.formats.openai import openai
from debate_plugin.dataset.formats.sharegpt import sharegpt, sharegpt_info
from debate_plugin.dataset.formats.trl import trl, trl_messages
from debate_plugin.dataset.rows import Row, Shape


@dataclass(frozen=True, kw_only=True)
class Format:
    """How rows are written."""

    write: Callable[[Row], list[dict[str, Any]]]  # raises InputError where it cannot say what the row says
    provenance: bool  # whether a column of its own is ignored by readers; if not, it goes into a file beside the rows
    llama_factory: Callable[[Shape], dict[str, Any]] | None = None  # the entry of its `dataset_info.json`


FORMATS: dict[str, Format] = {
    "trl": Format(write=trl, provenance=True),
    "trl-messages": Format(write=trl_messages, provenance=True),
    "openai": Format(write=openai, provenance=False),
    "sharegpt": Format(write=sharegpt, provenance=True, llama_factory=sharegpt_info),
    "alpaca": Format(write=alpaca, provenance=True, llama_factory=alpaca_info),
}

__all__ = ["FORMATS", "Format"]
