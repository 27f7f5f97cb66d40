"""Batched sampling from a causal model: many prompts, each with its own settings and its own random stream.

A row's random numbers come from its own seed, so what it says does not depend on who shares the batch with it (up to
the rounding of floating-point sums).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerBase
from transformers.cache_utils import Cache

from debate_plugin.engine.cache import RoomyLayer

_COLD = 1e-5  # temperatures below are greedy: logits divided by less overflow
_READ_TOKENS = 4096  # of the prompts that are read at once
_KEEP_SHARE = 0.75  # rows are dropped from the batch when fewer than this share still speak: dropping copies the cache


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Settings of one request, named as in the OpenAI chat API."""

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    seed: int | str | None = None  # None draws a new one

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"expected a temperature of 0 or more, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"expected top_p above 0 and at most 1, got {self.top_p}")
        if "" in self.stop:
            raise ValueError("expected stop strings with characters in them, got an empty one")
        if self.max_tokens < 1:
            raise ValueError(f"expected max_tokens of at least 1, got {self.max_tokens}")


@dataclass(frozen=True, kw_only=True)
class Prompt:
    ids: tuple[int, ...]
    sampling: Sampling


@dataclass(frozen=True, kw_only=True)
class Completion:
    text: str
    tokens: int  # sampled, the end token included
    finish_reason: Literal["stop", "length"]


@dataclass
class _Row:
    place: int
    prompt: Prompt
    rng: random.Random
    limit: int
    ids: list[int] = field(default_factory=list[int])


@torch.inference_mode()
def sample(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]
) -> Iterator[tuple[int, Completion]]:
    """Sample a completion for every prompt; yields (place in `prompts`, completion) as each one ends.

    Prompts are left-padded. Equal prompts are read once.
    """
    if not prompts:
        return
    room = context_tokens(model)
    rows = [
        _Row(
            place, prompt, random.Random(prompt.sampling.seed), min(prompt.sampling.max_tokens, room - len(prompt.ids))
        )
        for place, prompt in enumerate(prompts)
    ]
    ends = _end_ids(model, tokenizer)
    logits, mask, position, cache = _read(model, tokenizer, [row.prompt.ids for row in rows])
    batch: list[_Row | None] = list(rows)  # None marks a row that has ended but still sits in the batch
    while True:
        chosen = _choose(logits, batch)
        for slot, token in enumerate(chosen.tolist()):
            row = batch[slot]
            if row is None:
                continue
            row.ids.append(token)
            completion = _completed(row, token in ends, tokenizer)
            if completion is not None:
                batch[slot] = None
                yield row.place, completion
        live = [slot for slot, row in enumerate(batch) if row is not None]
        if not live:
            return
        if len(live) <= _KEEP_SHARE * len(batch):
            keep = torch.tensor(live, device=mask.device)
            cache.batch_select_indices(keep)
            mask, position, chosen = mask[keep], position[keep], chosen[keep]
            batch = [batch[slot] for slot in live]
        mask = torch.cat([mask, mask.new_ones(len(batch), 1)], dim=1)
        position = (position + 1).clamp(max=room - 1)  # a row that ended may sit in the batch past the context's end
        logits = _next_logits(model, chosen[:, None], mask, position, cache)


def context_tokens(model: Any) -> int:
    """How many tokens prompt and reply may have together."""
    return getattr(model.config, "max_position_embeddings", None) or 1 << 30


def _read(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[tuple[int, ...]]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Cache]:
    """Run the prompts through the model; returns next-token logits (rows, vocabulary), mask, positions and cache.

    They are read by length in parts of a few thousand tokens: less of it is padding, and what a part needs stays in a
    processor's cache, which makes reading up to twice as fast.
    """
    unique = sorted(dict.fromkeys(prompts), key=len)
    width = len(unique[-1])
    pad = tokenizer.pad_token_id or 0
    parts: list[tuple[torch.Tensor, Cache, int]] = []  # logits, keys and values, padding in front of them
    start = 0
    while start < len(unique):
        stop = start + 1
        while stop < len(unique) and (stop + 1 - start) * len(unique[stop]) <= _READ_TOKENS:
            stop += 1
        ids, mask = _padded(unique[start:stop], pad, model.device)
        cache = Cache(layer_class_to_replicate=RoomyLayer)
        logits = _next_logits(model, ids, mask, (mask.cumsum(dim=1) - 1).clamp(min=0), cache)
        parts.append((logits, cache, width - ids.shape[1]))
        start = stop
    _, mask = _padded(unique, pad, model.device)
    cache = _joined(parts)
    logits = torch.cat([logits for logits, _, _ in parts])
    if unique != list(prompts):
        slot_of = {prompt: slot for slot, prompt in enumerate(unique)}
        slots = torch.tensor([slot_of[prompt] for prompt in prompts], device=model.device)
        cache.batch_select_indices(slots)
        logits, mask = logits[slots], mask[slots]
    return logits, mask, mask.sum(dim=1, keepdim=True) - 1, cache


def _padded(prompts: Sequence[tuple[int, ...]], pad: int, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids, padded on the left, and their mask, both (rows, longest)."""
    width = max(map(len, prompts))
    ids = [[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _joined(parts: Sequence[tuple[torch.Tensor, Cache, int]]) -> Cache:
    """One cache of all rows, those of shorter parts padded in front."""
    if len(parts) == 1:
        return parts[0][1]
    joined = Cache(layer_class_to_replicate=RoomyLayer)
    for number in range(len(parts[0][1].layers)):
        layers = [(cache.layers[number], padding) for _, cache, padding in parts]
        keys, values = (
            torch.cat([functional.pad(getattr(layer, name), (0, 0, padding, 0)) for layer, padding in layers])
            for name in ("keys", "values")
        )
        joined.update(keys, values, number)
    return joined


def _next_logits(
    model: Any, ids: torch.Tensor, mask: torch.Tensor, position: torch.Tensor, cache: Cache
) -> torch.Tensor:
    """Logits of the token after `ids`, shape (rows, vocabulary); the cache takes the ids in."""
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=position,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: torch.Tensor = output.logits[:, -1].float()
    return logits


def _choose(logits: torch.Tensor, batch: Sequence[_Row | None]) -> torch.Tensor:
    """One token a row, shape (rows,): the likeliest at temperature 0, else by inverting the cumulated probabilities."""
    settings = [row.prompt.sampling if row is not None else None for row in batch]
    greedy = logits.argmax(dim=-1)
    is_cold = [setting is None or setting.temperature < _COLD for setting in settings]
    if all(is_cold):
        return greedy
    temperature = [
        1.0 if setting is None or cold else setting.temperature for setting, cold in zip(settings, is_cold, strict=True)
    ]
    top_p = [setting.top_p if setting else 1.0 for setting in settings]
    draws = [row.rng.random() if row is not None else 0.0 for row in batch]
    device = logits.device
    probabilities = torch.softmax(logits / torch.tensor(temperature, device=device)[:, None], dim=-1)
    if min(top_p) < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True)
        before = ordered.cumsum(dim=-1) - ordered
        ordered = ordered.masked_fill(before >= torch.tensor(top_p, device=device)[:, None], 0.0)
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered)
    cumulated = probabilities.cumsum(dim=-1)
    total = cumulated[:, -1:]
    # A draw may round up to 1: it must not fall behind the last token that has any probability.
    below_total = torch.nextafter(total, torch.zeros_like(total))
    threshold = torch.minimum(torch.tensor(draws, device=device)[:, None] * total, below_total)
    sampled = torch.searchsorted(cumulated, threshold, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)
    return torch.where(torch.tensor(is_cold, device=device), greedy, sampled)


def _completed(row: _Row, ended: bool, tokenizer: PreTrainedTokenizerBase) -> Completion | None:
    stops = row.prompt.sampling.stop
    stopped = False
    if stops:  # looked for at the end alone: decoding the whole reply at every token would be quadratic
        tail = str(tokenizer.decode(row.ids[-(max(map(len, stops)) + 8) :], skip_special_tokens=True))
        stopped = any(stop in tail for stop in stops)
    if not (stopped or ended or len(row.ids) >= row.limit):
        return None
    text = str(tokenizer.decode(row.ids, skip_special_tokens=True))
    cuts = [text.index(stop) for stop in stops if stop in text]
    return Completion(
        text=text[: min(cuts)] if cuts else text,
        tokens=len(row.ids),
        finish_reason="stop" if cuts or ended else "length",
    )


def _end_ids(model: Any, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [*ids, tokenizer.eos_token_id] if isinstance(token, int))
