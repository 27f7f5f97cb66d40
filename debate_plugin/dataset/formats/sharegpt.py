"""ShareGPT, as LLaMA-Factory reads it.

{"conversations": [{"from": "human", "value": "What is 4*5?"}, {"from": "gpt", "value": "It is 20."}], "system": "...",
 "tools": "[...]"}; calls of tools are from `function_call`, as JSON, their results from `observation`
preference   {"conversations": [...], "chosen": {"from": "gpt", "value": "..."}, "rejected": {"from": "gpt", ...}}
labelled     {"conversations": [...], "label": true}

Readers put loss on all that `gpt` says.
"""

from __future__ import annotations

import json
from typing import Any

from debate_plugin.chat import Message
from debate_plugin.dataset.formats.trl import arguments_of
from debate_plugin.dataset.formats.turns import all_learnt, system_and_turns
from debate_plugin.dataset.rows import Row, Shape
from debate_plugin.errors import InputError


def sharegpt(row: Row) -> list[dict[str, Any]]:
    """One line.

    Raises:
        InputError: a reply must not be learnt, the two sides do not take turns, or a pair's reply called tools.
    """
    beside = {"tools": _functions(row["tools"]) if row["tools"] else "", "provenance": row["provenance"]}
    if "messages" in row:
        all_learnt(row["messages"], "ShareGPT")
        return [{**_chat(row["messages"], ends_with="assistant"), **beside}]
    if "chosen" in row:
        if len(row["chosen"]) > 1 or len(row["rejected"]) > 1:
            raise InputError(
                "expected pairs of one message each, the rule made one whose reply called tools, for which ShareGPT "
                "has no place; write --format trl"
            )
        ends = {"chosen": _said(row["chosen"][0]), "rejected": _said(row["rejected"][0])}
        return [{**_chat(row["prompt"], ends_with="user"), **ends, **beside}]
    if "label" in row:
        if len(row["completion"]) > 1:
            raise InputError(
                "expected completions of one message, the rule made one that called tools, for which ShareGPT has no "
                "place; write --format trl"
            )
        messages = [*row["prompt"], *row["completion"]]
        return [{**_chat(messages, ends_with="assistant"), "label": row["label"], **beside}]
    raise InputError("expected chats, pairs or labelled rows, ShareGPT has none without a reply; write --format trl")


def sharegpt_info(shape: Shape) -> dict[str, Any]:
    """What LLaMA-Factory is told of such a file."""
    columns = {"messages": "conversations", "system": "system", "tools": "tools"}
    if shape == "preference":
        return {
            "formatting": "sharegpt",
            "ranking": True,
            "columns": {**columns, "chosen": "chosen", "rejected": "rejected"},
        }
    return {
        "formatting": "sharegpt",
        "columns": {**columns, **({"kto_tag": "label"} if shape == "labelled" else {})},
    }


def _chat(messages: list[Message], *, ends_with: str) -> dict[str, Any]:
    system, turns = system_and_turns(messages)
    sides = ["assistant" if turn["role"] == "assistant" else "user" for turn in turns]
    if not turns or sides != ["user", "assistant"] * (len(turns) // 2) + ["user"] * (len(turns) % 2):
        raise InputError(
            "expected chats in which user and assistant take turns, the rule made one in which they do not, which "
            "ShareGPT's readers skip; write --format trl or openai"
        )
    if sides[-1] != ends_with:
        raise InputError(f"expected a chat that ends with the {ends_with}, got one that ends with the {sides[-1]}")
    return {"conversations": [_said(turn) for turn in turns], "system": system}


def _said(message: Message) -> dict[str, str]:
    if "tool_calls" in message:
        calls = [
            {"name": call["function"]["name"], "arguments": arguments_of(call["function"]["arguments"])}
            for call in message["tool_calls"]
        ]
        return {"from": "function_call", "value": json.dumps(calls)}
    names = {"user": "human", "assistant": "gpt", "tool": "observation"}
    return {"from": names[message["role"]], "value": message["content"]}


def _functions(tools: list[dict[str, Any]]) -> str:
    return json.dumps([tool["function"] for tool in tools])
