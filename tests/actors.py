"""Agents for tests whose lines are written beforehand, one model client each: a wrong order runs out of lines.

`play` plays the protocol itself, without agents.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage
from autogen_core.models import ChatCompletionClient
from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_agents import cleaner, debater, judge, summarizer
from debate_plugin import DebateTeam, Outcome, Plan, Question, Reply, Turn, debate
from debate_plugin.turns import Stage, read_reply


def lines(*texts: str) -> ChatCompletionClient:
    return ReplayChatCompletionClient(list(texts))


def scripted_team(
    debaters: Mapping[str, Sequence[str]],
    *,
    plan: Plan | None = None,
    summaries: Sequence[str] = (),
    verdicts: Sequence[str] = (),
    cleaned: Sequence[str] = (),
    **team: Any,
) -> DebateTeam:
    """A team whose every line is known; kind `number` unless another is given."""
    return DebateTeam(
        [debater(name, lines(*said)) for name, said in debaters.items()],
        summarizer=summarizer(lines(*summaries)) if summaries else None,
        judge=judge(lines(*verdicts)) if verdicts else None,
        cleaner=cleaner(lines(*cleaned)) if cleaned else None,
        plan=plan or Plan(),
        **{"kind": "number", **team},
    )


T = TypeVar("T")


def of_type(kind: type[T], messages: Sequence[BaseAgentEvent | BaseChatMessage]) -> list[T]:
    return [message for message in messages if isinstance(message, kind)]


QUESTION = Question.of("What is 2+2?", kind="number")
NAMES = ("ada", "ben", "cleo")
Speak = Callable[[Turn], str | None]


def play(
    plan: Plan, speak: Speak, *, names: Sequence[str] = NAMES, question: Question = QUESTION
) -> tuple[list[Stage], Outcome]:
    """Play a debate whose agents say what `speak` says; None is a failure."""
    flow = debate(question, names, plan)
    stages, stage = [], next(flow)
    while True:
        stages.append(stage)
        texts = [(turn, speak(turn)) for turn in stage]
        replies = [
            read_reply(question, turn, text) if text is not None else Reply(turn=turn, abstention="failed")
            for turn, text in texts
        ]
        try:
            stage = flow.send(replies)
        except StopIteration as stop:
            return stages, stop.value


def says(answers: dict[tuple[str, int], str], *, otherwise: str = "Answer: 4") -> Speak:
    return lambda turn: answers.get((turn.agent, turn.round), otherwise)
