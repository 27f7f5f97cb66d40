"""What a data set is kept in, by the name's ending.

rows.jsonl     one JSON object a line
rows.json      one JSON list
rows.parquet   Parquet
rows           a folder of the datasets library, for `datasets.load_from_disk`
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
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
    if out.suffix not in _ENDINGS:
        raise InputError(
            f"expected a name that ends with .jsonl, .json or .parquet, or none for a folder of the datasets library, "
            f"got {out.name!r}"
        )
    return out.suffix


def contain(lines: Path, out: Path, container: str, *, digest: str) -> None:
    """Put a file of JSON lines into its container at `out`; memory stays constant.

    `digest` is of the lines: the datasets library wants a fingerprint, which it would draw at random.

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
        with _loaded(lines, digest) as dataset:
            if container == ".parquet":
                dataset.to_parquet(str(out))
            else:
                dataset.save_to_disk(str(out))


@contextmanager
def _loaded(lines: Path, digest: str) -> Iterator[Any]:
    with needs("data"):
        from datasets import Dataset, DatasetInfo
        from datasets.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory() as cache:
            read = Dataset.from_json(str(lines), cache_dir=cache)
            yield Dataset(read.data, info=DatasetInfo(features=read.features), fingerprint=digest[:16])
    finally:
        if shown:
            enable_progress_bars()


def register(out: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """The `dataset_info.json` beside a file, in which LLaMA-Factory looks up data sets, with an entry for the file.

    Raises:
        InputError: the one that is there is no JSON object.
    """
    path = out.with_name("dataset_info.json")
    try:
        registered = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"expected a JSON object in {path}, it could not be read ({error}); move it away") from error
    if not isinstance(registered, dict):
        raise InputError(f"expected a JSON object in {path}, got {type(registered).__name__}; move it away")
    return {**registered, out.stem: {"file_name": out.name, **entry}}
