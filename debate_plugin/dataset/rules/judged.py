"""The reply that the judge finds best against the worst (Self-Rewarding Language Models 2024, section 2.2).

{"prompt": [...], "chosen": [{"role": "assistant", ...}], "rejected": [{"role": "assistant", ...}],
 "provenance": {"turns": [{"agent": "ada", "role": "debater", ...}, {"agent": "ben", "role": "debater", ...}], ...}}
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean

from debate_plugin.dataset.rows import NoRow, PreferenceRow, provenance, share_prompt, tools_of
from debate_plugin.errors import InputError
from debate_plugin.transcript import Transcript, said
from debate_plugin.turns import Reply


def judged(transcript: Transcript, *, rho: float = 0.0) -> list[PreferenceRow] | NoRow:
    """One pair; none on a tie, or where the judged replies were not to the same prompt (judge a round of openings).

    A reply's score is the mean of the judge's points for it, unreadable verdicts left out; of comparisons, the share
    of points it won. With `rho` above 0, length is controlled as in Meta-Rewarding (2024, section 2.2): of the replies
    within the share `rho` of the scores' range from the top, the shortest is chosen, and of those within it from the
    bottom, the longest is rejected.

    Raises:
        InputError: `rho` is not from 0 to below 0.5, where a reply could be both.
    """
    if not 0 <= rho < 0.5:
        raise InputError(f"expected rho from 0 to below 0.5, got {rho}")
    scores = _scores(transcript)
    if not scores:
        return NoRow("not judged")
    if len(scores) < 2:
        return NoRow("one reply judged")
    top, bottom = max(scores.values()), min(scores.values())
    if top == bottom:
        return NoRow("a tie")
    margin = rho * (top - bottom)
    number = next(reply.turn.round for reply in transcript.replies if reply.turn.role == "judge" and reply.turn.about)
    replies = {reply.turn.agent: reply for reply in transcript.in_round(number)}
    best = [replies[name] for name, score in scores.items() if score >= top - margin]
    worst = [replies[name] for name, score in scores.items() if score <= bottom + margin]
    chosen, rejected = (best[0], worst[0]) if rho == 0 else (min(best, key=_length), max(worst, key=_length))
    if not share_prompt(transcript, chosen, rejected) or not transcript.knows(chosen) or not transcript.knows(rejected):
        return NoRow("the judged replies do not share their prompt")
    return [
        {
            "prompt": transcript.messages(chosen),
            "chosen": said(chosen),
            "rejected": said(rejected),
            "tools": tools_of(transcript, chosen, rejected),
            "provenance": provenance(transcript, "judged", chosen, rejected),
        }
    ]


def _scores(transcript: Transcript) -> dict[str, float]:
    """The judge's mean points by debater, in seat order."""
    points: dict[str, list[float]] = defaultdict(list)
    for verdict in transcript.replies:
        about, against = verdict.turn.about, verdict.turn.against
        if verdict.turn.role != "judge" or about is None:
            continue
        if against is None:
            if verdict.score is not None:
                points[about].append(verdict.score)
        elif verdict.prefers is not None:
            won = {"about": 1.0, "tie": 0.5, "against": 0.0}[verdict.prefers]
            points[about].append(won)
            points[against].append(1 - won)
    return {name: fmean(points[name]) for name in transcript.debaters if name in points}


def _length(reply: Reply) -> int:
    return len(reply.text or "")
