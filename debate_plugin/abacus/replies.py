"""Replies that the model gave, read back: their lines, their answer, and how likely they are to be right.

A: 24*2=48
B: 18*27=486
C: 4+486=490
D: 490+25=515
E: 515-48=467
Answer: 467
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from debate_plugin.abacus import phrases
from debate_plugin.abacus.sampler import Sample
from debate_plugin.answers import read_answer, same_answer, without_confidence
from debate_plugin.evaluation.arithmetic import Operands, question
from debate_plugin.question import Question

_LINE = re.compile(r"^[A-E]: (?P<sum>[-+*/=\d]+=-?\d+)$", re.MULTILINE)
_RESULT = re.compile(r"(?<![*\d])-?\d+(?![*\d])")  # in what stands after the first = of a line


@dataclass
class Said:
    """One reply of the model, without its confidence line."""

    text: str
    answer: str
    right: bool
    features: tuple[float, ...] = field(repr=False)
    agreement: float = 0.5  # share of the replies in the same room with this answer
    confidence: int = 50

    def with_confidence(self, confident: bool) -> str:
        return f"{self.text}{phrases.CONFIDENCE}{self.confidence}" if confident else self.text


@dataclass
class Case:
    """A question, what the model's debaters opened with, and what they said after hearing one another."""

    operands: Operands
    openings: list[Said]
    rebuttals: list[tuple[str, Said]] = field(default_factory=list)  # with the context that each was said in

    @property
    def question(self) -> Question:
        return question(self.operands)


def read(asked: Question, sample: Sample) -> Said | None:
    """The reply in a sample, or None where it is no reply of five lines and an answer."""
    text = without_confidence(sample.text)
    answer = read_answer(asked, text)
    lines = _LINE.findall(text)
    if answer is None or len(lines) != 5 or phrases.ANSWER not in text:
        return None
    right = same_answer("number", answer, asked.reference or "")
    return Said(text=text, answer=answer, right=right, features=_features(sample))


def lines_of(text: str) -> list[str]:
    """The sums of a reply, in order, without their labels."""
    return _LINE.findall(text)


def cleaned(said: Said) -> str:
    """The reply as the cleaner is to write it: the working as it stands, and the answer."""
    working = "\n".join(f"{label}: {line}" for label, line in zip("ABCDE", lines_of(said.text), strict=True))
    return f"{working}{phrases.CONCLUSION}{said.answer}."


def summarized(said: Said, *, confidence: bool) -> str:
    """The reply as the summarizer is to put it: `467: 24*2=48, 18*27=486; confidence 80`."""
    products = [line for line in lines_of(said.text) if "*" in line]
    results = ", ".join(f"{line.split('=')[0]}={line.split('=')[-1]}" for line in products)
    return f"{said.answer}: {results}" + (f"; confidence {said.confidence}" if confidence else "")


class Calibration:
    """Tells from how surely each step was said, and from how many said the same, whether a reply is right."""

    def __init__(self, replies: Sequence[Said]) -> None:
        self._scaler = StandardScaler()
        self._model = LogisticRegression(C=1.0)
        features = self._scaler.fit_transform([self._seen(said) for said in replies])
        self._model.fit(features, [said.right for said in replies])

    def grade(self, replies: Sequence[Said]) -> None:
        """Set each reply's confidence: the chance that it is right, in tens from 10 to 90."""
        chances = self._model.predict_proba(self._scaler.transform([self._seen(said) for said in replies]))[:, 1]
        for said, chance in zip(replies, chances, strict=True):
            said.confidence = int(min(90, max(10, 10 * round(10 * float(chance)))))

    @staticmethod
    def _seen(said: Said) -> tuple[float, ...]:
        return (*said.features, said.agreement)


def auroc(scores: Sequence[float], right: Sequence[bool]) -> float:
    """The chance that a right one scores above a wrong one; ties count half; nan where one kind is missing."""
    values, is_right = np.asarray(scores, dtype=float), np.asarray(right, dtype=bool)
    good, bad = values[is_right], values[~is_right]
    if not len(good) or not len(bad):
        return math.nan
    above = (good[:, None] > bad[None]).mean() + 0.5 * (good[:, None] == bad[None]).mean()
    return float(above)


def _features(sample: Sample) -> tuple[float, ...]:
    """For each line the log-probability of what was computed in it, the least of them, and the ways used."""
    chances: list[float] = []
    for token, chance in zip(sample.pieces, sample.logprobs, strict=True):
        chances += [chance / len(token)] * len(token)
    text = "".join(sample.pieces)
    sums: list[float] = []
    direct = 0
    for line in _LINE.finditer(text):
        start = line.start("sum") + line["sum"].index("=") + 1
        results = list(_RESULT.finditer(text, start, line.end("sum")))
        sums.append(sum(sum(chances[found.start() : found.end()]) for found in results))
        direct += "*" in line["sum"] and line["sum"].count("=") == 1
    sums = (sums + [0.0] * 5)[:5]
    return (*sums, min(sums), sum(math.exp(value) for value in sums), float(direct))
