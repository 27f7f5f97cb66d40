"""How replies stand to the decision: what most rules ask first."""

from __future__ import annotations

from dataclasses import dataclass

from debate_plugin.answers import same_answer
from debate_plugin.dataset.rows import NoRow
from debate_plugin.transcript import Transcript
from debate_plugin.turns import Reply


@dataclass(frozen=True)
class Standing:
    """A debate with a decision that replies can agree with."""

    transcript: Transcript
    decided: str

    def agrees(self, reply: Reply) -> bool:
        """Whether a reply gave the decided answer; an abstention never does."""
        return reply.answer is not None and same_answer(self.transcript.question.kind, reply.answer, self.decided)

    def answered(self, number: int) -> list[Reply]:
        """The replies of a round that gave an answer to a chat that is known."""
        replies = self.transcript.in_round(number)
        return [reply for reply in replies if reply.answer is not None and self.transcript.knows(reply)]


def standing(transcript: Transcript) -> Standing | NoRow:
    """The debate's standing, or why there is none: its answers cannot be compared, or none was decided on."""
    if transcript.question.kind == "free":
        return NoRow("free answers cannot agree")
    if transcript.outcome.answer is None:
        return NoRow("no decision")
    return Standing(transcript, transcript.outcome.answer)
