"""A conversation: what any AutoGen team or agent said in one run, to whatever end it came.

{"schema_version": 2, "kind": "conversation", "id": "9b1e...", "run": "default", "participants": {"ada": {...}, ...},
 "messages": [{"seconds": 0.0, "message": {"type": "TextMessage", "source": "user", "content": "..."}}, ...],
 "end": "finished", "stop_reason": "...", "error": null, "debates": [], "seconds": 3.2, ...}
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from debate_plugin.participant import Participant
from debate_plugin.transcript import SCHEMA_VERSION

End = Literal["finished", "left", "cancelled", "failed"]


class Said(BaseModel):
    """A message or an inner event, as AutoGen writes it."""

    seconds: float  # since the run began
    message: dict[str, Any]


class Conversation(BaseModel):
    """One run."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["conversation"] = "conversation"
    id: str
    run: str
    settings: dict[str, Any]  # what the recorder was told of models and sampling
    participants: dict[str, Participant]  # empty where the recorder was not told whose stream it is
    everybody_hears: bool = False  # all that an agent was shown is here: one agent, or a chat that all hear, begun anew
    messages: tuple[Said, ...]  # in the order in which they came; streamed pieces of a message are not in it
    unfinished: dict[str, str]  # by source, the pieces of a message that did not come to its end
    end: End  # left: whoever read the stream did not read it to its end
    stop_reason: str | None
    error: str | None
    debates: tuple[str, ...]  # ids of the transcripts of debates that were part of it
    prompt_tokens: int
    completion_tokens: int
    started: datetime
    seconds: float
    versions: dict[str, str]
