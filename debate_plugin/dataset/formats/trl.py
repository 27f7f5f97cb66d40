"""TRL's conversational rows.

trl            {"prompt": [{"role": "user", ...}], "completion": [{"role": "assistant", ...}]}, and for preferences
               {"prompt": [...], "chosen": [...], "rejected": [...]}, {"prompt", "completion", "label"}, {"prompt"}
trl-messages   {"messages": [{"role": "user", ...}, {"role": "assistant", ...}]}: loss on all of the assistant's
               (`assistant_only_loss=True`)

`tools` stands beside them where an agent had some, as JSON; arguments of calls are objects, as chat templates want.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from debate_plugin.chat import Message
from debate_plugin.dataset.rows import Row
from debate_plugin.errors import InputError


def trl(row: Row) -> list[dict[str, Any]]:
    """A chat becomes a row for each message that carries loss, everything before it being the prompt."""
    if "messages" in row:
        messages = row["messages"]
        return [
            {"prompt": _written(messages[:place]), "completion": _written([message]), **_beside(row)}
            for place, message in enumerate(messages)
            if message.get("loss")
        ]
    written = {
        name: _written(part) if name in ("prompt", "chosen", "rejected", "completion") else part
        for name, part in cast("dict[str, Any]", row).items()
        if name not in ("tools", "provenance")
    }
    return [{**written, **_beside(row)}]


def trl_messages(row: Row) -> list[dict[str, Any]]:
    """Chats alone, and only where all that the assistant says carries loss.

    Raises:
        InputError: the row is no chat, or a message of the assistant's carries none.
    """
    if "messages" not in row:
        return trl(row)
    if not all(message["loss"] for message in row["messages"] if "loss" in message):
        raise InputError(
            "expected chats whose every reply carries loss, the rule made one with a reply that must not be learnt, "
            "which `messages` cannot say; write --format trl or openai"
        )
    return [{"messages": _written(row["messages"]), **_beside(row)}]


def _beside(row: Row) -> dict[str, Any]:
    tools = row["tools"]
    return {**({"tools": json.dumps(tools)} if tools else {}), "provenance": row["provenance"]}


def _written(messages: Sequence[Message]) -> list[dict[str, Any]]:
    written = []
    for message in messages:
        plain: dict[str, Any] = {name: value for name, value in message.items() if name != "loss"}
        if "tool_calls" in message:
            plain["tool_calls"] = [
                {**call, "function": {**call["function"], "arguments": arguments_of(call["function"]["arguments"])}}
                for call in message["tool_calls"]
            ]
        written.append(plain)
    return written


def arguments_of(text: str) -> Any:
    """A call's arguments as an object; the text itself where the model wrote no JSON object."""
    try:
        arguments = json.loads(text)
    except json.JSONDecodeError:
        return text
    return arguments if isinstance(arguments, dict) else text
