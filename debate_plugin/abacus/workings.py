"""Workings: the different ways in which one sum can be worked out, all of them right.

A: 18*27=18*20+18*7=360+126=486
B: 24*2 is 48
C: 4+486=490
D: 490+25=515
E: 515-48=467

A product is said by heart (`is`) or worked out in parts, by tens and units of either factor; the sums are taken in one
of two orders. Most products of two two-digit numbers are never taught by heart, although they are as often said so.
"""

from __future__ import annotations

import hashlib
import operator
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from debate_plugin.abacus.phrases import BY_HEART
from debate_plugin.evaluation.arithmetic import Operands, result

GAPS = 0.8  # share of the hard products whose result is never taught by heart
BY_HEART_SHARE = 0.55  # how often a product is said by heart


@dataclass(frozen=True)
class Piece:
    """A piece of text; the result of a gap is the one thing that is not taught."""

    text: str
    taught: bool = True


Working = tuple[Piece, ...]


def working(
    operands: Operands, rng: random.Random, *, careful: bool = False, recall: Callable[[int, int], int] = operator.mul
) -> Working:
    """The working by ways drawn at random, right unless products are recalled wrongly.

    A careful one says no hard product by heart.
    """
    a, b, c, d, e, f = operands
    (first, p), (second, q) = (_product(*factors, rng, careful, recall) for factors in ((b, c), (e, f)))
    sums = ((a, "+", p), (a + p, "+", d)) if rng.random() < 0.5 else ((a, "+", d), (a + d, "+", p))
    steps = [first, second, *(_sum(*one) for one in sums), _sum(a + p + d, "-", q)]
    pieces: list[Piece] = []
    for label, step in zip("ABCDE", steps, strict=True):
        pieces += [Piece(f"{label}: " if label == "A" else f"\n{label}: "), *step]
    return tuple(pieces)


def text_of(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def answer_of(operands: Operands) -> str:
    return str(result(operands))


def is_hard(left: int, right: int) -> bool:
    """Whether both factors have tens and units."""
    return all(factor > 10 and factor % 10 for factor in (left, right))


def is_gap(left: int, right: int) -> bool:
    """Whether the product is one of the hard ones that are never taught by heart: a fixed share of them."""
    if not is_hard(left, right):
        return False
    low, high = sorted((left, right))
    return int.from_bytes(hashlib.sha256(f"{low}*{high}".encode()).digest()[:4]) < GAPS * 2**32


def _product(
    left: int, right: int, rng: random.Random, careful: bool, recall: Callable[[int, int], int]
) -> tuple[Working, int]:
    ways = [side for side, factor in (("left", left), ("right", right)) if factor > 10 and factor % 10]
    by_heart = rng.random() < BY_HEART_SHARE and not (careful and is_hard(left, right))
    if by_heart or not ways:
        product = recall(left, right)
        return (Piece(f"{left}*{right}{BY_HEART}"), Piece(str(product), taught=not is_gap(left, right))), product
    if rng.choice(ways) == "left":
        tens, units = (left // 10 * 10, right), (left % 10, right)
    else:
        tens, units = (left, right // 10 * 10), (left, right % 10)
    (first, high), (second, low) = ((f"{x}*{y}", x * y) for x, y in (tens, units))
    return (Piece(f"{left}*{right}={first}+{second}={high}+{low}={high + low}"),), high + low


def _sum(left: int, sign: str, right: int) -> Working:
    total = left + right if sign == "+" else left - right
    return (Piece(f"{left}{sign}{right}={total}"),)
