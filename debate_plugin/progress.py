"""Progress bars on standard error, so that what a command prints stays clean; plain where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class Advance(Protocol):
    """Tells a bar how much is done, the total if it was not known before, and a word on the side."""

    def __call__(self, done: int, total: int | None = None, note: str = "") -> None: ...


Bars = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Opens a bar with a label and a total."""


@contextmanager
def bar(label: str, known_total: int | None) -> Iterator[Advance]:
    """A bar with rate and time left; on something that is no terminal one line when it ends."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=known_total, note="")

        def advance(done: int, total: int | None = None, note: str = "") -> None:
            progress.update(task, completed=done, total=total or known_total, note=note)

        yield advance
        if not console.is_terminal:
            state = progress.tasks[0]
            console.print(f"{label}: {state.completed:g} in {state.elapsed or 0:.1f} s {state.fields['note']}".rstrip())


@contextmanager
def silent(label: str, total: int | None) -> Iterator[Advance]:
    """No bar."""

    def advance(done: int, total: int | None = None, note: str = "") -> None:
        pass

    yield advance


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="dim")
