"""An agent that answers each message on its own and remembers nothing: summarizer, cleaner and judge are such agents.

Requests may overlap: a stage asks one summarizer for the digests of all debaters at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.base import Response
from autogen_agentchat.messages import BaseChatMessage, TextMessage, ThoughtEvent
from autogen_core import CancellationToken, Component, ComponentModel
from autogen_core.models import ChatCompletionClient, SystemMessage, UserMessage
from pydantic import BaseModel


class StatelessAgentConfig(BaseModel):
    name: str
    model_client: ComponentModel
    system_message: str
    description: str


class StatelessAgent(BaseChatAgent, Component[StatelessAgentConfig]):
    """Answers the messages it is given with its model, knowing only its system message."""

    component_config_schema = StatelessAgentConfig
    component_provider_override = "debate_plugin.stateless_agent.StatelessAgent"

    def __init__(self, name: str, model_client: ChatCompletionClient, *, system_message: str, description: str) -> None:
        super().__init__(name, description=description)
        self.system_message = system_message
        self._model_client = model_client

    @property
    def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
        return (TextMessage,)

    async def on_messages(self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken) -> Response:
        """Answer the messages, taken together as one user turn.

        Raises:
            ValueError: the model answered with something that is not text.
        """
        prompt = "\n\n".join(message.to_model_text() for message in messages)
        result = await self._model_client.create(
            [SystemMessage(content=self.system_message), UserMessage(content=prompt, source="user")],
            cancellation_token=cancellation_token,
        )
        if not isinstance(result.content, str):
            raise ValueError(
                f"expected text from the model of {self.name!r}, got a tool call; a StatelessAgent has no tools"
            )
        return Response(
            chat_message=TextMessage(content=result.content, source=self.name, models_usage=result.usage),
            inner_messages=[ThoughtEvent(content=result.thought, source=self.name)] if result.thought else None,
        )

    async def on_reset(self, cancellation_token: CancellationToken) -> None:
        """Nothing is remembered, so there is nothing to forget."""

    def _to_config(self) -> StatelessAgentConfig:
        return StatelessAgentConfig(
            name=self.name,
            model_client=self._model_client.dump_component(),
            system_message=self.system_message,
            description=self.description,
        )

    @classmethod
    def _from_config(cls, config: StatelessAgentConfig) -> Self:
        return cls(
            config.name,
            ChatCompletionClient.load_component(config.model_client),
            system_message=config.system_message,
            description=config.description,
        )
