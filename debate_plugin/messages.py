"""What a debate streams: typed events with a readable text, and the message that hands a team a whole `Question`.

They are events, not chat messages: a team that has a debate as a participant passes on the final answer alone.
"""

from __future__ import annotations

from typing import Literal

from autogen_agentchat.messages import BaseAgentEvent, TextMessage
from autogen_core.models import RequestUsage

from debate_plugin.answers import Vote
from debate_plugin.protocol import Outcome
from debate_plugin.question import Question
from debate_plugin.turns import Reply


class QuestionMessage(TextMessage):
    """A task that knows its id and its kind of answer; agents see only the text."""

    type: Literal["QuestionMessage"] = "QuestionMessage"  # type: ignore[assignment]  # AutoGen tells types by this field
    question: Question

    @classmethod
    def of(cls, question: Question) -> QuestionMessage:
        return cls(content=question.text, source="user", question=question)


class DebateStarted(BaseAgentEvent):
    """The question and who is at the table, with the system message of each agent that has one."""

    type: Literal["DebateStarted"] = "DebateStarted"
    question: Question
    debaters: tuple[str, ...]
    system_messages: dict[str, str]

    def to_text(self) -> str:
        return f"{', '.join(self.debaters)} debate: {self.question.text}"


class TurnReplied(BaseAgentEvent):
    """One reply, or one abstention with its reason."""

    type: Literal["TurnReplied"] = "TurnReplied"
    reply: Reply

    @classmethod
    def of(cls, reply: Reply) -> TurnReplied:
        usage = RequestUsage(prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens)
        return cls(source=reply.turn.agent, reply=reply, models_usage=usage)

    def to_text(self) -> str:
        turn, reply = self.reply.turn, self.reply
        about = f" for {turn.about}" if turn.role == "summarizer" else f" of {turn.about}" if turn.about else ""
        heading = f"[round {turn.round}, {turn.role}{about}]"
        if reply.abstention is not None:
            heading += f" abstains: {reply.abstention}"
        return f"{heading}\n{reply.text}" if reply.text else heading


class RoundVoted(BaseAgentEvent):
    """The vote after a round."""

    type: Literal["RoundVoted"] = "RoundVoted"
    round: int
    vote: Vote

    def to_text(self) -> str:
        groups = [f"{_short(group.answer)} ({', '.join(group.voters)})" for group in self.vote.groups]
        if self.vote.abstained:
            groups.append(f"abstained ({', '.join(self.vote.abstained)})")
        return f"Vote after round {self.round}: " + "; ".join(groups)


class DebateDecided(BaseAgentEvent):
    """The outcome and how it came about."""

    type: Literal["DebateDecided"] = "DebateDecided"
    outcome: Outcome

    def to_text(self) -> str:
        if self.outcome.answer is None:
            return "No decision: too few debaters gave an answer."
        return f"Decided by {self.outcome.decided_by}: {_short(self.outcome.answer)}"


DEBATE_MESSAGES: tuple[type[BaseAgentEvent] | type[TextMessage], ...] = (
    QuestionMessage,
    DebateStarted,
    TurnReplied,
    RoundVoted,
    DebateDecided,
)


def _short(answer: str) -> str:
    """Free answers are whole texts; a vote shows their beginning."""
    line = " ".join(answer.split())
    return line if len(line) <= 60 else line[:57] + "..."
