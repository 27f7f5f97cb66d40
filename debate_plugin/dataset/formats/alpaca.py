"""Alpaca, as LLaMA-Factory reads it.

{"instruction": "What is ...", "input": "", "output": "It is 467.", "system": "...", "history": [["...", "..."]]}
preference   {"instruction": "...", "input": "", "chosen": "...", "rejected": "...", "system": "...", "history": []}
labelled     {"instruction": "...", "input": "", "output": "...", "label": true, "system": "...", "history": []}

Readers put loss on the output and on the replies in `history`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from debate_plugin.chat import Message
from debate_plugin.dataset.formats.turns import all_learnt, system_and_turns
from debate_plugin.dataset.rows import Row, Shape
from debate_plugin.errors import InputError


def alpaca(row: Row) -> list[dict[str, Any]]:
    """One line.

    Raises:
        InputError: a reply must not be learnt, a tool was called, or the two sides do not take turns.
    """
    beside = {"provenance": row["provenance"]}
    if "messages" in row:
        all_learnt(row["messages"], "Alpaca")
        return [{**_asked(row["messages"][:-1]), "output": _said(row["messages"][-1:]), **beside}]
    if "chosen" in row:
        ends = {"chosen": _said(row["chosen"]), "rejected": _said(row["rejected"])}
        return [{**_asked(row["prompt"]), **ends, **beside}]
    if "label" in row:
        return [{**_asked(row["prompt"]), "output": _said(row["completion"]), "label": row["label"], **beside}]
    return [{**_asked(row["prompt"]), "output": "", **beside}]


def alpaca_info(shape: Shape) -> dict[str, Any]:
    """What LLaMA-Factory is told of such a file."""
    columns = {"prompt": "instruction", "query": "input", "system": "system", "history": "history"}
    if shape == "preference":
        return {
            "formatting": "alpaca",
            "ranking": True,
            "columns": {**columns, "chosen": "chosen", "rejected": "rejected"},
        }
    return {
        "formatting": "alpaca",
        "columns": {**columns, "response": "output", **({"kto_tag": "label"} if shape == "labelled" else {})},
    }


def _asked(messages: Sequence[Message]) -> dict[str, Any]:
    system, turns = system_and_turns(messages)
    if [turn["role"] for turn in turns] != ["user", "assistant"] * (len(turns) // 2) + ["user"]:
        raise InputError(
            "expected chats in which user and assistant take turns, without tools, the rule made another, for which "
            "Alpaca has no place; write --format trl or openai"
        )
    texts = [_said([turn]) for turn in turns]
    history = [list(pair) for pair in zip(texts[:-1:2], texts[1::2], strict=True)]
    return {"instruction": texts[-1], "input": "", "system": system, "history": history}


def _said(messages: Sequence[Message]) -> str:
    if len(messages) != 1 or "tool_calls" in messages[0]:
        raise InputError(
            "expected replies of one text, the rule made one that called tools, for which Alpaca has no place; write "
            "--format trl or openai"
        )
    return messages[0]["content"]
