"""Openings that agree with the final decision against openings that do not, on the same prompt (MACA 2025, MV-DPO).

{"prompt": [{"role": "system", ...}, {"role": "user", "content": "What is ..."}],
 "chosen": [{"role": "assistant", "content": "... Answer: 467"}],
 "rejected": [{"role": "assistant", "content": "... Answer: 457"}], "provenance": {...}}
"""

from __future__ import annotations

from debate_plugin.answers import same_answer
from debate_plugin.dataset.rows import NoRow, PreferenceRow, provenance
from debate_plugin.transcript import Message, Transcript
from debate_plugin.turns import Reply


def majority_minority(transcript: Transcript) -> list[PreferenceRow] | NoRow:
    """Every pair of an agreeing and a disagreeing opening; abstentions are in neither.

    Openings alone share their prompt to the letter: later prompts hold what each debater heard and said itself.
    """
    decided, kind = transcript.outcome.answer, transcript.question.kind
    if kind == "free":
        return NoRow("free answers cannot agree")
    if decided is None:
        return NoRow("no decision")
    openings = [reply for reply in transcript.in_round(1) if reply.answer is not None]
    agreeing = [reply for reply in openings if same_answer(kind, reply.answer or "", decided)]
    others = [reply for reply in openings if reply not in agreeing]
    if not others:
        return NoRow("unanimous openings")
    if not agreeing:
        return NoRow("no opening agrees with the decision")
    rows: list[PreferenceRow] = [
        {
            "prompt": transcript.messages(chosen),
            "chosen": [_said(chosen)],
            "rejected": [_said(rejected)],
            "provenance": provenance(transcript, "majority_minority", chosen, rejected),
        }
        for chosen in agreeing
        for rejected in others
        if transcript.messages(chosen) == transcript.messages(rejected)
    ]
    return rows or NoRow("no two openings share their prompt")


def _said(reply: Reply) -> Message:
    return {"role": "assistant", "content": reply.text or ""}
