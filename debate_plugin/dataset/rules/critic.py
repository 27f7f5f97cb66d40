"""A debater's whole trace where its last answer is the final vote's (Multiagent Finetuning 2025, section 3.3, critics).

{"messages": [{"role": "user", "content": "What is ..."}, {"role": "assistant", "content": "... 457", "loss": false},
              {"role": "user", "content": "These are ..."}, {"role": "assistant", "content": "... 467", "loss": true}],
 "provenance": {"part": "corrected", ...}, ...}
"""

from __future__ import annotations

from debate_plugin.dataset.rows import ChatRow, NoRow, provenance, tools_of, with_losses
from debate_plugin.dataset.standing import Standing, standing
from debate_plugin.transcript import Transcript, said
from debate_plugin.turns import Reply


def critic(transcript: Transcript, *, agent: str | None = None, all_turns: bool = False) -> list[ChatRow] | NoRow:
    """One row for each debater, or for `agent` alone: `corrected` (wrong at first, right in the end) or `kept`.

    In a corrected trace the last turn alone carries loss, in a kept one every turn that agrees with the decision. With
    `all_turns` every turn carries loss, as in the paper, the wrong first answer too. The parts are mixed by the
    paper's weight w afterwards, see `debate_plugin.dataset.mix`.
    """
    debate = standing(transcript)
    if isinstance(debate, NoRow):
        return debate
    if len(transcript.outcome.votes) < 2:
        return NoRow("one round only")
    names = [name for name in transcript.debaters if agent in (None, name)]
    if not names:
        return NoRow(f"no debater {agent!r}")
    rows = [row for name in names if (row := _row(debate, transcript.said_by(name), all_turns)) is not None]
    return rows or NoRow("no last answer agrees with the decision, or its first one is missing")


def _row(debate: Standing, trace: list[Reply], all_turns: bool) -> ChatRow | None:
    if len(trace) < 2 or any(reply.text is None for reply in (trace[0], trace[-1])):
        return None
    if trace[0].answer is None or not debate.agrees(trace[-1]) or not all(map(debate.transcript.knows, trace)):
        return None
    spoken = [reply for reply in trace if reply.text is not None]
    part = "kept" if debate.agrees(trace[0]) else "corrected"
    transcript = debate.transcript
    messages = with_losses(transcript.messages(trace[-1]), said(trace[-1]), loss=[True])
    if part == "kept" or all_turns:
        carries = iter(all_turns or debate.agrees(reply) for reply in spoken for _ in _own(reply, trace[-1]))
        for message in messages:
            if message["role"] == "assistant":
                message["loss"] = next(carries)
    return {
        "messages": messages,
        "tools": tools_of(transcript, *spoken),
        "provenance": provenance(transcript, "critic", *spoken, part=part),
    }


def _own(reply: Reply, last: Reply) -> list[object]:
    """The assistant's messages that a reply is in the chat of the last one."""
    if reply.speaker != last.speaker:
        return [reply.text]
    return [message for message in said(reply) if message["role"] == "assistant"]
