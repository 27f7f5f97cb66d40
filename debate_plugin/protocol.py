"""The debate itself: a generator of stages that is sent replies. No I/O, no model, no clock.

The same generator is played live by `DebateTeam`, and by anything else that can answer prompts. Every prompt of round
r is built from the complete replies of round r - 1 (Du et al. 2023; digests and cleaning as in DebateGPT, 2024), unless
the plan has debaters speak in turn: then each hears the latest that its neighbours said.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from debate_plugin import directions as say
from debate_plugin.answers import Vote, numbers_in, read_answer, same_answer, without_confidence
from debate_plugin.candidates import Candidate, Round, candidates
from debate_plugin.deciding import Criterion, decide, vote_of
from debate_plugin.directions import Heard
from debate_plugin.judging import settled
from debate_plugin.plan import Plan
from debate_plugin.question import Question
from debate_plugin.turns import Replies, Reply, Stage, Turn


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The debate's decision."""

    answer: str | None = None
    text: str | None = None  # the reply that stands for the decision
    cleaned: str | None = None  # that reply cleaned, where the cleaner kept the answer
    debater: str | None = None  # whose reply it is
    decided_by: Criterion | Literal["settled", "no quorum"] = "no quorum"
    round: int | None = None  # the round of that reply
    votes: tuple[Vote, ...] = ()  # one per round
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Criterion -> answer -> score, for each criterion that was asked and each answer still in."""
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
    rounds: list[Round] = []
    while len(rounds) < plan.rounds:
        said = yield from _round(question, debaters, plan, rounds, halted)
        if said is None:
            break
        rounds.append(said)
        if len(rounds) == plan.rounds or halted() or _is_over(plan, question, rounds):
            break
        if plan.settle and _has_quorum(question, plan, rounds) and not _was_over(plan, question, rounds):
            winner = yield from settled(question, plan, rounds)
            if winner is not None:
                return (yield from _outcome(question, plan, rounds, winner, "settled", {}))

    last = _last_with_quorum(question, plan, rounds)
    if last is None:
        return Outcome(votes=_votes(question, rounds))
    decision = yield from decide(question, plan, rounds[:last])
    return (yield from _outcome(question, plan, rounds, decision.winner, decision.criterion, decision.scores))


def _round(
    question: Question, debaters: Sequence[str], plan: Plan, rounds: Sequence[Round], halted: Callable[[], bool]
) -> Generator[Stage, Replies, Round | None]:
    """One more round; None where the debate was halted in the middle of it."""
    number = len(rounds) + 1
    said: dict[str, Reply] = {}
    hears = plan.topology.hearing(debaters, max(number, 2))
    before = rounds[-1] if rounds else {}
    groups = [(name,) for name in debaters] if plan.speaking == "in turn" else [tuple(debaters)]
    for names in groups:
        heard = {name: _heard(plan, question, number, name, hears[name], {**before, **said}) for name in names}
        digests: dict[str, str] = {}
        if plan.digest == "each" and number > 1:
            digests = yield from _digests(question, plan, number, heard)
            if halted():
                return None  # part of a round decides nothing
        replies = yield tuple(
            Turn(
                agent=name,
                role="debater",
                round=number,
                prompt=_prompt(plan, question, number, heard[name], digests.get(name)),
            )
            for name in names
        )
        said |= by_debater(replies, plan)
    return said


def _digests(
    question: Question, plan: Plan, number: int, heard: Mapping[str, list[Heard]]
) -> Generator[Stage, Replies, dict[str, str]]:
    """The summarizer's digest for everybody who hears anybody; without one the replies themselves are heard."""
    stage = tuple(
        Turn(
            agent="summarizer",
            role="summarizer",
            round=number,
            prompt=say.digest(plan.directions, question, replies),
            about=name,
        )
        for name, replies in heard.items()
        if replies
    )
    if not stage:
        return {}
    digests = yield stage
    return {
        digest.turn.about or "": digest.text
        for digest in digests
        if digest.abstention is None and digest.text is not None
    }


def _is_over(plan: Plan, question: Question, rounds: Sequence[Round]) -> bool:
    """Whether the plan's condition ends the debate here; one drawn for the audit goes on all the same."""
    return _has_stopped(plan, question, rounds) and not _is_audited(plan, question)


def _has_stopped(plan: Plan, question: Question, rounds: Sequence[Round]) -> bool:
    if plan.stop is None or not _has_quorum(question, plan, rounds):
        return False  # a round without a quorum decides nothing, so it ends nothing
    return plan.stop.holds(question.kind, _votes(question, rounds))


def _was_over(plan: Plan, question: Question, rounds: Sequence[Round]) -> bool:
    """Whether one of the rounds would have ended the debate, were it not audited: then it is held to its end."""
    return any(_has_stopped(plan, question, rounds[:number]) for number in range(1, len(rounds) + 1))


def _is_audited(plan: Plan, question: Question) -> bool:
    return random.Random(f"audit/{plan.seed}/{question.id}").random() < plan.audit


def _votes(question: Question, rounds: Sequence[Round]) -> tuple[Vote, ...]:
    return tuple(vote_of(question, list(replies.values())) for replies in rounds)


def _last_with_quorum(question: Question, plan: Plan, rounds: Sequence[Round]) -> int | None:
    """The number of the last round in which enough debaters answered."""
    answered = [sum(len(group.voters) for group in vote.groups) for vote in _votes(question, rounds)]
    return max((number for number, count in enumerate(answered, 1) if count >= plan.quorum), default=None)


def _has_quorum(question: Question, plan: Plan, rounds: Sequence[Round]) -> bool:
    return _last_with_quorum(question, plan, rounds) == len(rounds)


def by_debater(replies: Replies, plan: Plan) -> dict[str, Reply]:
    """The round's replies, with what their confidence counts for: nothing where nobody asked for it."""
    return {reply.turn.agent: replace(reply, confidence=_worth(plan, reply.confidence)) for reply in replies}


def _worth(plan: Plan, confidence: float | None) -> float | None:
    if confidence is None or plan.confidence == "off":
        return None
    return confidence if plan.calibration is None else plan.calibration(confidence)


def _heard(
    plan: Plan, question: Question, number: int, name: str, peers: Sequence[str], last: Mapping[str, Reply]
) -> list[Heard]:
    """The latest usable replies of the peers, in a seeded order that differs from debater to debater."""
    spoken = [last[peer] for peer in peers if peer in last]
    replies = [reply for reply in spoken if reply.abstention is None and reply.text is not None]
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


def _prompt(plan: Plan, question: Question, number: int, heard: list[Heard], digest: str | None) -> str:
    confidence = plan.confidence != "off"
    match number, heard, digest:
        case 1, [], _:
            return say.open_debate(plan.directions, question, confidence=confidence)
        case 1, _, _:
            return say.open_in_turn(plan.directions, question, heard, confidence=confidence)
        case _, [], _:
            return say.check(plan.directions, question, confidence=confidence)
        case _, _, None:  # digests are off, or the summarizer abstained: nothing that was said is lost
            return say.rebut(plan.directions, question, heard, confidence=confidence)
        case _, _, str():
            return say.rebut_digest(plan.directions, question, digest, confidence=confidence)
    raise AssertionError("a digest is a text or none")


def _outcome(
    question: Question,
    plan: Plan,
    rounds: Sequence[Round],
    winner: Candidate,
    decided_by: Criterion | Literal["settled"],
    scores: Mapping[str, Mapping[str, float]],
) -> Generator[Stage, Replies, Outcome]:
    """The decision, cleaned where the plan says so."""
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
        votes=_votes(question, rounds),
        scores=scores,
        audited=_was_over(plan, question, rounds[:-1]),
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
