"""A debater's own opening where it agrees with the final vote (Multiagent Finetuning 2025, section 3.2, generators).

{"messages": [{"role": "system", ...}, {"role": "user", "content": "What is ..."},
              {"role": "assistant", "content": "... Answer: 467", "loss": true}], ...}
"""

from __future__ import annotations

from debate_plugin.dataset.rows import ChatRow, NoRow, provenance, tools_of, with_losses
from debate_plugin.dataset.standing import standing
from debate_plugin.transcript import Transcript, said


def generator(transcript: Transcript, *, agent: str | None = None) -> list[ChatRow] | NoRow:
    """One row for each debater, or for `agent` alone: openings, since each is to keep a way of its own."""
    debate = standing(transcript)
    if isinstance(debate, NoRow):
        return debate
    openings = [reply for reply in transcript.in_round(1) if agent in (None, reply.turn.agent)]
    if not openings:
        return NoRow(f"no debater {agent!r}")
    rows: list[ChatRow] = [
        {
            "messages": with_losses(transcript.messages(opening), said(opening), loss=[True]),
            "tools": tools_of(transcript, opening),
            "provenance": provenance(transcript, "generator", opening),
        }
        for opening in openings
        if debate.agrees(opening) and transcript.knows(opening)
    ]
    return rows or NoRow("no opening agrees with the decision")
