"""The moderator: plays the protocol live; its stages become requests to the seats, their answers become replies."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage, StopMessage, TextMessage
from autogen_core import CancellationToken, DefaultTopicId, MessageContext, event, rpc
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
    system_messages: Mapping[str, str]


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
        self._flow: Generator[Stage, Replies, Outcome] | None = None
        self._stage: Stage = ()
        self._is_asked_anew = True  # whether anything in the stage was not known from before
        self._stage_number = 0
        self._replies: dict[int, Reply] = {}  # to the stage, by place
        self._heard: dict[tuple[int, int], Reply] = {}  # all that was said, by stage and place
        self._said: list[BaseAgentEvent | BaseChatMessage] = []  # what the termination condition has not seen yet
        self._consulted = 0  # the last stage that it has seen
        self._halted: tuple[int, str] | None = None  # the stage after which it said so, and why
        self._going = asyncio.Event()  # cleared while the debate is paused
        self._going.set()
        self._span: trace.Span = trace.INVALID_SPAN

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
        question, debaters = self._asked, self._table.debaters
        self._end_span()
        self._span = _tracer.start_span(
            f"debate {self._name}", attributes={"debate.id": self._debate, "debate.question.id": question.id}
        )
        await self._say(
            DebateStarted(
                source=self._name,
                debate=self._debate,
                question=question,
                debaters=debaters,
                system_messages=dict(self._table.system_messages),
            )
        )
        ctx.cancellation_token.add_callback(self._end_span)
        self._flow = debate(question, debaters, self._table.plan, halted=self._is_halted)
        self._stage_number, self._replies, self._said = 0, {}, list(messages)
        await self._advance(None, ctx.cancellation_token)

    def _is_halted(self) -> bool:
        return self._halted is not None and self._stage_number >= self._halted[0]

    @event
    async def handle_answer(self, message: TurnAnswer, ctx: MessageContext) -> None:
        token = ctx.cancellation_token
        is_asked = (message.debate, message.stage) == (self._debate, self._stage_number)
        if not is_asked or message.place in self._replies or token.is_cancelled():
            return  # an answer to a debate that was cut off
        try:
            await self._hear(message.place, self._reply_of(message), token, unseen=message.unseen)
        except Exception as error:  # whoever awaits the stream is told; an external runtime would swallow it
            self._span.set_status(trace.StatusCode.ERROR, str(error))
            self._end_span()
            await self._signal_termination_with_error(SerializableException.from_exception(error))
            raise

    def _reply_of(self, answer: TurnAnswer) -> Reply:
        turn = self._stage[answer.place]
        if answer.failure is not None:
            return Reply(turn=turn, abstention=answer.failure, failed=True, attempts=answer.attempts)
        return replace(
            read_reply(self._asked, turn, answer.text),
            speaker=answer.speaker,
            tools=answer.tools,
            attempts=answer.attempts,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
        )

    async def _hear(
        self, place: int, reply: Reply, token: CancellationToken, *, unseen: RequestUsage | None = None
    ) -> None:
        """Take a reply in; the last one of a stage takes the debate on."""
        self._replies[place] = self._heard[self._stage_number, place] = reply
        is_last = len(self._replies) == len(self._stage)  # before awaiting: answers arrive concurrently
        replies = [self._replies[place] for place in sorted(self._replies)]
        replied = TurnReplied.of(reply, debate=self._debate, stage=self._stage_number, place=place, unseen=unseen)
        if self._stage_number > self._consulted:
            self._said.append(replied)
        await self._say(replied)
        if not is_last:
            return
        round_so_far = self._of_round(reply.turn.round)
        if reply.turn.role == "debater" and len(round_so_far) == len(self._table.debaters):
            vote = vote_of(self._asked, list(by_debater(round_so_far, self._table.plan).values()))
            await self._say(RoundVoted(source=self._name, debate=self._debate, round=reply.turn.round, vote=vote))
        if self._is_asked_anew:
            await self._consult()
        await self._advance(replies, token)

    async def _consult(self) -> None:
        """Show the termination condition all messages since it was last asked, those of a whole stage at once."""
        if self._termination_condition is None or self._halted is not None:
            return
        said, self._said, self._consulted = self._said, [], self._stage_number
        stop = await self._termination_condition(said)
        if stop is not None:
            self._halted = self._stage_number, stop.content

    async def _advance(self, replies: Replies | None, token: CancellationToken) -> None:
        """Take the next stage from the protocol and ask its turns, or announce the outcome."""
        await self._until_going(token)
        if self._flow is None:
            return
        try:
            self._stage = next(self._flow) if replies is None else self._flow.send(replies)
        except StopIteration as stop:
            await self._conclude(stop.value)
            return
        self._stage_number += 1
        self._replies = {}
        known = {place: self._known(place, turn) for place, turn in enumerate(self._stage)}
        self._is_asked_anew = None in known.values()
        carrier: dict[str, str] = {}
        propagate.inject(carrier, trace.set_span_in_context(self._span))
        for place, turn in enumerate(self._stage):
            if known[place] is None:
                request = TurnRequest(
                    debate=self._debate,
                    stage=self._stage_number,
                    place=place,
                    turn=turn,
                    asker=self._name,
                    trace=carrier,
                )
                topic = DefaultTopicId(type=self._participant_name_to_topic_type[turn.agent])
                await self.publish_message(request, topic_id=topic, cancellation_token=token)
        for place, reply in known.items():
            if reply is not None:
                await self._hear(place, reply, token)

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
        """Wait while the debate is paused, inside a message's handler: a runtime without one under way would stop."""
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
        self._debate, self._question, self._flow, self._stage = "", None, None, ()
        self._stage_number, self._replies, self._heard = 0, {}, {}
        self._said, self._consulted, self._halted = [], 0, None

    def _end_span(self) -> None:
        if self._span.is_recording():
            self._span.end()

    async def save_state(self) -> Mapping[str, Any]:
        """The debate under way: all that was said, in plain data; nothing where none is."""
        heard = [HeardReply(stage=stage, place=place, reply=reply) for (stage, place), reply in self._heard.items()]
        return ModeratorState(
            debate=self._debate, question=self._question, heard=tuple(heard), halted=self._halted
        ).model_dump(mode="json")

    async def load_state(self, state: Mapping[str, Any]) -> None:
        loaded = ModeratorState.model_validate(state)
        await self.reset()
        self._debate, self._question, self._halted = loaded.debate, loaded.question, loaded.halted
        self._heard = {(one.stage, one.place): one.reply for one in loaded.heard}
