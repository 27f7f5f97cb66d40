"""Reading row files back for training."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from debate_plugin.errors import InputError

Example = dict[str, Any]
"""What TRL is handed: message lists under prompt and completion, or prompt, chosen and rejected; `label` with KTO's."""


def read_sft(path: str | Path) -> list[Example]:
    """Rows of `prompt` and `completion`, or of `messages`.

    Of `messages` every reply of the assistant's carries loss, each as a completion behind all that comes before it;
    but for those that say `"loss": false`, or `"weight": 0` as OpenAI's do.

    Raises:
        InputError: the file is unreadable or empty, or a row is no such chat; says which line.
    """

    def examples(row: Mapping[str, Any]) -> list[Example]:
        prompt, completion = row.get("prompt"), row.get("completion")
        if _is_chat(prompt) and _is_chat(completion) and "label" not in row:
            return [{"prompt": list(prompt or ()), "completion": list(completion or ()), **_tools(row)}]
        messages: Any = row.get("messages")
        if not _is_chat(messages):
            return []
        plain = [{name: value for name, value in one.items() if name not in ("loss", "weight")} for one in messages]
        return [
            {"prompt": plain[:place], "completion": [plain[place]], **_tools(row)}
            for place, one in enumerate(messages)
            if place and one["role"] == "assistant" and one.get("loss", True) and one.get("weight", 1)
        ]

    return _read(path, examples, "'prompt' and 'completion', or 'messages' with a reply that carries loss,")


def read_preferences(path: str | Path) -> list[Example]:
    """Rows of `prompt`, `chosen` and `rejected`.

    Raises:
        InputError: the file is unreadable or empty, or a row lacks a column; says which line.
    """

    def examples(row: Mapping[str, Any]) -> list[Example]:
        columns = {name: row.get(name) for name in ("prompt", "chosen", "rejected")}
        if not all(_is_chat(value) for value in columns.values()):
            return []
        return [{**{name: list(value or ()) for name, value in columns.items()}, **_tools(row)}]

    return _read(path, examples, "'prompt', 'chosen' and 'rejected' message lists")


def read_labelled(path: str | Path) -> list[Example]:
    """Rows of `prompt`, `completion` and `label`, which is true or false.

    Raises:
        InputError: the file is unreadable or empty, or a row lacks a column; says which line.
    """

    def examples(row: Mapping[str, Any]) -> list[Example]:
        prompt, completion, label = row.get("prompt"), row.get("completion"), row.get("label")
        if not (_is_chat(prompt) and _is_chat(completion) and isinstance(label, bool)):
            return []
        return [{"prompt": prompt, "completion": completion, "label": label, **_tools(row)}]

    return _read(path, examples, "'prompt' and 'completion' message lists and a 'label'")


def _tools(row: Mapping[str, Any]) -> Example:
    """The row's tools as JSON, which is how TRL takes them."""
    tools = row.get("tools")
    return {} if not tools else {"tools": tools if isinstance(tools, str) else json.dumps(tools)}


def _is_chat(value: Any) -> bool:
    """A list of messages, each with a role and a text; the last one says something."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) for one in value)
        and all(isinstance(one.get("role"), str) and isinstance(one.get("content"), str) for one in value)
        and bool(value[-1]["content"].strip() or value[-1].get("tool_calls"))
    )


def _read(path: str | Path, examples_of: Callable[[Mapping[str, Any]], list[Example]], expected: str) -> list[Example]:
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"expected a readable row file, {path} could not be read ({error}); check the path") from error
    examples: list[Example] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f"expected one JSON object a line, line {number} of {path} is not JSON ({error.msg})"
            ) from error
        made = examples_of(row) if isinstance(row, dict) else []
        if not made:
            came = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise InputError(
                f"expected {expected} at line {number} of {path}, got {came}; make rows with `debate compile`"
            )
        examples += made
    if not examples:
        raise InputError(f"expected rows in {path}, found none; make rows with `debate compile`")
    return examples
