"""The moderator: plays the protocol live; its stages become requests to the seats, their answers become replies."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage, StopMessage, TextMessage
from autogen_core import AgentId, CancellationToken, MessageContext, rpc
from autogen_core.models import RequestUsage
from opentelemetry import propagate, trace
from pydantic import BaseModel

from debate_plugin._autogen import (
    BaseGroupChatManager,
    GroupChatPause,
    GroupChatResume,
    GroupChatStart,
    OfKnownHandlers,
    SerializableException,
)
from debate_plugin.deciding import vote_of
from debate_plugin.messages import DebateDecided, DebateStarted, QuestionMessage, RoundVoted, TurnReplied
from debate_plugin.participant import Participant
from debate_plugin.plan import Plan
from debate_plugin.protocol import Outcome, by_debater, debate
from debate_plugin.question import AnswerKind, Question
from debate_plugin.seat import TurnAnswer, TurnRequest
from debate_plugin.turns import Replies, Reply, Stage, Turn, read_reply

_tracer = trace.get_tracer("debate-plugin")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Who sits where: everything about the debate that the question does not change."""

    debaters: tuple[str, ...]
    plan: Plan
    kind: AnswerKind
    participants: Mapping[str, Participant]
    settings: Mapping[str, Any]  # the plan as plain data


class HeardReply(BaseModel):
    """A reply and the turn's place in the debate."""

    stage: int
    place: int
    reply: Reply


class ModeratorState(BaseModel):
    """A debate that is not decided yet: its question and all that was said."""

    debate: str = ""
    question: Question | None = None
    heard: tuple[HeardReply, ...] = ()
    halted: tuple[int, str] | None = None
    ruled: int = 0


def is_under_way(state: Mapping[str, Any], team: str) -> bool:
    """Whether a team's saved state is in the middle of a debate, so that one can go on from it."""
    return ModeratorState.model_validate(state["agent_states"][team]).question is not None


class Play(BaseModel):
    """The moderator's word to itself: play the debate from where it is."""


class Moderator(OfKnownHandlers, BaseGroupChatManager):
    """Drives `protocol.debate`; it decides nothing itself.

    A debate that was cut off (cancelled, or saved and loaded) goes on where it was: what was said answers again the
    stages that the protocol yields again, and only what is missing is asked.
    """

    def __init__(self, table: Table, **group_chat: Any) -> None:
        super().__init__(**group_chat)
        self._table = table
        self._debate = ""  # its id
        self._question: Question | None = None
        self._stage_number = 0
        self._heard: dict[tuple[int, int], Reply] = {}  # all that was said, by stage and place
        self._said: list[BaseAgentEvent | BaseChatMessage] = []  # what the termination condition has not seen yet
        self._consulted = 0  # the last stage that it has seen
        self._ruled = 0  # the last stage after which it was asked, in an earlier process too
        self._halted: tuple[int, str] | None = None  # the stage after which it said so, and why
        self._going = asyncio.Event()  # cleared while the debate is paused
        self._going.set()
        self._span: trace.Span = trace.INVALID_SPAN
        self._playing: asyncio.Task[None] | None = None

    async def validate_group_state(self, messages: list[BaseChatMessage] | None) -> None:
        if not messages and self._question is None:
            raise ValueError("expected a question to debate, got no task; call run_stream(task='...')")

    @rpc
    async def handle_start(  # type: ignore[override]  # mypy compares the handlers' classes, not their signatures
        self, message: GroupChatStart, ctx: MessageContext
    ) -> None:
        await self.validate_group_state(message.messages)
        messages = message.messages or []
        if message.output_task_messages:
            for task_message in messages:
                await self._say(task_message)
        if messages:
            if self._question is not None and self._termination_condition is not None:
                await self._termination_condition.reset()  # it has seen a debate that was cut off
            self._forget()
            self._debate, self._question = uuid.uuid4().hex, self._question_of(messages)
        self._stage_number, self._said = 0, list(messages)
        # Not awaited: whoever waits for this handler reads the stream only afterwards.
        self._playing = asyncio.ensure_future(
            self.send_message(Play(), self.id, cancellation_token=ctx.cancellation_token)
        )
        self._playing.add_done_callback(_look_at)

    @rpc
    async def handle_play(self, message: Play, ctx: MessageContext) -> None:
        """The whole debate: in one handler, since a runtime without a handler under way would stop."""
        question, debaters = self._asked, self._table.debaters
        self._end_span()
        attributes = {"debate.id": self._debate, "debate.question.id": question.id}
        self._span = _tracer.start_span(f"debate {self._name}", attributes=attributes)
        await self._say(
            DebateStarted(
                source=self._name,
                debate=self._debate,
                question=question,
                debaters=debaters,
                participants=dict(self._table.participants),
                settings=dict(self._table.settings),
            )
        )
        try:
            await self._conclude(await self._play(question, ctx.cancellation_token))
        except Exception as error:  # whoever awaits the stream is told; a runtime would keep it to itself
            self._span.set_status(trace.StatusCode.ERROR, str(error))
            await self._signal_termination_with_error(SerializableException.from_exception(error))
        finally:
            self._end_span()

    async def _play(self, question: Question, token: CancellationToken) -> Outcome:
        flow = debate(question, self._table.debaters, self._table.plan, halted=self._is_halted)
        stage = next(flow)
        while True:
            await self._until_going(token)
            self._stage_number += 1
            replies = await self._played(stage, token)
            try:
                stage = flow.send(replies)
            except StopIteration as stop:
                outcome: Outcome = stop.value
                return outcome

    def _is_halted(self) -> bool:
        return self._halted is not None and self._stage_number >= self._halted[0]

    async def _played(self, stage: Stage, token: CancellationToken) -> Replies:
        """The replies to a stage, in its order; those that are known from before are not asked for."""
        known = [self._known(place, turn) for place, turn in enumerate(stage)]
        carrier: dict[str, str] = {}
        propagate.inject(carrier, trace.set_span_in_context(self._span))
        turns = len(stage)
        replies = await asyncio.gather(
            *(
                self._hear(place, turns, reply) if reply is not None else self._ask(place, turns, turn, carrier, token)
                for place, (turn, reply) in enumerate(zip(stage, known, strict=True))
            )
        )
        last = stage[-1]
        round_so_far = self._of_round(last.round)
        if last.role == "debater" and len(round_so_far) == len(self._table.debaters):
            vote = vote_of(self._asked, list(by_debater(round_so_far, self._table.plan).values()))
            await self._say(RoundVoted(source=self._name, debate=self._debate, round=last.round, vote=vote))
        if self._stage_number > self._ruled:
            await self._consult()
        return replies

    async def _ask(
        self, place: int, turns: int, turn: Turn, carrier: dict[str, str], token: CancellationToken
    ) -> Reply:
        request = TurnRequest(
            debate=self._debate, stage=self._stage_number, place=place, turn=turn, asker=self._name, trace=carrier
        )
        seat = AgentId(self._participant_name_to_topic_type[turn.agent], self.id.key)
        answer: TurnAnswer = await self.send_message(request, seat, cancellation_token=token)
        return await self._hear(place, turns, self._reply_of(turn, answer), unseen=answer.unseen)

    def _reply_of(self, turn: Turn, answer: TurnAnswer) -> Reply:
        if answer.failure is not None:
            return Reply(turn=turn, abstention=answer.failure, failed=True, attempts=answer.attempts)
        return replace(
            read_reply(self._asked, turn, answer.text),
            speaker=answer.speaker,
            tools=answer.tools,
            attempts=answer.attempts,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            composed=answer.composed,
            thought=answer.thought,
            seconds=answer.seconds,
        )

    async def _hear(self, place: int, turns: int, reply: Reply, *, unseen: RequestUsage | None = None) -> Reply:
        """Keep a reply to one of so many turns, and tell the world of it."""
        self._heard[self._stage_number, place] = reply
        replied = TurnReplied.of(
            reply, debate=self._debate, stage=self._stage_number, place=place, turns=turns, unseen=unseen
        )
        if self._stage_number > self._consulted:
            self._said.append(replied)
        await self._say(replied)
        return reply

    async def _consult(self) -> None:
        """Show the termination condition all messages since it was last asked, those of a whole stage at once."""
        self._ruled = self._stage_number
        if self._termination_condition is None or self._halted is not None:
            return
        said, self._said, self._consulted = self._said, [], self._stage_number
        stop = await self._termination_condition(said)
        if stop is not None:
            self._halted = self._stage_number, stop.content

    def _known(self, place: int, turn: Turn) -> Reply | None:
        """What was said to this turn before the debate was cut off."""
        reply = self._heard.get((self._stage_number, place))
        if reply is not None and reply.turn != turn:
            raise ValueError(
                f"expected the debate that was saved to fit this team, but its stage {self._stage_number} asked "
                f"{reply.turn.agent!r} something else; load it into a team with the same plan and debaters"
            )
        return reply

    def _of_round(self, number: int) -> list[Reply]:
        """The debaters' replies of a round so far, in seat order."""
        said = [
            reply
            for (stage, _), reply in sorted(self._heard.items())
            if stage <= self._stage_number and (reply.turn.role, reply.turn.round) == ("debater", number)
        ]
        return sorted(said, key=lambda reply: self._table.debaters.index(reply.turn.agent))

    async def _conclude(self, outcome: Outcome) -> None:
        self._span.set_attributes({"debate.decided_by": outcome.decided_by, "debate.rounds": len(outcome.votes)})
        debate, halted = self._debate, self._halted
        await self.reset()  # ready for another
        await self._say(DebateDecided(source=self._name, debate=debate, outcome=outcome))
        await self._say(TextMessage(content=outcome.final, source=self._name))
        await self._signal_termination(
            StopMessage(
                content=f"{halted[1]}; decided by {outcome.decided_by}"
                if halted is not None
                else f"The debate was decided by {outcome.decided_by}.",
                source=self._name,
            )
        )

    async def _until_going(self, token: CancellationToken) -> None:
        """Wait while the debate is paused."""
        if not self._going.is_set():
            waiting = asyncio.ensure_future(self._going.wait())
            token.link_future(waiting)
            try:
                await waiting
            except asyncio.CancelledError:
                self._going.set()  # a debate that goes on later is not paused
                raise

    async def _say(self, message: BaseAgentEvent | BaseChatMessage) -> None:
        await self._output_message_queue.put(message)

    def _question_of(self, messages: Sequence[BaseChatMessage]) -> Question:
        last = messages[-1]
        if isinstance(last, QuestionMessage):
            return last.question
        return Question.of("\n\n".join(message.to_model_text() for message in messages), kind=self._table.kind)

    @property
    def _asked(self) -> Question:
        if self._question is None:
            raise RuntimeError("no debate is under way")
        return self._question

    @rpc
    async def handle_pause(  # type: ignore[override]  # as above
        self, message: GroupChatPause, ctx: MessageContext
    ) -> None:
        """Begin no further stage until resumed; the turns under way come to their end."""
        self._going.clear()

    @rpc
    async def handle_resume(  # type: ignore[override]  # as above
        self, message: GroupChatResume, ctx: MessageContext
    ) -> None:
        self._going.set()

    async def select_speaker(self, thread: Sequence[BaseAgentEvent | BaseChatMessage]) -> list[str]:
        raise RuntimeError("a debate has no next speaker to select: the protocol knows who is asked")

    async def reset(self) -> None:
        self._forget()
        self._going.set()
        if self._termination_condition is not None:
            await self._termination_condition.reset()

    def _forget(self) -> None:
        """The debate is over, or was never held."""
        self._end_span()
        self._debate, self._question = "", None
        self._stage_number, self._heard = 0, {}
        self._said, self._consulted, self._ruled, self._halted = [], 0, 0, None

    def _end_span(self) -> None:
        if self._span.is_recording():
            self._span.end()

    async def save_state(self) -> Mapping[str, Any]:
        """The debate under way: all that was said, in plain data; nothing where none is."""
        heard = [HeardReply(stage=stage, place=place, reply=reply) for (stage, place), reply in self._heard.items()]
        return ModeratorState(
            debate=self._debate, question=self._question, heard=tuple(heard), halted=self._halted, ruled=self._ruled
        ).model_dump(mode="json")

    async def load_state(self, state: Mapping[str, Any]) -> None:
        loaded = ModeratorState.model_validate(state)
        await self.reset()
        self._debate, self._question = loaded.debate, loaded.question
        self._halted, self._ruled = loaded.halted, loaded.ruled
        self._heard = {(one.stage, one.place): one.reply for one in loaded.heard}


def _look_at(playing: asyncio.Task[None]) -> None:
    """Its end is told on the stream; unlooked at, asyncio would report a cancellation as an error of ours."""
    if not playing.cancelled():
        playing.exception()
