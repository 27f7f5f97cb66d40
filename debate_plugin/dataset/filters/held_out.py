"""Rows that hold a question which a model is to be tested on (n-gram overlap: Brown et al. 2020, appendix C)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from debate_plugin.dataset.rows import Row, prompt_of, targets_of
from debate_plugin.question import Question

_WORD = re.compile(r"\w+")


class HeldOut:
    """Leaves out rows that share `words` words in a row with a held-out question, or the whole of a shorter one."""

    def __init__(self, questions: Iterable[Question], *, words: int = 13) -> None:
        if words < 1:
            raise ValueError(f"expected at least one word, got {words}")
        self._words = words
        self._grams: dict[int, set[str]] = {}  # by their number of words
        self._count = 0
        for question in questions:
            self._count += 1
            said = _WORD.findall(question.text.lower())
            size = min(words, len(said))
            for place in range(len(said) - size + 1):
                self._grams.setdefault(size, set()).add(" ".join(said[place : place + size]))
        self._grams.pop(0, None)
        self._holds = lru_cache(maxsize=256)(self._holds_one)  # rows of a debate share prompts and replies

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": "held_out", "questions": self._count, "words": self._words}

    def __call__(self, row: Row) -> str | None:
        shown = row["messages"] if "messages" in row else prompt_of(row)
        texts = [*(message["content"] for message in shown), *targets_of(row).values()]
        return "holds a held-out question" if any(map(self._holds, texts)) else None

    def _holds_one(self, text: str) -> bool:
        said = _WORD.findall(text.lower())
        for size, grams in self._grams.items():
            windows = zip(*(said[place:] for place in range(size)), strict=False)
            if not grams.isdisjoint(map(" ".join, windows)):
                return True
        return False
