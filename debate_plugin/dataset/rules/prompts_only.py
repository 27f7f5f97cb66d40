"""The question as a prompt, with the debate's answer for a reward to compare with (MACA 2025, MV-GRPO).

{"prompt": [{"role": "user", "content": "What is ..."}], "answer": "467", ...}
"""

from __future__ import annotations

from debate_plugin.dataset.rows import NoRow, PromptRow, provenance
from debate_plugin.transcript import Transcript


def prompts_only(transcript: Transcript) -> list[PromptRow] | NoRow:
    """One row, as a user would ask; without an answer where answers are free texts. None where nothing was decided."""
    answer = transcript.outcome.answer
    if answer is None:
        return NoRow("no decision")
    row: PromptRow = {
        "prompt": [{"role": "user", "content": transcript.question.text}],
        "tools": [],
        "provenance": provenance(transcript, "prompts_only"),
    }
    if transcript.question.kind != "free":
        row["answer"] = answer
    return [row]
