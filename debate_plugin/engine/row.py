"""One request under way: tokens come in, text goes out, a stop string or the end token ends it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Literal

from debate_plugin.engine.sampling import Completion, Prompt, TokenLogprob
from debate_plugin.errors import told

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
        self._shown = 0  # characters of the reply
        self._held = ""  # text that is certain, and not shown since it may become a stop string
        self._read_from = self._read_to = 0  # tokens of which the text is certain, from the last piece on

    def take(self, token: int, logprob: TokenLogprob | None, *, is_end: bool) -> None:
        """One more token; whatever goes wrong with it is this request's alone."""
        try:
            self.ids.append(token)
            if logprob is not None:
                self._logprobs.append(logprob)
            if is_end or self._is_stopped() or len(self.ids) >= self._limit:
                self._complete(is_end)
            elif self.prompt.on_text is not None:
                self._stream()
        except BaseException as error:  # the callback is anybody's code, and the thread is everybody's
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        if not isinstance(error, Exception):  # SystemExit would end the event loop of whoever waits
            error = RuntimeError(told(error))
        with suppress(InvalidStateError):  # nobody waits any more
            self.result.set_exception(error)

    def _is_stopped(self) -> bool:
        stops = self.prompt.sampling.stop
        if not stops:
            return False
        # Looked for at the end alone: decoding the whole reply at every token would be quadratic.
        tail = self._decoded(self.ids[-(max(len(stop.encode()) for stop in stops) + 8) :])  # a token is a byte or more
        return any(stop in tail for stop in stops)

    def _complete(self, is_end: bool) -> None:
        text = self._text()
        cuts = [text.index(stop) for stop in self.prompt.sampling.stop if stop in text]
        text = text[: min(cuts)] if cuts else text
        finish_reason: Literal["stop", "length"] = "stop" if cuts or is_end else "length"
        self._show(text[self._shown :])
        logprobs = tuple(self._logprobs) if self.prompt.sampling.logprobs else None
        with suppress(InvalidStateError):
            self.result.set_result(
                Completion(text=text, tokens=len(self.ids), finish_reason=finish_reason, logprobs=logprobs)
            )

    def _stream(self) -> None:
        """Show what no further token can change; only the last tokens are decoded for it."""
        certain = self._decoded(self.ids[self._read_from : self._read_to])
        text = self._decoded(self.ids[self._read_from :])
        if len(text) <= len(certain) or text.endswith(_UNFINISHED):
            return
        self._read_from, self._read_to = self._read_to, len(self.ids)
        self._held += text[len(certain) :]
        safe = len(self._held) - _may_become(self._held, self.prompt.sampling.stop)
        piece, self._held = self._held[:safe], self._held[safe:]
        self._show(piece)

    def _show(self, piece: str) -> None:
        if piece and self.prompt.on_text is not None:
            self._shown += len(piece)
            self.prompt.on_text(piece)

    def _text(self) -> str:
        return self._decoded(self.ids)

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


def _may_become(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end may be the beginning of a stop string."""
    return max((n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
