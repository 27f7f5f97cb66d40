"""What is asked of an agent, and what comes back: the words in which the protocol and its players speak."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from debate_plugin.answers import read_answer, read_confidence
from debate_plugin.question import Question, storable

Role = Literal["debater", "summarizer", "judge", "cleaner"]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One thing asked of one agent."""

    agent: str
    role: Role
    round: int
    prompt: str
    about: str | None = None  # the debater a digest is made for, or whose reply is judged or cleaned


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back for a turn: a text and what was read out of it, or an abstention with its reason."""

    turn: Turn
    text: str | None = None
    answer: str | None = None
    confidence: float | None = None
    score: float | None = None  # a judge's
    abstention: str | None = None
    failed: bool = False  # the agent raised; the abstention says what
    prompt_tokens: int = 0
    completion_tokens: int = 0


Stage = tuple[Turn, ...]
Replies = Sequence[Reply]


def read_reply(
    question: Question, turn: Turn, text: str, *, prompt_tokens: int = 0, completion_tokens: int = 0
) -> Reply:
    """A reply with what its role calls for read out of the text; an unusable text is an abstention with its reason."""
    text = storable(text)
    answer = confidence = score = abstention = None
    if not text.strip():
        abstention = "the reply is empty"
    elif turn.role == "debater":
        answer, confidence = read_answer(question, text), read_confidence(text)
        if answer is None:
            abstention = f"no {question.kind} answer found in the reply"
    elif turn.role == "judge":
        score = read_score(text)
        if score is None:
            abstention = "no line 'Score: <0 to 5>' found in the judge's reply"
    return Reply(
        turn=turn,
        text=text,
        answer=answer,
        confidence=confidence,
        score=score,
        abstention=abstention,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )


def broke_down(replies: Replies) -> bool:
    """Whether most of the turns failed: an outage, which says nothing about the question."""
    return 2 * sum(reply.failed for reply in replies) > len(replies)


def read_score(text: str) -> float | None:
    """The last score on the scale 0 to 5, or None; out of range is None too."""
    found = re.findall(r"(?i)\bscore\b[\s*_]*(?::|=|is)[\s*_]*<?(-?\d++(?:\.\d++)?)>?(?:\s*/\s*5\b)?(?!\s*[\d/])", text)
    return float(found[-1]) if found and 0 <= float(found[-1]) <= 5 else None
