"""Lineage: which base and rows an adapter was trained on and which adapter it grew from; a file in its folder.

{"schema_version": 1, "method": "dpo", "base": {"name": "abacus", "fingerprint": "3c1f..."},
 "parent": {"name": "sft", "sha256": "9b0e..."},
 "data": {"name": "dpo.jsonl", "sha256": "77aa...", "rows": 412, "rules": {"majority_minority": 412}},
 "settings": {"rank": 16, ...}, "metrics": {"loss": 0.61, "steps": 26, "seconds": 20.1},
 "versions": {"trl": "1.16.0", ...}}
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from debate_plugin.errors import InputError

FILE = "lineage.json"


class Base(BaseModel):
    """The model that an adapter is for."""

    name: str
    fingerprint: str  # of its weights, see `debate_plugin.pretrained.fingerprint`


class Parent(BaseModel):
    """The adapter that training went on from."""

    name: str
    sha256: str  # of its weights' file


class Data(BaseModel):
    """The rows that were trained on."""

    name: str
    sha256: str
    rows: int
    rules: dict[str, int]  # rows by the rule that made them, as far as they say


class Lineage(BaseModel):
    """Where an adapter came from."""

    schema_version: int = 1
    method: Literal["sft", "dpo", "kto"]
    base: Base
    parent: Parent | None
    data: Data
    settings: dict[str, Any]
    metrics: dict[str, float]
    versions: dict[str, str]

    def write(self, folder: Path) -> None:
        (folder / FILE).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: str | Path) -> Lineage | None:
        """What the folder says, or None where it says nothing: adapters from elsewhere have no such file.

        Raises:
            InputError: the file is damaged.
        """
        path = Path(folder) / FILE
        if not path.exists():
            return None
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            first_line = str(error).splitlines()[0]
            raise InputError(f"expected a lineage in {path}, it could not be read ({first_line})") from error


def parent_of(adapter: str | Path) -> Parent:
    """The adapter in a folder, as a parent."""
    return Parent(name=Path(adapter).resolve().name, sha256=weights_hash(adapter))


def weights_hash(adapter: str | Path) -> str:
    """What the adapter in a folder is known by: the SHA-256 of its weights' file."""
    with (Path(adapter) / "adapter_model.safetensors").open("rb") as weights:
        return hashlib.file_digest(weights, "sha256").hexdigest()


def data_of(rows: str | Path) -> Data:
    """A file of rows, as what was trained on."""
    content = Path(rows).read_bytes()
    lines = [json.loads(line) for line in content.split(b"\n") if line.strip()]
    rules = Counter(str(line.get("provenance", {}).get("rule", "not told")) for line in lines)
    return Data(
        name=Path(rows).name,
        sha256=hashlib.sha256(content).hexdigest(),
        rows=len(lines),
        rules=dict(sorted(rules.items())),
    )


def refuse_other_base(folder: str | Path, fingerprint: str) -> None:
    """See that an adapter's lineage, if it has one, names the base of this fingerprint.

    Raises:
        InputError: it was trained on another base, on which its weights would mean something else.
    """
    lineage = Lineage.read(folder)
    if lineage is not None and lineage.base.fingerprint != fingerprint:
        raise InputError(
            f"expected an adapter made for this base, {folder} was trained on {lineage.base.name!r}, whose weights are "
            "others; load that base"
        )
