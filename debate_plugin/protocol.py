"""The debate itself: a generator of stages that is sent replies. No I/O, no model, no clock.

The same generator is played live by `DebateTeam`, and by anything else that can answer prompts. Every prompt of round
r is built from the complete replies of round r - 1 (Du et al. 2023; digests and cleaning as in DebateGPT, 2024).
"""

from __future__ import annotations

import random
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from debate_plugin import directions as say
from debate_plugin.answers import (
    Ballot,
    Group,
    Vote,
    count_votes,
    numbers_in,
    read_answer,
    read_confidence,
    same_answer,
    without_confidence,
)
from debate_plugin.directions import Directions
from debate_plugin.question import Question, storable
from debate_plugin.topology import Topology, complete, hearing

Role = Literal["debater", "summarizer", "judge", "cleaner"]
Decision = Literal["majority", "confidence", "judge", "earliest", "no quorum"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a debate is held, whoever takes part."""

    rounds: int = 2  # round 1 are the openings; more than two dense rounds often hurt
    topology: Topology = complete
    digest: Literal["none", "each"] = "none"  # each: the summarizer merges what each debater may hear
    confidence: Literal["off", "shared"] = "shared"  # shared: asked for, and heard by the others
    decide: Literal["majority", "judge"] = "majority"
    clean: bool = False  # the cleaner rewrites the decided reply without debate talk
    enough: float | None = None  # share of agreement at which no further round is held; None holds them all
    quorum: int = 1  # a round with fewer answers decides nothing
    seed: int = 0  # order in which peers are heard
    directions: Directions = field(default_factory=Directions)

    def __post_init__(self) -> None:
        if self.enough is not None and not 0 < self.enough <= 1:
            raise ValueError(f"expected a share of agreement above 0 and at most 1, got {self.enough}")
        for name in ("rounds", "quorum"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One thing asked of one agent."""

    agent: str
    role: Role
    round: int
    prompt: str
    about: str | None = None  # the debater a digest is made for, or whose reply is judged or cleaned


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back for a turn: a text and what was read out of it, or an abstention with its reason."""

    turn: Turn
    text: str | None = None
    answer: str | None = None
    confidence: float | None = None
    score: float | None = None  # a judge's
    abstention: str | None = None
    failed: bool = False  # the agent raised; the abstention says what
    prompt_tokens: int = 0
    completion_tokens: int = 0


Stage = tuple[Turn, ...]
Replies = Sequence[Reply]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The debate's decision."""

    answer: str | None
    text: str | None  # the reply that stands for the decision
    cleaned: str | None  # that reply cleaned, where the cleaner kept the answer
    debater: str | None  # whose reply it is
    decided_by: Decision
    round: int | None  # the round that decided: the last with a quorum
    votes: tuple[Vote, ...]  # one per round

    @property
    def final(self) -> str:
        """What the debate says to the outside."""
        return self.cleaned or self.text or "The debaters came to no answer."


def debate(question: Question, debaters: Sequence[str], plan: Plan) -> Generator[Stage, Replies, Outcome]:
    """The debate, top to bottom; yields stages, is sent the replies to them in order, returns the outcome."""
    hears = hearing(plan.topology, debaters)
    confidence = plan.confidence != "off"

    prompt = say.open_debate(plan.directions, question, confidence=confidence)
    replies = yield tuple(Turn(agent=name, role="debater", round=1, prompt=prompt) for name in debaters)
    rounds = [_by_debater(replies, plan)]

    for number in range(2, plan.rounds + 1):
        if plan.enough is not None and vote_of(question, list(rounds[-1].values())).agreement >= plan.enough:
            break  # vote first, debate what is disputed: agreement is seldom improved by talking it over
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

    votes = tuple(vote_of(question, list(replies.values())) for replies in rounds)
    return (yield from _outcome(question, plan, rounds, votes))


def read_reply(
    question: Question, turn: Turn, text: str, *, prompt_tokens: int = 0, completion_tokens: int = 0
) -> Reply:
    """A reply with what its role calls for read out of the text; an unusable text is an abstention with its reason."""
    text = storable(text)
    answer = confidence = score = abstention = None
    if not text.strip():
        abstention = "the reply is empty"
    elif turn.role == "debater":
        answer, confidence = read_answer(question, text), read_confidence(text)
        if answer is None:
            abstention = f"no {question.kind} answer found in the reply"
    elif turn.role == "judge":
        score = read_score(text)
        if score is None:
            abstention = "no line 'Score: <0 to 5>' found in the judge's reply"
    return Reply(
        turn=turn,
        text=text,
        answer=answer,
        confidence=confidence,
        score=score,
        abstention=abstention,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )


def broke_down(replies: Replies) -> bool:
    """Whether most of the turns failed: an outage, which says nothing about the question."""
    return 2 * sum(reply.failed for reply in replies) > len(replies)


def read_score(text: str) -> float | None:
    """The last score on the scale 0 to 5, or None; out of range is None too."""
    found = re.findall(r"(?i)\bscore\b[\s*_]*(?::|=|is)[\s*_]*<?(-?\d++(?:\.\d++)?)>?(?:\s*/\s*5\b)?(?!\s*[\d/])", text)
    return float(found[-1]) if found and 0 <= float(found[-1]) <= 5 else None


def _by_debater(replies: Replies, plan: Plan) -> dict[str, Reply]:
    """The round's replies; a confidence that nobody asked for counts for nothing."""
    heeded = replies if plan.confidence != "off" else [replace(reply, confidence=None) for reply in replies]
    return {reply.turn.agent: reply for reply in heeded}


def _heard(
    plan: Plan, question: Question, number: int, name: str, peers: Sequence[str], last: dict[str, Reply]
) -> list[str]:
    """The usable replies of the round before, anonymous and in a seeded order that differs from debater to debater."""
    texts = [reply.text for peer in peers if (reply := last[peer]).abstention is None and reply.text is not None]
    random.Random(f"{plan.seed}/{question.id}/{number}/{name}").shuffle(texts)
    return texts


def _rebuttal(plan: Plan, question: Question, heard: list[str], digest: str | None, *, confidence: bool) -> str:
    if not heard:
        return say.check(plan.directions, question, confidence=confidence)
    if digest is None:  # digests are off, or the summarizer abstained: nothing that was said is lost
        return say.rebut(plan.directions, question, heard, confidence=confidence)
    return say.rebut_digest(plan.directions, question, digest, confidence=confidence)


def vote_of(question: Question, replies: Replies) -> Vote:
    """The vote of one round's replies."""
    return count_votes(
        question.kind,
        [Ballot(voter=reply.turn.agent, answer=reply.answer, confidence=reply.confidence) for reply in replies],
    )


def _outcome(
    question: Question, plan: Plan, rounds: list[dict[str, Reply]], votes: tuple[Vote, ...]
) -> Generator[Stage, Replies, Outcome]:
    """Decide, then clean. The last round with a quorum decides."""
    deciding = [
        (number, replies, vote)
        for number, (replies, vote) in enumerate(zip(rounds, votes, strict=True), 1)
        if sum(len(group.voters) for group in vote.groups) >= plan.quorum
    ]
    if not deciding:
        return Outcome(
            answer=None, text=None, cleaned=None, debater=None, decided_by="no quorum", round=None, votes=votes
        )
    number, replies, vote = deciding[-1]
    group, decided_by = yield from _decide(question, plan, rounds, replies, vote)
    spoken = _spokesman(replies, group)
    cleaned = None
    if plan.clean:
        cleaned = yield from _cleaned(question, plan, spoken)
    return Outcome(
        answer=group.answer,
        text=spoken.text,
        cleaned=cleaned,
        debater=spoken.turn.agent,
        decided_by=decided_by,
        round=number,
        votes=votes,
    )


def _decide(
    question: Question, plan: Plan, rounds: list[dict[str, Reply]], replies: dict[str, Reply], vote: Vote
) -> Generator[Stage, Replies, tuple[Group, Decision]]:
    """The deciding group and what decided: judge or vote; ties go by confidence, then to the earliest answer."""
    groups = vote.groups
    if plan.decide == "judge" and len(groups) > 1:
        stage = tuple(
            Turn(
                agent="judge",
                role="judge",
                round=len(rounds),
                prompt=say.judge(plan.directions, question, without_confidence(spokesman.text or "")),
                about=spokesman.turn.agent,
            )
            for spokesman in (_spokesman(replies, group) for group in groups)
        )
        verdicts = yield stage
        scores = [verdict.score for verdict in verdicts]
        best = max((score for score in scores if score is not None), default=None)
        winners = [group for group, score in zip(groups, scores, strict=True) if best is not None and score == best]
        if len(winners) == 1:
            return winners[0], "judge"
        groups = tuple(winners) or groups
    largest = [group for group in groups if len(group.voters) == len(groups[0].voters)]
    if len(largest) == 1:
        return largest[0], "majority"
    surest = [group for group in largest if group.confidence == largest[0].confidence]
    if len(surest) == 1:
        return surest[0], "confidence"
    return min(surest, key=lambda group: _first_given(question, rounds, group)), "earliest"


def _first_given(question: Question, rounds: list[dict[str, Reply]], group: Group) -> tuple[int, int]:
    """Round and seat in which the group's answer was first given."""
    for number, replies in enumerate(rounds):
        for seat, reply in enumerate(replies.values()):
            if reply.answer is not None and (
                reply.turn.agent in group.voters
                if question.kind == "free"
                else same_answer(question.kind, reply.answer, group.answer)
            ):
                return number, seat
    raise AssertionError("a group's answer was given by somebody")


def _spokesman(replies: dict[str, Reply], group: Group) -> Reply:
    """The group's surest reply; of equally sure ones the first by seat."""
    return max((replies[name] for name in group.voters), key=lambda reply: reply.confidence or 0.0)


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
