"""Candidates: the answers that may win, each with the replies that gave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from debate_plugin.answers import Ballot, count_votes
from debate_plugin.question import Question
from debate_plugin.turns import Replies, Reply

Round = Mapping[str, Reply]
"""The replies of one round by debater, in seat order."""


@dataclass(frozen=True)
class Candidate:
    """An answer that may win, and everybody who gave it in the rounds that count."""

    answer: str
    replies: tuple[Reply, ...]

    @property
    def spokesman(self) -> Reply:
        """The surest of its latest replies; of equally sure ones the first by seat."""
        latest = max(reply.turn.round for reply in self.replies)
        return max((reply for reply in self.replies if reply.turn.round == latest), key=lambda one: one.confidence or 0)


def candidates(question: Question, replies: Replies) -> list[Candidate]:
    """The different answers among the replies, abstentions aside."""
    ballots = [Ballot(voter=str(place), answer=reply.answer) for place, reply in enumerate(replies)]
    return [
        Candidate(answer=group.answer, replies=tuple(replies[int(place)] for place in group.voters))
        for group in count_votes(question.kind, ballots).groups
    ]
