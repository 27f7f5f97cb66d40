"""A record is a transcript or a conversation; here they become JSON and come back from it, older ones too."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal

from debate_plugin.conversation import Conversation
from debate_plugin.errors import InputError
from debate_plugin.transcript import SCHEMA_VERSION, Transcript, upgraded

Record = Transcript | Conversation
Kind = Literal["debate", "conversation"]

# How `written` begins, so that most records are told apart without being read twice.
_CURRENT = re.compile(rf'\{{"schema_version": ?{SCHEMA_VERSION}, ?"kind": ?"(debate|conversation)"')


@dataclass(frozen=True)
class Unreadable:
    """A record that cannot be read, and why."""

    id: str
    reason: str


def written(record: Record) -> str:
    """The record as one line of JSON."""
    return record.model_dump_json()


def read(text: str) -> Record:
    """The record that `written` wrote, by this version or an older one.

    Raises:
        InputError: it is no record, a damaged one, or one of a newer version.
    """
    try:
        if (current := _CURRENT.match(text)) is not None:
            return _model(current[1]).model_validate_json(text)
        record = json.loads(text)
        if not isinstance(record, dict) or not isinstance(record.get("schema_version"), int):
            raise InputError(f"expected a transcript or a conversation, got {text[:40]!r}")
        if record["schema_version"] > SCHEMA_VERSION:
            raise InputError(
                f"expected a record of schema {SCHEMA_VERSION} or older, got one of schema {record['schema_version']}; "
                "read it with a newer debate-plugin"
            )
        if record["schema_version"] == 1:
            record = upgraded(record)
        found = _model(str(record.get("kind"))).model_validate(record, strict=False)
        written(found)  # what can be read must be possible to write
        return found
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:  # all that text can break
        first_line = str(error).splitlines()[0]
        raise InputError(f"expected a whole record, got a damaged one ({first_line})") from error


def _model(kind: str) -> type[Transcript] | type[Conversation]:
    if kind == "conversation":
        return Conversation
    if kind == "debate":
        return Transcript
    raise InputError(f"expected a record of kind debate or conversation, got {kind!r}")
