"""What is asked of the model and what comes back; and how a token is chosen from the model's logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

_COLD = 1e-5  # temperatures below are greedy: logits divided by less overflow
MOST_LIKELIEST = 20  # as in the OpenAI chat API


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Settings of one request, named as in the OpenAI chat API."""

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    seed: int | str | None = None  # None draws a new one
    logprobs: bool = False
    top_logprobs: int = 0  # the likeliest tokens at each place, with their log-probabilities; wants `logprobs`

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"expected a temperature of 0 or more, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"expected top_p above 0 and at most 1, got {self.top_p}")
        if "" in self.stop:
            raise ValueError("expected stop strings with characters in them, got an empty one")
        if self.max_tokens < 1:
            raise ValueError(f"expected max_tokens of at least 1, got {self.max_tokens}")
        if not 0 <= self.top_logprobs <= MOST_LIKELIEST:
            raise ValueError(f"expected top_logprobs from 0 to {MOST_LIKELIEST}, got {self.top_logprobs}")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("expected logprobs=True with top_logprobs, as in the OpenAI API; set it")


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One request."""

    ids: tuple[int, ...]
    sampling: Sampling
    adapter: str | None = None  # that speaks, by name; None is the base
    # Told each piece of the reply, in the engine's thread: it must be quick, and not ask the engine for anything.
    on_text: Callable[[str], None] | None = None


@dataclass(frozen=True, kw_only=True)
class TokenLogprob:
    """A sampled token and its log-probability (natural) under the model, before temperature and top_p."""

    token: int
    logprob: float
    likeliest: tuple[tuple[int, float], ...] = ()  # tokens and their log-probabilities, the likeliest first


@dataclass(frozen=True, kw_only=True)
class Completion:
    text: str
    tokens: int  # sampled, the end token included
    finish_reason: Literal["stop", "length"]
    logprobs: tuple[TokenLogprob, ...] | None = None  # one a token, where asked for


class Chooser:
    """Chooses a token a row: the likeliest at temperature 0, else by inverting the cumulated probabilities."""

    def __init__(self, settings: Sequence[Sampling], device: Any) -> None:
        cold = [setting.temperature < _COLD for setting in settings]
        self._is_greedy = all(cold)
        self._cold = torch.tensor(cold, device=device)
        self._temperature = torch.tensor(
            [1.0 if setting.temperature < _COLD else setting.temperature for setting in settings], device=device
        )[:, None]
        self._is_whole = all(setting.top_p == 1 for setting in settings)
        self._top_p = torch.tensor([setting.top_p for setting in settings], device=device)[:, None]

    def __call__(self, logits: torch.Tensor, draws: Callable[[], Sequence[float]]) -> torch.Tensor:
        """Tokens, shape (rows,), of logits (rows, vocabulary) and a number from [0, 1) for each row."""
        greedy = logits.argmax(dim=-1)
        if self._is_greedy:
            return greedy
        probabilities = torch.softmax(logits / self._temperature, dim=-1)
        if not self._is_whole:
            ordered, order = probabilities.sort(dim=-1, descending=True)
            before = ordered.cumsum(dim=-1) - ordered
            ordered = ordered.masked_fill(before >= self._top_p, 0.0)
            probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered)
        cumulated = probabilities.cumsum(dim=-1)
        total = cumulated[:, -1:]
        # A draw may round up to 1: it must not fall behind the last token that has any probability.
        below_total = torch.nextafter(total, torch.zeros_like(total))
        threshold = torch.minimum(torch.tensor(draws(), device=logits.device)[:, None] * total, below_total)
        sampled = torch.searchsorted(cumulated, threshold, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)
        return torch.where(self._cold, greedy, sampled)
