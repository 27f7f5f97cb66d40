"""Rows that say nearly what an earlier row says: MinHash signatures in a locality-sensitive index (Broder 1997)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from debate_plugin.dataset.rows import Row, prompt_of, targets_of
from debate_plugin.errors import needs

_SHINGLE = 3  # words
_PERMUTATIONS = 128


@dataclass
class NearDuplicates:
    """Leaves out a row whose words, three at a time, are the share `threshold` of an earlier row's.

    Compared is what is trained on, or the prompt where nothing else is there; an index of all rows is kept in memory,
    about 2 kB each.

    Raises:
        MissingExtraError: datasketch is not installed.
    """

    threshold: float = 0.9
    _index: Any = field(init=False, repr=False)
    _make: Any = field(init=False, repr=False)
    _seen: list[Any] = field(init=False, repr=False, default_factory=list)  # signatures, by their key in the index

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"expected a threshold between 0 and 1, got {self.threshold}")
        with needs("data"):
            from datasketch import MinHash, MinHashLSH
            from xxhash import xxh32_intdigest
        # The index is asked to miss little: what it finds is looked at again.
        self._index = MinHashLSH(threshold=self.threshold, num_perm=_PERMUTATIONS, weights=(0.1, 0.9))
        self._make = lambda: MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=xxh32_intdigest)

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": "near_duplicates", "threshold": self.threshold}

    def __call__(self, row: Row) -> str | None:
        texts = targets_of(row) or {"prompt": "\n".join(message["content"] for message in prompt_of(row))}
        # A pair is compared as a pair: the same reply may be chosen over several others.
        words = [f"{column}:{word}" for column, text in texts.items() for word in re.findall(r"\w+|[^\w\s]", text)]
        shingles = {" ".join(words[place : place + _SHINGLE]) for place in range(max(1, len(words) - _SHINGLE + 1))}
        signature = self._make()
        signature.update_batch([shingle.encode() for shingle in shingles])
        values = signature.hashvalues
        if any((values == self._seen[key]).mean() >= self.threshold for key in self._index.query(signature)):
            return "nearly the same as an earlier row"
        self._index.insert(len(self._seen), signature, check_duplication=False)
        self._seen.append(values.astype("uint32"))
        return None
