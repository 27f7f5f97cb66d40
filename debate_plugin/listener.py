"""Hears the events of debates go by, several at once, and tells when one has become a whole transcript."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from debate_plugin.messages import DebateDecided, DebateStarted, TurnReplied
from debate_plugin.protocol import Outcome
from debate_plugin.transcript import Transcript
from debate_plugin.turns import Reply, broke_down

VERSIONS = {name: version(name) for name in ("debate-plugin", "autogen-agentchat")}


class Listener:
    """One stream's debates.

    `id_of` gives a debate the id of its transcript. A debate that broke down becomes none: it can be held again.
    """

    def __init__(
        self, *, run: str, settings: Mapping[str, Any], id_of: Callable[[DebateStarted], str] | None = None
    ) -> None:
        self._run = run
        self._settings = dict(settings)
        self._id_of = id_of or (lambda started: started.debate[:24])
        self._under_way: dict[str, _Debate] = {}

    def hear(self, item: object) -> Transcript | None:
        """The transcript of the debate that this item has decided."""
        match item:
            case DebateStarted():
                self._under_way[item.debate] = _Debate(item)
            case TurnReplied() if item.debate in self._under_way:
                self._under_way[item.debate].stages.setdefault(item.stage, {})[item.place] = item.reply
            case DebateDecided() if item.debate in self._under_way:
                return self._whole(self._under_way.pop(item.debate), item.outcome)
            case _:
                pass
        return None

    def _whole(self, debate: _Debate, outcome: Outcome) -> Transcript | None:
        stages = tuple(tuple(reply for _, reply in sorted(stage.items())) for _, stage in sorted(debate.stages.items()))
        if broke_down([reply for stage in stages for reply in stage]):
            return None
        opening = debate.opening
        return Transcript(
            id=self._id_of(opening),
            run=self._run,
            settings={**opening.settings, **self._settings},
            question=opening.question,
            debaters=opening.debaters,
            participants=opening.participants,
            stages=stages,
            outcome=outcome,
            started=debate.started,
            seconds=round(time.monotonic() - debate.clock, 3),
            versions=VERSIONS,
        )


@dataclass
class _Debate:
    """A debate under way."""

    opening: DebateStarted
    stages: dict[int, dict[int, Reply]] = field(default_factory=dict)  # replies by place, by stage
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)
