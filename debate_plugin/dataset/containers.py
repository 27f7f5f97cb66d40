"""What a data set is kept in, by the name's ending.

rows.jsonl     one JSON object a line
rows.json      one JSON list
rows.parquet   Parquet
rows           a folder of the datasets library, for `datasets.load_from_disk`
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from debate_plugin.errors import InputError, needs

_ENDINGS = ("", ".json", ".jsonl", ".parquet")


def container_of(out: Path) -> str:
    """The ending, if it is one that is known.

    Raises:
        InputError: it is another.
    """
    if out.suffix not in _ENDINGS or out.name.startswith("."):
        raise InputError(
            f"expected a name that ends with .jsonl, .json or .parquet, or none for a folder of the datasets library, "
            f"got {out.name!r}"
        )
    return out.suffix


def contain(lines: Path, out: Path, container: str, *, columns: Mapping[str, Any], digest: str) -> None:
    """Put a file of JSON lines into its container at `out`; memory stays constant.

    `columns` are all that occur, each with a value of its: the datasets library would guess types from the first
    megabytes, and take a date for a time. `digest` is of the lines: it would draw a fingerprint at random.

    Raises:
        MissingExtraError: the datasets library is not installed.
    """
    if container == ".jsonl":
        shutil.copyfile(lines, out)
    elif container == ".json":
        with lines.open(encoding="utf-8") as rows, out.open("w", encoding="utf-8") as file:
            for number, line in enumerate(rows):
                file.write(("[\n" if number == 0 else ",\n") + line.rstrip("\n"))
            file.write("\n]\n")
    else:
        with _loaded(lines, columns, digest) as dataset:
            if container == ".parquet":
                dataset.to_parquet(str(out))
            else:
                dataset.save_to_disk(str(out))


@contextmanager
def _loaded(lines: Path, columns: Mapping[str, Any], digest: str) -> Iterator[Any]:
    with needs("data"):
        from datasets import Dataset, DatasetInfo, Features, Json, List, Value
        from datasets.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    text, turn = Value("string"), {name: Value("string") for name in ("agent", "role", "speaker", "model", "adapter")}
    origin = {name: text for name in ("rule", "run", "transcript", "question", "part", "remark")}
    provenance = {**origin, "agreement": Value("float64"), "turns": List({**turn, "round": Value("int64")})}

    def kind(name: str, value: Any) -> Any:
        if name == "provenance":
            return provenance
        if isinstance(value, list):
            return List(Json())
        return Json() if isinstance(value, dict) else Value("bool") if isinstance(value, bool) else text

    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory() as cache:
            features = Features({name: kind(name, value) for name, value in columns.items()})
            # Columns as a tuple: of a list the library would make shards, each with a part of it.
            read = Dataset.from_generator(
                _rows, gen_kwargs={"path": str(lines), "columns": tuple(columns)}, features=features, cache_dir=cache
            )
            yield Dataset(read.data, info=DatasetInfo(features=read.features), fingerprint=digest[:16])
    finally:
        if shown:
            enable_progress_bars()


def _rows(path: str, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield {name: row.get(name) for name in columns}


def register(entries: Mapping[Path, Mapping[str, Any]]) -> None:
    """Enter files into the `dataset_info.json` beside them, in which LLaMA-Factory looks up data sets.

    Raises:
        InputError: the one that is there is no JSON object.
    """
    folder = next(iter(entries)).resolve().parent
    path = folder / "dataset_info.json"
    door = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(door, fcntl.LOCK_EX)  # others may be compiling into this folder
        try:
            registered = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"expected a JSON object in {path}, it could not be read ({error}); move it away"
            ) from error
        if not isinstance(registered, dict):
            raise InputError(f"expected a JSON object in {path}, got {type(registered).__name__}; move it away")
        named = {out.stem: {"file_name": out.name, **entry} for out, entry in entries.items()}
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
        unfinished.write_text(json.dumps({**registered, **named}, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(path)
    finally:
        os.close(door)
