"""Ready teams are what their sources describe."""

from collections.abc import Callable

import pytest
from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_agents import (
    debategpt,
    devils_advocate,
    free_mad,
    groups,
    reconcile,
    society_of_minds,
    sparse,
    two_sides,
    vote_first,
)
from debate_plugin import DebateDecided, DebateTeam, TurnReplied
from debate_plugin.protocol import Outcome
from debate_plugin.turns import Reply


def speaker(*texts: str) -> ReplayChatCompletionClient:
    return ReplayChatCompletionClient(list(texts) * 40)


async def held(team: DebateTeam) -> tuple[list[Reply], Outcome]:
    replies, outcome = [], None
    async for message in team.run_stream(task="What is 2+2?"):
        if isinstance(message, TurnReplied):
            replies.append(message.reply)
        elif isinstance(message, DebateDecided):
            outcome = message.outcome
    assert outcome is not None
    return replies, outcome


async def test_a_society_of_minds_is_three_debaters_who_hear_each_other_once() -> None:
    replies, outcome = await held(society_of_minds(speaker("Answer: 4")))
    assert [(reply.turn.round, reply.turn.role) for reply in replies] == [(1, "debater")] * 3 + [(2, "debater")] * 3
    assert all(reply.turn.prompt.count("<reply>") == 2 for reply in replies[3:])
    assert all("Confidence" not in reply.turn.prompt for reply in replies)
    assert (outcome.answer, outcome.cleaned, outcome.decided_by) == ("4", None, "majority")


async def test_in_the_sparse_debate_six_debaters_hear_two_each() -> None:
    replies, _ = await held(sparse(speaker("Answer: 4")))
    assert [reply.turn.prompt.count("<reply>") for reply in replies if reply.turn.round == 2] == [2] * 6


async def test_vote_first_debates_only_what_is_disputed() -> None:
    agreed, _ = await held(vote_first(speaker("Answer: 4")))
    assert {reply.turn.round for reply in agreed} == {1}
    clients = [speaker(f"Answer: {number}") for number in (4, 4, 5, 6, 7)]
    disputed, outcome = await held(vote_first(clients))
    assert {reply.turn.round for reply in disputed} == {1, 2}
    assert outcome.answer == "4"
    audited, outcome = await held(vote_first(speaker("Answer: 4"), audit=1.0))
    assert {reply.turn.round for reply in audited} == {1, 2} and outcome.audited


@pytest.mark.parametrize("preset", [debategpt, society_of_minds])
async def test_debaters_may_be_different_models(preset: Callable[..., DebateTeam]) -> None:
    clients = [speaker("Answer: 4"), speaker("Answer: 5"), speaker("Answer: 4")]
    replies, _ = await held(preset(clients, kind="number"))
    assert [reply.answer for reply in replies if reply.turn.round == 1] == ["4", "5", "4"]
    with pytest.raises(ValueError, match="one for each of the 3 debaters, got 2"):
        preset(clients[:2])


async def test_reconcile_weighs_votes_by_what_a_confidence_counts_and_ends_in_agreement() -> None:
    sure = [speaker(f"Answer: {answer}\nConfidence: {stated}") for answer, stated in ((4, 85), (5, 79), (5, 55))]
    replies, outcome = await held(reconcile(sure))
    assert max(reply.turn.round for reply in replies) == 4
    assert (outcome.answer, outcome.decided_by) == ("4", "confidence")
    assert outcome.scores["confidence"] == {"4": 50.0, "5": 40.0}
    agreed, _ = await held(reconcile([speaker("Answer: 4")] * 3))
    assert {reply.turn.round for reply in agreed} == {1}


async def test_the_devils_advocate_hears_the_answer_first_and_the_judge_may_end_it() -> None:
    # Stages in their order: ada, devil, judge; the judge finds the question open once, then settled.
    client = ReplayChatCompletionClient(
        ["Answer: 4", "No. Answer: 5", "Settled: none", "Still. Answer: 4", "I give way. Answer: 4", "Settled: A"]
    )
    replies, outcome = await held(devils_advocate(client))
    assert [reply.turn.agent for reply in replies] == ["ada", "devil", "judge"] * 2
    assert "Answer: 4" in replies[1].turn.prompt and "No. Answer: 5" in replies[3].turn.prompt
    assert (outcome.answer, outcome.decided_by) == ("4", "settled")


async def test_a_devils_advocate_never_settled_is_decided_in_both_orders() -> None:
    client = ReplayChatCompletionClient(
        ["Answer: 4", "No. Answer: 5", "Settled: none", "Answer: 4", "Answer: 5", "Better: A", "Better: B"]
    )
    replies, outcome = await held(devils_advocate(client, rounds=2))
    assert [reply.prefers for reply in replies if reply.turn.against] == ["about", "against"]
    assert (outcome.answer, outcome.decided_by) == ("4", "judge")


async def test_two_sides_argue_what_they_were_given_and_a_weaker_judge_decides() -> None:
    first, second, weak = speaker("Answer: A"), speaker("Answer: B"), speaker("Better: B", "Better: A")
    team = two_sides([first, second], ("A", "B"), judge_client=weak, rounds=2)
    told = {name: described.system_message or "" for name, described in team.participants.items()}
    assert "the answer is A" in told["ada"] and "the answer is B" in told["ben"]
    replies, outcome = await held(team)
    assert len(replies) == 4 + 2
    assert (outcome.answer, outcome.decided_by) == ("B", "judge")
    assert len(weak.create_calls) == 2


async def test_free_mad_discourages_agreeing_and_counts_changes_of_mind() -> None:
    clients = [
        ReplayChatCompletionClient(said) for said in (["Answer: 4"] * 2, ["Answer: 5", "Answer: 4"], ["Answer: 5"] * 2)
    ]
    replies, outcome = await held(free_mad(clients))
    assert all("says nothing about who is right" in reply.turn.prompt for reply in replies if reply.turn.round == 2)
    assert outcome.scores["conviction"] == {"4": 1 + 0.5 + 0.75, "5": 2 - 0.625 + 0.5}
    assert (outcome.answer, outcome.decided_by) == ("4", "conviction")


async def test_groups_talk_among_themselves_and_then_hear_digests_of_all() -> None:
    replies, _ = await held(groups(speaker("Answer: 4"), helper_client=speaker("They say 4.")))
    digests = [reply.turn for reply in replies if reply.turn.role == "summarizer"]
    heard = {(turn.about, turn.round): turn.prompt.count("<reply>") for turn in digests}
    assert set(heard.values()) == {2, 5}
    assert all(count == {2: 2, 3: 5}[number] for (_, number), count in heard.items())
    with pytest.raises(ValueError, match="each of the 6 debaters, got 2"):
        groups([speaker("Answer: 4")] * 2)
