"""Many requests to models, asked together: what is asked, who answers, and the plain way, all at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from autogen_core.models import ChatCompletionClient, CreateResult, LLMMessage

from debate_plugin.errors import told


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
    """Asks every request's own client, so many at the same time; all where no limit is set."""

    def __init__(self, at_once: int | None = None) -> None:
        self._at_once = at_once

    async def answers(self, requests: Sequence[Request]) -> list[CreateResult | Exception]:
        """One answer to each request, in their order; a cancelled call cancels what is under way."""
        places = asyncio.Semaphore(self._at_once or max(len(requests), 1))
        return list(await asyncio.gather(*(_answer(request, places) for request in requests)))


async def _answer(request: Request, places: asyncio.Semaphore) -> CreateResult | Exception:
    async with places:
        try:
            return await request.client.create(request.messages)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return RuntimeError(told(error))  # the client gave up, nobody told us to
        except Exception as error:
            return error
