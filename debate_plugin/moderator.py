"""The moderator: plays the protocol live; its stages become requests to the seats, their answers become replies."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage, StopMessage, TextMessage
from autogen_core import CancellationToken, DefaultTopicId, MessageContext, event, rpc

from debate_plugin._autogen import BaseGroupChatManager, GroupChatStart, SerializableException
from debate_plugin.deciding import vote_of
from debate_plugin.messages import DebateDecided, DebateStarted, QuestionMessage, RoundVoted, TurnReplied
from debate_plugin.plan import Plan
from debate_plugin.protocol import Outcome, debate
from debate_plugin.question import AnswerKind, Question
from debate_plugin.seat import TurnAnswer, TurnRequest
from debate_plugin.turns import Replies, Reply, Stage, read_reply


@dataclass(frozen=True, kw_only=True)
class Table:
    """Who sits where: everything about the debate that the question does not change."""

    debaters: tuple[str, ...]
    plan: Plan
    kind: AnswerKind
    system_messages: Mapping[str, str]


class Moderator(BaseGroupChatManager):
    """Drives `protocol.debate`; it decides nothing itself."""

    def __init__(self, table: Table, **group_chat: Any) -> None:
        super().__init__(**group_chat)
        self._table = table
        self._question: Question | None = None
        self._flow: Generator[Stage, Replies, Outcome] | None = None
        self._stage: Stage = ()
        self._stage_number = 0  # never reset, so that an answer to a cancelled debate is told from one to this debate
        self._replies: dict[int, Reply] = {}
        self._said: list[BaseAgentEvent | BaseChatMessage] = []  # what the termination condition has not seen yet
        self._halted: str | None = None  # why, once the termination condition says so

    async def validate_group_state(self, messages: list[BaseChatMessage] | None) -> None:
        if not messages:
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
        question = self._question_of(messages)
        self._question = question
        await self._say(
            DebateStarted(
                source=self._name,
                question=question,
                debaters=self._table.debaters,
                system_messages=dict(self._table.system_messages),
            )
        )
        self._flow = debate(question, self._table.debaters, self._table.plan, halted=lambda: self._halted is not None)
        self._halted, self._said = None, list(messages)
        await self._advance(None, ctx.cancellation_token)

    @event
    async def handle_answer(self, message: TurnAnswer, ctx: MessageContext) -> None:
        try:
            await self._hear(message, ctx.cancellation_token)
        except Exception as error:  # whoever awaits the stream is told; an external runtime would swallow it
            await self._signal_termination_with_error(SerializableException.from_exception(error))
            raise

    async def _hear(self, message: TurnAnswer, token: CancellationToken) -> None:
        question = self._question
        if question is None or message.stage != self._stage_number or token.is_cancelled():
            return
        turn = self._stage[message.place]
        if message.failure is not None:
            reply = Reply(turn=turn, abstention=message.failure, failed=True)
        else:
            reply = read_reply(
                question,
                turn,
                message.text,
                prompt_tokens=message.prompt_tokens,
                completion_tokens=message.completion_tokens,
            )
        self._replies[message.place] = reply
        stage_complete = len(self._replies) == len(self._stage)  # before awaiting: answers arrive concurrently
        replies = [self._replies[place] for place in sorted(self._replies)]
        replied = TurnReplied.of(reply)
        self._said.append(replied)
        await self._say(replied)
        if not stage_complete:
            return
        if turn.role == "debater":
            await self._say(RoundVoted(source=self._name, round=turn.round, vote=vote_of(question, replies)))
        await self._consult()
        await self._advance(replies, token)

    async def _consult(self) -> None:
        """Show the termination condition all messages since it was last asked, those of a whole stage at once."""
        if self._termination_condition is None or self._halted is not None:
            return
        said, self._said = self._said, []
        stop = await self._termination_condition(said)
        if stop is not None:
            self._halted = stop.content
            await self._termination_condition.reset()

    async def _advance(self, replies: Replies | None, token: CancellationToken) -> None:
        """Take the next stage from the protocol and ask its turns, or announce the outcome."""
        if self._flow is None:
            return
        try:
            self._stage = next(self._flow) if replies is None else self._flow.send(replies)
        except StopIteration as stop:
            self._flow = None
            await self._conclude(stop.value)
            return
        self._stage_number += 1
        self._replies = {}
        for place, turn in enumerate(self._stage):
            await self.publish_message(
                TurnRequest(stage=self._stage_number, place=place, turn=turn, asker=self._name),
                topic_id=DefaultTopicId(type=self._participant_name_to_topic_type[turn.agent]),
                cancellation_token=token,
            )

    async def _conclude(self, outcome: Outcome) -> None:
        await self._say(DebateDecided(source=self._name, outcome=outcome))
        await self._say(TextMessage(content=outcome.final, source=self._name))
        await self._signal_termination(
            StopMessage(
                content=f"{self._halted}; decided by {outcome.decided_by}"
                if self._halted is not None
                else f"The debate was decided by {outcome.decided_by}.",
                source=self._name,
            )
        )

    async def _say(self, message: BaseAgentEvent | BaseChatMessage) -> None:
        await self._output_message_queue.put(message)

    def _question_of(self, messages: Sequence[BaseChatMessage]) -> Question:
        last = messages[-1]
        if isinstance(last, QuestionMessage):
            return last.question
        return Question.of("\n\n".join(message.to_model_text() for message in messages), kind=self._table.kind)

    async def select_speaker(self, thread: Sequence[BaseAgentEvent | BaseChatMessage]) -> list[str]:
        raise RuntimeError("a debate has no next speaker to select: the protocol knows who is asked")

    async def reset(self) -> None:
        self._question = None
        self._flow = None
        self._stage = ()
        self._stage_number += 1
        self._replies = {}
        self._said, self._halted = [], None
        if self._termination_condition is not None:
            await self._termination_condition.reset()
