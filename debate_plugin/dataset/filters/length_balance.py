"""Pairs that would teach length instead of quality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from debate_plugin.dataset.rows import Row


@dataclass(frozen=True)
class LengthBalance:
    """Leaves out pairs whose longer reply has more than `ratio` times the characters of the shorter."""

    ratio: float

    def __post_init__(self) -> None:
        if self.ratio < 1:
            raise ValueError(f"expected a ratio of at least 1, got {self.ratio}")

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": "length_balance", "ratio": self.ratio}

    def __call__(self, row: Row) -> str | None:
        if "chosen" not in row:
            return None
        lengths = [
            sum(len(message["content"]) for message in messages) for messages in (row["chosen"], row["rejected"])
        ]
        return "chosen and rejected differ in length" if max(lengths) > self.ratio * min(lengths) else None
