"""Many debates in lockstep: each batch asks the next stage of all of them, for offline engines and batch endpoints.

A debate has only a handful of stages, whatever the number of questions, so thousands of debates are a handful of
batches. The protocol is that of the live team; given the same replies the transcripts are the same.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import ChatAgent, Team
from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage
from autogen_agentchat.state import AssistantAgentState, BaseState, TeamState
from autogen_core.model_context import ChatCompletionContextState
from autogen_core.models import (
    AssistantMessage,
    ChatCompletionClient,
    CreateResult,
    LLMMessage,
    SystemMessage,
    UserMessage,
)

from debate_plugin._autogen import model_client, more_than_speech, system_messages
from debate_plugin.batches import Batches, Live, Request
from debate_plugin.errors import InputError, told
from debate_plugin.listener import Listener
from debate_plugin.messages import DebateDecided, DebateStarted, QuestionMessage, TurnReplied
from debate_plugin.moderator import HeardReply, ModeratorState
from debate_plugin.protocol import Outcome, debate
from debate_plugin.question import Question, storable
from debate_plugin.seat import SeatState
from debate_plugin.series import Held, Series, ended
from debate_plugin.stateless_agent import StatelessAgent
from debate_plugin.team import DebateTeam
from debate_plugin.transcript import Transcript, debate_id
from debate_plugin.turns import Reply, Stage, Turn, read_reply


async def debate_in_lockstep(
    series: Series, questions: Iterable[Question], batches: Batches | None = None, *, at_once: int = 1000
) -> AsyncGenerator[Held, None]:
    """Debate the questions that the store does not hold yet, `at_once` at a time; yields each debate as it ends.

    All stages that are due go into one batch: to the debaters' own model clients by default, or to an endpoint for
    batches. Where a debate ends another one takes its place. Debates that were cut off go on after their last whole
    stage, those too that were begun live. A turn that fails is asked again with the next batch, as often as the team's
    patience has it; its time limits and pauses mean nothing here. A live run goes on with what this one left, too.

    Raises:
        InputError: an agent does more than speak (tools, memory, a context or output type of its own), or is a team or
            a person: hold these debates live.
    """
    if at_once < 1:
        raise InputError(f"expected at_once of at least 1, got {at_once}")
    batches = batches or Live()
    settings, begun = series.all_settings(), series.store.unfinished()
    waiting = iter(series.open_questions(questions))
    playing: list[_Play] = []
    while True:
        for question in islice(waiting, at_once - len(playing)):
            id = debate_id(series.run, settings, question)
            play = _Play(series, settings, question, id)
            await play.begin(_kept(series.store.kept(id)) if id in begun else ModeratorState())
            playing.append(play)
        if not playing:
            return
        requests = [request for play in playing for request in play.requests()]
        answers = await batches.answers(requests) if requests else []
        answered = {request.id: answer for request, answer in zip(requests, answers, strict=True)}
        for play in playing:
            if await play.hear(answered) and play.held is None:
                series.store.keep(play.id, play.state(), run=series.run)
        over = [play for play in playing if play.held is not None]
        playing = [play for play in playing if play.held is None]
        for held in [_recorded(series, play) for play in over]:  # all are committed before anybody may leave
            yield held


def _recorded(series: Series, play: _Play) -> Held:
    if play.transcript is not None:
        series.store.add(play.transcript)
    else:
        series.store.keep(play.id, None)  # nothing to go on from
    assert play.held is not None
    return play.held


def _kept(state: str | None) -> ModeratorState:
    """What was said in a debate that was cut off, in lockstep or at a live table; nothing where it cannot be read."""
    for one in json.loads(state or "{}").get("agent_states", {}).values():
        if "heard" in one:
            with suppress(ValueError):  # kept by another version: the debate begins anew
                return ModeratorState.model_validate(one)
    return ModeratorState()


@dataclass
class _Speaker:
    """An agent as its model sees it: what it is shown each time, and what it has heard and said."""

    name: str
    client: ChatCompletionClient
    system: list[LLMMessage]
    asker: str  # the source of what it is asked
    remembers: bool  # what it heard and said as a debater or voter; who serves all judges each reply for itself
    context: list[LLMMessage] = field(default_factory=list[LLMMessage])

    def state(self) -> Mapping[str, Any]:
        """The state of the agent in a live team."""
        if not self.remembers:
            return BaseState().model_dump()
        context = ChatCompletionContextState(messages=self.context).model_dump()
        return AssistantAgentState(llm_context=context).model_dump()


class _Play:
    """One debate under way."""

    def __init__(self, series: Series, settings: Mapping[str, Any], question: Question, id: str) -> None:
        team: DebateTeam = series.make_team()
        self.id, self._team = id, team.name
        self.held: Held | None = None  # once it is over
        self.transcript: Transcript | None = None  # of a debate that was decided and did not break down
        self._question = question
        self._speakers = {agent.name: _speaker(agent, team.name) for agent in team.seated}
        self._retries = team.patience.retries
        self._condition = team.termination_condition
        self._unseen: list[BaseAgentEvent | BaseChatMessage] = [QuestionMessage.of(question)]  # by the condition
        self._halted: tuple[int, str] | None = None  # the stage after which it held, and what it said
        self._ruled = 0  # the last stage after which it was asked, by a live team too
        self._flow = debate(question, team.debaters, team.plan, halted=self._is_halted)
        self._number = 0  # of the stage
        self._stage: Stage = ()
        self._attempts: dict[int, int] = {}  # so far, by place
        self._heard: dict[tuple[int, int], Reply] = {}
        self._listener = Listener(run=series.run, settings=settings, id_of=lambda _: id)
        self._listener.hear(
            DebateStarted(
                source=team.name,
                debate=id,
                question=question,
                debaters=team.debaters,
                participants=team.participants,
                settings=team.settings,
            )
        )

    async def begin(self, before: ModeratorState) -> None:
        """Enter the first stage, or that in which what is known from before ends."""
        known = {(heard.stage, heard.place): heard.reply for heard in before.heard}
        self._halted, self._ruled = before.halted, before.ruled
        self._enter(next(self._flow))
        while self.held is None:
            said = [known.get((self._number, place)) for place in range(len(self._stage))]
            if not all(reply is not None and reply.turn == turn for reply, turn in zip(said, self._stage, strict=True)):
                return
            for place, reply in enumerate(said):
                assert reply is not None
                self._hear(place, reply)
            await self._go_on()

    def requests(self) -> list[Request]:
        """What is still to be asked in this stage; nothing in a debate that is over."""
        return [
            Request(
                id=self._request_id(place),
                client=self._speakers[turn.agent].client,
                messages=tuple(self._shown(turn)),
            )
            for place, turn in enumerate(self._stage)
            if (self._number, place) not in self._heard
        ]

    async def hear(self, answers: Mapping[str, CreateResult | Exception]) -> bool:
        """Take in the answers to this debate's requests; returns whether they made its stage whole."""
        if self.held is not None:
            return False
        for place, turn in enumerate(self._stage):
            answer = answers.get(self._request_id(place))
            if answer is None or (self._number, place) in self._heard:
                continue
            attempts = self._attempts[place] = self._attempts.get(place, 0) + 1
            reply = self._reply(turn, answer, attempts)
            if not reply.failed or attempts > self._retries:
                self._hear(place, reply)
        is_whole = all((self._number, place) in self._heard for place in range(len(self._stage)))
        if is_whole:
            await self._go_on()
        return is_whole

    def state(self) -> str:
        """All that was said, to go on from: the state of a live team at this point."""
        heard = [HeardReply(stage=stage, place=place, reply=reply) for (stage, place), reply in self._heard.items()]
        moderator = ModeratorState(
            debate=self.id, question=self._question, heard=tuple(heard), halted=self._halted, ruled=self._ruled
        )
        seats = {name: SeatState(agent=speaker.state()).model_dump() for name, speaker in self._speakers.items()}
        return TeamState(agent_states={**seats, self._team: moderator.model_dump(mode="json")}).model_dump_json()

    def _enter(self, stage: Stage) -> None:
        self._stage, self._attempts = stage, {}
        self._number += 1

    async def _go_on(self) -> None:
        """From a whole stage to the next, or to the end."""
        await self._consult()
        try:
            self._enter(self._flow.send([self._heard[self._number, place] for place in range(len(self._stage))]))
        except StopIteration as stop:
            outcome: Outcome = stop.value
            replies = list(self._heard.values())
            decided = DebateDecided(source="debate", debate=self.id, outcome=outcome)
            self.transcript = self._listener.hear(decided)
            self.held = ended(self._question, replies, outcome)

    async def _consult(self) -> None:
        if self._number <= self._ruled or self._halted is not None or self._condition is None:
            return
        self._ruled = self._number
        unseen, self._unseen = self._unseen, []
        stop = await self._condition(unseen)
        if stop is not None:
            self._halted = self._number, stop.content

    def _is_halted(self) -> bool:
        return self._halted is not None and self._number >= self._halted[0]

    def _hear(self, place: int, reply: Reply) -> None:
        self._heard[self._number, place] = reply
        speaker = self._speakers[reply.turn.agent]
        if speaker.remembers and reply.turn.role in ("debater", "voter") and not reply.failed:
            speaker.context += [
                UserMessage(content=reply.turn.prompt, source=speaker.asker),
                AssistantMessage(content=reply.text or "", source=speaker.name, thought=reply.thought),
            ]
        replied = TurnReplied.of(
            reply, debate=self.id, stage=self._number, place=place, turns=len(self._stage), unseen=None
        )
        self._unseen.append(replied)
        self._listener.hear(replied)

    def _shown(self, turn: Turn) -> list[LLMMessage]:
        speaker = self._speakers[turn.agent]
        context = speaker.context if turn.role in ("debater", "voter") else []
        return [*speaker.system, *context, UserMessage(content=turn.prompt, source=speaker.asker)]

    def _reply(self, turn: Turn, answer: CreateResult | Exception, attempts: int) -> Reply:
        if not isinstance(answer, Exception) and not isinstance(answer.content, str):
            answer = ValueError(f"expected text from the model of {turn.agent!r}, got a tool call; it has no tools")
        if isinstance(answer, Exception):
            return Reply(turn=turn, abstention=told(answer), failed=True, attempts=attempts)
        return replace(
            read_reply(self._question, turn, str(answer.content)),
            attempts=attempts,
            thought=storable(answer.thought) if answer.thought else None,
            prompt_tokens=answer.usage.prompt_tokens,
            completion_tokens=answer.usage.completion_tokens,
        )

    def _request_id(self, place: int) -> str:
        return f"{self.id}-{self._number}-{place}-{self._attempts.get(place, 0) + 1}"


def _speaker(agent: ChatAgent | Team, asker: str) -> _Speaker:
    if type(agent) is StatelessAgent:  # one that is derived from it may do anything
        message = SystemMessage(content=agent.system_message)
        return _Speaker(agent.name, model_client(agent), [message], asker="user", remembers=False)
    more = more_than_speech(agent) if type(agent) is AssistantAgent else f"is a {type(agent).__name__}"
    if more is not None or not isinstance(agent, AssistantAgent):
        raise InputError(
            f"expected agents that do nothing but speak, {agent.name!r} {more}; hold such debates with `generate`"
        )
    system: list[LLMMessage] = [SystemMessage(content=text) for text in system_messages(agent)]
    return _Speaker(agent.name, model_client(agent), system, asker=asker, remembers=True)
