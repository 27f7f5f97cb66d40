"""The papers' arithmetic task: `What is the result of 4+18*27+25-24*2?` (Du et al. 2023, section 3.1).

Six distinct integers in 0..29, drawn from a seed. The splits are disjoint by expression, whatever the seeds: which
split an expression belongs to is read off its hash.
"""

from __future__ import annotations

import hashlib
import random
from typing import Literal, get_args

from debate_plugin.question import Question

Split = Literal["pretrain", "validation", "train", "test"]
_SHARE = {"pretrain": range(0, 70), "validation": range(70, 80), "train": range(80, 90), "test": range(90, 100)}

Operands = tuple[int, int, int, int, int, int]


def questions(count: int, *, seed: int, split: Split) -> list[Question]:
    """`count` different questions of the split.

    `pretrain` and `validation` are for making a model, `train` for debating and fine-tuning, `test` for reporting.
    """
    return [question(operands) for operands in draw(count, random.Random(f"{split}/{seed}"), split=split)]


def draw(count: int, rng: random.Random, *, split: Split) -> list[Operands]:
    """`count` different sets of operands (a, b, c, d, e, f) of `a+b*c+d-e*f`."""
    if split not in get_args(Split):
        raise ValueError(f"expected a split out of {', '.join(get_args(Split))}, got {split!r}")
    drawn: dict[Operands, None] = {}
    while len(drawn) < count:
        a, b, c, d, e, f = rng.sample(range(30), 6)
        operands = (a, b, c, d, e, f)
        if _hundredth(expression(operands)) in _SHARE[split]:
            drawn[operands] = None
    return list(drawn)


def expression(operands: Operands) -> str:
    a, b, c, d, e, f = operands
    return f"{a}+{b}*{c}+{d}-{e}*{f}"


def result(operands: Operands) -> int:
    a, b, c, d, e, f = operands
    return a + b * c + d - e * f


def question(operands: Operands) -> Question:
    return Question.of(f"What is the result of {expression(operands)}?", kind="number", reference=str(result(operands)))


def _hundredth(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % 100
