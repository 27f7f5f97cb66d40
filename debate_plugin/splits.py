"""Which questions are set aside for testing: told by a question's id alone, so before it is debated, and for good."""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["train", "test"]


def split_of(question_id: str, *, test_share: float) -> Split:
    """The side a question is on, the same wherever it is asked; of a larger share the test side holds a smaller one's.

    There is no seed: debating, compiling and evaluating must agree.

    Raises:
        ValueError: the share is not from 0 to 1.
    """
    if not 0 <= test_share <= 1:
        raise ValueError(f"expected a test share from 0 to 1, got {test_share}")
    digest = hashlib.sha256(f"split/{question_id}".encode()).digest()
    return "test" if int.from_bytes(digest[:8]) < test_share * 2**64 else "train"
