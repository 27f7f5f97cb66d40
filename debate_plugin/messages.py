"""What a debate streams: typed events with a readable text, and the message that hands a team a whole `Question`.

They are events, not chat messages: a team that has a debate as a participant passes on the final answer alone. Each
says which debate it belongs to, since one stream may hold several at once.
"""

from __future__ import annotations

from typing import Any, Literal

from autogen_agentchat.messages import BaseAgentEvent, TextMessage
from autogen_core.models import RequestUsage

from debate_plugin.answers import Vote
from debate_plugin.participant import Participant
from debate_plugin.protocol import Outcome
from debate_plugin.question import Question
from debate_plugin.turns import Reply, Turn


class QuestionMessage(TextMessage):
    """A task that knows its id and its kind of answer; agents see only the text."""

    type: Literal["QuestionMessage"] = "QuestionMessage"  # type: ignore[assignment]  # AutoGen tells types by this field
    question: Question

    @classmethod
    def of(cls, question: Question) -> QuestionMessage:
        return cls(content=question.text, source="user", question=question)


class DebateStarted(BaseAgentEvent):
    """The question, who is at the table, and how the debate is held."""

    type: Literal["DebateStarted"] = "DebateStarted"
    debate: str  # an id, the same in all events of a debate, also when it goes on after it was saved and loaded
    question: Question
    debaters: tuple[str, ...]
    participants: dict[str, Participant]
    settings: dict[str, Any]  # the plan as plain data

    def to_text(self) -> str:
        return f"{', '.join(self.debaters)} debate: {self.question.text}"


class TurnReplied(BaseAgentEvent):
    """One reply, or one abstention with its reason."""

    type: Literal["TurnReplied"] = "TurnReplied"
    debate: str
    stage: int  # counted from 1
    place: int  # of the turn in its stage, counted from 0
    turns: int  # in its stage
    reply: Reply

    @classmethod
    def of(
        cls, reply: Reply, *, debate: str, stage: int, place: int, turns: int, unseen: RequestUsage | None
    ) -> TurnReplied:
        """`unseen` is the part of the reply's usage that no event before this one carried; None stands for all."""
        usage = unseen or RequestUsage(prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens)
        return cls(
            source=reply.turn.agent,
            debate=debate,
            stage=stage,
            place=place,
            turns=turns,
            reply=reply,
            models_usage=usage,
        )

    def to_text(self) -> str:
        turn, reply = self.reply.turn, self.reply
        about = f" for {turn.about}" if turn.role == "summarizer" else f" of {turn.about}" if turn.about else ""
        about += f" against {turn.against}" if turn.against else ""
        heading = f"[round {turn.round}, {turn.role}{about}]"
        for use in reply.tools:
            heading += f"\n[{use.name}({use.arguments}) -> {shortened(use.result or 'no result')}]"
        if reply.abstention is not None:
            heading += f" abstains: {reply.abstention}"
        return f"{heading}\n{reply.text}" if reply.text else heading


class RoundVoted(BaseAgentEvent):
    """The vote after a round."""

    type: Literal["RoundVoted"] = "RoundVoted"
    debate: str
    round: int
    vote: Vote

    def to_text(self) -> str:
        groups = [f"{shortened(group.answer)} ({', '.join(group.voters)})" for group in self.vote.groups]
        if self.vote.abstained:
            groups.append(f"abstained ({', '.join(self.vote.abstained)})")
        return f"Vote after round {self.round}: " + "; ".join(groups)


class DebateDecided(BaseAgentEvent):
    """The outcome and how it came about."""

    type: Literal["DebateDecided"] = "DebateDecided"
    debate: str
    outcome: Outcome

    def to_text(self) -> str:
        if self.outcome.answer is None:
            return "No decision: too few debaters gave an answer."
        return f"Decided by {self.outcome.decided_by}: {shortened(self.outcome.answer)}"


class TurnAsked(BaseAgentEvent):
    """What a human is asked."""

    type: Literal["TurnAsked"] = "TurnAsked"
    turn: Turn

    def to_text(self) -> str:
        return f"[round {self.turn.round}, for {self.source}]\n{self.turn.prompt}"


class MemberSpoke(BaseAgentEvent):
    """What a member of a team that debates said on the way to the team's reply."""

    type: Literal["MemberSpoke"] = "MemberSpoke"
    content: str

    def to_text(self) -> str:
        return self.content


DEBATE_MESSAGES: tuple[type[BaseAgentEvent] | type[TextMessage], ...] = (
    QuestionMessage,
    DebateStarted,
    TurnReplied,
    RoundVoted,
    DebateDecided,
    TurnAsked,
    MemberSpoke,
)


def shortened(text: str) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."
