"""The compiler: records through a rule and filters into files of rows, with a card that accounts for all of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

from debate_plugin.dataset.card import Card, File, Measure, Source, Tally
from debate_plugin.dataset.containers import contain, container_of, register
from debate_plugin.dataset.filters import Filter
from debate_plugin.dataset.formats import FORMATS, Format
from debate_plugin.dataset.mix import places_kept
from debate_plugin.dataset.rows import NoRow, Row, Shape, shape_of
from debate_plugin.dataset.rules import Rule
from debate_plugin.errors import InputError
from debate_plugin.files import appearing, unused
from debate_plugin.record import Record, Unreadable, written
from debate_plugin.splits import Split, split_of
from debate_plugin.transcript import Transcript

FormatName = Literal["trl", "trl-messages", "openai", "sharegpt", "alpaca"]
_FILTERED = "all its rows were left out"
_MIXED = "left out to keep the mix"


def words(text: str) -> int:
    """Length in words, where no tokenizer is at hand."""
    return len(text.split())


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """How rows are made and written."""

    rule: Rule
    format: FormatName = "trl"
    filters: Sequence[Filter] = ()  # asked in this order; the first that leaves a row out gives the reason
    mix: Mapping[str, float] | None = None  # shares of the rows' parts
    test_share: float = 0.0  # of the questions; their rows go to NAME.test
    per_agent: bool = False  # a file for each agent: NAME.AGENT
    seed: int = 0  # of the mix
    measure: Measure = words
    unit: str = "words"

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise InputError(f"expected a format out of {', '.join(FORMATS)}, got {self.format!r}")
        if not 0 <= self.test_share < 1:
            raise InputError(f"expected a test share from 0 to below 1, got {self.test_share}")


def compile_rows(records: Iterable[Record | Unreadable], out: str | Path, compilation: Compilation) -> Card:
    """Write the rows that a rule makes of the records, and the card beside them.

    The ending of `out` says what the rows are kept in, see `debate_plugin.dataset.containers`. Files appear when they
    are complete. The same records and settings give the same bytes. Memory does not grow with the records, but for
    what `NearDuplicates` remembers and four bytes a row and column for the card's lengths.

    Raises:
        InputError: a path is in use or its folder does not exist, no record gave a row, or the format cannot say what
            a row says.
    """
    out = Path(out)
    container = container_of(out)
    for path in (out, *(out.with_name(out.stem + ending) for ending in (".card.json", ".card.md"))):
        unused(path)
    try:
        return _compiled(records, out, container, compilation)
    except OSError as error:
        cause = error.strerror or str(error)
        raise InputError(f"expected to write {out}, that failed ({cause}); nothing is left of it") from error


def _compiled(records: Iterable[Record | Unreadable], out: Path, container: str, compilation: Compilation) -> Card:
    run = _Run(compilation)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        rows = run.rows(records)
        if compilation.mix is not None:
            rows = run.mixed(rows, compilation.mix, Path(folder) / "unmixed")
        with ExitStack() as open_files:
            written_files = _Written(compilation, out, Path(folder), open_files)
            for row in rows:
                run.tally.add(row)
                written_files.add(row)
        if run.tally.rows == 0:
            why = "; ".join(f"{reason}: {count}" for reason, count in run.reasons().most_common()) or "there are none"
            raise InputError(f"expected rows from {run.seen} transcripts, the rule {run.name!r} made none ({why})")
        card = run.card(written_files.files())
        _publish(written_files, card, out, container)
    return card


class _Run:
    """One pass over the records, and its account."""

    def __init__(self, compilation: Compilation) -> None:
        self._by = compilation
        rule = compilation.rule
        function, self.options = (rule.func, dict(rule.keywords)) if isinstance(rule, partial) else (rule, {})
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self.seen = self.with_rows = 0
        self.without_row: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.tally = Tally(compilation.measure)
        self._sources: Counter[tuple[str | None, str | None]] = Counter()
        self._digest = hashlib.sha256()

    def rows(self, records: Iterable[Record | Unreadable]) -> Iterator[Row]:
        """The rows that the filters let through; every record is counted."""
        for record in records:
            self.seen += 1
            if isinstance(record, Unreadable):
                self._digest.update(f"{record.id} {record.reason}\n".encode())
                self.without_row[f"unreadable: {record.reason}"] += 1
                continue
            self._digest.update(written(record).encode())
            self._digest.update(b"\n")
            if isinstance(record, Transcript):
                self._sources[record.question.source, record.question.licence] += 1
            made = self._by.rule(record)
            if not isinstance(made, NoRow | Sequence):
                raise InputError(
                    f"expected rows or a NoRow from the rule {self.name!r}, got {type(made).__name__}; return a list"
                )
            if isinstance(made, NoRow):
                self.without_row[made.reason] += 1
                continue
            reasons = [self._why_left_out(row) for row in made]
            self.left_out.update(reason for reason in reasons if reason is not None)
            kept = [row for row, reason in zip(made, reasons, strict=True) if reason is None]
            if not kept:
                self.without_row[_FILTERED] += 1
                continue
            self.with_rows += 1
            yield from kept

    def _why_left_out(self, row: Row) -> str | None:
        return next((reason for one in self._by.filters if (reason := one(row)) is not None), None)

    def mixed(self, rows: Iterable[Row], shares: Mapping[str, float], spool: Path) -> Iterator[Row]:
        """The rows whose parts have these shares; all rows are written down first, to know how many there are."""
        counts: Counter[str] = Counter()
        with spool.open("w", encoding="utf-8") as file:
            for row in rows:
                counts[row["provenance"]["part"]] += 1
                file.write(json.dumps(row) + "\n")
        kept = places_kept(counts, shares, seed=self._by.seed)
        place: Counter[str] = Counter()
        before, self.with_rows, last = self.with_rows, 0, None
        with spool.open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                origin = row["provenance"]
                place[origin["part"]] += 1
                if place[origin["part"]] - 1 not in kept[origin["part"]]:
                    self.left_out[_MIXED] += 1
                    continue
                self.with_rows += origin["transcript"] != last
                last = origin["transcript"]
                yield row
        self.without_row[_FILTERED] += before - self.with_rows

    def reasons(self) -> Counter[str]:
        """Why transcripts gave no row; where rows were made and left out, why those were."""
        reasons = Counter(self.without_row)
        if reasons.pop(_FILTERED, 0):
            reasons += self.left_out
        return reasons

    def card(self, files: list[File]) -> Card:
        tally = self.tally
        return Card(
            rule=self.name,
            options=self.options,
            format=self._by.format,
            filters=[one.settings for one in self._by.filters],
            mix=dict(self._by.mix) if self._by.mix is not None else None,
            test_share=self._by.test_share,
            seed=self._by.seed,
            transcripts=self.seen,
            with_rows=self.with_rows,
            without_row=_ordered(+self.without_row),
            rows=tally.rows,
            rows_left_out=_ordered(self.left_out),
            parts=_ordered(tally.parts),
            remarks=_ordered(tally.remarks),
            files=files,
            unit=self._by.unit,
            lengths=tally.lengths,
            chosen_longer=tally.chosen_longer,
            debate_talk=tally.debate_talk,
            speakers=_ordered(tally.speakers),
            sources=[
                Source(name=name, licence=licence, records=count)
                for (name, licence), count in sorted(self._sources.items(), key=str)
            ],
            store_sha256=self._digest.hexdigest(),
        )


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


@dataclass
class _Lines:
    """The lines of one file that is to be."""

    path: Path
    file: IO[str]
    provenance: IO[str] | None
    rows: int = 0
    columns: dict[str, Any] = field(default_factory=dict)  # each with a value of its
    digest: Any = field(default_factory=hashlib.sha256)


class _Written:
    """The rows as JSON lines, one file for each split and agent."""

    def __init__(self, compilation: Compilation, out: Path, folder: Path, open_files: ExitStack) -> None:
        self._by, self._out, self._folder, self._open_files = compilation, out, folder, open_files
        self.format: Format = FORMATS[compilation.format]
        self.lines: dict[tuple[Split, str | None], _Lines] = {}
        self.shape: Shape | None = None

    def add(self, row: Row) -> None:
        origin, shape = row["provenance"], shape_of(row)
        if self.shape not in (None, shape):
            raise InputError(f"expected rows of one shape, the rule made {self.shape} rows and {shape} rows")
        self.shape = shape
        split = split_of(origin["question"] or origin["transcript"], test_share=self._by.test_share)
        lines = self._lines_of(split, _agent_of(row) if self._by.per_agent else None)
        for one in self.format.write(row):
            line = json.dumps(one) + "\n"
            lines.file.write(line)
            lines.digest.update(line.encode())
            lines.rows += 1
            if not one.keys() <= lines.columns.keys():
                lines.columns = {**one, **lines.columns}
            if lines.provenance is not None:
                lines.provenance.write(json.dumps(origin) + "\n")

    def _lines_of(self, split: Split, agent: str | None) -> _Lines:
        if (split, agent) not in self.lines:
            path = self._folder / f"{len(self.lines)}.jsonl"
            beside = path.with_suffix(".provenance")
            self.lines[split, agent] = _Lines(
                path=path,
                file=self._open_files.enter_context(path.open("w", encoding="utf-8")),
                provenance=None
                if self.format.provenance
                else self._open_files.enter_context(beside.open("w", encoding="utf-8")),
            )
        return self.lines[split, agent]

    def path_of(self, split: Split, agent: str | None) -> Path:
        """rows.jsonl, rows.test.jsonl, rows.ada.jsonl, rows.ada.test.jsonl"""
        parts = [self._out.stem, *([agent] if agent else []), *(["test"] if split == "test" else [])]
        return self._out.with_name(".".join(parts) + self._out.suffix)

    def files(self) -> list[File]:
        return [
            File(
                name=self.path_of(split, agent).name,
                split=split,
                agent=agent,
                rows=lines.rows,
                sha256=lines.digest.hexdigest(),
            )
            for (split, agent), lines in sorted(
                self.lines.items(), key=lambda one: (one[0][0] == "test", one[0][1] or "")
            )
        ]


def _by_agent_then_split(one: tuple[tuple[Split, str | None], _Lines]) -> tuple[str, bool]:
    (split, agent), _ = one
    return agent or "", split == "test"


def _agent_of(row: Row) -> str:
    agents = {turn["agent"] for turn in row["provenance"]["turns"]}
    if len(agents) != 1:
        raise InputError(
            "expected rows of one agent each to write a file for each agent, the rule "
            f"{row['provenance']['rule']!r} made one of {', '.join(sorted(agents)) or 'none'}"
        )
    return str(agents.pop())


def _publish(rows: _Written, card: Card, out: Path, container: str) -> None:
    """Let files and cards appear, all of them or none."""
    cards = {
        out.stem + ".card.json": json.dumps(card.as_json(), indent=2) + "\n",
        out.stem + ".card.md": card.as_markdown(),
    }
    if taken := cards.keys() & {file.name for file in card.files}:
        raise InputError(
            f"expected other names than the card's for files of rows, got {taken.pop()!r}; rename the agent"
        )
    with ExitStack() as appear:
        for (split, agent), lines in rows.lines.items():
            path = rows.path_of(split, agent)
            unfinished = appear.enter_context(appearing(path))
            contain(lines.path, unfinished, container, columns=lines.columns, digest=lines.digest.hexdigest())
            if lines.provenance is not None:
                beside = appear.enter_context(appearing(path.with_name(f"{path.stem}.provenance.jsonl")))
                shutil.copyfile(lines.path.with_suffix(".provenance"), beside)
        for name, text in cards.items():
            appear.enter_context(appearing(out.with_name(name))).write_text(text, encoding="utf-8")
    if rows.format.llama_factory is not None and rows.shape is not None and container:
        entry = rows.format.llama_factory(rows.shape)
        register({rows.path_of(split, agent): entry for split, agent in rows.lines})
