"""The recorder: passes a debate's stream on unchanged and keeps what went by as a transcript."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, TypeVar

from debate_plugin.messages import DebateDecided, DebateStarted, TurnReplied
from debate_plugin.protocol import Outcome
from debate_plugin.question import Question
from debate_plugin.store import Store
from debate_plugin.transcript import Transcript, debate_id
from debate_plugin.turns import Reply, broke_down

_Item = TypeVar("_Item")


class Recorder:
    """Writes each debate to the store in the moment it is decided; one recorder serves any number of teams at once.

    `settings` say what made the debates (plan, models, sampling): debates with other settings are other debates.
    """

    def __init__(self, store: Store, *, run: str = "default", settings: Mapping[str, Any] | None = None) -> None:
        self._store = store
        self._run = run
        self._settings = dict(settings or {})

    def id_of(self, question: Question) -> str:
        """The id that a transcript of this question will have."""
        return debate_id(self._run, self._settings, question)

    async def record(self, stream: AsyncIterator[_Item]) -> AsyncGenerator[_Item, None]:
        """The same items, in the same order; a debate that broke down is not kept: it can be held again."""
        under_way: dict[str, _Debate] = {}
        async for item in stream:
            match item:
                case DebateStarted():
                    under_way[item.debate] = _Debate(item)
                case TurnReplied() if item.debate in under_way:
                    under_way[item.debate].replies[item.stage, item.place] = item.reply
                case DebateDecided() if item.debate in under_way:
                    self._keep(under_way.pop(item.debate), item.outcome)
                case _:
                    pass
            yield item

    def _keep(self, debate: _Debate, outcome: Outcome) -> None:
        replies = tuple(reply for _, reply in sorted(debate.replies.items()))
        if broke_down(replies):
            return
        self._store.add(
            Transcript(
                run=self._run,
                settings=self._settings,
                question=debate.opening.question,
                debaters=debate.opening.debaters,
                system_messages=debate.opening.system_messages,
                replies=replies,
                outcome=outcome,
                started=debate.started,
                seconds=round(time.monotonic() - debate.clock, 3),
                versions={name: version(name) for name in ("debate-plugin", "autogen-agentchat")},
            )
        )


@dataclass
class _Debate:
    """A debate under way."""

    opening: DebateStarted
    replies: dict[tuple[int, int], Reply] = field(default_factory=dict)  # by stage and place
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)
