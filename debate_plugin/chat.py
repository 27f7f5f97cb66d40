"""A chat as models and trainers take it: OpenAI's messages, with the loss that each of the agent's own carries.

{"role": "user", "content": "What is 4*5?"}
{"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": {...}}], "loss": false}
{"role": "tool", "tool_call_id": "1", "name": "product", "content": "20"}
{"role": "assistant", "content": "It is 20.", "loss": true}
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class Function(TypedDict):
    name: str
    arguments: str  # JSON, as the model wrote it


class ToolCall(TypedDict):
    id: str
    type: Literal["function"]
    function: Function


class Message(TypedDict):
    """One message; `loss` stands with the assistant's messages of a training row alone."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: NotRequired[list[ToolCall]]
    tool_call_id: NotRequired[str]
    name: NotRequired[str]
    loss: NotRequired[bool]
