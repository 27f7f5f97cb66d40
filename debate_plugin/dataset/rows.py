"""The rows that rules make, before a format writes them; each knows where it came from and which words carry loss.

chat         {"messages": [{"role": "user", ...}, {"role": "assistant", "content": "...", "loss": true}], "tools": [],
              "provenance": {"rule": "critic", "run": "default", "transcript": "3f0c...", "turns": [...], ...}}
preference   {"prompt": [...], "chosen": [{"role": "assistant", ...}], "rejected": [...], "tools": [], "provenance": {}}
labelled     {"prompt": [...], "completion": [{"role": "assistant", ...}], "label": true, "tools": [], "provenance": {}}
prompt       {"prompt": [...], "answer": "467", "provenance": {...}}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict, final

from debate_plugin.chat import Message
from debate_plugin.conversation import Conversation
from debate_plugin.errors import InputError
from debate_plugin.transcript import Transcript
from debate_plugin.turns import Reply


class Origin(TypedDict):
    """One turn that a row's text came from."""

    agent: str
    role: str
    round: int
    speaker: str  # who in the seat said it; the agent itself but for pairs and teams
    model: str  # empty where it is not known
    adapter: str


class Provenance(TypedDict):
    """Where a row came from."""

    rule: str
    run: str
    transcript: str  # or conversation
    question: str  # its id; of a conversation the id of its task
    agreement: float  # share of the deciding round's votes behind the answer
    turns: list[Origin]
    part: str  # what a mix goes by, such as `kept` or `corrected`; empty where the rule has one part
    remark: str  # what a reader should know of this row; empty where there is nothing


@final
class ChatRow(TypedDict):
    """Supervised fine-tuning; each message of the assistant's says whether it carries loss."""

    messages: list[Message]
    tools: list[dict[str, Any]]
    provenance: Provenance


@final
class PreferenceRow(TypedDict):
    """Preference training: two continuations of the same prompt."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    tools: list[dict[str, Any]]
    provenance: Provenance


@final
class LabelledRow(TypedDict):
    """One said, and whether it is a good one (KTO)."""

    prompt: list[Message]
    completion: list[Message]
    label: bool
    tools: list[dict[str, Any]]
    provenance: Provenance


@final
class PromptRow(TypedDict):
    """A prompt whose continuations are sampled in training, with the answer that a reward may ask for (GRPO)."""

    prompt: list[Message]
    answer: NotRequired[str]
    tools: list[dict[str, Any]]
    provenance: Provenance


Row = ChatRow | PreferenceRow | LabelledRow | PromptRow
Shape = Literal["chat", "preference", "labelled", "prompt"]


@dataclass(frozen=True)
class NoRow:
    """A record gives no row, or a filter lets none through, and why."""

    reason: str


def shape_of(row: Row) -> Shape:
    if "messages" in row:
        return "chat"
    if "chosen" in row:
        return "preference"
    return "labelled" if "label" in row else "prompt"


def prompt_of(row: Row) -> Sequence[Message]:
    """The messages before anything that is trained on."""
    if "messages" not in row:
        return row["prompt"]
    first = next((place for place, message in enumerate(row["messages"]) if message.get("loss")), None)
    if first is None:
        raise InputError("expected a chat with a reply that carries loss, the rule made one without; set its `loss`")
    return row["messages"][:first]


def targets_of(row: Row) -> dict[str, str]:
    """What is trained on, or against, as text, by column."""
    if "messages" in row:
        return {"target": _text(message for message in row["messages"] if message.get("loss"))}
    if "chosen" in row:
        return {"chosen": _text(row["chosen"]), "rejected": _text(row["rejected"])}
    return {"completion": _text(row["completion"])} if "label" in row else {}


def _text(messages: Any) -> str:
    """The assistant's words; what tools were called with counts as such."""
    said = [
        [message["content"], *(call["function"]["arguments"] for call in message.get("tool_calls", ()))]
        for message in messages
        if message["role"] == "assistant"
    ]
    return "\n".join(part for parts in said for part in parts if part)


def with_losses(messages: Sequence[Message], *replies: Sequence[Message], loss: Sequence[bool]) -> list[Message]:
    """A chat of messages without loss and replies, each of which carries loss as `loss` says, tool results never."""
    shown = [_with_loss(message, False) for message in messages]
    for reply, carries in zip(replies, loss, strict=True):
        shown += [_with_loss(message, carries) for message in reply]
    return shown


def _with_loss(message: Message, carries: bool) -> Message:
    return {**message, "loss": carries} if message["role"] == "assistant" else message


def tools_of(transcript: Transcript, *replies: Reply) -> list[dict[str, Any]]:
    """The tools that the agents of these replies had, called or not."""
    tools = {tool["function"]["name"]: tool for reply in replies for tool in transcript.described(reply).tools}
    return list(tools.values())


def share_prompt(transcript: Transcript, one: Reply, other: Reply) -> bool:
    """Whether two replies were given to the same chat, with the same tools."""
    same_tools = transcript.described(one).tools == transcript.described(other).tools
    return same_tools and transcript.messages(one) == transcript.messages(other)


def provenance(transcript: Transcript, rule: str, *replies: Reply, part: str = "", remark: str = "") -> Provenance:
    """Where a row comes from: the transcript, and the turns whose text it holds."""
    return {
        "rule": rule,
        "run": transcript.run,
        "transcript": transcript.id,
        "question": transcript.question.id,
        "agreement": round(agreement(transcript), 4),
        "turns": [
            {
                "agent": reply.turn.agent,
                "role": reply.turn.role,
                "round": reply.turn.round,
                "speaker": reply.speaker or reply.turn.agent,
                "model": transcript.described(reply).model or "",
                "adapter": transcript.described(reply).adapter or "",
            }
            for reply in replies
        ],
        "part": part,
        "remark": remark,
    }


def provenance_of_run(conversation: Conversation, rule: str, agent: str, question: str) -> Provenance:
    """The same for what one agent said in a conversation."""
    described = conversation.participants.get(agent)
    return {
        "rule": rule,
        "run": conversation.run,
        "transcript": conversation.id,
        "question": question,
        "agreement": 0.0,
        "turns": [
            {
                "agent": agent,
                "role": "participant",
                "round": 0,
                "speaker": agent,
                "model": (described.model if described else None) or "",
                "adapter": (described.adapter if described else None) or "",
            }
        ],
        "part": "",
        "remark": "",
    }


def agreement(transcript: Transcript) -> float:
    """Share of the deciding round's answers that stand behind the outcome; 0 where nothing was decided."""
    outcome = transcript.outcome
    if outcome.round is None:
        return 0.0
    groups = outcome.votes[outcome.round - 1].groups
    behind = sum(len(group.voters) for group in groups if outcome.debater in group.voters)
    return behind / sum(len(group.voters) for group in groups)
