"""From a debate back through the adapters that spoke in it, the rows they learnt from, and the debates of these rows.

An adapter is known by the hash of its weights, whatever it was called and wherever it lies: debates say which spoke,
its `lineage.json` says which rows it learnt from by the hash of their file, each row says which debate it is from.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debate_plugin.errors import InputError
from debate_plugin.lineage import Lineage, weights_hash
from debate_plugin.record import Record
from debate_plugin.store import Store


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A model that spoke: in how many debates, under which names."""

    model: str | None
    adapter: str | None  # its name
    sha256: str | None  # of the adapter's weights; None is the base, or not known
    names: tuple[str, ...]
    debates: int


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """An adapter: what it was made of, and who spoke in the debates that its rows are from."""

    sha256: str
    folder: Path | None  # None where no folder that was looked in has it
    lineage: Lineage | None
    rows: Path | None  # None where no file has the hash that the lineage tells
    lost: int  # debates of its rows that the store does not hold
    speakers: tuple[Speaker, ...]


@dataclass(frozen=True, kw_only=True)
class Ancestry:
    """Who spoke in a record, and all adapters behind them, the latest first."""

    speakers: tuple[Speaker, ...]
    ancestors: tuple[Ancestor, ...]


def ancestry(record: Record, store: Store, folder: str | Path) -> Ancestry:
    """Trace a record back; adapters and row files are looked for in `folder` and all below it.

    Raises:
        InputError: there is no such folder, or a lineage or a row file in it is damaged.
    """
    if not Path(folder).is_dir():
        raise InputError(f"expected a folder with adapters and rows, there is none at {folder}; name another")
    adapters = {weights_hash(path.parent): path.parent for path in _files(folder, "adapter_model.safetensors")}
    rows = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in _files(folder, "*.jsonl")}
    speakers = _speakers([record])
    waiting = [one.sha256 for one in speakers if one.sha256 is not None]
    found: dict[str, Ancestor] = {}
    while waiting:
        sha256 = waiting.pop(0)
        if sha256 in found:
            continue
        at = adapters.get(sha256)
        lineage = Lineage.read(at) if at is not None else None
        data = rows.get(lineage.data.sha256) if lineage is not None else None
        ids = _debates_of(data) if data is not None else set[str]()
        held = [store.get(id) for id in sorted(ids & store.ids())]
        spoke = _speakers(held)
        found[sha256] = Ancestor(
            sha256=sha256, folder=at, lineage=lineage, rows=data, lost=len(ids) - len(held), speakers=spoke
        )
        if lineage is not None and lineage.parent is not None:
            waiting.append(lineage.parent.sha256)
        waiting += [one.sha256 for one in spoke if one.sha256 is not None]
    return Ancestry(speakers=speakers, ancestors=tuple(found.values()))


def _files(folder: str | Path, pattern: str) -> Iterator[Path]:
    yield from sorted(path for path in Path(folder).rglob(pattern) if path.is_file())


def _debates_of(rows: Path) -> set[str]:
    lines = rows.read_text(encoding="utf-8").split("\n")
    origins = [json.loads(line).get("provenance", {}) for line in lines if line.strip()]
    return {str(origin["transcript"]) for origin in origins if origin.get("transcript")}


def _speakers(records: Iterable[Record]) -> tuple[Speaker, ...]:
    names: dict[tuple[Any, ...], set[str]] = {}
    debates: Counter[tuple[Any, ...]] = Counter()
    for record in records:
        spoke = {
            name: (described.model, described.adapter, described.adapter_sha256)
            for name, described in record.participants.items()
        }
        for name, key in spoke.items():
            names.setdefault(key, set()).add(name)
        debates.update(set(spoke.values()))
    return tuple(
        Speaker(model=model, adapter=adapter, sha256=sha256, names=tuple(sorted(names[key])), debates=debates[key])
        for key in sorted(debates, key=str)
        for model, adapter, sha256 in [key]
    )
