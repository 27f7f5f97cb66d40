"""Whether a file of rows is one that OpenAI's fine-tuning takes, told before it is uploaded.

supervised   {"messages": [{"role": "user", ...}, {"role": "assistant", "content": "...", "weight": 0}, ...],
              "tools": [...]}
dpo          {"input": {"messages": [{"role": "user", ...}], "tools": [...]},
              "preferred_output": [{"role": "assistant", "content": "..."}],
              "non_preferred_output": [{"role": "assistant", "content": "..."}]}

Both are what `debate compile --format openai` writes. Source: OpenAI's guides to supervised fine-tuning and to direct
preference optimization.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from debate_plugin.errors import InputError

Method = Literal["supervised", "dpo"]


def check_rows(path: str | Path, method: Method) -> None:
    """See that every line has the shape that the method wants.

    Raises:
        InputError: the file cannot be read or is empty, or a line has another shape; the first is named.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"expected a readable row file, {path} could not be read ({error}); check the path") from error
    rows = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        rows += 1
        try:
            _check(json.loads(line), method)
        except (ValueError, RecursionError) as error:  # json's errors are ValueErrors
            raise InputError(
                f"expected a row for {method} fine-tuning at line {number} of {path.name}: {error}; "
                f"write the file with debate compile --format openai"
            ) from error
    if not rows:
        raise InputError(f"expected at least one row in {path}, it has none; compile it from debates")


def _check(row: Any, method: Method) -> None:
    if method == "supervised":
        _keys("row", row, {"messages"}, {"tools", "parallel_tool_calls", "functions"})
        messages = _messages(row["messages"])
        if messages[-1]["role"] != "assistant":
            raise ValueError(f"the last message is to be the assistant's, it is of role {messages[-1]['role']!r}")
        if all(message.get("weight") == 0 for message in messages if message["role"] == "assistant"):
            raise ValueError("some message is to have loss, all weights are 0")
    else:
        _keys("row", row, {"input", "preferred_output", "non_preferred_output"}, set())
        _keys("input", row["input"], {"messages"}, {"tools", "parallel_tool_calls"})
        if _messages(row["input"]["messages"])[-1]["role"] == "assistant":
            raise ValueError("the input is to end before the reply, its last message is the assistant's")
        preferred, other = _reply(row, "preferred_output"), _reply(row, "non_preferred_output")
        if preferred == other:
            raise ValueError("preferred and non-preferred output are the same")


def _keys(what: str, value: Any, needed: set[str], allowed: set[str]) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"a {what} is to be an object, it is {_shown(value)}")
    if missing := needed - value.keys():
        raise ValueError(f"a {what} is to have {_listed(needed)}, {_listed(missing)} is missing from {_listed(value)}")
    if more := value.keys() - needed - allowed:
        raise ValueError(f"a {what} is to have {_listed(needed | allowed)} and nothing else, it has {_listed(more)}")


def _messages(value: Any) -> Sequence[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"messages are to be a list of at least one, they are {_shown(value)}")
    for place, message in enumerate(value):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise ValueError(f"a message is to be an object with a role of {_listed(_ROLES)}, it is {_shown(message)}")
        role, content = message["role"], message.get("content")
        if role in ("system", "developer") and place > 0:
            raise ValueError(f"a {role} message is to be the first, it is number {place + 1}")
        if "weight" in message and (role != "assistant" or message["weight"] not in (0, 1)):
            raise ValueError(f"a weight is to be 0 or 1, on the assistant's messages, it is {_shown(message)}")
        calls_tools = role == "assistant" and bool(message.get("tool_calls") or message.get("function_call"))
        if not calls_tools and not (isinstance(content, (str, list)) and content):
            raise ValueError(f"a message is to have content, it is {_shown(message)}")
    if not any(message["role"] == "user" for message in value):
        raise ValueError("some message is to be the user's, none is")
    return value


def _reply(row: dict[str, Any], name: str) -> str:
    value = row[name]
    is_reply = isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict)
    if not is_reply or value[0].get("role") != "assistant":
        raise ValueError(f"{name} is to be one message of the assistant, it is {_shown(value)}")
    content = value[0].get("content")
    if not isinstance(content, str) or not content:
        raise ValueError(f"{name} is to have text as its content, it is {_shown(value)}")
    return content


_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}


def _listed(names: Any) -> str:
    return ", ".join(sorted(map(str, names))) or "nothing"


def _shown(value: Any) -> str:
    return repr(value)[:80]
