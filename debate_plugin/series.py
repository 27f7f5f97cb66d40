"""Questions -> transcripts: many debates at once, each recorded when it ends, none held twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from debate_plugin.messages import DebateDecided, QuestionMessage, TurnReplied
from debate_plugin.protocol import Outcome
from debate_plugin.question import Question
from debate_plugin.recorder import Recorder
from debate_plugin.store import Store
from debate_plugin.team import DebateTeam
from debate_plugin.transcript import debate_id, plan_settings


@dataclass(frozen=True, kw_only=True)
class Held:
    """One debate that came to its end, or did not: then `failure` says why and nothing was recorded."""

    question: Question
    outcome: Outcome | None = None
    failure: str | None = None
    replies: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Series:
    """Debates of one kind: who debates, and where it is recorded."""

    make_team: Callable[[], DebateTeam]  # a fresh team for every debate: teams hold one debate at a time
    store: Store
    run: str = "default"
    settings: Mapping[str, Any] | None = None  # models and sampling; the plan is added from the team

    def all_settings(self) -> dict[str, Any]:
        team = self.make_team()
        spoken_to = json.dumps(team.system_messages, sort_keys=True)
        return {
            **plan_settings(team.plan, team.debaters),
            "system_messages": hashlib.sha256(spoken_to.encode()).hexdigest()[:16],  # whole in each transcript
            **(self.settings or {}),
        }

    def open_questions(self, questions: Iterable[Question]) -> list[Question]:
        """Those whose debates the store does not hold yet."""
        held, settings = self.store.ids(), self.all_settings()
        return [question for question in questions if debate_id(self.run, settings, question.id) not in held]


async def generate(
    series: Series, questions: Iterable[Question], *, concurrency: int = 64
) -> AsyncGenerator[Held, None]:
    """Debate the questions that the store does not hold yet, yielding each debate as it ends."""
    recorder = Recorder(series.store, run=series.run, settings=series.all_settings())
    waiting = iter(series.open_questions(questions))
    ended: asyncio.Queue[Held | None] = asyncio.Queue()

    async def work() -> None:
        for question in waiting:  # shared by the workers: each takes the next
            await ended.put(await _hold(series.make_team(), recorder, question))

    workers = [asyncio.create_task(work()) for _ in range(concurrency)]
    working = asyncio.gather(*workers)
    working.add_done_callback(lambda _: ended.put_nowait(None))
    try:
        while (held := await ended.get()) is not None:
            yield held
        await working  # raises what a worker raised
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _hold(team: DebateTeam, recorder: Recorder, question: Question) -> Held:
    replies = tokens = 0
    outcome: Outcome | None = None
    spoke = False
    reason = "the debate ended without an outcome"
    async for message in recorder.record(team.run_stream(task=QuestionMessage.of(question))):
        if isinstance(message, TurnReplied):
            replies += 1
            tokens += message.reply.completion_tokens
            spoke = spoke or message.reply.text is not None
            reason = message.reply.abstention or reason
        elif isinstance(message, DebateDecided):
            outcome = message.outcome
    if not spoke:
        return Held(question=question, failure=reason)
    return Held(question=question, outcome=outcome, replies=replies, completion_tokens=tokens)
