"""A debate as one agent, for whatever takes agents and no teams: `GraphFlow`, `Swarm`, handoffs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Self

from autogen_agentchat.base import Response, TaskResult
from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage, TextMessage
from autogen_core import CancellationToken, Component, ComponentModel
from pydantic import BaseModel

from debate_plugin.streaming_agent import StreamingAgent
from debate_plugin.team import DebateTeam


class DebateAgentConfig(BaseModel):
    team: ComponentModel


class DebateAgent(StreamingAgent, Component[DebateAgentConfig]):
    """Debates the messages it is given, taken together as one question, and answers with the debate's final answer.

    The debate's events stream by; a team that shows them needs `custom_message_types=list(DEBATE_MESSAGES)`.
    """

    component_config_schema = DebateAgentConfig
    component_provider_override = "debate_plugin.debate_agent.DebateAgent"

    def __init__(self, team: DebateTeam) -> None:
        super().__init__(team.name, description=team.description)
        self.team = team

    @property
    def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
        return (TextMessage,)

    async def on_messages_stream(
        self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
    ) -> AsyncGenerator[BaseAgentEvent | BaseChatMessage | Response, None]:
        stream = self.team.run_stream(
            task=list(messages) or None, cancellation_token=cancellation_token, output_task_messages=False
        )
        async for item in stream:
            match item:
                case TaskResult():
                    events = [message for message in item.messages if isinstance(message, BaseAgentEvent)]
                    final = TextMessage(content=item.messages[-1].to_text(), source=self.name)
                    yield Response(chat_message=final, inner_messages=events)
                case BaseAgentEvent():
                    yield item
                case _:
                    pass  # the final answer, which the response holds

    async def on_reset(self, cancellation_token: CancellationToken) -> None:
        await self.team.reset()

    async def on_pause(self, cancellation_token: CancellationToken) -> None:
        await self.team.pause()

    async def on_resume(self, cancellation_token: CancellationToken) -> None:
        await self.team.resume()

    async def save_state(self) -> Mapping[str, Any]:
        return await self.team.save_state()

    async def load_state(self, state: Mapping[str, Any]) -> None:
        await self.team.load_state(state)

    def _to_config(self) -> DebateAgentConfig:
        return DebateAgentConfig(team=self.team.dump_component())

    @classmethod
    def _from_config(cls, config: DebateAgentConfig) -> Self:
        return cls(DebateTeam.load_component(config.team))
