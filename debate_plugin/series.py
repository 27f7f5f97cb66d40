"""Questions -> transcripts: many debates at once, each recorded when it ends, none held twice, none begun twice."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autogen_core import CancellationToken

from debate_plugin.listener import Listener
from debate_plugin.messages import DebateDecided, QuestionMessage, TurnReplied
from debate_plugin.moderator import is_under_way
from debate_plugin.protocol import Outcome
from debate_plugin.question import Question
from debate_plugin.store import Store
from debate_plugin.team import DebateTeam
from debate_plugin.transcript import debate_id, plan_settings
from debate_plugin.turns import Reply, broke_down


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

    make_team: Callable[[], DebateTeam]  # a fresh team for every debate; let the teams share one model client
    store: Store
    run: str = "default"
    settings: Mapping[str, Any] | None = None  # models and sampling; the plan is added from the team

    def all_settings(self) -> dict[str, Any]:
        team = self.make_team()
        system_messages = {
            name: described.system_message for name, described in team.participants.items() if described.system_message
        }
        spoken_to = json.dumps(system_messages, sort_keys=True)
        return {
            **plan_settings(team.plan, team.debaters),
            "system_messages": hashlib.sha256(spoken_to.encode()).hexdigest()[:16],  # whole in each transcript
            **(self.settings or {}),
        }

    def open_questions(self, questions: Iterable[Question]) -> list[Question]:
        """Those whose debates the store does not hold yet, each once."""
        held, settings = self.store.ids(), self.all_settings()
        asked = {debate_id(self.run, settings, question): question for question in questions}
        return [question for id, question in asked.items() if id not in held]


async def generate(
    series: Series, questions: Iterable[Question], *, concurrency: int = 64
) -> AsyncGenerator[Held, None]:
    """Debate the questions that the store does not hold yet, yielding each debate as it ends.

    A debate that was cut off, by a killed process too, goes on after its last whole stage.

    Who may leave the loop early closes it (`async with contextlib.aclosing(generate(...)) as debates`): that cancels
    what is under way before the store and the model are closed.
    """
    settings, begun = series.all_settings(), series.store.unfinished()
    waiting = iter(series.open_questions(questions))
    ended: asyncio.Queue[Held | None] = asyncio.Queue()
    tokens: set[CancellationToken] = set()

    async def work() -> None:
        for question in waiting:  # shared by the workers: each takes the next
            token = CancellationToken()
            tokens.add(token)
            id = debate_id(series.run, settings, question)
            held = await _hold(series, settings, question, id, token, begun=id in begun)
            tokens.discard(token)
            await ended.put(held)

    workers = [asyncio.create_task(work()) for _ in range(concurrency)]
    working = asyncio.gather(*workers)
    working.add_done_callback(lambda _: ended.put_nowait(None))
    try:
        while (held := await ended.get()) is not None:
            yield held
        await working  # raises what a worker raised
    finally:
        # A cancelled task alone would let AutoGen play its debate to the end, paid for and thrown away.
        for token in tokens:
            token.cancel()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _hold(
    series: Series, settings: Mapping[str, Any], question: Question, id: str, token: CancellationToken, *, begun: bool
) -> Held:
    """One debate, from where it was cut off if it was; what it has come to is kept after each stage."""
    team, store = series.make_team(), series.store
    listener = Listener(run=series.run, settings=settings, id_of=lambda _: id)
    state = store.kept(id) if begun else None
    if state is not None:
        try:
            await team.load_state(json.loads(state))
        except ValueError:  # kept by another version: the debate begins anew
            team, state = series.make_team(), None
    task = QuestionMessage.of(question) if state is None else None
    replies: list[Reply] = []
    outcome: Outcome | None = None
    said: Counter[int] = Counter()  # replies by stage
    async for message in team.run_stream(task=task, cancellation_token=token):
        if (transcript := listener.hear(message)) is not None:
            store.add(transcript)
        if isinstance(message, TurnReplied):
            replies.append(message.reply)
            said[message.stage] += 1
            if said[message.stage] == message.turns:
                reached = await _state_of(team)
                if reached is not None:
                    store.keep(id, reached, run=series.run)
        elif isinstance(message, DebateDecided):
            outcome = message.outcome
    held = ended(question, replies, outcome)
    if held.failure is not None:
        store.keep(id, None)  # nothing to go on from
    return held


def ended(question: Question, replies: Sequence[Reply], outcome: Outcome | None) -> Held:
    """What came of a debate; one that broke down is a failure, whatever it decided."""
    if outcome is None or broke_down(replies):
        failed = (reply.abstention for reply in replies if reply.failed)
        return Held(question=question, failure=next(failed, None) or "the debate ended without an outcome")
    return Held(
        question=question,
        outcome=outcome,
        replies=len(replies),
        completion_tokens=sum(reply.completion_tokens for reply in replies),
    )


async def _state_of(team: DebateTeam) -> str | None:
    """The debate under way as JSON; None where it is decided already, or an agent's state is not to be had."""
    with contextlib.suppress(Exception):
        state = await team.save_state()
        return json.dumps(state) if is_under_way(state, team.name) else None
    return None
