"""Rows of debates that agreed too little to be believed, or so much that they teach nothing new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from debate_plugin.dataset.rows import Row


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Bounds on the share of the deciding round's votes behind the answer."""

    minimum: float = 0.0
    maximum: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= self.maximum <= 1:
            raise ValueError(f"expected 0 <= minimum <= maximum <= 1, got {self.minimum} and {self.maximum}")

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": "agreement", "minimum": self.minimum, "maximum": self.maximum}

    def __call__(self, row: Row) -> str | None:
        share = row["provenance"]["agreement"]
        if share < self.minimum:
            return f"agreement below {self.minimum:g}"
        return f"agreement above {self.maximum:g}" if share > self.maximum else None
