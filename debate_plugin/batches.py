"""Many requests to models, asked together: what is asked, who answers, and the plain way, all at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from autogen_core.models import ChatCompletionClient, CreateResult, LLMMessage


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one model is asked."""

    id: str  # the same after a restart; unique in a run; at most 64 characters
    client: ChatCompletionClient  # whose model and settings are meant
    messages: tuple[LLMMessage, ...]


class Batches(Protocol):
    """Answers many requests."""

    async def answers(self, requests: Sequence[Request]) -> list[CreateResult | Exception]:
        """One answer to each request, in their order; what one request ran into is its answer."""


class Live:
    """Asks every request's own client, all at the same time."""

    async def answers(self, requests: Sequence[Request]) -> list[CreateResult | Exception]:
        """One answer to each request, in their order; a cancelled call cancels what is under way."""
        return list(await asyncio.gather(*map(_answer, requests)))


async def _answer(request: Request) -> CreateResult | Exception:
    try:
        return await request.client.create(request.messages)
    except Exception as error:
        return error
