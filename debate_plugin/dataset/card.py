"""The card beside the data: what it holds, what was left out and why, and what it was made of.

rows.card.json for programs, rows.card.md for people. The same store and settings give the same card.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from debate_plugin.dataset.filters.debate_talk import talks_of_debate
from debate_plugin.dataset.rows import Row, prompt_of, targets_of

Measure = Callable[[str], int]
"""How long a text is: in words, or in a model's tokens."""


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Lengths of one column's texts over all rows."""

    mean: float
    median: int
    p95: int
    longest: int


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of rows."""

    name: str
    split: str
    agent: str | None  # whose rows alone it holds
    rows: int
    sha256: str  # of its rows as JSON lines; of a .jsonl file itself


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where questions came from."""

    name: str | None
    licence: str | None
    records: int


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a data set holds and what it left out."""

    rule: str
    options: dict[str, Any]
    format: str
    filters: list[dict[str, Any]]
    mix: dict[str, float] | None
    test_share: float
    seed: int
    transcripts: int  # or conversations
    with_rows: int
    without_row: dict[str, int]  # reason -> transcripts; with those above they are all there are
    rows: int
    rows_left_out: dict[str, int]  # reason -> rows
    parts: dict[str, int]
    remarks: dict[str, int]
    files: list[File]
    unit: str  # of the lengths
    lengths: dict[str, Lengths]  # by column
    chosen_longer: float | None  # share of pairs whose chosen reply is the longer one
    debate_talk: float  # share of rows whose text to be learnt speaks of a debate
    speakers: dict[str, int]  # model and adapter -> rows that hold their words
    sources: list[Source]
    store_sha256: str  # of the records that were read, in their order

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def as_markdown(self) -> str:
        """The card for people."""
        lines = [f"# {self.files[0].name}", ""]
        lines += [f"{self.rows} rows of {self.with_rows} of {self.transcripts} transcripts by the rule `{self.rule}`."]
        if self.options:
            lines += ["", "Options: " + ", ".join(f"`{name}={value}`" for name, value in self.options.items()) + "."]
        lines += _table(
            "Files",
            ("file", "split", "agent", "rows", "sha256"),
            [(one.name, one.split, one.agent or "all", one.rows, f"`{one.sha256}`") for one in self.files],
        )
        lines += _table("Transcripts without a row", ("reason", "transcripts"), list(self.without_row.items()))
        lines += _table("Rows left out", ("reason", "rows"), list(self.rows_left_out.items()))
        lines += _table("Parts", ("part", "rows"), list(self.parts.items()))
        lines += _table("Remarks", ("remark", "rows"), list(self.remarks.items()))
        lines += _table(
            f"Lengths in {self.unit}",
            ("column", "mean", "median", "95 %", "longest"),
            [(name, f"{one.mean:.1f}", one.median, one.p95, one.longest) for name, one in self.lengths.items()],
        )
        if self.chosen_longer is not None:
            lines += ["", f"The chosen reply is the longer one in {self.chosen_longer:.1%} of the pairs."]
        lines += ["", f"The text to be learnt speaks of a debate in {self.debate_talk:.1%} of the rows."]
        lines += _table("Speakers", ("model", "rows"), list(self.speakers.items()))
        lines += _table(
            "Sources",
            ("source", "licence", "transcripts"),
            [(one.name or "not told", one.licence or "not told", one.records) for one in self.sources],
        )
        filters = [
            (one["name"], ", ".join(f"{name} {value}" for name, value in one.items() if name != "name") or "-")
            for one in self.filters
        ]
        lines += _table("Filters", ("filter", "settings"), filters)
        lines += [
            "",
            f"Format `{self.format}`, test share {self.test_share:g}, seed {self.seed}, mix {self.mix or 'none'}.",
        ]
        lines += [f"The records it was made of have the SHA-256 `{self.store_sha256}`.", ""]
        return "\n".join(lines)


def _table(title: str, head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    if not rows:
        return []
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return ["", f"## {title}", ""] + [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells)]


@dataclass
class Tally:
    """What is counted of the rows that are written."""

    measure: Measure
    rows: int = 0
    parts: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    speakers: Counter[str] = field(default_factory=Counter)
    _lengths: dict[str, array[int]] = field(default_factory=dict)
    _talking: int = 0
    _pairs: int = 0
    _chosen_longer: int = 0

    def add(self, row: Row) -> None:
        origin = row["provenance"]
        self.rows += 1
        self.parts.update([origin["part"]] if origin["part"] else ())
        self.remarks.update([origin["remark"]] if origin["remark"] else ())
        self.speakers.update({_speaker(turn) for turn in origin["turns"]})
        targets = targets_of(row)
        prompt = "\n".join(message["content"] for message in prompt_of(row))
        lengths = {name: self.measure(text) for name, text in {"prompt": prompt, **targets}.items()}
        for name, length in lengths.items():
            self._lengths.setdefault(name, array("I")).append(length)
        if "chosen" in row:
            self._pairs += 1
            self._chosen_longer += len(targets["chosen"]) > len(targets["rejected"])
        self._talking += any(talks_of_debate(text) for name, text in targets.items() if name != "rejected")

    @property
    def lengths(self) -> dict[str, Lengths]:
        return {name: _summary(values) for name, values in self._lengths.items()}

    @property
    def chosen_longer(self) -> float | None:
        return round(self._chosen_longer / self._pairs, 4) if self._pairs else None

    @property
    def debate_talk(self) -> float:
        return round(self._talking / self.rows, 4) if self.rows else 0.0


def _speaker(turn: Mapping[str, Any]) -> str:
    model = turn["model"] or "not told"
    return f"{model} with {turn['adapter']}" if turn["adapter"] else model


def _summary(values: array[int]) -> Lengths:
    ordered = sorted(values)
    return Lengths(
        mean=round(sum(ordered) / len(ordered), 2),
        median=ordered[len(ordered) // 2],
        p95=ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        longest=ordered[-1],
    )
