"""Records as JSONL, one a line, to pass on or to keep: out of a store, and into one again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import OperationalError

from debate_plugin.errors import InputError
from debate_plugin.files import appearing
from debate_plugin.record import Kind, Record, read
from debate_plugin.store import Store

_KINDS: tuple[Kind, ...] = ("debate", "conversation")


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of the lines of a file."""

    added: int
    there_already: int
    unreadable: tuple[tuple[int, str], ...]  # number of the line, counted from 1, and why


def export_records(
    store: Store, out: str | Path, *, run: str | None = None, progress: Callable[[int], None] = lambda _: None
) -> int:
    """Write the store's records, or a run's, to a file; returns how many. The file appears when it is complete.

    Raises:
        InputError: the path is in use, or cannot be written.
    """
    count = 0
    with appearing(out) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for kind in _KINDS:
            for _, text in store.texts(kind, run=run):
                file.write(text + "\n")
                count += 1
                progress(count)
    return count


def import_records(store: Store, path: str | Path, *, progress: Callable[[int], None] = lambda _: None) -> Imported:
    """Add a file's records to the store; those that it holds, by their ids, are left as they are.

    Raises:
        InputError: the file cannot be read; a line that is no record is told of and the rest is taken.
    """
    added = there_already = 0
    unreadable: list[tuple[int, str]] = []
    try:
        with Path(path).open(encoding="utf-8", errors="replace", newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        is_new = store.add(_whole(line))
                    except InputError as error:
                        if isinstance(error.__cause__, OperationalError):
                            raise  # it is the store that fails, not the line
                        unreadable.append((number, str(error)))
                    else:
                        added, there_already = added + is_new, there_already + (not is_new)
                progress(number)
    except OSError as error:
        raise InputError(f"expected a readable file of records, {path} could not be read ({error})") from error
    return Imported(added=added, there_already=there_already, unreadable=tuple(unreadable))


def _whole(line: str) -> Record:
    record = read(line)
    if not record.id:
        raise InputError("expected a record with an id, got an empty one")
    return record
