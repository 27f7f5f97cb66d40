"""Replies that agree with the final decision against replies that do not, on the same prompt (MACA 2025, MV-DPO).

{"prompt": [{"role": "system", ...}, {"role": "user", "content": "What is ..."}],
 "chosen": [{"role": "assistant", "content": "... Answer: 467"}],
 "rejected": [{"role": "assistant", "content": "... Answer: 457"}], ...}
"""

from __future__ import annotations

import random
from typing import Literal

from debate_plugin.dataset.rows import NoRow, PreferenceRow, provenance, share_prompt, tools_of
from debate_plugin.dataset.standing import standing
from debate_plugin.errors import InputError
from debate_plugin.transcript import Transcript, said


def majority_minority(
    transcript: Transcript, *, replies: Literal["openings", "final"] = "openings", k: int | None = None, seed: int = 0
) -> list[PreferenceRow] | NoRow:
    """Every pair of an agreeing and a disagreeing reply, or `k` of them drawn by `seed`; abstentions are in neither.

    Openings share their prompt to the letter. `final` takes each debater's last reply instead, as the paper does, and
    sets it behind the opening's prompt: what it had heard by then is not shown, and it may speak of it.
    """
    if k is not None and k < 1:
        raise InputError(f"expected k of at least 1, got {k}")
    debate = standing(transcript)
    if isinstance(debate, NoRow):
        return debate
    last = 1 if replies == "openings" else len(transcript.outcome.votes)
    answered = debate.answered(last)
    agreeing = [reply for reply in answered if debate.agrees(reply)]
    others = [reply for reply in answered if reply not in agreeing]
    name = "openings" if replies == "openings" else "last answers"
    if not answered:
        return NoRow(f"none of the {name} can be used")
    if not others:
        return NoRow(f"unanimous {name}")
    if not agreeing:
        return NoRow(f"none of the {name} agrees with the decision")
    opened = {reply.turn.agent: reply for reply in transcript.in_round(1)}
    prompts = {name: transcript.messages(reply) for name, reply in opened.items()}
    pairs = [
        (chosen, rejected)
        for chosen in agreeing
        for rejected in others
        if share_prompt(transcript, opened[chosen.turn.agent], opened[rejected.turn.agent])
        and all(one.speaker == opened[one.turn.agent].speaker for one in (chosen, rejected))
    ]
    if k is not None and k < len(pairs):
        drawn = random.Random(f"{seed}/{transcript.id}").sample(range(len(pairs)), k)
        pairs = [pairs[place] for place in sorted(drawn)]
    rows: list[PreferenceRow] = [
        {
            "prompt": prompts[chosen.turn.agent],
            "chosen": said(chosen),
            "rejected": said(rejected),
            "tools": tools_of(transcript, chosen, rejected),
            "provenance": provenance(transcript, "majority_minority", chosen, rejected),
        }
        for chosen, rejected in pairs
    ]
    return rows or NoRow("no two debaters share their prompt")
