"""What a training run leaves behind when it is broken off, beside its output: the same call goes on from there.

OUT.unfinished/
    run.json           which run it is: method, base, adapter, rows, settings
    checkpoint-50/     transformers' own: adapter, optimizer, schedule, random states, what was logged
        whole          put there last; without it the checkpoint was torn while it was written
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from debate_plugin.errors import InputError, needs
from debate_plugin.files import unused
from debate_plugin.training import processes

with needs("train"):
    from transformers import TrainerCallback

_WHOLE = "whole"


@contextmanager
def unfinished(out: Path, run: Mapping[str, Any]) -> Iterator[Path]:
    """The folder for the checkpoints of a run, which is known by `run`; gone in the end, unless the run is broken off
    and can be gone on with.

    Raises:
        InputError: another run was broken off there, or a process is training there.
    """
    folder = out.with_name(f"{out.name}.unfinished")
    with ExitStack() as held:
        processes.by_main(lambda: _take(folder, out, run, held))
        try:
            yield folder
        except BaseException:
            if processes.is_main() and last_whole(folder) is None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        if processes.is_main():
            shutil.rmtree(folder, ignore_errors=True)


def _take(folder: Path, out: Path, run: Mapping[str, Any], held: ExitStack) -> None:
    """Make the folder this process's own, with nothing in it but whole checkpoints of this run."""
    folder.mkdir(exist_ok=True)
    door = os.open(folder, os.O_RDONLY)
    held.callback(os.close, door)
    try:
        fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a killed process holds it no longer
    except BlockingIOError as error:
        raise InputError(
            f"expected to be alone in training {out}, another process is at it; wait for it or name another path"
        ) from error
    unused(out)  # the other one may just have been through
    record, identity = folder / "run.json", json.loads(json.dumps(run))
    if last_whole(folder) is not None:
        before = json.loads(record.read_text(encoding="utf-8"))
        if others := [name for name in sorted({*before, *identity}) if before.get(name) != identity.get(name)]:
            # To begin anew in silence would throw away what may be days of another run.
            raise InputError(
                f"expected to go on with the run that was broken off in {folder}, which had other "
                f"{', '.join(others)}; repeat that call, remove the folder to begin anew, or name another output path"
            )
    for path in folder.glob("checkpoint-*"):
        if not _is_whole(path):
            shutil.rmtree(path)
    record.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")


def last_whole(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    return max(filter(_is_whole, folder.glob("checkpoint-*")), key=_step, default=None)


def _is_whole(checkpoint: Path) -> bool:
    return (checkpoint / _WHOLE).is_file()


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


class Checkpoints(TrainerCallback):
    """Has a checkpoint written after every so many steps, says that it is whole when it is, and removes the one before.

    None is written after the last step: the adapter follows at once.
    """

    def __init__(self, every: int) -> None:
        self._every = every

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_save = state.global_step % self._every == 0 and state.global_step < state.max_steps

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        processes.wait_for_all()  # each writes its own random state
        if state.is_world_process_zero:
            folder = Path(args.output_dir)
            newest = folder / f"checkpoint-{state.global_step}"
            (newest / _WHOLE).touch()
            for older in set(folder.glob("checkpoint-*")) - {newest}:
                (older / _WHOLE).unlink(missing_ok=True)  # first: half removed it would pass for whole
                shutil.rmtree(older)
