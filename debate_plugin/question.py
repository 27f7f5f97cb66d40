"""The question that is debated, and how questions are read from files.

Formats read (one question each):
    Alpaca JSON   {"instruction": "Name a prime.", "input": "", "output": "7"}     a list of these
    GSM8K JSONL   {"question": "...", "answer": "... #### 72"}                     the part after #### is the reference
    any JSONL     {"problem": "..."}                                               the column is named by the caller
    plain text    What is 2+2?                                                     one question a line
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from debate_plugin.errors import InputError

AnswerKind = Literal["number", "choice", "exact", "free"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is debated."""

    id: str
    text: str
    kind: AnswerKind = "free"
    reference: str | None = None  # used by evaluation alone, never shown to an agent or a training row
    source: str | None = None  # the data set or file it is from
    licence: str | None = None  # of that source

    def __post_init__(self) -> None:
        for name in ("id", "text", "reference", "source", "licence"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, storable(value))
        if not self.text.strip():
            raise InputError(f"question {self.id!r} has no text; give it some or leave it out")
        if self.kind not in get_args(AnswerKind):
            raise InputError(
                f"question {self.id!r} has answer kind {self.kind!r}; use one of {', '.join(get_args(AnswerKind))}"
            )

    @classmethod
    def of(
        cls,
        text: str,
        *,
        kind: AnswerKind = "free",
        reference: str | None = None,
        source: str | None = None,
        licence: str | None = None,
    ) -> Question:
        """A question whose id is made from its text, so the same text is the same question in every file."""
        text = storable(text).strip()
        digest = hashlib.sha256(text.encode()).hexdigest()
        return cls(
            id=digest[:16],
            text=text,
            kind=kind,
            reference=storable(reference) if reference else None,
            source=source,
            licence=licence,
        )


def storable(text: str) -> str:
    """The text with a question mark for each lone surrogate: scraped files hold some, and UTF-8 cannot encode them."""
    return text.encode("utf-8", "replace").decode()


def read_questions(
    path: str | Path,
    *,
    column: str | None = None,
    kind: AnswerKind | None = None,
    source: str | None = None,
    licence: str | None = None,
) -> list[Question]:
    """Read a question file; the format is told from the ending and the columns of the first row.

    `kind` defaults to `number` for GSM8K, `free` for everything else. A question that stands twice is read once.
    `source` (the file's name unless another is given) and `licence` are noted with each, for the cards of data sets.

    Raises:
        InputError: the file is unreadable, empty, or a row lacks the column; says which row, what came, what to do.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"expected a readable UTF-8 question file, {path} could not be read ({error}); check the path"
        ) from error
    if path.suffix.lower() in {".json", ".jsonl", ".ndjson"}:
        questions = list(_from_rows(path, _json_rows(path, text), column, kind))
    elif column is not None:
        raise InputError(f"a column ({column!r}) can be named for .json and .jsonl files; {path} is read as plain text")
    else:
        questions = [Question.of(line, kind=kind or "free") for line in text.splitlines() if line.strip()]
    if not questions:
        raise InputError(f"expected at least one question in {path}, found none; is it the right file?")
    noted = (replace(question, source=source or path.name, licence=licence) for question in questions)
    return list({question.id: question for question in noted}.values())


def _json_rows(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Rows with the words that name their place in the file."""
    if path.suffix.lower() == ".json":
        try:
            rows = json.loads(text) if text.strip() else []
        except json.JSONDecodeError as error:
            raise InputError(
                f"expected JSON in {path}, parsing failed at line {error.lineno} ({error.msg}); "
                "for one object a line name the file .jsonl"
            ) from error
        if not isinstance(rows, list):
            raise InputError(f"expected a JSON list of rows in {path}, got {type(rows).__name__}")
        yield from ((f"row {number}", row) for number, row in enumerate(rows, 1))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f"expected one JSON object a line, line {number} of {path} is not JSON ({error.msg})"
            ) from error


def _from_rows(
    path: Path, rows: Iterator[tuple[str, Any]], column: str | None, kind: AnswerKind | None
) -> Iterator[Question]:
    for place, row in rows:
        if not isinstance(row, Mapping):
            raise InputError(f"expected an object at {place} of {path}, got {type(row).__name__}")
        if column is not None:
            reference = str(row.get("answer") or row.get("output") or "").rsplit("####", 1)[-1].strip() or None
            yield Question.of(_column(path, place, row, column), kind=kind or "free", reference=reference)
        elif "instruction" in row:
            instruction, extra = _column(path, place, row, "instruction"), str(row.get("input") or "").strip()
            output = str(row.get("output") or "").strip() or None
            text = f"{instruction}\n\n{extra}" if extra else instruction
            yield Question.of(text, kind=kind or "free", reference=output)
        else:
            text, answer = _column(path, place, row, "question"), str(row.get("answer") or "")
            is_gsm8k = "####" in answer
            reference = answer.rsplit("####", 1)[-1].strip() or None
            yield Question.of(text, kind=kind or ("number" if is_gsm8k else "free"), reference=reference)


def _column(path: Path, place: str, row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        came = f"columns {', '.join(map(str, row))}" if column not in row else f"{value!r}"
        raise InputError(
            f"expected text in column {column!r} at {place} of {path}, got {came}; name the column with --column"
        )
    return value
