"""Each reply by itself, good where it agrees with the decision (MACA 2025, MV-KTO): no pairs are needed.

{"prompt": [...], "completion": [{"role": "assistant", "content": "... 457"}], "label": false, ...}
"""

from __future__ import annotations

from debate_plugin.dataset.rows import LabelledRow, NoRow, provenance, tools_of
from debate_plugin.dataset.standing import standing
from debate_plugin.transcript import Transcript, said


def binary(transcript: Transcript) -> list[LabelledRow] | NoRow:
    """A row for each opening with an answer; none where all agree, since only contrast teaches."""
    debate = standing(transcript)
    if isinstance(debate, NoRow):
        return debate
    openings = debate.answered(1)
    if not openings:
        return NoRow("none of the openings can be used")
    if all(debate.agrees(opening) for opening in openings):
        return NoRow("unanimous openings")
    return [
        {
            "prompt": transcript.messages(opening),
            "completion": said(opening),
            "label": debate.agrees(opening),
            "tools": tools_of(transcript, opening),
            "provenance": provenance(transcript, "binary", opening),
        }
        for opening in openings
    ]
