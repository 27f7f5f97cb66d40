"""Ready teams are what their sources describe."""

from collections.abc import Callable

import pytest
from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_agents import debategpt, society_of_minds, sparse, vote_first
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
