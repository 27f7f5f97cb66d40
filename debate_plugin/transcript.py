"""A transcript: everything that was asked and said in one debate, enough to rebuild every prompt without a model.

{"schema_version": 2, "kind": "debate", "id": "3f0c...", "run": "default", "question": {"id": "cda7...", ...},
 "settings": {"rounds": 2, ...}, "debaters": ["ada", "ben", "cleo"], "participants": {"ada": {"model": ...}, ...},
 "stages": [[{"turn": {"agent": "ada", "role": "debater", "round": 1, "prompt": "..."}, "text": "A: ..."}, ...], ...],
 "outcome": {"answer": "467", "decided_by": "majority", ...}, "seconds": 1.9, ...}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import cached_property
from itertools import groupby
from typing import Any, Literal

from pydantic import BaseModel

from debate_plugin.chat import Message, ToolCall
from debate_plugin.participant import Participant
from debate_plugin.plan import Plan
from debate_plugin.protocol import Outcome
from debate_plugin.question import Question
from debate_plugin.turns import Reply

SCHEMA_VERSION = 2  # of transcripts and conversations


class Transcript(BaseModel):
    """One decided debate."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["debate"] = "debate"
    id: str
    run: str
    settings: dict[str, Any]  # the plan, and what the recorder was told of models and sampling
    question: Question
    debaters: tuple[str, ...]
    participants: dict[str, Participant]  # by the name under which each speaks
    stages: tuple[tuple[Reply, ...], ...]  # in the order in which their turns were asked
    outcome: Outcome
    started: datetime
    seconds: float
    versions: dict[str, str]

    @cached_property
    def replies(self) -> tuple[Reply, ...]:
        """All that was said, stage by stage."""
        return tuple(reply for stage in self.stages for reply in stage)

    def described(self, reply: Reply) -> Participant:
        """Who said it."""
        return self.participants.get(reply.speaker or reply.turn.agent, _UNKNOWN)

    def knows(self, reply: Reply) -> bool:
        """Whether the chat that the speaker saw is known; a team's members see what the team makes of a turn."""
        return reply.speaker is None or reply.speaker in self.participants

    def messages(self, reply: Reply) -> list[Message]:
        """The chat the agent of this reply was shown, its own earlier turns and their tool calls included.

        What a memory added is not in it. A turn that failed left no trace with its agent.
        """
        shown: list[Message] = []
        system = self.described(reply).system_message
        if system is not None:
            shown.append({"role": "system", "content": system})
        if reply.turn.role in ("debater", "voter"):
            for earlier in self.said_by(reply.turn.agent):
                if earlier.turn.round >= reply.turn.round and reply.turn.role == "debater":
                    break
                if earlier.text is not None:
                    shown.append({"role": "user", "content": earlier.turn.prompt})
                    # Who takes over in a seat is shown what the other said, not how it came to it.
                    own = earlier.speaker == reply.speaker
                    shown += said(earlier) if own else [{"role": "assistant", "content": earlier.text}]
        shown.append({"role": "user", "content": reply.turn.prompt})
        return shown

    def said_by(self, debater: str) -> list[Reply]:
        """A debater's replies by round, abstentions included."""
        return [reply for reply in self.replies if reply.turn.role == "debater" and reply.turn.agent == debater]

    def in_round(self, number: int) -> list[Reply]:
        """The debaters' replies of a round in seat order, abstentions included."""
        return [reply for reply in self.replies if reply.turn.role == "debater" and reply.turn.round == number]


_UNKNOWN = Participant()


def said(reply: Reply) -> list[Message]:
    """What an agent added to its chat with a reply: calls of tools and their results, step by step, then the text.

    A text that AutoGen composed of the results is not in the agent's chat.
    """
    messages: list[Message] = []
    for _, uses in groupby(reply.tools, key=lambda use: use.step):
        step = list(uses)
        calls: list[ToolCall] = [
            {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": use.arguments}}
            for use in step
        ]
        messages.append({"role": "assistant", "content": "", "tool_calls": calls})
        messages += [
            {"role": "tool", "tool_call_id": use.id, "name": use.name, "content": use.result or ""} for use in step
        ]
    if not reply.composed:
        messages.append({"role": "assistant", "content": reply.text or ""})
    return messages


def upgraded(record: Mapping[str, Any]) -> dict[str, Any]:
    """A transcript of schema 1 as one of schema 2."""
    system_messages: Mapping[str, str] = record["system_messages"]
    kept = {name: value for name, value in record.items() if name not in ("system_messages", "replies")}
    question = Question(**record["question"])
    stages = groupby(record["replies"], key=lambda reply: (reply["turn"]["role"], reply["turn"]["round"]))
    return {
        **kept,
        "schema_version": 2,
        "kind": "debate",
        "id": debate_id(record["run"], record["settings"], question),
        "participants": {name: {"system_message": text} for name, text in system_messages.items()},
        "stages": [list(replies) for _, replies in stages],
    }


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
