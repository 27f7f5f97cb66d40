"""What an OpenAI client of AutoGen sends for messages, and what it makes of a response; no server is asked.

The client itself does both, over a connection of ours: whatever it does with settings, tools, names, thoughts and
log probabilities is done here in the same way.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from typing import Any

from autogen_core.models import ChatCompletionClient, CreateResult, LLMMessage

from debate_plugin._autogen import connected, count_usage
from debate_plugin.errors import InputError, needs

with needs("openai"):
    import openai
    from autogen_ext.models.openai import BaseOpenAIChatCompletionClient

# openai 3 has changed its HTTP package: the one that its own client is made from is the one to answer with.
_http: Any = importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])


class Wire:
    """Takes the requests of clients and hands them responses, one at a time."""

    def __init__(self) -> None:
        self._transport = _Transport()
        # Not trusting the environment keeps proxies from being put between the client and us.
        self._http = openai.DefaultAsyncHttpxClient(transport=self._transport, trust_env=False)
        self._connected: dict[int, tuple[ChatCompletionClient, ChatCompletionClient]] = {}

    async def body(self, client: ChatCompletionClient, messages: Sequence[LLMMessage]) -> dict[str, Any]:
        """The body of the request.

        Raises:
            InputError: it is no client of OpenAI's API.
            Exception: whatever the client raises before it sends anything.
        """
        self._transport.response, self._transport.body = None, None
        try:
            await self._double(client).create(messages)
        except openai.OpenAIError:
            if self._transport.body is None:
                raise
        body: dict[str, Any] = json.loads(self._transport.body or b"{}")
        body.pop("stream", None)  # false; a batch has no such choice
        return body

    async def result(
        self, client: ChatCompletionClient, messages: Sequence[LLMMessage], status: int, body: Any
    ) -> CreateResult:
        """What the client makes of a response; its usage is counted as the client's.

        Raises:
            Exception: whatever the client raises at such a response.
        """
        self._transport.response = _http.Response(status, json=body)
        result = await self._double(client).create(messages)
        count_usage(client, result.usage)
        return result

    def _double(self, client: ChatCompletionClient) -> ChatCompletionClient:
        if not isinstance(client, BaseOpenAIChatCompletionClient):
            raise InputError(
                f"expected an OpenAIChatCompletionClient, a batch was to ask a {type(client).__name__}; ask it live"
            )
        if id(client) not in self._connected:
            # The client is kept too: another one made later could have its id.
            self._connected[id(client)] = client, connected(client, self._http)
        return self._connected[id(client)][1]


class _Transport(_http.AsyncBaseTransport):  # type: ignore[misc]  # of a package that is known at run time only
    """Keeps the body of a request; answers with the response that lies ready, or not at all."""

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.response: Any = None

    async def handle_async_request(self, request: Any) -> Any:
        self.body = await request.aread()
        if self.response is None:
            raise openai.OpenAIError("taken")
        return self.response
