"""From a row back to where it came from."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from debate_plugin.dataset.rows import Provenance
from debate_plugin.errors import InputError, needs


def provenance_at(place: str) -> Provenance:
    """The provenance of a row named as `FILE:NUMBER`, counted from 1; FILE is any that the compiler writes.

    Raises:
        InputError: there is no such file or row, or it does not say where it came from.
    """
    name, _, number = place.rpartition(":")
    if not name or not number.isdecimal() or int(number) < 1:
        raise InputError(f"expected FILE:NUMBER, the number counted from 1, got {place!r}")
    path = Path(name)
    try:
        row = _row(path, int(number))
        if isinstance(row, dict) and "provenance" not in row:  # the format has no place for it
            beside = path.with_name(f"{path.stem}.provenance.jsonl")
            row = {"provenance": _line(beside, int(number))} if beside.exists() else {}
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"expected a file of rows, {path} could not be read ({error}); check the path") from error
    if row is None:
        raise InputError(f"expected a row {number} in {path}, it has fewer")
    if not isinstance(row, dict) or not isinstance(row.get("provenance"), dict):
        raise InputError(f"expected a row with its provenance at {place}, got one without; was it compiled here?")
    origin: Provenance = row["provenance"]
    return origin


def _row(path: Path, number: int) -> Any:
    if path.is_dir() or path.suffix == ".parquet":
        with needs("data"):
            from datasets import Dataset, load_from_disk
        try:
            rows = load_from_disk(str(path)) if path.is_dir() else Dataset.from_parquet(str(path))
        except Exception as error:  # the library and those under it raise many kinds
            first_line = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(f"expected a file of rows, {path} could not be read ({first_line})") from error
        return rows[number - 1] if number <= len(rows) else None
    if path.suffix == ".json":
        listed = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(listed, list):
            raise InputError(f"expected a list of rows in {path}, got {type(listed).__name__}")
        return listed[number - 1] if number <= len(listed) else None
    return _line(path, number)


def _line(path: Path, number: int) -> Any:
    with path.open(encoding="utf-8") as lines:
        line = next(islice(lines, number - 1, None), None)
    return json.loads(line) if line is not None else None
