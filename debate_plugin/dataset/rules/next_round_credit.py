"""A reply is good if it brought those who heard it to the decision, and bad if it led them away from it.

{"prompt": [...], "completion": [{"role": "assistant", "content": "... 467"}], "label": true, ...}

Credit by the next round's vote, without a judge: seen from the hearers, what Multiagent Finetuning (2025) counts as
corrected traces.
"""

from __future__ import annotations

from debate_plugin.answers import same_answer
from debate_plugin.dataset.rows import LabelledRow, NoRow, provenance, tools_of
from debate_plugin.dataset.standing import Standing, standing
from debate_plugin.transcript import Transcript, said
from debate_plugin.turns import Reply


def next_round_credit(transcript: Transcript) -> list[LabelledRow] | NoRow:
    """A labelled row for each reply that moved somebody on the whole one way.

    A hearer counts where its next answer is this reply's and its last was not: for the reply if it was wrong before,
    against it if it was right. Who hears several replies so credits only those whose answer it took over.
    """
    debate = standing(transcript)
    if isinstance(debate, NoRow):
        return debate
    rounds = len(transcript.outcome.votes)
    if rounds < 2:
        return NoRow("one round only")
    if transcript.settings.get("speaking") == "in turn":
        return NoRow("spoken in turn: who heard what is not told by rounds")
    if transcript.settings.get("distinct"):
        return NoRow("one reply of each answer was heard: whose is not told")
    if "hears" not in transcript.settings:
        return NoRow("who heard whom is not told")
    rows: list[LabelledRow] = []
    for number in range(1, rounds):
        hears = transcript.settings["hears"][number - 1]
        for reply in debate.answered(number):
            if credit := _credit(debate, reply, hears):
                rows.append(
                    {
                        "prompt": transcript.messages(reply),
                        "completion": said(reply),
                        "label": credit > 0,
                        "tools": tools_of(transcript, reply),
                        "provenance": provenance(transcript, "next_round_credit", reply),
                    }
                )
    return rows or NoRow("no reply moved anybody")


def _credit(debate: Standing, reply: Reply, hears: dict[str, list[str]]) -> int:
    kind, number = debate.transcript.question.kind, reply.turn.round
    before = {one.turn.agent: one for one in debate.transcript.in_round(number)}
    after = {one.turn.agent: one for one in debate.answered(number + 1)}
    credit = 0
    for hearer, heard in hears.items():
        if reply.turn.agent not in heard or hearer not in after:
            continue
        took_over = same_answer(kind, after[hearer].answer or "", reply.answer or "")
        if took_over and debate.agrees(before[hearer]) != debate.agrees(after[hearer]):
            credit += 1 if debate.agrees(reply) else -1
    return credit
