"""What a debater said in the end against what it said at first, where the debate corrected it.

{"prompt": [... the opening's prompt ...], "chosen": [{"role": "assistant", "content": "... 467"}],
 "rejected": [{"role": "assistant", "content": "... 457"}], ...}

The pairs are those of Multiagent Finetuning's corrected traces (2025, section 3.3), taken for preference training.
"""

from __future__ import annotations

from debate_plugin.dataset.rows import NoRow, PreferenceRow, provenance, tools_of
from debate_plugin.dataset.standing import standing
from debate_plugin.transcript import Transcript, said


def self_correction(transcript: Transcript, *, agent: str | None = None) -> list[PreferenceRow] | NoRow:
    """One pair for each debater, or for `agent` alone, that was wrong by the final vote and came to be right.

    The prompt is the opening's: the corrected reply is what should have been said at once. It may speak of what was
    heard since; the filter of debate talk leaves such pairs out.
    """
    debate = standing(transcript)
    if isinstance(debate, NoRow):
        return debate
    rows: list[PreferenceRow] = []
    for name in transcript.debaters:
        trace = transcript.said_by(name)
        if agent not in (None, name) or len(trace) < 2:
            continue
        wrong, right = trace[0], trace[-1]
        if wrong.answer is None or debate.agrees(wrong) or not debate.agrees(right):
            continue
        if wrong.speaker != right.speaker or not transcript.knows(wrong):
            continue  # the one was not asked what the other was
        rows.append(
            {
                "prompt": transcript.messages(wrong),
                "chosen": said(right),
                "rejected": said(wrong),
                "tools": tools_of(transcript, wrong, right),
                "provenance": provenance(transcript, "self_correction", right, wrong),
            }
        )
    return rows or NoRow("nobody was corrected")
