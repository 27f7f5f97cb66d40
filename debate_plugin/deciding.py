"""How a debate is decided: criteria, one after another, until one answer is left.

majority        how many gave the answer in the deciding round
confidence      the sum of the confidences stated for it there (ReConcile 2023 weighs votes so)
surest          the highest confidence stated for it there
trajectory      how often it was given in all rounds: an opening keeps its vote when its debater is talked round
judge           the judge's score for its surest reply; each reply is judged alone, so no order favours one
judge on ties   a majority, and the judge among answers that are level

What stays level goes on to majority and confidence, and at last to the answer that was there earliest; never to string
order, never to chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from debate_plugin import directions as say
from debate_plugin.answers import Ballot, Vote, count_votes, same_answer, without_confidence
from debate_plugin.directions import Directions
from debate_plugin.question import Question
from debate_plugin.turns import Replies, Reply, Stage, Turn

Decide = Literal["majority", "confidence", "surest", "trajectory", "judge", "judge on ties"]
Criterion = Literal["majority", "confidence", "surest", "trajectory", "judge", "earliest"]
Round = Mapping[str, Reply]  # by debater, in seat order

CRITERIA: dict[Decide, tuple[Criterion, ...]] = {
    "majority": ("majority", "confidence", "earliest"),
    "confidence": ("confidence", "majority", "earliest"),
    "surest": ("surest", "majority", "confidence", "earliest"),
    "trajectory": ("trajectory", "majority", "confidence", "earliest"),
    "judge": ("judge", "majority", "confidence", "earliest"),
    "judge on ties": ("majority", "judge", "confidence", "earliest"),
}


@dataclass(frozen=True)
class Candidate:
    """An answer that may win, and everybody who gave it in the rounds that count."""

    answer: str
    replies: tuple[Reply, ...]

    @property
    def spokesman(self) -> Reply:
        """The surest of its latest replies; of equally sure ones the first by seat."""
        latest = max(reply.turn.round for reply in self.replies)
        return max((reply for reply in self.replies if reply.turn.round == latest), key=_confidence)


def vote_of(question: Question, replies: Replies) -> Vote:
    """The vote of one round's replies."""
    return count_votes(
        question.kind,
        [Ballot(voter=reply.turn.agent, answer=reply.answer, confidence=reply.confidence) for reply in replies],
    )


def decide(
    question: Question, decide_by: Decide, rounds: Sequence[Round], directions: Directions
) -> Generator[Stage, Replies, tuple[Candidate, Criterion]]:
    """The winner and the criterion that left it alone; the last of the rounds decides, and somebody answered in it."""
    everywhere = "trajectory" in CRITERIA[decide_by]
    counted = [reply for replies in (rounds if everywhere else rounds[-1:]) for reply in replies.values()]
    left = candidates(question, counted)
    for criterion in CRITERIA[decide_by]:
        if criterion == "judge":
            if len(left) == 1:
                continue  # nothing to judge
            scores = yield from _judged(question, left, len(rounds), directions)
        elif criterion == "earliest":
            scores = [-_first_given(question, rounds, candidate) for candidate in left]
        else:
            scores = [_SCORES[criterion](candidate, len(rounds)) for candidate in left]
        left = [candidate for candidate, score in zip(left, scores, strict=True) if score == max(scores)]
        if len(left) == 1:
            return left[0], criterion
    raise AssertionError("two answers cannot both be the earliest")


def candidates(question: Question, replies: Replies) -> list[Candidate]:
    """The different answers among the replies, abstentions aside."""
    ballots = [Ballot(voter=str(place), answer=reply.answer) for place, reply in enumerate(replies)]
    return [
        Candidate(answer=group.answer, replies=tuple(replies[int(place)] for place in group.voters))
        for group in count_votes(question.kind, ballots).groups
    ]


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


def _judged(
    question: Question, left: Sequence[Candidate], last: int, directions: Directions
) -> Generator[Stage, Replies, list[float]]:
    """The judge's score for each; one that was not scored is behind all that were."""
    verdicts = yield tuple(
        Turn(
            agent="judge",
            role="judge",
            round=last,
            prompt=say.judge(directions, question, without_confidence(candidate.spokesman.text or "")),
            about=candidate.spokesman.turn.agent,
        )
        for candidate in left
    )
    return [-1.0 if verdict.score is None else verdict.score for verdict in verdicts]


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
