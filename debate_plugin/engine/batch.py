"""A batch under way: rows come in at any time, each step gives every row a token, rows that are over leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import torch
from transformers.cache_utils import Cache

from debate_plugin.engine.adapters import Adapters, Voices
from debate_plugin.engine.cache import joined, keep, roomy
from debate_plugin.engine.row import Row
from debate_plugin.engine.sampling import Chooser, Completion, Prompt, TokenLogprob

_READ_TOKENS = 4096  # of the prompts that are read at once
_KEEP_SHARE = 0.75  # rows are dropped from the batch when fewer than this share still speak: dropping copies the cache
_SHARED_TOKENS = 16  # a shared beginning shorter than this is read with each prompt

_Key = tuple[str | None, tuple[int, ...]]
"""Who reads, and what: rows with the same key are read once."""


class Batch:
    """Prompts are padded on the left; every row has settings, a random stream and an adapter of its own."""

    def __init__(self, model: Any, tokenizer: Any, adapters: Adapters) -> None:
        self._model = model
        self._pad = tokenizer.pad_token_id or 0
        self._adapters = adapters
        self._room = context_tokens(model)
        self._ends = _end_ids(model, tokenizer)
        # A window that slides counts columns, between which there must be no padding then.
        self._shares = getattr(model.config.get_text_config(), "sliding_window", None) is None
        self._slots: list[Row] = []  # one that is over may still sit in the batch
        self._mask: torch.Tensor  # (rows, columns so far): where a row has tokens
        self._position: torch.Tensor  # (rows, 1): of the last token read
        self._chosen: torch.Tensor  # (rows,): the tokens that are read next
        self._cache: Cache

    @property
    def rows(self) -> list[Row]:
        """Those that still speak."""
        return [row for row in self._slots if not row.result.done()]

    @torch.inference_mode()
    def admit(self, rows: Sequence[Row]) -> None:
        """Read the rows' prompts and give each its next token; rows that were in another batch go on."""
        logits, mask, position, cache = self._read([(row.prompt.adapter, (*row.prompt.ids, *row.ids)) for row in rows])
        chosen = self._chosen_by(rows, Chooser([row.prompt.sampling for row in rows], logits.device), logits)
        if self._slots:
            width = max(mask.shape[1], self._mask.shape[1])
            older, newer = width - self._mask.shape[1], width - mask.shape[1]
            cache = joined([(self._cache, older), (cache, newer)])
            mask = torch.cat([_in_front(self._mask, older), _in_front(mask, newer)])
            position = torch.cat([self._position, position])
            chosen = torch.cat([self._chosen, chosen])
        self._slots = [*self._slots, *rows]
        self._mask, self._position, self._chosen, self._cache = mask, position, chosen, cache
        self._arrange()

    @torch.inference_mode()
    def step(self) -> None:
        """One more token for every row."""
        mask = torch.cat([self._mask, self._mask.new_ones(len(self._slots), 1)], dim=1)
        # A row that is over may sit in the batch past the context's end.
        position = (self._position + 1).clamp(max=self._room - 1)
        logits = self._next_logits(self._chosen[:, None], mask, position, self._cache, self._voices)
        self._mask, self._position = mask, position
        self._chosen = self._chosen_by(self._slots, self._chooser, logits)
        live = [slot for slot, row in enumerate(self._slots) if not row.result.done()]
        if len(live) <= _KEEP_SHARE * len(self._slots):
            self._keep(live)

    def _keep(self, live: Sequence[int]) -> None:
        self._slots = [self._slots[slot] for slot in live]
        if not live:
            return
        rows = torch.tensor(live, device=self._mask.device)
        self._mask, self._position, self._chosen = self._mask[rows], self._position[rows], self._chosen[rows]
        first_column = int(self._mask.any(dim=0).int().argmax())
        keep(self._cache, rows, first_column=first_column)
        self._mask = self._mask[:, first_column:]
        self._arrange()

    def _arrange(self) -> None:
        """What stays the same while the same rows sit in the batch."""
        self._voices = self._adapters.voices([row.prompt.adapter for row in self._slots])
        self._chooser = Chooser([row.prompt.sampling for row in self._slots], self._mask.device)

    def _chosen_by(self, rows: Sequence[Row], chooser: Chooser, logits: torch.Tensor) -> torch.Tensor:
        """The rows' next tokens, shape (rows,), which the rows are given."""
        chosen = chooser(logits, lambda: [0.0 if row.result.done() else row.random.random() for row in rows])
        tokens = chosen.tolist()
        logprobs = _logprobs(rows, tokens, logits)
        for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
            if not row.result.done():
                row.take(token, logprob, is_end=token in self._ends)
        return chosen

    def _read(self, keys: Sequence[_Key]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Cache]:
        """Run prompts through the model; returns next-token logits (rows, vocabulary), mask, positions and cache.

        They are read by length in parts of a few thousand tokens: less of it is padding, and what a part needs stays
        in a processor's cache, which makes reading up to twice as fast. What all prompts of a part begin with is read
        once for each adapter.
        """
        unique = sorted(dict.fromkeys(keys), key=lambda key: len(key[1]))
        width = len(unique[-1][1])
        parts: list[tuple[torch.Tensor, torch.Tensor, Cache]] = []
        start = 0
        while start < len(unique):
            stop = start + 1
            while stop < len(unique) and (stop + 1 - start) * len(unique[stop][1]) <= _READ_TOKENS:
                stop += 1
            parts.append(self._read_part(unique[start:stop]))
            start = stop
        logits = torch.cat([logits for logits, _, _ in parts])
        mask = torch.cat([_in_front(mask, width - mask.shape[1]) for _, mask, _ in parts])
        cache = joined([(cache, width - mask.shape[1]) for _, mask, cache in parts])
        if unique != list(keys):
            slot_of = {key: slot for slot, key in enumerate(unique)}
            slots = torch.tensor([slot_of[key] for key in keys], device=mask.device)
            logits, mask = logits[slots], mask[slots]
            keep(cache, slots, first_column=0)
        return logits, mask, mask.sum(dim=1, keepdim=True) - 1, cache

    def _read_part(self, keys: Sequence[_Key]) -> tuple[torch.Tensor, torch.Tensor, Cache]:
        names, prompts = [name for name, _ in keys], [ids for _, ids in keys]
        cache, shared = roomy(), self._shared(names, prompts)
        ids, mask = self._padded([prompt[shared:] for prompt in prompts])
        if shared:
            readers = list(dict.fromkeys(names))
            beginning, whole = self._padded([prompts[0][:shared]] * len(readers))
            self._next_logits(beginning, whole, whole.cumsum(dim=1) - 1, cache, self._adapters.voices(readers))
            keep(cache, torch.tensor([readers.index(name) for name in names], device=mask.device), first_column=0)
            mask = torch.cat([mask.new_ones(len(keys), shared), mask], dim=1)
        position = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, shared:]
        return self._next_logits(ids, mask, position, cache, self._adapters.voices(names)), mask, cache

    def _shared(self, names: Sequence[str | None], prompts: Sequence[tuple[int, ...]]) -> int:
        """How many tokens all prompts begin with, where reading them once saves anything; each keeps one of its own."""
        if not self._shares or len(prompts) == len(set(names)):
            return 0
        first, last = min(prompts), max(prompts)  # what these two begin with, all between them do
        alike = next((place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), None)
        shared = min(len(first) if alike is None else alike, min(map(len, prompts)) - 1)
        return shared if shared >= _SHARED_TOKENS else 0

    def _padded(self, prompts: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids, padded on the left, and their mask, both (rows, longest)."""
        width = max(map(len, prompts))
        ids = [[self._pad] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        device = self._model.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def _next_logits(
        self, ids: torch.Tensor, mask: torch.Tensor, position: torch.Tensor, cache: Cache, voices: Voices
    ) -> torch.Tensor:
        """Logits of the token after `ids`, shape (rows, vocabulary); the cache takes the ids in."""
        output = self._adapters.run(
            voices,
            lambda: self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=position,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ),
        )
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits


def sample(model: Any, tokenizer: Any, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
    """Sample a completion for every prompt; yields (place in `prompts`, completion) as each one ends."""
    if not prompts:
        return
    room = context_tokens(model)
    rows = [Row(prompt, tokenizer=tokenizer, context_tokens=room, result=Future()) for prompt in prompts]
    places = {id(row): place for place, row in enumerate(rows)}
    batch = Batch(model, tokenizer, Adapters(model))
    batch.admit(rows)
    while places:
        for row in rows:
            if row.result.done() and id(row) in places:
                yield places.pop(id(row)), row.result.result()
        if places:
            batch.step()


def context_tokens(model: Any) -> int:
    """How many tokens prompt and reply may have together."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30


def _in_front(mask: torch.Tensor, columns: int) -> torch.Tensor:
    return torch.cat([mask.new_zeros(mask.shape[0], columns), mask], dim=1) if columns else mask


def _logprobs(rows: Sequence[Row], tokens: Sequence[int], logits: torch.Tensor) -> list[TokenLogprob | None]:
    """What the rows that ask for it are told of their tokens."""
    told: list[TokenLogprob | None] = [None] * len(rows)
    asking = [slot for slot, row in enumerate(rows) if row.prompt.sampling.logprobs and not row.result.done()]
    if not asking:
        return told
    normalized = torch.log_softmax(logits[asking], dim=-1)
    most = max(rows[slot].prompt.sampling.top_logprobs for slot in asking)
    values, indices = normalized.topk(min(most, normalized.shape[1]), dim=-1)
    likeliest = [list(zip(*pair, strict=True)) for pair in zip(indices.tolist(), values.tolist(), strict=True)]
    for place, slot in enumerate(asking):
        token = tokens[slot]
        told[slot] = TokenLogprob(
            token=token,
            logprob=float(normalized[place, token]),
            likeliest=tuple(likeliest[place][: rows[slot].prompt.sampling.top_logprobs]),
        )
    return told


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [*ids, tokenizer.eos_token_id] if isinstance(token, int))
