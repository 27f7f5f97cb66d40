"""An agent that streams by nature: asked for its answer alone, it drains its own stream."""

from __future__ import annotations

from collections.abc import Sequence

from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.base import Response
from autogen_agentchat.messages import BaseChatMessage
from autogen_core import CancellationToken


class StreamingAgent(BaseChatAgent):
    """A subclass gives `on_messages_stream`; BaseChatAgent's own default goes the other way."""

    async def on_messages(self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken) -> Response:
        response: Response | None = None
        async for item in self.on_messages_stream(messages, cancellation_token):
            if isinstance(item, Response):
                response = item  # and on to the end: a stream that is left early stays open
        if response is None:
            raise RuntimeError(f"expected a response from {self.name!r}, its stream ended without one")
        return response
