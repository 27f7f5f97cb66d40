"""One request under way: tokens come in, text goes out, a stop string or the end token ends it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Literal

from debate_plugin.engine.sampling import Completion, Prompt, TokenLogprob

_UNFINISHED = "\ufffd"  # how a character is shown of which tokens are still to come


class Row:
    """A row of a batch; it is over when its future is done: completed, failed, or cancelled by whoever waits for it.

    Its random numbers come from its own seed, so what it says does not depend on who shares the batch with it (up to
    the rounding of floating-point sums).
    """

    def __init__(self, prompt: Prompt, *, tokenizer: Any, context_tokens: int, result: Future[Completion]) -> None:
        self.prompt = prompt
        self.result = result
        self.ids: list[int] = []
        self.random = random.Random(prompt.sampling.seed)
        self._tokenizer = tokenizer
        self._limit = min(prompt.sampling.max_tokens, context_tokens - len(prompt.ids))
        self._logprobs: list[TokenLogprob] = []
        self._shown = 0  # characters

    def take(self, token: int, logprob: TokenLogprob | None, *, is_end: bool) -> None:
        """One more token; whatever goes wrong with it is this request's alone."""
        try:
            self.ids.append(token)
            if logprob is not None:
                self._logprobs.append(logprob)
            if is_end or self._is_stopped() or len(self.ids) >= self._limit:
                self._complete(is_end)
            elif self.prompt.on_text is not None:
                self._show(_certain(self._text(), self.prompt.sampling.stop))
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        with suppress(InvalidStateError):  # nobody waits any more
            self.result.set_exception(error)

    def _is_stopped(self) -> bool:
        stops = self.prompt.sampling.stop
        if not stops:
            return False
        # Looked for at the end alone: decoding the whole reply at every token would be quadratic.
        tail = self._decoded(self.ids[-(max(map(len, stops)) + 8) :])
        return any(stop in tail for stop in stops)

    def _complete(self, is_end: bool) -> None:
        text = self._text()
        cuts = [text.index(stop) for stop in self.prompt.sampling.stop if stop in text]
        text = text[: min(cuts)] if cuts else text
        finish_reason: Literal["stop", "length"] = "stop" if cuts or is_end else "length"
        if self.prompt.on_text is not None:
            self._show(text)
        logprobs = tuple(self._logprobs) if self.prompt.sampling.logprobs else None
        with suppress(InvalidStateError):
            self.result.set_result(
                Completion(text=text, tokens=len(self.ids), finish_reason=finish_reason, logprobs=logprobs)
            )

    def _show(self, text: str) -> None:
        if len(text) > self._shown and self.prompt.on_text is not None:
            piece, self._shown = text[self._shown :], len(text)
            self.prompt.on_text(piece)

    def _text(self) -> str:
        return self._decoded(self.ids)

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


def _certain(text: str, stops: Sequence[str]) -> str:
    """The text without an end that further tokens may change: half a character, or what may become a stop string."""
    text = text.rstrip(_UNFINISHED)
    held = max(
        (length for stop in stops for length in range(1, len(stop)) if text.endswith(stop[:length])),
        default=0,
    )
    return text[: len(text) - held]
