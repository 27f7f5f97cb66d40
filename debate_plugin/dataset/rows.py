"""The shapes of training rows, as TRL and OpenAI take them, each with its provenance in a column of its own.

{"messages": [{"role": "user", "content": "What is ..."}, {"role": "assistant", "content": "A: ..."}],
 "provenance": {"rule": "final_answer", "transcript": "3f0c...", "question": "cda7...", "turns": [...]}}
{"prompt": [...], "chosen": [{"role": "assistant", ...}], "rejected": [{"role": "assistant", ...}],
 "provenance": {"rule": "majority_minority", ...}}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from debate_plugin.transcript import Message, Transcript
from debate_plugin.turns import Reply


class Origin(TypedDict):
    """One turn that a row's text came from."""

    agent: str
    role: str
    round: int


class Provenance(TypedDict):
    """Where a row came from."""

    rule: str
    run: str
    transcript: str
    question: str
    agreement: float  # share of the deciding round's votes behind the answer
    turns: list[Origin]


class SftRow(TypedDict):
    """Supervised fine-tuning: a chat whose last message is the target (OpenAI chat, TRL `messages`)."""

    messages: list[Message]
    provenance: Provenance


class PreferenceRow(TypedDict):
    """Preference training: two continuations of the same prompt (TRL conversational preference)."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    provenance: Provenance


Row = SftRow | PreferenceRow


@dataclass(frozen=True)
class NoRow:
    """A transcript gives no row, and why."""

    reason: str


def provenance(transcript: Transcript, rule: str, *replies: Reply) -> Provenance:
    """Where a row comes from: the transcript, and the turns whose text it holds."""
    return {
        "rule": rule,
        "run": transcript.run,
        "transcript": transcript.id,
        "question": transcript.question.id,
        "agreement": round(agreement(transcript), 4),
        "turns": [{"agent": reply.turn.agent, "role": reply.turn.role, "round": reply.turn.round} for reply in replies],
    }


def agreement(transcript: Transcript) -> float:
    """Share of the deciding round's answers that stand behind the outcome; 0 where nothing was decided."""
    outcome = transcript.outcome
    if outcome.round is None:
        return 0.0
    groups = outcome.votes[outcome.round - 1].groups
    behind = sum(len(group.voters) for group in groups if outcome.debater in group.voters)
    return behind / sum(len(group.voters) for group in groups)
