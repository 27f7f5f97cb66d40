"""The processes of one training run (`accelerate launch`): the main one looks, speaks and writes, the others wait.

One process alone is the main one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from debate_plugin.errors import InputError, needs

with needs("train"):
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

_T = TypeVar("_T")


def _state() -> PartialState:
    # Without a word about the CPU, accelerate takes each of several processes without a GPU for one alone.
    return PartialState(cpu=not torch.cuda.is_available())


def is_main() -> bool:
    """Whether this is the process that speaks and writes."""
    return bool(_state().is_main_process)


def count() -> int:
    """How many processes train together."""
    return int(_state().num_processes)


def device() -> torch.device:
    """The processor of this process."""
    return torch.device(_state().device)


def wait_for_all() -> None:
    """Go on when all processes have come here."""
    _state().wait_for_everyone()


def by_main(act: Callable[[], _T]) -> _T:
    """Have the main process act; all get what came of it.

    Raises:
        InputError: in every process, what the main one raised: the others would wait for it for ever.
    """
    if count() == 1:
        return act()
    outcome: list[Any] = [None, None]
    if is_main():
        try:
            outcome[0] = act()
        except InputError as error:
            outcome[1] = str(error)
    broadcast_object_list(outcome)
    result, refusal = outcome
    if refusal is not None:
        raise InputError(refusal)
    return result  # type: ignore[no-any-return]  # what was sent is what `act` returned
