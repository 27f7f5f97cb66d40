"""Question -> the debate's final answer, cleaned where a cleaner spoke (DebateGPT 2024: the pairs it fine-tunes on).

{"messages": [{"role": "user", "content": "What is the result of 4+18*27+25-24*2?"},
              {"role": "assistant", "content": "A: 18*27=486\\n...\\nThe answer is 467."}], "provenance": {...}}
"""

from __future__ import annotations

import re

from debate_plugin.answers import without_confidence
from debate_plugin.dataset.rows import NoRow, SftRow, provenance
from debate_plugin.transcript import Transcript


def final_answer(transcript: Transcript) -> list[SftRow] | NoRow:
    """One row; none where nothing was decided, or where it was to be cleaned and was not."""
    outcome = transcript.outcome
    if outcome.text is None or outcome.debater is None:
        return NoRow("no decision")
    if outcome.cleaned is None and transcript.settings["clean"]:
        return NoRow("the cleaner lost the answer")  # and debate talk is nothing to train on
    answer = outcome.cleaned or _in_prose(without_confidence(outcome.text))
    spoken = [
        reply
        for reply in transcript.replies
        if (reply.turn.role, reply.turn.agent, reply.turn.round) == ("debater", outcome.debater, outcome.round)
        or (reply.turn.role == "cleaner" and outcome.cleaned is not None)
    ]
    return [
        {
            "messages": [
                {"role": "user", "content": transcript.question.text},
                {"role": "assistant", "content": answer},
            ],
            "provenance": provenance(transcript, "final_answer", *spoken),
        }
    ]


def _in_prose(text: str) -> str:
    """The closing line `Answer: 4` as a sentence: the row's prompt does not ask for that form, so no row teaches it."""
    return re.sub(r"\n[*_]*Answer:[*_]*[ \t]*([^\n]*[^\s.])\.?\s*$", r"\nThe answer is \1.", text)
