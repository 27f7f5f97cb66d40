"""Records as text to read."""

from __future__ import annotations

from collections.abc import Iterator

from debate_plugin.conversation import Conversation
from debate_plugin.messages import RoundVoted, TurnReplied, shortened
from debate_plugin.participant import Participant
from debate_plugin.record import Record
from debate_plugin.transcript import Transcript


def printed(record: Record) -> str:
    """The whole record: who took part, everything said in its order, and how it ended."""
    return "\n".join(_debate(record) if isinstance(record, Transcript) else _conversation(record))


def summary(record: Record) -> str:
    """The record in a few words: its question and answer, or how it began and ended."""
    if isinstance(record, Transcript):
        answer = shortened(record.outcome.answer) if record.outcome.answer is not None else "no decision"
        return f"{shortened(record.question.text)} -> {answer}"
    first = record.messages[0].message.get("content") if record.messages else None
    begun = shortened(first) if isinstance(first, str) else f"{len(record.messages)} messages"
    return f"{begun} ({record.end})"


def _debate(transcript: Transcript) -> Iterator[str]:
    outcome = transcript.outcome
    yield f"debate {transcript.id} of run {transcript.run}, {transcript.started:%Y-%m-%d %H:%M} UTC"
    yield from _participants(transcript.participants)
    yield f"\n{transcript.question.text}"
    voted = 0
    for number, stage in enumerate(transcript.stages, 1):
        for place, reply in enumerate(stage):
            event = TurnReplied.of(
                reply, debate=transcript.id, stage=number, place=place, turns=len(stage), unseen=None
            )
            yield f"\n---------- {reply.turn.agent} ----------\n{event.to_text()}"
        ends_round = stage and stage[-1].turn.role == "debater"
        of_round = stage[-1].turn.round if stage else 0
        if ends_round and stage[-1] is transcript.in_round(of_round)[-1] and voted < of_round <= len(outcome.votes):
            voted = of_round
            vote = RoundVoted(source="debate", debate=transcript.id, round=of_round, vote=outcome.votes[of_round - 1])
            yield f"\n{vote.to_text()}"
    if outcome.answer is None:
        yield "\nNo decision."
    else:
        yield f"\nDecided by {outcome.decided_by}: {outcome.answer}"
    tokens = sum(reply.prompt_tokens for reply in transcript.replies)
    written = sum(reply.completion_tokens for reply in transcript.replies)
    yield f"{transcript.seconds:.1f} s, {tokens} tokens read, {written} written"


def _conversation(conversation: Conversation) -> Iterator[str]:
    yield f"conversation {conversation.id} of run {conversation.run}, {conversation.started:%Y-%m-%d %H:%M} UTC"
    yield from _participants(conversation.participants)
    for said in conversation.messages:
        message = said.message
        yield f"\n---------- {message.get('source')}, {message.get('type')}, {said.seconds:.1f} s ----------"
        content = message.get("content", message)
        yield content if isinstance(content, str) else str(content)
    for source, text in conversation.unfinished.items():
        yield f"\n---------- {source}, cut short ----------\n{text}"
    why = conversation.error or conversation.stop_reason
    yield f"\nEnd: {conversation.end}{f' ({why})' if why else ''}"
    if conversation.debates:
        yield f"Debates in it: {', '.join(conversation.debates)}"
    tokens = f"{conversation.prompt_tokens} tokens read, {conversation.completion_tokens} written"
    yield f"{conversation.seconds:.1f} s, {tokens}"


def _participants(participants: dict[str, Participant]) -> Iterator[str]:
    for name, one in participants.items():
        model = f"{one.model or 'model not told'}{f' with adapter {one.adapter}' if one.adapter else ''}"
        tools = ", ".join(tool["function"]["name"] for tool in one.tools)
        yield f"  {name}: {model}{f', tools {tools}' if tools else ''}"
