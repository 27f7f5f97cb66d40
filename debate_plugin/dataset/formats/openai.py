"""OpenAI's fine-tuning files, which Together and Fireworks read too.

chat         {"messages": [{"role": "user", ...}, {"role": "assistant", "content": "...", "weight": 0}, ...],
              "tools": [...]}; a weight of 0 is a reply without loss
preference   {"input": {"messages": [...], "tools": [...]}, "preferred_output": [{"role": "assistant", ...}],
              "non_preferred_output": [{"role": "assistant", ...}]}
prompt       {"messages": [{"role": "user", ...}], "answer": "467"}; a grader reads `answer` (reinforcement fine-tuning)

They allow no columns of one's own, so where rows came from stands in `NAME.provenance.jsonl`, line by line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from debate_plugin.chat import Message
from debate_plugin.dataset.rows import Row
from debate_plugin.errors import InputError


def openai(row: Row) -> list[dict[str, Any]]:
    """One line.

    Raises:
        InputError: the row is a labelled one, or a pair whose replies are more than one message.
    """
    tools = {"tools": row["tools"]} if row["tools"] else {}
    if "messages" in row:
        return [{"messages": _written(row["messages"]), **tools}]
    if "chosen" in row:
        if len(row["chosen"]) > 1 or len(row["rejected"]) > 1:
            raise InputError(
                "expected pairs of one message each, the rule made one whose reply called tools, for which OpenAI's "
                "preference format has no place; write --format trl"
            )
        return [
            {
                "input": {"messages": _written(row["prompt"]), **tools},
                "preferred_output": _written(row["chosen"]),
                "non_preferred_output": _written(row["rejected"]),
            }
        ]
    if "label" in row:
        raise InputError("expected chats, pairs or prompts, OpenAI has no format for labelled rows; write --format trl")
    return [{"messages": _written(row["prompt"]), **({"answer": row["answer"]} if "answer" in row else {})}]


def _written(messages: Sequence[Message]) -> list[dict[str, Any]]:
    written = []
    for message in messages:
        plain: dict[str, Any] = {name: value for name, value in message.items() if name != "loss"}
        if message["role"] == "tool":
            plain.pop("name", None)
        if "tool_calls" in message and not message["content"]:
            del plain["content"]
        if message.get("loss") is False:
            plain["weight"] = 0
        written.append(plain)
    return written
