"""One answer, votes and a debate by the same model on the same questions, in one run.

greedy            one reply at temperature 0
single            one sampled reply (the mean over all samples drawn)
vote              the majority of the debate's openings
vote_equal_cost   the majority of as many samples as the debate has replies, digests and cleaning included
debate            the debate's decision
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from autogen_core.models import ChatCompletionClient, LLMMessage, SystemMessage, UserMessage

from debate_plugin import directions
from debate_plugin.answers import Ballot, count_votes, read_answer, read_confidence, same_answer
from debate_plugin.errors import InputError, RunError
from debate_plugin.evaluation.statistics import Estimate, estimate
from debate_plugin.messages import DebateDecided, QuestionMessage, TurnReplied
from debate_plugin.protocol import Outcome
from debate_plugin.question import Question
from debate_plugin.team import DebateTeam
from debate_plugin.turns import Reply, broke_down


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Per question, in the order of the questions: the share of right answers (0 or 1, save for `single`)."""

    greedy: list[float]
    single: list[float]
    vote: list[float]
    vote_equal_cost: list[float]
    debate: list[float]

    def estimates(self) -> dict[str, Estimate]:
        return {field.name: estimate(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A model in its two tempers, and the team it debates in."""

    greedy: ChatCompletionClient
    sampling: ChatCompletionClient
    make_team: Callable[[], DebateTeam]


def is_right(question: Question, answer: str | None) -> bool:
    """Whether the answer is the reference; no answer is never right.

    Raises:
        InputError: the question has no reference, or one that cannot be read.
    """
    if question.kind == "free":
        raise InputError("free answers cannot be compared with a reference; name another kind with --kind")
    if question.reference is None:
        raise InputError(f"question {question.id!r} has no reference answer; evaluation needs one for every question")
    reference = read_answer(question, question.reference)
    if reference is None:
        raise InputError(
            f"expected a {question.kind} as the reference of question {question.id!r}, got {question.reference!r}"
        )
    return answer is not None and same_answer(question.kind, answer, reference)


async def compare(
    contestant: Contestant,
    questions: Sequence[Question],
    *,
    concurrency: int = 64,
    progress: Callable[[int], None] | None = None,
) -> Scores:
    """Hold all of it for every question; `progress` is told how many questions are done."""
    for question in questions:
        is_right(question, None)  # a missing reference is found before anything is paid for
    places = asyncio.Semaphore(concurrency)
    done = 0

    async def one(question: Question) -> list[float]:
        nonlocal done
        async with places:
            scores = await _compare_one(contestant, question)
        done += 1
        if progress is not None:
            progress(done)
        return scores

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(question)) for question in questions]
    except BaseExceptionGroup as failures:  # one ended them all
        raise failures.exceptions[0] from failures
    columns = zip(*(task.result() for task in tasks), strict=True)
    return Scores(**{field.name: list(column) for field, column in zip(fields(Scores), columns, strict=True)})


async def _compare_one(contestant: Contestant, question: Question) -> list[float]:
    team = contestant.make_team()
    prompt = _opening(team, question)
    (outcome, replies), greedy = await asyncio.gather(_debate(team, question), _ask(contestant.greedy, prompt))
    openings = [
        Ballot(voter=reply.turn.agent, answer=reply.answer, confidence=reply.confidence)
        for reply in replies
        if reply.turn.role == "debater" and reply.turn.round == 1
    ]
    texts = await asyncio.gather(*(_ask(contestant.sampling, prompt) for _ in range(len(replies) - len(openings))))
    more = [
        Ballot(voter=str(place), answer=read_answer(question, text), confidence=read_confidence(text))
        for place, text in enumerate(texts)
    ]
    samples = [*openings, *more]
    return [
        float(is_right(question, read_answer(question, greedy))),
        sum(is_right(question, sample.answer) for sample in samples) / len(samples),
        float(is_right(question, _majority(question, openings))),
        float(is_right(question, _majority(question, samples))),
        float(is_right(question, outcome.answer)),
    ]


async def _debate(team: DebateTeam, question: Question) -> tuple[Outcome, list[Reply]]:
    replies: list[Reply] = []
    outcome: Outcome | None = None
    async for message in team.run_stream(task=QuestionMessage.of(question)):
        if isinstance(message, TurnReplied):
            replies.append(message.reply)
        elif isinstance(message, DebateDecided):
            outcome = message.outcome
    if outcome is None or broke_down(replies):
        raise RunError(f"the debate of {question.text!r} broke down; evaluate again")
    return outcome, replies


def _opening(team: DebateTeam, question: Question) -> list[LLMMessage]:
    """What the first debater is asked in round 1, so that prompts do not differ between the columns."""
    first = team.debaters[0]
    prompt = directions.open_debate(team.plan.directions, question, confidence=team.plan.confidence != "off")
    described = team.participants.get(first)
    system = described.system_message if described is not None else None
    return [
        *([SystemMessage(content=system)] if system else []),
        UserMessage(content=prompt, source="user"),
    ]


async def _ask(client: ChatCompletionClient, messages: Sequence[LLMMessage]) -> str:
    try:
        result = await client.create(messages)
    except Exception as error:  # half an evaluation compares nothing
        raise RunError(f"the model did not answer ({type(error).__name__}: {error}); evaluate again") from error
    if not isinstance(result.content, str):
        raise InputError("expected text from the model, got a tool call")
    return result.content


def _majority(question: Question, ballots: Sequence[Ballot]) -> str | None:
    """The vote's answer; ties go by confidence, as the debate's do."""
    vote = count_votes(question.kind, ballots)
    return vote.groups[0].answer if vote.groups else None
