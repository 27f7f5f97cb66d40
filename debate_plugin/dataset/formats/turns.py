"""Chats for formats in which two sides take turns."""

from __future__ import annotations

from collections.abc import Sequence

from debate_plugin.chat import Message
from debate_plugin.errors import InputError


def system_and_turns(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """The system message, and the rest; what was said to an agent by several before it spoke is one turn."""
    turns: list[Message] = []
    system: list[str] = []
    for message in messages:
        if message["role"] == "system":
            system.append(message["content"])
        elif turns and message["role"] == turns[-1]["role"] in ("user", "tool"):
            turns[-1] = {**turns[-1], "content": f"{turns[-1]['content']}\n\n{message['content']}"}
        else:
            turns.append(message)
    return "\n\n".join(system), turns


def all_learnt(messages: Sequence[Message], format: str) -> None:
    """See that all that the assistant says carries loss.

    Raises:
        InputError: something it says must not be learnt, which the format cannot say.
    """
    if any(message.get("loss") is False for message in messages):
        raise InputError(
            f"expected chats whose every reply carries loss, the rule made one with a reply that must not be learnt, "
            f"which {format} cannot say; write --format trl or openai"
        )
