"""Replies read back: their lines, their answer, and how the cleaner and the summarizer are to put them.

A: 24*2 is 48
B: 18*27=18*20+18*7=360+126=486
C: 4+486=490
D: 490+25=515
E: 515-48=467
Answer: 467
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from debate_plugin.abacus import phrases
from debate_plugin.abacus.workings import is_gap
from debate_plugin.answers import read_answer, same_answer, without_confidence
from debate_plugin.evaluation.arithmetic import Operands, question
from debate_plugin.question import Question

_LINE = re.compile(r"^[A-E]: ([-+*/=\d]+=-?\d+|\d+\*\d+ is \d+)$", re.MULTILINE)
_HEART = re.compile(r"^[A-E]: (\d+)\*(\d+) is \d+$", re.MULTILINE)


@dataclass
class Said:
    """One reply, without its confidence line."""

    text: str
    answer: str
    right: bool
    agreement: float = 1.0  # share of the openings before it, its debater's own included, with this answer
    confidence: int = 50

    def with_confidence(self, confident: bool) -> str:
        return f"{self.text}{phrases.CONFIDENCE}{self.confidence}" if confident else self.text


@dataclass
class Case:
    """A question, what debaters opened with, and what they said after hearing one another."""

    operands: Operands
    openings: list[Said]
    rebuttals: list[tuple[str, Said]] = field(default_factory=list)  # with the context that each was said in

    @property
    def question(self) -> Question:
        return question(self.operands)

    @property
    def replies(self) -> list[Said]:
        return [*self.openings, *(said for _, said in self.rebuttals)]


def read(asked: Question, text: str) -> Said | None:
    """The reply in a text, or None where it is no reply of five lines and an answer."""
    text = without_confidence(text)
    answer = read_answer(asked, text)
    if answer is None or len(lines_of(text)) != 5 or text.count(phrases.ANSWER) != 1:
        return None
    return Said(text=text, answer=answer, right=same_answer("number", answer, asked.reference or ""))


def lines_of(text: str) -> list[str]:
    """The steps of a reply, in order, without their labels."""
    return _LINE.findall(text)


def cleaned(said: Said) -> str:
    """The reply as the cleaner is to write it: the working as it stands, and the answer."""
    working = "\n".join(f"{label}: {line}" for label, line in zip("ABCDE", lines_of(said.text), strict=True))
    return f"{working}{phrases.CONCLUSION}{said.answer}."


def summarized(said: Said, *, confidence: bool) -> str:
    """The reply as the summarizer is to put it: `24*2 is 48, 18*27=486; answer 467; confidence 80`."""
    products = ", ".join(re.sub("=.*=", "=", line) for line in lines_of(said.text)[:2])
    sure = f"{phrases.SUM_UP_CONFIDENCE}{said.confidence}" if confidence else ""
    return f"{products}{phrases.SUM_UP_ANSWER}{said.answer}{sure}"


def scrambled(said: Said, rng: random.Random, *, share: float = 1.0) -> Said:
    """The reply with a share of its numbers others: it can be repeated, but not worked out."""
    text = re.sub(
        r"\d+", lambda number: _of_length(len(number[0]), rng) if rng.random() < share else number[0], said.text
    )
    return Said(text=text, answer=re.findall(r"-?\d+", text)[-1], right=False, confidence=said.confidence)


def grade(replies: Sequence[Said]) -> None:
    """Set each reply's confidence: how often replies like it are right, in tens from 10 to 90.

    Replies are alike if they say as many of the never-learnt products by heart and found as much agreement.
    """
    kinds = [_kind(said) for said in replies]
    seen, right = Counter(kinds), Counter(kind for kind, said in zip(kinds, replies, strict=True) if said.right)
    for kind, said in zip(kinds, replies, strict=True):
        said.confidence = min(90, max(10, 10 * round(10 * right[kind] / seen[kind])))


def auroc(scores: Sequence[float], right: Sequence[bool]) -> float:
    """The chance that a right one scores above a wrong one; ties count half; nan where one kind is missing."""
    values, is_right = np.asarray(scores, dtype=float), np.asarray(right, dtype=bool)
    good, bad = values[is_right], values[~is_right]
    if not len(good) or not len(bad):
        return math.nan
    above = (good[:, None] > bad[None]).mean() + 0.5 * (good[:, None] == bad[None]).mean()
    return float(above)


def _of_length(digits: int, rng: random.Random) -> str:
    return str(rng.randint(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1))


def _kind(said: Said) -> tuple[int, float]:
    return sum(is_gap(int(left), int(right)) for left, right in _HEART.findall(said.text)), said.agreement
