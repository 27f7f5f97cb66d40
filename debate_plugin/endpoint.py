"""What work of hours on an OpenAI-style server needs: patience, nothing made twice, and its errors as ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from debate_plugin.errors import InputError, RunError, needs, told

with needs("openai"):
    from openai import APIConnectionError, APIStatusError, OpenAIError

_PATIENCE = 10  # failed looks or attempts in a row
_T = TypeVar("_T")


def passes(error: OpenAIError) -> bool:
    """Whether the same request may succeed later; otherwise it was refused."""
    if isinstance(error, APIStatusError):
        # An empty account answers like a busy server, and stays so.
        return error.code != "insufficient_quota" and (error.status_code in (408, 409, 429) or error.status_code >= 500)
    return isinstance(error, APIConnectionError)


async def polled(look: Callable[[], Awaitable[_T]], is_over: Callable[[_T], bool], *, seconds: float) -> _T:
    """Look again and again until it is over; a look that fails for a reason that passes is passed over."""
    failed = 0
    while True:
        try:
            seen = await look()
        except OpenAIError as error:
            failed += 1
            if not passes(error) or failed > _PATIENCE:
                raise
        else:
            failed = 0
            if is_over(seen):
                return seen
        await asyncio.sleep(seconds)


async def made_once(
    make: Callable[[], Awaitable[_T]], find: Callable[[], Awaitable[_T | None]], *, seconds: float
) -> _T:
    """Make what is paid for; where the answer got lost, it is looked for before it is made again.

    `make` must not try again by itself (`max_retries=0`): it could not tell that it had been heard.
    """
    failed = 0
    while True:
        try:
            return await make()
        except OpenAIError as error:
            failed += 1
            if not passes(error) or failed > _PATIENCE:
                raise
        await asyncio.sleep(seconds)
        found = await polled(find, lambda _: True, seconds=seconds)
        if found is not None:
            return found


@contextmanager
def errors_of_server(what: str) -> Iterator[None]:
    """Around calls of a server.

    Raises:
        InputError: the server refused what it was asked.
        RunError: it failed, or was not to be reached.
    """
    try:
        yield
    except OpenAIError as error:
        if isinstance(error, APIStatusError) and not passes(error):
            raise InputError(f"expected the server to take {what}, it refused: {told(error)}") from error
        raise RunError(
            f"the server failed at {what} ({told(error)}); run the same again, it goes on from here"
        ) from error
