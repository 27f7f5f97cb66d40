"""Question -> the debate's final answer, cleaned where a cleaner spoke (DebateGPT 2024: the pairs it fine-tunes on).

{"messages": [{"role": "user", "content": "What is the result of 4+18*27+25-24*2?"},
              {"role": "assistant", "content": "A: 18*27=486\\n...\\nThe answer is 467.", "loss": true}], ...}
"""

from __future__ import annotations

import re
from typing import Literal

from debate_plugin.answers import read_answer, same_answer, without_confidence
from debate_plugin.dataset.rows import ChatRow, NoRow, provenance
from debate_plugin.transcript import Transcript


def final_answer(transcript: Transcript, *, uncleaned: Literal["use", "drop"] = "use") -> list[ChatRow] | NoRow:
    """One row; none where nothing was decided.

    Where the cleaned text does not give the decided answer, the uncleaned one is used and the row says so, or, with
    `uncleaned="drop"`, there is none: what was said to other debaters is then not trained on.
    """
    outcome = transcript.outcome
    if outcome.text is None or outcome.debater is None:
        return NoRow("no decision")
    cleaned = outcome.cleaned if _keeps_the_answer(transcript) else None
    is_lost = cleaned is None and bool(transcript.settings.get("clean"))
    if is_lost and uncleaned == "drop":
        return NoRow("the cleaner lost the answer")
    spoken = [
        reply
        for reply in transcript.replies
        if (reply.turn.role, reply.turn.agent, reply.turn.round) == ("debater", outcome.debater, outcome.round)
        or (reply.turn.role == "cleaner" and cleaned is not None)
    ]
    answer = cleaned or _in_prose(without_confidence(outcome.text))
    remark = "uncleaned: the cleaner lost the answer" if is_lost else ""
    return [
        {
            "messages": [
                {"role": "user", "content": transcript.question.text},
                {"role": "assistant", "content": answer, "loss": True},
            ],
            "tools": [],
            "provenance": provenance(transcript, "final_answer", *spoken, remark=remark),
        }
    ]


def _keeps_the_answer(transcript: Transcript) -> bool:
    question, outcome = transcript.question, transcript.outcome
    if outcome.cleaned is None:
        return False
    if question.kind == "free":
        return True
    kept = read_answer(question, outcome.cleaned)
    return kept is not None and same_answer(question.kind, kept, outcome.answer or "")


def _in_prose(text: str) -> str:
    """The closing line `Answer: 4` as a sentence: the row's prompt does not ask for that form, so no row teaches it."""
    before, line_break, last = text.rstrip().rpartition("\n")
    found = re.match(r"[*_]*Answer:[*_]*[ \t]*(.*)", last)
    answer = found[1].rstrip(". \t") if found is not None else ""
    return f"{before}{line_break}The answer is {answer}." if line_break and answer else text
