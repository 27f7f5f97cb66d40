"""Rows that would teach a model to speak of a debate where there is none.

Counted as Agent-FLAN (2024, section 4, Agent-H) counts talk of tools: the share of texts with a telltale phrase.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from debate_plugin.dataset.rows import Row, targets_of

_TALK = re.compile(
    r"""(?ix)
    \b(?:other|another|fellow|previous)\s+(?:agents?|debaters?|participants?|panel(?:l?ists?)?|experts?|solvers?)\b
    | \b(?:previous|earlier|last|first|next|second)\s+round\b
    | \bthe\s+(?:summary|digest|debate|majority|consensus)\b
    | \b(?:the|these|those|their)\s+(?:other|others['\u2019]?)\s+(?:replies|answers|solutions|responses|workings?)\b
    | \btheir\s+(?:replies|responses|workings?|arguments?|critiques?)\b
    | \bas\s+(?:an\s+agent|a\s+debater)\b
    | \bI\s+(?:dis)?agree\s+with\b
    | \bI\s+(?:keep|change|stand\s+by|maintain|revise|have\s+compared)\b
    """
)


@lru_cache(maxsize=256)  # a reply is in several pairs, and is looked at for the card too
def talks_of_debate(text: str) -> bool:
    """Whether a text has one of the phrases."""
    return _TALK.search(text) is not None


class DebateTalk:
    """Leaves out rows whose text to be learnt (not the rejected one) speaks of a debate."""

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": "debate_talk"}

    def __call__(self, row: Row) -> str | None:
        learnt = (text for column, text in targets_of(row).items() if column != "rejected")
        return "speaks of a debate" if any(map(talks_of_debate, learnt)) else None
