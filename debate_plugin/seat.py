"""A seat at the table: asks its agent one turn at a time and reports what came back, a failure included.

Unlike the stock container it hears no group topic (contexts stay private, traffic grows with the edges alone), and an
agent that raises or takes too long abstains instead of ending the debate. A turn that did not come to its end leaves no
trace in the agent's context, so it can be asked again: at once, or after the debate was loaded in another process.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autogen_agentchat.agents import UserProxyAgent
from autogen_agentchat.base import ChatAgent, Response, TaskResult, Team
from autogen_agentchat.messages import (
    BaseAgentEvent,
    BaseChatMessage,
    MessageFactory,
    TextMessage,
    ThoughtEvent,
    ToolCallExecutionEvent,
    ToolCallRequestEvent,
    ToolCallSummaryMessage,
)
from autogen_core import CancellationToken, MessageContext, rpc, trace_invoke_agent_span
from autogen_core.models import RequestUsage
from opentelemetry import propagate, trace
from pydantic import BaseModel, Field

from debate_plugin._autogen import ChatAgentContainer, GroupChatPause, GroupChatResume, OfKnownHandlers, abort, renew
from debate_plugin.errors import told
from debate_plugin.messages import DEBATE_MESSAGES, MemberSpoke, TurnAsked
from debate_plugin.question import storable
from debate_plugin.stateless_agent import StatelessAgent
from debate_plugin.turns import ToolUse, Turn

_GRACE_SECONDS = 1.0  # for an agent to end once it is cancelled; one that will not is left behind


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long and how often a turn is tried before its agent abstains; a human is waited for."""

    seconds: float | None = 300.0  # for one attempt; None waits for ever
    retries: int = 1  # further attempts after a failure
    backoff: float = 0.5  # seconds before the second attempt, twice as many before each further one

    def __post_init__(self) -> None:
        if self.seconds is not None and self.seconds <= 0:
            raise ValueError(f"expected a time limit above 0 seconds or None, got {self.seconds}")
        if self.retries < 0 or self.backoff < 0:
            raise ValueError(f"expected retries and backoff of 0 or more, got {self.retries} and {self.backoff}")


class TurnRequest(BaseModel):
    """Ask the seat's agent for one turn of a stage."""

    debate: str
    stage: int
    place: int  # of the turn in its stage
    turn: Turn
    asker: str
    trace: dict[str, str] = Field(
        default_factory=dict
    )  # the debate's span, as W3C trace context: AutoGen's runtime links spans, it nests none


class TurnAnswer(BaseModel):
    """What came back: a text, or why there is none."""

    debate: str
    stage: int
    place: int
    text: str = ""
    failure: str | None = None
    speaker: str | None = None
    tools: tuple[ToolUse, ...] = ()
    composed: bool = False
    thought: str | None = None
    attempts: int = 1
    seconds: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unseen: RequestUsage | None = None  # of that, what no streamed event carried; None where it is all

    def is_to(self, request: TurnRequest) -> bool:
        return (self.debate, self.stage, self.place) == (request.debate, request.stage, request.place)


class SeatState(BaseModel):
    """The agent as it was before the turn under way, if there is one, and the last answer it gave."""

    agent: Mapping[str, Any]
    answered: TurnAnswer | None = None


class Seat(OfKnownHandlers, ChatAgentContainer):
    """An agent with a context has one turn at a time; a `StatelessAgent` answers many at once."""

    def __init__(
        self,
        group_topic: str,
        output_topic: str,
        agent: ChatAgent | Team,
        message_factory: MessageFactory,
        patience: Patience,
    ) -> None:
        super().__init__(group_topic, output_topic, agent, message_factory)
        self._patience = replace(patience, seconds=None) if isinstance(agent, UserProxyAgent) else patience
        self._one_at_a_time = asyncio.Lock()
        self._is_asked = False  # whether a turn is under way
        self._before: Mapping[str, Any] | None = None  # the agent's state before that turn, where it can be had
        self._answered: TurnAnswer | None = None

    @rpc
    async def handle_turn(self, message: TurnRequest, ctx: MessageContext) -> TurnAnswer:
        try:
            if isinstance(self._agent, StatelessAgent):
                return await self._answer(message, ctx.cancellation_token)
            async with self._one_at_a_time:
                return await self._answer_from_context(message, ctx.cancellation_token)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # an agent that cannot even be reset is no reason to end the debate
            return _failed(message, error, 1)

    async def _answer_from_context(self, request: TurnRequest, token: CancellationToken) -> TurnAnswer:
        if self._answered is not None and self._answered.is_to(request):
            return self._answered  # it was given and did not arrive
        if request.turn.role == "debater" and request.turn.round == 1:
            await self._forget(token)  # openings are independent, of earlier debates too
        elif request.turn.role not in ("debater", "voter"):
            await self._forget(token)  # who serves all debaters judges each reply for itself
        with contextlib.suppress(Exception):  # an agent whose state cannot be had is asked once and not again
            self._before = await self._agent.save_state()
        self._is_asked = True
        try:
            self._answered = await self._answer(request, token)
        finally:
            self._is_asked, self._before = False, None
        return self._answered

    @rpc
    async def handle_pause(  # type: ignore[override]  # mypy compares the handlers' classes, not their signatures
        self, message: GroupChatPause, ctx: MessageContext
    ) -> None:
        if not isinstance(self._agent, Team):
            await self._agent.on_pause(ctx.cancellation_token)
        elif self._is_asked:  # a team that is not running cannot be paused
            await self._agent.pause()

    @rpc
    async def handle_resume(  # type: ignore[override]  # as above
        self, message: GroupChatResume, ctx: MessageContext
    ) -> None:
        if not isinstance(self._agent, Team):
            await self._agent.on_resume(ctx.cancellation_token)
        elif self._is_asked:
            await self._agent.resume()

    async def _answer(self, request: TurnRequest, token: CancellationToken) -> TurnAnswer:
        attempt = 1
        while True:
            began = time.monotonic()
            try:
                with trace_invoke_agent_span(
                    self._agent.name,
                    parent=trace.get_current_span(propagate.extract(request.trace)),
                    agent_description=self._agent.description,
                    agent_id=str(self.id),
                ):
                    answer = await self._ask_in_time(request, token)
                seconds = round(time.monotonic() - began, 3)
                return answer.model_copy(update={"attempts": attempt, "seconds": seconds})
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # whatever an agent raises, the debate goes on without this reply
                failure = error
            restored = await self._restore()
            task = asyncio.current_task()
            if token.is_cancelled() or (task is not None and task.cancelling()):
                raise asyncio.CancelledError from failure
            if attempt > self._patience.retries or not restored:
                return _failed(request, failure, attempt)
            await _sleep(self._patience.backoff * 2 ** (attempt - 1), token)
            attempt += 1

    async def _ask_in_time(self, request: TurnRequest, token: CancellationToken) -> TurnAnswer:
        """Ask; the agent gets a token of its own, so that its time limit cancels nobody else."""
        own, cancelled = CancellationToken(), asyncio.get_running_loop().create_future()
        asking = asyncio.ensure_future(self._ask(request, own))
        token.link_future(cancelled)
        try:
            waited_for = {asking, cancelled}
            await asyncio.wait(waited_for, timeout=self._patience.seconds, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            if cancelled.done():
                raise asyncio.CancelledError
            raise TimeoutError(f"no reply within {self._patience.seconds:g} seconds")
        finally:
            cancelled.cancel()
            if not asking.done():
                own.cancel()
                asking.cancel()
                if isinstance(self._agent, Team):
                    abort(self._agent)
                await asyncio.wait({asking}, timeout=_GRACE_SECONDS)

    async def _ask(self, request: TurnRequest, token: CancellationToken) -> TurnAnswer:
        agent, prompt = self._agent, TextMessage(content=request.turn.prompt, source=request.asker)
        if isinstance(agent, UserProxyAgent):  # what a human is asked is to be seen
            await self._log_message(TurnAsked(source=agent.name, turn=request.turn))
        said: BaseChatMessage | None = None
        seen: list[BaseAgentEvent | BaseChatMessage] = []
        counted: list[BaseAgentEvent | BaseChatMessage] = []
        tools, thoughts = _Tools(), list[str]()
        stream = (
            agent.run_stream(task=[prompt], cancellation_token=token, output_task_messages=False)
            if isinstance(agent, Team)
            else agent.on_messages_stream([prompt], token)
        )
        async for item in stream:
            match item:
                case Response():
                    said, counted = item.chat_message, [*(item.inner_messages or ()), item.chat_message]
                case TaskResult():
                    chat = [message for message in item.messages if isinstance(message, BaseChatMessage)]
                    said, counted = (chat[-1] if chat else None), list(item.messages)
                case _:
                    tools.see(item)
                    if isinstance(item, ThoughtEvent):
                        thoughts.append(storable(item.content))
                    seen.append(_from_inside(item))
                    await self._log_message(seen[-1])
        if said is None:
            raise RuntimeError(f"expected a reply from {agent.name!r}, its stream ended without one")
        used, shown = _usage_of(counted), _usage_of(seen)
        return TurnAnswer(
            debate=request.debate,
            stage=request.stage,
            place=request.place,
            text=said.to_model_text(),
            speaker=said.source if said.source != agent.name else None,
            tools=tools.used_by(said.source),
            composed=isinstance(said, ToolCallSummaryMessage),
            thought="\n\n".join(thoughts) or None,
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            unseen=RequestUsage(
                prompt_tokens=max(0, used.prompt_tokens - shown.prompt_tokens),
                completion_tokens=max(0, used.completion_tokens - shown.completion_tokens),
            )
            if seen
            else None,
        )

    async def _forget(self, token: CancellationToken) -> None:
        if isinstance(self._agent, Team):
            await self._agent.reset()
        else:
            await self._agent.on_reset(token)

    async def _restore(self) -> bool:
        """Put the agent back to where it was before the turn; whether that went well, so that it can be asked again."""
        if isinstance(self._agent, StatelessAgent):
            return True
        if self._before is None:
            return False
        try:
            if isinstance(self._agent, Team):
                renew(self._agent)
                await self._agent.reset()
            await self._agent.load_state(self._before)
        except Exception:  # its next turn shows what is left of it
            return False
        return True

    async def save_state(self) -> Mapping[str, Any]:
        """The agent's state; of a turn that is under way nothing."""
        agent = self._before if self._before is not None else await self._agent.save_state()
        return SeatState(agent=agent, answered=self._answered).model_dump()

    async def load_state(self, state: Mapping[str, Any]) -> None:
        loaded = SeatState.model_validate(state)
        self._answered = loaded.answered
        await self._agent.load_state(loaded.agent)


class _Tools:
    """Pairs the calls of tools that stream by with their results."""

    def __init__(self) -> None:
        self._steps = 0
        self._uses: dict[tuple[int, str], ToolUse] = {}  # some servers use an id again in a later step
        self._callers: dict[tuple[int, str], str] = {}

    def see(self, item: object) -> None:
        match item:
            case ToolCallRequestEvent():
                self._steps += 1
                for call in item.content:
                    self._callers[self._steps, call.id] = item.source
                    self._uses[self._steps, call.id] = ToolUse(
                        step=self._steps, id=call.id, name=call.name, arguments=storable(call.arguments)
                    )
            case ToolCallExecutionEvent():
                for result in item.content:
                    key = self._steps, result.call_id
                    if (use := self._uses.get(key)) is not None:
                        self._uses[key] = replace(use, result=storable(result.content), is_error=bool(result.is_error))
            case _:
                pass

    def used_by(self, speaker: str) -> tuple[ToolUse, ...]:
        """What the one who replied called; in a team others may have called tools too."""
        return tuple(use for key, use in self._uses.items() if self._callers[key] == speaker)


def _from_inside(item: BaseAgentEvent | BaseChatMessage) -> BaseAgentEvent | BaseChatMessage:
    """What is said on the way to a reply is for the eye: other teams must not take it for the debate's words."""
    if isinstance(item, (BaseChatMessage, *DEBATE_MESSAGES)):
        return MemberSpoke(source=item.source, content=item.to_text(), models_usage=item.models_usage)
    return item


def _usage_of(messages: Sequence[BaseAgentEvent | BaseChatMessage]) -> RequestUsage:
    usages = [message.models_usage for message in messages if message.models_usage is not None]
    return RequestUsage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
    )


async def _sleep(seconds: float, token: CancellationToken) -> None:
    sleeping = asyncio.ensure_future(asyncio.sleep(seconds))
    token.link_future(sleeping)
    await sleeping


def _failed(request: TurnRequest, error: BaseException, attempts: int) -> TurnAnswer:
    return TurnAnswer(
        debate=request.debate, stage=request.stage, place=request.place, failure=told(error), attempts=attempts
    )
