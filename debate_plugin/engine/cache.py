"""A key/value cache with room to grow, so that a decoding step writes one column instead of copying everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from transformers.cache_utils import Cache, DynamicLayer

_BLOCK = 64  # columns of room added at a time


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # transformers' hook for subclasses has no types
    """`DynamicLayer` with the same contents; `keys` and `values` are views into larger buffers."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._room_keys = self._room_values = key_states.new_empty(0)
        assert self.keys is not None and self.values is not None
        start = self.get_seq_length()
        stop = start + key_states.shape[-2]
        # After rows were dropped the views no longer belong to the buffers: fresh buffers are made for those left.
        fits = start > 0 and self.keys.data_ptr() == self._room_keys.data_ptr() and stop <= self._room_keys.shape[-2]
        if not fits:
            room = stop + _BLOCK
            self._room_keys = _with_room(self.keys, key_states, start, room)
            self._room_values = _with_room(self.values, value_states, start, room)
        self._room_keys[:, :, start:stop] = key_states
        self._room_values[:, :, start:stop] = value_states
        self.keys = self._room_keys[:, :, :stop]
        self.values = self._room_values[:, :, :stop]
        return self.keys, self.values


def _with_room(held: torch.Tensor, incoming: torch.Tensor, start: int, room: int) -> torch.Tensor:
    rows, heads, _, width = incoming.shape
    buffer = incoming.new_empty(rows, heads, room, width)
    if start:
        buffer[:, :, :start] = held
    return buffer


def roomy() -> Cache:
    return Cache(layer_class_to_replicate=RoomyLayer)


def joined(parts: Sequence[tuple[Cache, int]]) -> Cache:
    """One cache of all rows; each part comes with the columns of padding that it gets in front."""
    if len(parts) == 1 and parts[0][1] == 0:
        return parts[0][0]
    whole = roomy()
    for number in range(len(parts[0][0].layers)):
        layers = [(cache.layers[number], padding) for cache, padding in parts]
        keys, values = (
            torch.cat([functional.pad(getattr(layer, name), (0, 0, padding, 0)) for layer, padding in layers])
            for name in ("keys", "values")
        )
        whole.update(keys, values, number)
    return whole


def keep(cache: Cache, rows: torch.Tensor, *, first_column: int) -> None:
    """Drop all but these rows, and the columns before the first one that any of them uses."""
    for layer in cache.layers:
        assert isinstance(layer, RoomyLayer) and layer.keys is not None and layer.values is not None
        layer.keys = layer.keys[rows, :, first_column:]
        layer.values = layer.values[rows, :, first_column:]
