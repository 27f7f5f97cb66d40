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
from debate_plugin.question import Question


def conversation(conversation: Conversation, *, agent: str | None = None) -> list[ChatRow] | NoRow:
    """A row for each agent with a model that spoke, or for `agent` alone.

    There is none where it is not certain what an agent was shown: of a run that did not come to its end, of a team in
    which not everybody hears everything, of agents that remembered an earlier run, of messages that are no text.
    """
    said = [one.message for one in conversation.messages]
    if conversation.end != "finished":
        return NoRow(f"did not finish: {conversation.end}")
    if not conversation.participants:
        return NoRow("the recorder was not told whose stream it is: record(..., of=team)")
    if conversation.debates or any(message.get("type") == "DebateStarted" for message in said):
        return NoRow("holds a debate, whose transcript gives rows")
    if not conversation.everybody_hears:
        return NoRow("who was shown what is not told: nested or parallel agents, or an earlier run remembered")
    if any(_is_chat(message) and not isinstance(message.get("content"), str) for message in said):
        return NoRow("holds messages that are not text")
    task = next((message for message in said if _is_chat(message)), {})
    rows: list[ChatRow] = []
    for name, described in conversation.participants.items():
        if agent not in (None, name) or not described.is_assistant:
            continue
        messages: list[Message] = []
        if described.system_message:
            messages.append({"role": "system", "content": described.system_message})
        for message in said:
            messages += _own(message) if message.get("source") == name else _heard(message)
        while messages and messages[-1]["role"] not in ("assistant", "tool"):
            messages.pop()  # nothing was said to it
        first = next((one["role"] for one in messages if one["role"] != "system"), None)
        if first == "user" and any(message.get("loss") for message in messages):
            rows.append(
                {
                    "messages": messages,
                    "tools": list(described.tools),
                    "provenance": provenance_of_run(
                        conversation, "conversation", name, Question.of(str(task["content"])).id
                    ),
                }
            )
    return rows or NoRow("no agent with a model spoke")


def _is_chat(message: dict[str, Any]) -> bool:
    kind = str(message.get("type")).partition("[")[0]
    return kind.endswith("Message")


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
    return [{"role": "user", "content": content}] if _is_chat(message) and content else []
