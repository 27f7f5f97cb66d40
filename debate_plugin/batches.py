"""Many chat requests answered together: what plays debates in lockstep asks, and who answers live."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from autogen_core.models import ChatCompletionClient, CreateResult, LLMMessage


@dataclass(frozen=True, kw_only=True)
class Request:
    """One chat to be answered."""

    id: str  # the same after a restart; unique in a run; at most 64 characters
    client: ChatCompletionClient  # whose model and settings are meant
    messages: tuple[LLMMessage, ...]


class Batches(Protocol):
    """Whoever answers many requests together."""

    async def answers(self, requests: Sequence[Request]) -> list[CreateResult | Exception]:
        """One answer to each request, in their order; what one request ran into is its answer."""
        ...


class Live:
    """Asks each request's own client, all at the same time; the in-process engine makes batches of them."""

    async def answers(self, requests: Sequence[Request]) -> list[CreateResult | Exception]:
        """One answer to each request, in their order; what one request ran into is its answer."""
        asked = [request.client.create(request.messages) for request in requests]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                raise answer
        return [answer for answer in answers if not isinstance(answer, BaseException) or isinstance(answer, Exception)]
