"""Agents for tests whose lines are written beforehand, one model client each: a wrong order runs out of lines."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage
from autogen_core.models import ChatCompletionClient
from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_agents import cleaner, debater, judge, summarizer
from debate_plugin import DebateTeam, Plan


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
