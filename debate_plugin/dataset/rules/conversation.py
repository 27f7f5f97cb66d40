"""All that an agent said in a run of any team, given all it heard (AgentTuning 2023: loss on the agent's turns alone).

{"messages": [{"role": "system", ...}, {"role": "user", "content": "What is 4*5?"},
              {"role": "assistant", "content": "", "tool_calls": [...], "loss": true},
              {"role": "tool", "tool_call_id": "1", "content": "20"},
              {"role": "assistant", "content": "It is 20.", "loss": true}], "tools": [...], ...}
"""

from __future__ import annotations

from typing import Any

from debate_plugin.chat import Message, ToolCall
from debate_plugin.conversation import Conversation
from debate_plugin.dataset.rows import ChatRow, NoRow, provenance_of_run


def conversation(conversation: Conversation, *, agent: str | None = None) -> list[ChatRow] | NoRow:
    """A row for each agent that spoke, or for `agent` alone; none of a run that did not come to its end.

    In AutoGen's group chats everybody hears every chat message; an agent's own tool calls are its own affair. System
    messages and tools are in the row where the recorder was told whose stream it was (`record(..., of=team)`). What a
    memory or a message filter changed is not in it.
    """
    if conversation.end != "finished":
        return NoRow(f"did not finish: {conversation.end}")
    said = [one.message for one in conversation.messages]
    names = [name for name in dict.fromkeys(str(message.get("source")) for message in said) if name != "user"]
    rows: list[ChatRow] = []
    for name in names:
        if agent not in (None, name):
            continue
        described = conversation.participants.get(name)
        messages: list[Message] = []
        if described is not None and described.system_message:
            messages.append({"role": "system", "content": described.system_message})
        for message in said:
            messages += _own(message) if message.get("source") == name else _heard(message)
        while messages and messages[-1]["role"] != "assistant":
            messages.pop()  # nothing was said to it
        if any(message.get("loss") for message in messages):
            rows.append(
                {
                    "messages": messages,
                    "tools": list(described.tools) if described is not None else [],
                    "provenance": provenance_of_run(conversation, "conversation", name),
                }
            )
    return rows or NoRow("no agent spoke")


def _own(message: dict[str, Any]) -> list[Message]:
    """What an agent's own message or event added to its context."""
    content = message.get("content")
    match message.get("type"):
        case "ToolCallRequestEvent":
            calls: list[ToolCall] = [
                {"id": one["id"], "type": "function", "function": {"name": one["name"], "arguments": one["arguments"]}}
                for one in content or ()
            ]
            return [{"role": "assistant", "content": "", "tool_calls": calls, "loss": True}]
        case "ToolCallExecutionEvent":
            return [
                {"role": "tool", "tool_call_id": one["call_id"], "name": one["name"], "content": one["content"]}
                for one in content or ()
            ]
        case "TextMessage":
            return [{"role": "assistant", "content": str(content), "loss": True}]
        case _:
            # Summaries of tool results and hand-offs are written by AutoGen, not by the model; events are not said.
            return []


def _heard(message: dict[str, Any]) -> list[Message]:
    """What another's message added: chat messages alone."""
    content = message.get("content")
    is_chat = str(message.get("type")).endswith("Message")
    if not is_chat or not isinstance(content, str) or not content.strip():
        return []
    return [{"role": "user", "content": content}]
