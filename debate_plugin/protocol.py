"""The debate itself: a generator of stages that is sent replies. No I/O, no model, no clock.

The same generator is played live by `DebateTeam`, and by anything else that can answer prompts. Every prompt of round
r is built from the complete replies of round r - 1 (Du et al. 2023; digests and cleaning as in DebateGPT, 2024).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from debate_plugin import directions as say
from debate_plugin.answers import Vote, numbers_in, read_answer, same_answer, without_confidence
from debate_plugin.deciding import Criterion, Round, candidates, decide, vote_of
from debate_plugin.directions import Heard
from debate_plugin.plan import Plan
from debate_plugin.question import Question
from debate_plugin.turns import Replies, Reply, Stage, Turn


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The debate's decision."""

    answer: str | None
    text: str | None  # the reply that stands for the decision
    cleaned: str | None  # that reply cleaned, where the cleaner kept the answer
    debater: str | None  # whose reply it is
    decided_by: Criterion | Literal["no quorum"]
    round: int | None  # the round of that reply
    votes: tuple[Vote, ...]  # one per round
    audited: bool = False  # held to the end although the plan's stop condition had ended it

    @property
    def final(self) -> str:
        """What the debate says to the outside."""
        return self.cleaned or self.text or "The debaters came to no answer."


def debate(
    question: Question, debaters: Sequence[str], plan: Plan, *, halted: Callable[[], bool] = lambda: False
) -> Generator[Stage, Replies, Outcome]:
    """The debate, top to bottom; yields stages, is sent the replies to them in order, returns the outcome.

    Once `halted` says so, no further round is begun, and what was said decides.
    """
    confidence = plan.confidence != "off"

    prompt = say.open_debate(plan.directions, question, confidence=confidence)
    replies = yield tuple(Turn(agent=name, role="debater", round=1, prompt=prompt) for name in debaters)
    rounds = [_by_debater(replies, plan)]

    for number in range(2, plan.rounds + 1):
        if halted() or _is_over(plan, question, rounds):
            break
        hears = plan.topology.hearing(debaters, number)
        heard = {name: _heard(plan, question, number, name, hears[name], rounds[-1]) for name in debaters}
        digests: dict[str, str] = {}
        if plan.digest == "each":
            stage = tuple(
                Turn(
                    agent="summarizer",
                    role="summarizer",
                    round=number,
                    prompt=say.digest(plan.directions, question, heard[name]),
                    about=name,
                )
                for name in debaters
                if heard[name]
            )
            if stage:
                replies = yield stage
                digests = {
                    reply.turn.about or "": reply.text
                    for reply in replies
                    if reply.abstention is None and reply.text is not None
                }
                if halted():
                    break
        replies = yield tuple(
            Turn(
                agent=name,
                role="debater",
                round=number,
                prompt=_rebuttal(plan, question, heard[name], digests.get(name), confidence=confidence),
            )
            for name in debaters
        )
        rounds.append(_by_debater(replies, plan))

    return (yield from _outcome(question, plan, rounds))


def _is_over(plan: Plan, question: Question, rounds: Sequence[Round]) -> bool:
    """Whether the plan's condition ends the debate here; one drawn for the audit goes on all the same."""
    return _has_stopped(plan, question, rounds) and not _is_audited(plan, question)


def _has_stopped(plan: Plan, question: Question, rounds: Sequence[Round]) -> bool:
    votes = _votes(question, rounds)
    return plan.stop is not None and plan.stop.holds(question.kind, votes)


def _is_audited(plan: Plan, question: Question) -> bool:
    return random.Random(f"audit/{plan.seed}/{question.id}").random() < plan.audit


def _votes(question: Question, rounds: Sequence[Round]) -> tuple[Vote, ...]:
    return tuple(vote_of(question, list(replies.values())) for replies in rounds)


def _by_debater(replies: Replies, plan: Plan) -> dict[str, Reply]:
    """The round's replies; a confidence that nobody asked for counts for nothing."""
    heeded = replies if plan.confidence != "off" else [replace(reply, confidence=None) for reply in replies]
    return {reply.turn.agent: reply for reply in heeded}


def _heard(
    plan: Plan, question: Question, number: int, name: str, peers: Sequence[str], last: dict[str, Reply]
) -> list[Heard]:
    """The usable replies of the round before, in a seeded order that differs from debater to debater."""
    replies = [reply for peer in peers if (reply := last[peer]).abstention is None and reply.text is not None]
    if plan.distinct:
        replies = [candidate.spokesman for candidate in candidates(question, replies)]
    random.Random(f"{plan.seed}/{question.id}/{number}/{name}").shuffle(replies)
    return [
        Heard(
            text=without_confidence(reply.text or "") if plan.confidence == "private" else reply.text or "",
            name=None if plan.anonymous else reply.turn.agent,
        )
        for reply in replies
    ]


def _rebuttal(plan: Plan, question: Question, heard: list[Heard], digest: str | None, *, confidence: bool) -> str:
    if not heard:
        return say.check(plan.directions, question, confidence=confidence)
    if digest is None:  # digests are off, or the summarizer abstained: nothing that was said is lost
        return say.rebut(plan.directions, question, heard, confidence=confidence)
    return say.rebut_digest(plan.directions, question, digest, confidence=confidence)


def _outcome(question: Question, plan: Plan, rounds: Sequence[Round]) -> Generator[Stage, Replies, Outcome]:
    """Decide, then clean. The last round with a quorum decides."""
    votes = _votes(question, rounds)
    audited = any(_has_stopped(plan, question, rounds[:number]) for number in range(1, len(rounds)))
    with_quorum = [
        number for number, vote in enumerate(votes, 1) if sum(len(group.voters) for group in vote.groups) >= plan.quorum
    ]
    if not with_quorum:
        return Outcome(
            answer=None, text=None, cleaned=None, debater=None, decided_by="no quorum", round=None, votes=votes
        )
    winner, decided_by = yield from decide(question, plan.decide, rounds[: with_quorum[-1]], plan.directions)
    spoken = winner.spokesman
    cleaned = None
    if plan.clean:
        cleaned = yield from _cleaned(question, plan, spoken)
    return Outcome(
        answer=winner.answer,
        text=spoken.text,
        cleaned=cleaned,
        debater=spoken.turn.agent,
        decided_by=decided_by,
        round=spoken.turn.round,
        votes=votes,
        audited=audited,
    )


def _cleaned(question: Question, plan: Plan, spoken: Reply) -> Generator[Stage, Replies, str | None]:
    """The cleaner's text, unless it lost the answer or states a number of its own: then the uncleaned text stands."""
    text = without_confidence(spoken.text or "")
    turn = Turn(
        agent="cleaner",
        role="cleaner",
        round=spoken.turn.round,
        prompt=say.clean(plan.directions, question, text),
        about=spoken.turn.agent,
    )
    (reply,) = yield (turn,)
    if reply.abstention is not None or reply.text is None:
        return None
    if question.kind != "free":
        kept = read_answer(question, reply.text)
        if kept is None or not same_answer(question.kind, kept, spoken.answer or ""):
            return None
        if not numbers_in(reply.text) <= numbers_in(text) | numbers_in(question.text):
            return None  # it worked the question out anew: what it wrote need not lead to the answer
    return without_confidence(reply.text)
