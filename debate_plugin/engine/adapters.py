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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from debate_plugin.errors import InputError

_WEIGHT = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")
_CHANGE_THE_BASE = ("pissa", "olora", "corda")  # ways to begin an adapter that take what it has away from the base


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """One adapter on one layer: what it adds to the layer's output is `x @ a @ b`."""

    a: torch.Tensor  # (inputs, rank)
    b: torch.Tensor  # (rank, outputs), scaled


class Adapters:
    """The adapters of one base by name. Not safe for threads: the engine's own thread alone adds and speaks."""

    def __init__(self, base: Any) -> None:
        self._base = base
        self._layers: dict[str, dict[str, _Pair]] = {}  # by layer, by adapter
        self._stacks: dict[tuple[str, tuple[str | None, ...]], tuple[torch.Tensor, torch.Tensor]] = {}
        self._stacked: tuple[str | None, ...] = ()  # the adapters that `_stacks` is of
        self._voices: Voices | None = None  # of the rows that go through the base

    def add(self, name: str, folder: str | Path) -> None:
        """Read an adapter folder.

        Raises:
            InputError: it is no plain LoRA adapter, or not one for this base.
        """
        for layer, pair in _read(folder, self._base).items():
            if layer not in self._layers:
                self._layers[layer] = {}
                self._base.get_submodule(layer).register_forward_hook(partial(self._speak, layer))
            self._layers[layer][name] = pair
        self._stacks.clear()

    def voices(self, names: Sequence[str | None]) -> Voices:
        """Who speaks in each row of a batch."""
        return Voices(names, self._base.device)

    def run(self, voices: Voices, forward: Callable[[], Any]) -> Any:
        """Run the base with these voices."""
        self._voices = voices if voices.are_adapted else None
        try:
            return forward()
        finally:
            self._voices = None

    def _speak(self, layer: str, _: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        voices = self._voices
        if voices is None:
            return output
        (x,) = inputs
        if x.dim() != 3 or x.shape[0] != voices.rows:
            raise InputError(
                f"expected {layer} to be given (rows, tokens, width), got {tuple(x.shape)} for {voices.rows} rows; "
                "this base mixes the rows of a batch, merge it into a model of its own with `debate merge`"
            )
        stack = self._stack(layer, voices.present)
        return output if stack is None else voices.add(output, x, *stack)

    def _stack(self, layer: str, present: tuple[str | None, ...]) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Both sides of the adapters on a layer, shapes (adapters, inputs, rank) and (adapters, rank, outputs)."""
        here = self._layers[layer]
        if here.keys().isdisjoint(present):
            return None
        if present != self._stacked:  # those of one set of adapters are kept: sets change seldom, and each is a copy
            self._stacks.clear()
            self._stacked = present
        if (stack := self._stacks.get((layer, present))) is not None:
            return stack
        pairs = [here.get(name) if name is not None else None for name in present]
        some = next(pair for pair in pairs if pair is not None)
        rank = max(pair.a.shape[1] for pair in pairs if pair is not None)
        a = some.a.new_zeros(len(present), some.a.shape[0], rank)
        b = some.b.new_zeros(len(present), rank, some.b.shape[1])
        for place, pair in enumerate(pairs):
            if pair is not None:
                a[place, :, : pair.a.shape[1]] = pair.a
                b[place, : pair.b.shape[0]] = pair.b
        self._stacks[layer, present] = a, b
        return a, b


class Voices:
    """Who speaks in each row of a batch, and how the rows are put together by adapter.

    Groups are as long as the longest of them: in debates each adapter has about as many rows as any other.
    """

    def __init__(self, names: Sequence[str | None], device: Any) -> None:
        self.rows = len(names)
        self.present = tuple(sorted(set(names), key=lambda name: name or ""))
        groups = [[row for row, name in enumerate(names) if name == one] for one in self.present]
        longest = max(map(len, groups))
        taken = [row for group in groups for row in (*group, *group[:1] * (longest - len(group)))]
        given = {
            row: place * longest + within for place, group in enumerate(groups) for within, row in enumerate(group)
        }
        self._in_order = taken == list(range(self.rows))
        self._take = torch.tensor(taken, device=device)  # the row at each place in the groups
        self._give = torch.tensor([given[row] for row in range(self.rows)], device=device)  # the place of each row

    @property
    def are_adapted(self) -> bool:
        """Whether anybody speaks with an adapter."""
        return self.present != (None,)

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


def _read(folder: str | Path, base: Any) -> dict[str, _Pair]:
    """The pairs of an adapter folder by layer, on the base's device and in its precision."""
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
    sides: dict[str, dict[str, torch.Tensor]] = {}
    for key, weight in weights.items():
        match = _WEIGHT.fullmatch(key)
        if match is None:
            raise InputError(
                f"expected nothing but LoRA weights of linear layers in {folder}, got {key!r}; "
                "merge it into a model of its own with `debate merge`"
            )
        sides.setdefault(match["layer"], {})[match["side"]] = weight
    pairs: dict[str, _Pair] = {}
    for layer, pair in sides.items():
        a, b = pair.get("A"), pair.get("B")
        _refuse_misfit(folder, base, layer, a, b)
        assert a is not None and b is not None
        rank, alphas = a.shape[0], config.alpha_pattern or {}
        alpha = alphas.get(get_pattern_key(list(alphas), layer), config.lora_alpha)
        scale = alpha / rank**0.5 if config.use_rslora else alpha / rank
        pairs[layer] = _Pair(
            a=a.T.contiguous().to(base.device, base.dtype),
            b=(b.T.float() * scale).contiguous().to(base.device, base.dtype),
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
