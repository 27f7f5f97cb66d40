"""The recorder: passes a debate's stream on unchanged and keeps what went by as a transcript."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, TypeVar

from debate_plugin.messages import DebateDecided, DebateStarted, TurnReplied
from debate_plugin.store import Store
from debate_plugin.transcript import Transcript
from debate_plugin.turns import Reply, broke_down

_Item = TypeVar("_Item")
_ROLES = ("summarizer", "debater", "judge", "cleaner")  # in the order in which they speak in a round


class Recorder:
    """Writes each debate to the store in the moment it is decided; one recorder serves any number of teams at once.

    `settings` say what made the debates (plan, models, sampling): debates with other settings are other debates.
    """

    def __init__(self, store: Store, *, run: str = "default", settings: Mapping[str, Any] | None = None) -> None:
        self._store = store
        self._run = run
        self._settings = dict(settings or {})

    async def record(self, stream: AsyncIterator[_Item]) -> AsyncGenerator[_Item, None]:
        """The same items, in the same order; a debate that broke down is not kept: it can be held again."""
        started, clock = datetime.now(UTC), time.monotonic()
        opening: DebateStarted | None = None
        replies: list[Reply] = []
        async for item in stream:
            match item:
                case DebateStarted():
                    opening, replies = item, []
                case TurnReplied():
                    replies.append(item.reply)
                case DebateDecided() if opening is not None and not broke_down(replies):
                    self._store.add(
                        Transcript(
                            run=self._run,
                            settings=self._settings,
                            question=opening.question,
                            debaters=opening.debaters,
                            system_messages=opening.system_messages,
                            replies=_in_order(replies, opening.debaters),
                            outcome=item.outcome,
                            started=started,
                            seconds=round(time.monotonic() - clock, 3),
                            versions={name: version(name) for name in ("debate-plugin", "autogen-agentchat")},
                        )
                    )
                case _:
                    pass
            yield item


def _in_order(replies: list[Reply], debaters: tuple[str, ...]) -> tuple[Reply, ...]:
    """Replies arrive as they come; a transcript has one order."""

    def place(reply: Reply) -> tuple[int, int, int]:
        turn = reply.turn
        return turn.round, _ROLES.index(turn.role), debaters.index(turn.about or turn.agent)

    return tuple(sorted(replies, key=place))
