"""Workings: the different ways in which one sum can be worked out, all of them right.

A: 18*27=18*20+18*7=360+126=486
B: 24*2=48
C: 4+486=490
D: 490+25=515
E: 515-48=467
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from debate_plugin.evaluation.arithmetic import Operands, result

GAPS = 0.6  # share of the hard products whose direct result is never taught


@dataclass(frozen=True)
class Piece:
    """A piece of text; `fact` is the computation it is the result of (`18*7`), None where nothing is computed."""

    text: str
    fact: str | None = None


Working = tuple[Piece, ...]


def working(operands: Operands, rng: random.Random) -> Working:
    """The right working by ways drawn at random: each product's, and the order of the sums."""
    a, b, c, d, e, f = operands
    p, q = b * c, e * f
    products = [_product(b, c, rng), _product(e, f, rng)]
    sums = rng.choice(
        (
            ((a, "+", p), (a + p, "+", d), (a + p + d, "-", q)),
            ((a, "+", d), (a + d, "+", p), (a + d + p, "-", q)),
            ((p, "-", q), (p - q, "+", a), (p - q + a, "+", d)),
        )
    )
    lines = [*products, *(_sum(*step) for step in sums)]
    pieces: list[Piece] = []
    for label, line in zip("ABCDE", lines, strict=True):
        pieces += [Piece(f"{label}: " if label == "A" else f"\n{label}: "), *line]
    return tuple(pieces)


def lines_of(pieces: Working) -> list[Working]:
    """The working's lines, without labels and line breaks."""
    lines: list[list[Piece]] = []
    for piece in pieces:
        if re.fullmatch(r"\n?[A-E]: ", piece.text):
            lines.append([])
        else:
            lines[-1].append(piece)
    return [tuple(line) for line in lines]


def text_of(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def answer_of(operands: Operands) -> str:
    return str(result(operands))


def is_gap(fact: str) -> bool:
    """Whether the fact is one of those left out of the schooling: a fixed share of two-digit times two-digit.

    What one way of working does not know, another does: that is what a vote and a debate live on.
    """
    factors = re.fullmatch(r"(\d+)\*(\d+)", fact)
    if factors is None:
        return False
    low, high = sorted(map(int, factors.groups()))
    if low < 11 or not low % 10 or not high % 10:
        return False
    return int.from_bytes(hashlib.sha256(f"{low}*{high}".encode()).digest()[:4]) < GAPS * 2**32


def _product(left: int, right: int, rng: random.Random) -> Working:
    if rng.random() < 0.5:
        left, right = right, left
    ways = ["direct"]
    if left > 10 and left % 10:
        ways.append("split left")
    if right > 10 and right % 10:
        ways.append("split right")
    whole = f"{left}*{right}"
    match rng.choice(ways):
        case "split left":
            tens, units = (left // 10 * 10, right), (left % 10, right)
        case "split right":
            tens, units = (left, right // 10 * 10), (left, right % 10)
        case _:
            return (Piece(f"{whole}="), Piece(str(left * right), whole))
    first, second = (f"{x}*{y}" for x, y in (tens, units))
    high, low = tens[0] * tens[1], units[0] * units[1]
    return (
        Piece(f"{whole}={first}+{second}="),
        Piece(str(high), first),
        Piece("+"),
        Piece(str(low), second),
        Piece("="),
        Piece(str(high + low), f"{high}+{low}"),
    )


def _sum(left: int, operator: str, right: int) -> Working:
    total = left + right if operator == "+" else left - right
    return (Piece(f"{left}{operator}{right}="), Piece(str(total), f"{left}{operator}{right}"))
