"""The filters, one a file: each says why a row is to be left out, or lets it through."""

from __future__ import annotations

from typing import Any, Protocol

from debate_plugin.dataset.filters.agreement import Agreement
from debate_plugin.dataset.filters.debate_talk import DebateTalk, talks_of_debate
from debate_plugin.dataset.filters.held_out import HeldOut
from debate_plugin.dataset.filters.length_balance import LengthBalance
from debate_plugin.dataset.filters.near_duplicates import NearDuplicates
from debate_plugin.dataset.filters.secrets import Secrets
from debate_plugin.dataset.rows import Row


class Filter(Protocol):
    """What a filter is; one that remembers rows is made anew for every compilation."""

    @property
    def settings(self) -> dict[str, Any]:
        """Name and settings, for the card."""
        ...

    def __call__(self, row: Row) -> str | None:
        """Why the row is left out; None lets it through."""
        ...


__all__ = [
    "Agreement",
    "DebateTalk",
    "Filter",
    "HeldOut",
    "LengthBalance",
    "NearDuplicates",
    "Secrets",
    "talks_of_debate",
]
