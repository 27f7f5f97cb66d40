"""A pair that shares a chair: the generator opens, the critic rebuts (Multiagent Finetuning 2025, section 3).

The critic is shown the generator's opening as its own earlier answer, so the two may be fine-tuned apart and still
speak as one debater.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Self

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import Response
from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage
from autogen_core import CancellationToken, Component, ComponentModel
from autogen_core.models import AssistantMessage
from pydantic import BaseModel

from debate_plugin.streaming_agent import StreamingAgent


class PairConfig(BaseModel):
    name: str
    generator: ComponentModel
    critic: ComponentModel


class PairState(BaseModel):
    opened: bool
    generator: Mapping[str, Any]
    critic: Mapping[str, Any]


class Pair(StreamingAgent, Component[PairConfig]):
    """Two `AssistantAgent`s as one debater; whoever said a reply is its `speaker` in the transcript.

    Raises:
        ValueError: the two share a name with each other or with the pair.
    """

    component_config_schema = PairConfig
    component_provider_override = "debate_plugin.pair.Pair"

    def __init__(self, name: str, *, generator: AssistantAgent, critic: AssistantAgent) -> None:
        if len({name, generator.name, critic.name}) < 3:
            raise ValueError(
                f"expected different names for a pair, its generator and its critic, got {name!r}, {generator.name!r} "
                f"and {critic.name!r}"
            )
        super().__init__(name, description=f"{generator.name} opens, {critic.name} rebuts.")
        self.generator, self.critic = generator, critic
        self._opened = False

    @property
    def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
        return (*self.generator.produced_message_types, *self.critic.produced_message_types)

    async def on_messages_stream(
        self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
    ) -> AsyncGenerator[BaseAgentEvent | BaseChatMessage | Response, None]:
        speaker = self.critic if self._opened else self.generator
        async for item in speaker.on_messages_stream(messages, cancellation_token):
            if isinstance(item, Response) and not self._opened:
                await self._hand_over(messages, item)
            yield item

    async def _hand_over(self, asked: Sequence[BaseChatMessage], opening: Response) -> None:
        """Put the opening into the critic's context, as if it had said it itself."""
        context = self.critic.model_context
        for message in asked:
            await context.add_message(message.to_model_message())
        said = opening.chat_message.to_model_text()
        await context.add_message(AssistantMessage(content=said, source=self.critic.name))
        self._opened = True

    async def on_reset(self, cancellation_token: CancellationToken) -> None:
        self._opened = False
        await self.generator.on_reset(cancellation_token)
        await self.critic.on_reset(cancellation_token)

    async def save_state(self) -> Mapping[str, Any]:
        return PairState(
            opened=self._opened, generator=await self.generator.save_state(), critic=await self.critic.save_state()
        ).model_dump()

    async def load_state(self, state: Mapping[str, Any]) -> None:
        loaded = PairState.model_validate(state)
        self._opened = loaded.opened
        await self.generator.load_state(loaded.generator)
        await self.critic.load_state(loaded.critic)

    def _to_config(self) -> PairConfig:
        return PairConfig(
            name=self.name, generator=self.generator.dump_component(), critic=self.critic.dump_component()
        )

    @classmethod
    def _from_config(cls, config: PairConfig) -> Self:
        return cls(
            config.name,
            generator=AssistantAgent.load_component(config.generator),
            critic=AssistantAgent.load_component(config.critic),
        )
