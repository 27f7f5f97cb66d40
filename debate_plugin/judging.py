"""The judge: scores replies one at a time, compares them in pairs, or says that the debate has settled the question.

score      each reply alone, from 0 to 5, the mean over k samples; what cannot be read is left out (Self-Rewarding
           Language Models 2024, section 2.2, averages 3); no order can favour anybody
pairwise   every two replies in both orders; a win in an order is half a point, a tie a quarter for each

The judge sees one reply of each answer, without names and confidences; never how many gave it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING

from debate_plugin import directions as say
from debate_plugin.answers import without_confidence
from debate_plugin.candidates import Candidate, Round, candidates
from debate_plugin.directions import Heard
from debate_plugin.question import Question
from debate_plugin.turns import LABELS, Replies, Reply, Stage, Turn

if TYPE_CHECKING:  # a plan names the way to decide, and some ways ask the judge
    from debate_plugin.plan import Plan


def judged(
    question: Question, plan: Plan, left: Sequence[Candidate], last: int
) -> Generator[Stage, Replies, list[float]]:
    """The judge's points for each candidate; one that was not scored is behind all that were."""
    spoken = [candidate.spokesman for candidate in left]
    if plan.judging == "pairwise":
        return (yield from _compared(question, plan, spoken, last))
    return (yield from _scored(question, plan, spoken, last))


def settled(question: Question, plan: Plan, rounds: Sequence[Round]) -> Generator[Stage, Replies, Candidate | None]:
    """The answer that the judge takes for right beyond doubt after the last of the rounds, or None (MAD 2023)."""
    left = candidates(question, list(rounds[-1].values()))[: len(LABELS)]
    if not left:
        return None
    shown = [_heard(candidate.spokesman, label) for candidate, label in zip(left, LABELS, strict=False)]
    turn = Turn(
        agent="judge",
        role="judge",
        round=len(rounds),
        prompt=say.settle(plan.directions, question, shown),
        options=tuple(candidate.spokesman.turn.agent for candidate in left),
    )
    (verdict,) = yield (turn,)
    return next((one for one in left if one.spokesman.turn.agent in verdict.chosen), None)


def _scored(
    question: Question, plan: Plan, spoken: Sequence[Reply], last: int
) -> Generator[Stage, Replies, list[float]]:
    verdicts = yield tuple(
        Turn(
            agent="judge",
            role="judge",
            round=last,
            prompt=say.judge(plan.directions, question, without_confidence(reply.text or "")),
            about=reply.turn.agent,
        )
        for reply in spoken
        for _ in range(plan.judge_samples)
    )
    scores: dict[str, list[float]] = {reply.turn.agent: [] for reply in spoken}
    for verdict in verdicts:
        if verdict.score is not None:
            scores[verdict.turn.about or ""].append(verdict.score)
    return [fmean(said) if (said := scores[reply.turn.agent]) else -1.0 for reply in spoken]


def _compared(
    question: Question, plan: Plan, spoken: Sequence[Reply], last: int
) -> Generator[Stage, Replies, list[float]]:
    pairs = [pair for both in combinations(spoken, 2) for pair in (both, both[::-1])]
    verdicts = yield tuple(
        Turn(
            agent="judge",
            role="judge",
            round=last,
            prompt=say.compare(plan.directions, question, [_heard(first, "A"), _heard(second, "B")]),
            about=first.turn.agent,
            against=second.turn.agent,
        )
        for first, second in pairs
        for _ in range(plan.judge_samples)
    )
    points = {reply.turn.agent: 0.0 for reply in spoken}
    for verdict in verdicts:
        first, second = verdict.turn.about or "", verdict.turn.against or ""
        match verdict.prefers:
            case "about":
                points[first] += 0.5
            case "against":
                points[second] += 0.5
            case "tie":
                points[first] += 0.25
                points[second] += 0.25
            case None:
                pass
    return [points[reply.turn.agent] / plan.judge_samples for reply in spoken]


def _heard(reply: Reply, label: str) -> Heard:
    return Heard(text=without_confidence(reply.text or ""), label=label)
