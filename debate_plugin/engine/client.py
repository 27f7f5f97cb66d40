"""The engine as an AutoGen model client: any agent can speak through it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any, Literal

from autogen_core import CancellationToken
from autogen_core.models import (
    AssistantMessage,
    ChatCompletionClient,
    ChatCompletionTokenLogprob,
    CreateResult,
    LLMMessage,
    ModelFamily,
    ModelInfo,
    RequestUsage,
    SystemMessage,
    TopLogprob,
    UserMessage,
)
from autogen_core.tools import Tool, ToolSchema
from pydantic import BaseModel

from debate_plugin.engine.engine import Engine
from debate_plugin.engine.sampling import Prompt, Sampling, TokenLogprob

_SETTINGS = tuple(setting.name for setting in fields(Sampling))


class EngineClient(ChatCompletionClient):
    """Speaks with one adapter (or as the base) and one set of sampling settings; `Engine.client` makes it.

    A seed given to the client makes the whole sequence of its replies repeatable: a reply depends on the seed, the
    prompt and how often this client was asked that prompt, not on the order in which concurrent debates ask. A seed
    given with a call makes that call repeatable.
    """

    component_type = "model"

    def __init__(self, engine: Engine, *, adapter: str | None, sampling: Sampling) -> None:
        self._engine = engine
        self.model, self.adapter, self.adapter_sha256 = engine.name, adapter, engine.adapter_sha256(adapter)
        self._sampling = sampling
        self._times_asked: Counter[bytes] = Counter()
        self._usage = RequestUsage(prompt_tokens=0, completion_tokens=0)

    async def create(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: Tool | Literal["auto", "required", "none"] = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
    ) -> CreateResult:
        """Answer a chat; `extra_create_args` takes temperature, top_p, max_tokens, stop, seed, logprobs, top_logprobs.

        Raises:
            ValueError: tools, JSON output, images or an unknown setting were asked for, or the prompt is too long.
        """
        _refuse(tools, json_output)
        return await self._answer(self._prompt(messages, extra_create_args), cancellation_token)

    async def create_stream(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: Tool | Literal["auto", "required", "none"] = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
    ) -> AsyncGenerator[str | CreateResult, None]:
        """The reply piece by piece as it is sampled, then the result; who leaves early cancels the request."""
        _refuse(tools, json_output)
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()

        def tell(piece: str | None) -> None:
            with suppress(RuntimeError):  # the event loop is closed: nobody listens
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        prompt = replace(self._prompt(messages, extra_create_args), on_text=tell)
        answering = asyncio.ensure_future(self._answer(prompt, cancellation_token))
        answering.add_done_callback(lambda _: tell(None))  # behind the pieces, which were told before
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            yield await answering
        finally:
            answering.cancel()

    def _prompt(self, messages: Sequence[LLMMessage], overrides: Mapping[str, Any] | None) -> Prompt:
        ids = self._engine.encode([_chat_message(message) for message in messages])
        return Prompt(ids=ids, sampling=self._settings(ids, overrides or {}), adapter=self.adapter)

    async def _answer(self, prompt: Prompt, token: CancellationToken | None) -> CreateResult:
        asking = asyncio.ensure_future(self._engine.answer(prompt))
        if token is not None:
            token.link_future(asking)
        try:
            completion = await asking
        finally:
            asking.cancel()
        usage = RequestUsage(prompt_tokens=len(prompt.ids), completion_tokens=completion.tokens)
        self._usage = RequestUsage(
            prompt_tokens=self._usage.prompt_tokens + usage.prompt_tokens,
            completion_tokens=self._usage.completion_tokens + usage.completion_tokens,
        )
        return CreateResult(
            finish_reason=completion.finish_reason,
            content=completion.text,
            usage=usage,
            cached=False,
            logprobs=[self._logprob(one) for one in completion.logprobs] if completion.logprobs is not None else None,
        )

    def _logprob(self, of: TokenLogprob) -> ChatCompletionTokenLogprob:
        text = self._engine.decode(of.token)
        likeliest = [
            TopLogprob(logprob=logprob, bytes=_bytes(self._engine.decode(token))) for token, logprob in of.likeliest
        ]
        return ChatCompletionTokenLogprob(
            token=text, logprob=of.logprob, top_logprobs=likeliest or None, bytes=_bytes(text)
        )

    def _settings(self, ids: tuple[int, ...], overrides: Mapping[str, Any]) -> Sampling:
        unknown = sorted(set(overrides) - set(_SETTINGS))
        if unknown:
            raise ValueError(
                f"expected settings out of {', '.join(_SETTINGS)}, got {', '.join(unknown)}; the engine knows no others"
            )
        changes = dict(overrides)
        if isinstance(changes.get("stop"), str):
            changes["stop"] = (changes["stop"],)
        elif "stop" in changes:
            changes["stop"] = tuple(changes["stop"] or ())
        sampling = replace(self._sampling, **changes)
        if "seed" in changes or sampling.seed is None:
            return sampling
        asked = hashlib.sha256(repr(ids).encode()).digest()
        self._times_asked[asked] += 1
        return replace(sampling, seed=f"{sampling.seed}/{asked.hex()}/{self._times_asked[asked]}")

    async def close(self) -> None:
        """The engine is shared and stays open; whoever loaded it closes it."""

    def _to_config(self) -> BaseModel:
        raise ValueError(
            "an engine's client cannot be written as data, since its model lives in this process; "
            "write the team with a client of a server, or build it anew"
        )

    def actual_usage(self) -> RequestUsage:
        return self._usage

    def total_usage(self) -> RequestUsage:
        return self._usage

    def count_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()) -> int:
        return len(self._engine.encode([_chat_message(message) for message in messages]))

    def remaining_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()) -> int:
        return self._engine.context_tokens - self.count_tokens(messages, tools=tools)

    @property
    def capabilities(self) -> ModelInfo:  # AutoGen's deprecated name for `model_info`
        return self.model_info

    @property
    def model_info(self) -> ModelInfo:
        return ModelInfo(
            vision=False,
            function_calling=False,
            json_output=False,
            family=ModelFamily.UNKNOWN,
            structured_output=False,
            multiple_system_messages=False,
        )


def _bytes(token: str) -> list[int] | None:
    """The token's bytes, where they are a text of their own."""
    return list(token.encode()) if "\ufffd" not in token else None


def _refuse(tools: Sequence[Tool | ToolSchema], json_output: bool | type[BaseModel] | None) -> None:
    if tools:
        raise ValueError("the in-process engine calls no tools; use an OpenAI-compatible server for tool agents")
    if json_output:
        raise ValueError("the in-process engine has no JSON mode; use an OpenAI-compatible server for that")


def _chat_message(message: LLMMessage) -> dict[str, str]:
    if isinstance(message, SystemMessage):
        return {"role": "system", "content": message.content}
    if isinstance(message, UserMessage) and isinstance(message.content, str):
        return {"role": "user", "content": message.content}
    if isinstance(message, AssistantMessage) and isinstance(message.content, str):
        return {"role": "assistant", "content": message.content}
    raise ValueError(f"expected text messages, got {type(message).__name__} with other content; the engine reads text")
