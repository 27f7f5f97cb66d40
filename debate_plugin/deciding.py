"""How a debate is decided: criteria, one after another, until one answer is left.

majority        how many gave the answer in the deciding round
confidence      the sum of the confidences stated for it there (ReConcile 2023 weighs votes so)
surest          the highest confidence stated for it there
trajectory      how often it was given in all rounds: an opening keeps its vote when its debater is talked round
conviction      what all changes of mind say for it, see `_conviction` (after Free-MAD 2025)
ranking         the debaters' rankings of the answers that are left, by Borda count
approval        how many debaters approve of it
judge           the judge's verdict, see `debate_plugin.judging`
judge on ties   a majority, and the judge among answers that are level

What stays level goes on to majority and confidence, and at last to the answer that was there earliest; never to string
order, never to chance.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from debate_plugin import answers
from debate_plugin import directions as say
from debate_plugin.answers import Vote, count_votes, same_answer, without_confidence
from debate_plugin.candidates import Candidate, Round, candidates
from debate_plugin.directions import Heard
from debate_plugin.judging import judged
from debate_plugin.question import Question
from debate_plugin.turns import LABELS, Ballot, Replies, Reply, Stage, Turn

if TYPE_CHECKING:  # a plan names the way to decide
    from debate_plugin.plan import Plan

Decide = Literal[
    "majority", "confidence", "surest", "trajectory", "conviction", "ranking", "approval", "judge", "judge on ties"
]
Criterion = Literal[
    "majority", "confidence", "surest", "trajectory", "conviction", "ranking", "approval", "judge", "earliest"
]

CRITERIA: dict[Decide, tuple[Criterion, ...]] = {
    "majority": ("majority", "confidence", "earliest"),
    "confidence": ("confidence", "majority", "earliest"),
    "surest": ("surest", "majority", "confidence", "earliest"),
    "trajectory": ("trajectory", "majority", "confidence", "earliest"),
    "conviction": ("conviction", "majority", "confidence", "earliest"),
    "ranking": ("ranking", "majority", "confidence", "earliest"),
    "approval": ("approval", "majority", "confidence", "earliest"),
    "judge": ("judge", "majority", "confidence", "earliest"),
    "judge on ties": ("majority", "judge", "confidence", "earliest"),
}
_OF_ALL_ROUNDS = ("trajectory", "conviction")

KEPT, TAKEN_UP, GIVEN_UP = 1.0, 1.5, -1.25  # what an answer gains in a round by one debater's path


@dataclass(frozen=True)
class Decision:
    """The winner, the criterion that left it alone, and what each answer scored by the criteria that were asked."""

    winner: Candidate
    criterion: Criterion
    scores: Mapping[str, Mapping[str, float]]  # criterion -> answer -> score, for those that were still in


def vote_of(question: Question, replies: Replies) -> Vote:
    """The vote of one round's replies."""
    return count_votes(
        question.kind,
        [answers.Ballot(voter=reply.turn.agent, answer=reply.answer, confidence=reply.confidence) for reply in replies],
    )


def decide(question: Question, plan: Plan, rounds: Sequence[Round]) -> Generator[Stage, Replies, Decision]:
    """Which answer wins; the last of the rounds decides, and somebody answered in it."""
    criteria = CRITERIA[plan.decide]
    everywhere = any(criterion in _OF_ALL_ROUNDS for criterion in criteria)
    counted = [reply for replies in (rounds if everywhere else rounds[-1:]) for reply in replies.values()]
    left = candidates(question, counted)
    told: dict[str, dict[str, float]] = {}
    for criterion in criteria:
        match criterion:
            case "judge" | "ranking" | "approval" if len(left) == 1:
                continue  # nothing to choose among
            case "judge":
                scores = yield from judged(question, plan, left, len(rounds))
            case "ranking" | "approval":
                scores = yield from _voted(question, plan, left, rounds, criterion)
            case "earliest":
                scores = [-_first_given(question, rounds, candidate) for candidate in left]
            case "conviction":
                scores = [_conviction(question, rounds, candidate) for candidate in left]
            case _:
                scores = [_SCORES[criterion](candidate, len(rounds)) for candidate in left]
        by_score = sorted(zip(left, scores, strict=True), key=lambda pair: pair[1])  # of equal texts the best is told
        told[criterion] = {one.answer: round(score, 6) for one, score in by_score}
        left = [candidate for candidate, score in zip(left, scores, strict=True) if score == max(scores)]
        if len(left) == 1:
            return Decision(left[0], criterion, told)
    raise AssertionError("two answers cannot both be the earliest")


def _confidence(reply: Reply) -> float:
    return reply.confidence or 0.0


def _in_last(candidate: Candidate, last: int) -> list[Reply]:
    return [reply for reply in candidate.replies if reply.turn.round == last]


_SCORES: dict[Criterion, Callable[[Candidate, int], float]] = {
    "majority": lambda candidate, last: len(_in_last(candidate, last)),
    "confidence": lambda candidate, last: math.fsum(map(_confidence, _in_last(candidate, last))),
    "surest": lambda candidate, last: max(map(_confidence, _in_last(candidate, last)), default=0.0),
    "trajectory": lambda candidate, last: len(candidate.replies),
}


def _conviction(question: Question, rounds: Sequence[Round], candidate: Candidate) -> float:
    """What every debater's path says for an answer: kept, taken up or given up, in round r worth a share of 1 / r.

    In a debate that discourages agreeing a change of mind has a reason: it says more for what is taken up than staying
    does, and against what is given up. The shape is Free-MAD's (2025, its score-based decision); the numbers are ours.
    """
    given = set(map(id, candidate.replies))
    score = 0.0
    before: dict[str, bool] = {}  # who gave this answer when last heard
    for number, replies in enumerate(rounds, 1):
        for name, reply in replies.items():
            if reply.answer is None:
                continue
            holds = id(reply) in given
            held = before.get(name)
            gain = (TAKEN_UP if held is False else KEPT) if holds else GIVEN_UP if held else 0.0
            score += gain / number
            before[name] = holds
    return score


def _voted(
    question: Question, plan: Plan, left: Sequence[Candidate], rounds: Sequence[Round], ballot: Ballot
) -> Generator[Stage, Replies, list[float]]:
    """Every debater's ballot on one reply of each answer; each sees them in an order of its own, without names."""
    ask = say.rank if ballot == "ranking" else say.approve
    spoken = {candidate.spokesman.turn.agent: candidate.spokesman.text or "" for candidate in left[: len(LABELS)]}
    turns = []
    for name in rounds[-1]:
        order = list(spoken)
        random.Random(f"{plan.seed}/{question.id}/{ballot}/{name}").shuffle(order)
        shown = [
            Heard(text=without_confidence(spoken[one]), label=label) for one, label in zip(order, LABELS, strict=False)
        ]
        turns.append(
            Turn(
                agent=name,
                role="voter",
                round=len(rounds),
                prompt=ask(plan.directions, question, shown),
                ballot=ballot,
                options=tuple(order),
            )
        )
    ballots = yield tuple(turns)
    points = dict.fromkeys(spoken, 0.0)
    for reply in ballots:
        for place, name in enumerate(reply.chosen):
            points[name] += 1.0 if ballot == "approval" else len(spoken) - 1 - place
    return [points.get(candidate.spokesman.turn.agent, 0.0) for candidate in left]


def _first_given(question: Question, rounds: Sequence[Round], candidate: Candidate) -> int:
    """The place among all replies, by round and seat, in which the answer was first given."""
    told = [reply for replies in rounds for reply in replies.values()]
    if question.kind == "free":  # no two free answers are the same
        return told.index(candidate.replies[0])
    return next(
        place
        for place, reply in enumerate(told)
        if reply.answer is not None and same_answer(question.kind, reply.answer, candidate.answer)
    )
