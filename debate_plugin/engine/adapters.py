"""Many LoRA adapters on one base, another one for each row of a batch if need be.

peft wraps the base's layers and, given several adapters, runs them one after the other in every layer. Here the base
stays as it is: a hook on each adapted layer adds what the rows' adapters say, in two batched matrix products whatever
their number: the rows are put together by adapter, and adapters are stacked (as serving systems do: Punica, Chen et al.
2023; S-LoRA, Sheng et al. 2023).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn import functional

from debate_plugin.errors import InputError

_WEIGHT = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")
# Ways to begin an adapter that take what it has away from the base.
_CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
_MORE_THAN_LORA = ("alora_invocation_tokens", "arrow_config", "layer_replication", "target_parameters", "use_qalora")

Weights = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""An adapter by layer: (inputs, rank) and (rank, outputs), scaled, on the base's device and in its precision."""


class Adapters:
    """The adapters of one base by name. Not safe for threads: the engine's own thread alone adds and speaks."""

    def __init__(self, base: Any) -> None:
        self._base = base
        self._places: dict[str | None, int] = {None: 0}  # in every stack
        self._taken = 0  # the last place, that of an adapter of which only some layers could be added too
        self._stacks: dict[str, _Stack] = {}  # by layer
        self._voices: Voices | None = None  # of the rows that go through the base

    def read(self, folder: str | Path) -> Weights:
        """What an adapter folder has; any thread may read.

        Raises:
            InputError: it is no plain LoRA adapter, or not one for this base.
        """
        return _read(folder, self._base)

    def add(self, name: str, weights: Weights) -> None:
        """Put what was read of an adapter under a name.

        Raises:
            InputError: the name is taken.
        """
        if name in self._places:
            raise InputError(f"the engine already has an adapter {name!r}; give this one another name")
        place = self._taken = self._taken + 1
        for layer, (a, b) in weights.items():
            if layer not in self._stacks:
                self._stacks[layer] = _Stack(a, b)
                self._base.get_submodule(layer).register_forward_hook(partial(self._speak, layer))
            self._stacks[layer].add(place, a, b)
        self._places[name] = place

    def voices(self, names: Sequence[str | None]) -> Voices:
        """Who speaks in each row of a batch; None is the base."""
        return Voices([self._places[name] for name in names], self._base.device)

    def run(self, voices: Voices, forward: Callable[[], Any]) -> Any:
        """Run the base with these voices."""
        self._voices = voices
        try:
            return forward()
        finally:
            self._voices = None

    def _speak(self, layer: str, _: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        voices = self._voices
        stack = self._stacks[layer].of(voices.present) if voices is not None else None
        if voices is None or stack is None:
            return output
        (x,) = inputs
        if x.dim() != 3 or x.shape[0] != voices.rows:
            raise InputError(
                f"expected {layer} to be given (rows, tokens, width), got {tuple(x.shape)} for {voices.rows} rows; "
                "this base mixes the rows of a batch, merge the adapter into a model of its own with `debate merge`"
            )
        return voices.add(output, x, *stack)


class _Stack:
    """The adapters on one layer, one behind the other: what each adds to the layer's output is `x @ a @ b`.

    At place 0, and at those of adapters without this layer, are zeros. All take the room of the one with the highest
    rank; one more is a copy of all.
    """

    def __init__(self, a: torch.Tensor, b: torch.Tensor) -> None:
        self._a = a.new_zeros(1, a.shape[0], 1)  # (adapters, inputs, rank)
        self._b = b.new_zeros(1, 1, b.shape[1])  # (adapters, rank, outputs), scaled
        self._adapting: set[int] = set()
        self._chosen: tuple[tuple[int, ...], tuple[torch.Tensor, torch.Tensor]] | None = None

    def add(self, place: int, a: torch.Tensor, b: torch.Tensor) -> None:
        """Put an adapter at a place; `a` (inputs, rank) and `b` (rank, outputs)."""
        self._grow(place + 1, a.shape[1])
        self._a[place, :, : a.shape[1]] = a
        self._b[place, : b.shape[0]] = b
        self._adapting.add(place)

    def of(self, places: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Both sides of the adapters at these places, in this order; None where none of them adapts the layer."""
        if self._adapting.isdisjoint(places):
            return None
        if max(places) >= len(self._a):
            self._grow(max(places) + 1, 1)
        first, behind = places[0], places[0] + len(places)
        if places == tuple(range(first, behind)):
            return self._a[first:behind], self._b[first:behind]
        if self._chosen is None or self._chosen[0] != places:  # one choice is kept: each is a copy
            chosen = torch.tensor(places, device=self._a.device)
            self._chosen = places, (self._a[chosen], self._b[chosen])
        return self._chosen[1]

    def _grow(self, adapters: int, rank: int) -> None:
        """Room for so many adapters of such a rank."""
        more, wider = max(0, adapters - len(self._a)), max(0, rank - self._a.shape[2])
        self._a = functional.pad(self._a, (0, wider, 0, 0, 0, more))
        self._b = functional.pad(self._b, (0, 0, 0, wider, 0, more))
        self._chosen = None


class Voices:
    """Who speaks in each row of a batch, and how the rows are put together by adapter.

    Groups are as long as the longest of them: in debates each adapter has about as many rows as any other.
    """

    def __init__(self, places: Sequence[int], device: Any) -> None:
        self.rows = len(places)
        self.present = tuple(sorted(set(places)))
        groups = [[row for row, place in enumerate(places) if place == one] for one in self.present]
        longest = max(map(len, groups))
        taken = [row for group in groups for row in (*group, *group[:1] * (longest - len(group)))]
        given = {
            row: place * longest + within for place, group in enumerate(groups) for within, row in enumerate(group)
        }
        self._in_order = taken == list(range(self.rows))
        self._take = torch.tensor(taken, device=device)  # the row at each place in the groups
        self._give = torch.tensor([given[row] for row in range(self.rows)], device=device)  # the place of each row

    def add(self, output: torch.Tensor, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """The layer's output (rows, tokens, outputs) with what its input (rows, tokens, inputs) becomes."""
        x = x.to(a.dtype)
        if len(self.present) == 1:
            said = x.reshape(-1, x.shape[2]) @ a[0] @ b[0]
            return output.add_(said.view(output.shape))
        grouped = x if self._in_order else x.index_select(0, self._take)
        said = torch.bmm(torch.bmm(grouped.reshape(len(self.present), -1, x.shape[2]), a), b)
        said = said.view(-1, *output.shape[1:])
        return output.add_(said if self._in_order else said.index_select(0, self._give))


def _read(folder: str | Path, base: Any) -> Weights:
    from peft import LoraConfig, PeftConfig
    from peft.utils.other import get_pattern_key

    try:
        config = PeftConfig.from_pretrained(str(folder))
        weights = load_file(Path(folder) / "adapter_model.safetensors")
    except (OSError, ValueError, TypeError, KeyError, json.JSONDecodeError, SafetensorError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"expected a LoRA adapter in {folder}, it could not be read ({first_line})") from error
    if not isinstance(config, LoraConfig):
        raise InputError(
            f"expected a LoRA adapter in {folder}, it is of the kind {config.peft_type}; "
            "merge it into a model of its own with `debate merge`"
        )
    begun = config.init_lora_weights
    if isinstance(begun, str) and begun.lower().startswith(_CHANGE_THE_BASE):
        raise InputError(
            f"expected an adapter that leaves its base as it is, {folder} was begun with {begun}; "
            "merge it into a model of its own with `debate merge`"
        )
    if odd := [setting for setting in _MORE_THAN_LORA if getattr(config, setting, None)]:
        raise InputError(
            f"expected a plain LoRA adapter in {folder}, its config has {', '.join(odd)}; "
            "merge it into a model of its own with `debate merge`"
        )
    sides: dict[str, dict[str, torch.Tensor]] = {}
    for key, weight in weights.items():
        match = _WEIGHT.fullmatch(key)
        if match is None:
            raise InputError(
                f"expected nothing but LoRA weights of linear layers in {folder}, got {key!r}; "
                "merge it into a model of its own with `debate merge`"
            )
        sides.setdefault(match["layer"], {})[match["side"]] = weight
    pairs: Weights = {}
    for layer, pair in sides.items():
        a, b = pair.get("A"), pair.get("B")
        _refuse_misfit(folder, base, layer, a, b)
        assert a is not None and b is not None
        rank, alphas = a.shape[0], config.alpha_pattern or {}
        alpha = alphas.get(get_pattern_key(list(alphas), layer), config.lora_alpha)
        scale = alpha / rank**0.5 if config.use_rslora else alpha / rank
        pairs[layer] = (
            a.T.contiguous().to(base.device, base.dtype),
            (b.T.float() * scale).contiguous().to(base.device, base.dtype),
        )
    if not pairs:
        raise InputError(f"expected LoRA weights in {folder}, found none; train the adapter again")
    return pairs


def _refuse_misfit(folder: str | Path, base: Any, layer: str, a: torch.Tensor | None, b: torch.Tensor | None) -> None:
    try:
        module = base.get_submodule(layer)
    except AttributeError:
        module = None
    width_in, width_out = getattr(module, "in_features", None), getattr(module, "out_features", None)
    if a is None or b is None or a.shape[1] != width_in or b.shape[0] != width_out or a.shape[0] != b.shape[1]:
        came = f"a linear layer {width_in} -> {width_out}" if width_in is not None else "no linear layer"
        shapes = " and ".join(str(tuple(side.shape)) for side in (a, b) if side is not None)
        raise InputError(
            f"expected an adapter made for this base, {folder} does not fit (weights of shapes {shapes} for {layer}, "
            f"which is {came} here); load its own base"
        )
