"""A seat at the table: asks its agent one turn at a time and reports what came back, a failure included.

Unlike the stock container it hears no group topic (contexts stay private, traffic grows with the edges alone), and an
agent that raises abstains instead of ending the debate.
"""

from __future__ import annotations

import asyncio
import re

from autogen_agentchat.base import ChatAgent, Response
from autogen_agentchat.messages import TextMessage
from autogen_core import CancellationToken, DefaultTopicId, MessageContext, event
from pydantic import BaseModel

from debate_plugin._autogen import ChatAgentContainer
from debate_plugin.turns import Turn


class TurnRequest(BaseModel):
    """Ask the seat's agent for one turn of a stage."""

    stage: int
    place: int  # of the turn in its stage
    turn: Turn
    asker: str


class TurnAnswer(BaseModel):
    """What came back: a text, or why there is none."""

    stage: int
    place: int
    text: str = ""
    failure: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Seat(ChatAgentContainer):
    """Requests are not queued: an agent has one turn a stage, save the stateless ones, which answer many at once."""

    @event
    async def handle_turn(self, message: TurnRequest, ctx: MessageContext) -> None:
        try:
            answer = await self._ask(message, ctx.cancellation_token)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if ctx.cancellation_token.is_cancelled() or (task is not None and task.cancelling()):
                raise
            answer = _failed(message, error)  # the agent's own doing: nobody cancelled the debate
        except Exception as error:  # whatever an agent raises, the debate goes on without this reply
            answer = _failed(message, error)
        await self.publish_message(
            answer,
            topic_id=DefaultTopicId(type=self._parent_topic_type),
            cancellation_token=ctx.cancellation_token,
        )

    async def _ask(self, request: TurnRequest, token: CancellationToken) -> TurnAnswer:
        agent = self._agent
        if not isinstance(agent, ChatAgent):
            raise TypeError(f"expected a ChatAgent at the seat of {agent.name!r}, got {type(agent).__name__}")
        turn = request.turn
        if turn.role == "debater" and turn.round == 1:
            await agent.on_reset(token)  # openings are independent, of earlier debates too
        prompt = TextMessage(content=turn.prompt, source=request.asker)
        response: Response | None = None
        async for item in agent.on_messages_stream([prompt], token):
            if isinstance(item, Response):
                response = item
            else:
                await self._log_message(item)
        if response is None:
            raise RuntimeError(f"expected a response from {agent.name!r}, its stream ended without one")
        usages = [
            message.models_usage
            for message in (*(response.inner_messages or ()), response.chat_message)
            if message.models_usage is not None
        ]
        return TurnAnswer(
            stage=request.stage,
            place=request.place,
            text=response.chat_message.to_model_text(),
            prompt_tokens=sum(usage.prompt_tokens for usage in usages),
            completion_tokens=sum(usage.completion_tokens for usage in usages),
        )


# Providers quote keys in their errors, and transcripts are passed around.
_SECRET = re.compile(r"(?i)\b(sk-|bearer\s+)[\w.*-]{4,}")


def _failed(request: TurnRequest, error: BaseException) -> TurnAnswer:
    """Type and first line of what was raised, without keys."""
    first_line = str(error).strip().partition("\n")[0][:300]
    reason = _SECRET.sub("[redacted]", f"{type(error).__name__}: {first_line}")
    return TurnAnswer(stage=request.stage, place=request.place, failure=reason)
