"""A transcript: everything that was asked and said in one debate, enough to rebuild every prompt without a model.

{"schema_version": 1, "id": "3f0c...", "run": "default", "question": {"id": "cda7...", "text": "What is ..."},
 "settings": {"rounds": 2, ...}, "debaters": ["ada", "ben", "cleo"], "system_messages": {"ada": "You are ..."},
 "replies": [{"turn": {"agent": "ada", "role": "debater", "round": 1, "prompt": "What is ..."}, "text": "A: ..."}],
 "outcome": {"answer": "467", "decided_by": "majority", ...}, "seconds": 1.9, ...}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal, TypedDict

from pydantic import BaseModel

from debate_plugin.plan import Plan
from debate_plugin.protocol import Outcome
from debate_plugin.question import Question
from debate_plugin.turns import Reply

SCHEMA_VERSION = 1


class Message(TypedDict):
    """A chat message as models and trainers take it."""

    role: Literal["system", "user", "assistant"]
    content: str


class Transcript(BaseModel):
    """One finished debate."""

    schema_version: int = SCHEMA_VERSION
    run: str
    settings: dict[str, Any]  # the plan, and what the recorder was told of models and sampling
    question: Question
    debaters: tuple[str, ...]
    system_messages: dict[str, str]
    replies: tuple[Reply, ...]  # stage by stage, in the order in which their turns were asked
    outcome: Outcome
    started: datetime
    seconds: float
    versions: dict[str, str]

    @property
    def id(self) -> str:
        """Same run, settings and question: the same id."""
        return debate_id(self.run, self.settings, self.question)

    def messages(self, reply: Reply) -> list[Message]:
        """The chat the agent of this reply was shown, its own earlier turns included.

        Tool calls and what a memory added are not in it. A turn that failed left no trace with its agent.
        """
        shown: list[Message] = []
        system = self.system_messages.get(reply.speaker or reply.turn.agent)
        if system is not None:
            shown.append({"role": "system", "content": system})
        if reply.turn.role in ("debater", "voter"):
            for earlier in self.said_by(reply.turn.agent):
                if earlier.turn.round >= reply.turn.round and reply.turn.role == "debater":
                    break
                if earlier.text is not None:
                    shown.append({"role": "user", "content": earlier.turn.prompt})
                    shown.append({"role": "assistant", "content": earlier.text})
        shown.append({"role": "user", "content": reply.turn.prompt})
        return shown

    def said_by(self, debater: str) -> list[Reply]:
        """A debater's replies by round, abstentions included."""
        return [reply for reply in self.replies if reply.turn.role == "debater" and reply.turn.agent == debater]

    def in_round(self, number: int) -> list[Reply]:
        """The debaters' replies of a round in seat order, abstentions included."""
        return [reply for reply in self.replies if reply.turn.role == "debater" and reply.turn.round == number]


def plan_settings(plan: Plan, debaters: Sequence[str]) -> dict[str, Any]:
    """The plan as plain data, the topology as who hears whom in each round from the second."""
    return {
        "rounds": plan.rounds,
        "hears": [
            {name: list(heard) for name, heard in plan.topology.hearing(debaters, number).items()}
            for number in range(2, plan.rounds + 1)
        ],
        "speaking": plan.speaking,
        "anonymous": plan.anonymous,
        "distinct": plan.distinct,
        "digest": plan.digest,
        "confidence": plan.confidence,
        "calibration": asdict(plan.calibration) if plan.calibration is not None else None,
        "decide": plan.decide,
        "judging": plan.judging,
        "judge_samples": plan.judge_samples,
        "settle": plan.settle,
        "clean": plan.clean,
        "stop": plan.stop.name if plan.stop is not None else None,
        "audit": plan.audit,
        "quorum": plan.quorum,
        "seed": plan.seed,
        "directions": asdict(plan.directions),
    }


def debate_id(run: str, settings: Mapping[str, Any], question: Question) -> str:
    """What a debate is known by: run, settings and question."""
    canonical = json.dumps([run, settings, question.id, question.kind], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:24]
