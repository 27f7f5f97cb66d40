"""Debates that are paused, cut off, saved, loaded elsewhere, and teams written as data."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from actors import lines, of_type
from autogen_agentchat.conditions import MaxMessageTermination, TextMentionTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import CancellationToken, ComponentModel
from autogen_core.models import CreateResult
from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_agents import cleaner, debategpt, debater, judge, presets, summarizer
from debate_plugin import (
    DebateDecided,
    DebateStarted,
    DebateTeam,
    Pair,
    Patience,
    Plan,
    Recorder,
    RoundVoted,
    Store,
    TurnReplied,
    agreement,
    by_round,
    chain,
    complete,
    ring,
    stable,
)

SAID = {
    "ada": ["Answer: 4 (a1)", "Answer: 5 (a2)", "Answer: 6 (a3)"],
    "ben": ["Answer: 5 (b1)", "Answer: 5 (b2)", "Answer: 5 (b3)"],
    "cleo": ["Answer: 6 (c1)", "Answer: 6 (c2)", "Answer: 5 (c3)"],
}
QUESTION = "What is 2+3?"


class Thoughtful(ReplayChatCompletionClient):
    """Takes its time for every line."""

    seconds = 0.0

    async def create(self, *messages: Any, **settings: Any) -> CreateResult:
        await asyncio.sleep(self.seconds)
        return await super().create(*messages, **settings)


def team(start: dict[str, int] | None = None, **more: Any) -> tuple[DebateTeam, dict[str, Thoughtful]]:
    """A team of three rounds; each debater's lines begin at `start`."""
    begins = start or dict.fromkeys(SAID, 0)
    clients = {name: Thoughtful(said[begins[name] :]) for name, said in SAID.items()}
    for client, seconds in zip(clients.values(), (0.02, 0.06, 0.2), strict=True):
        client.seconds = seconds
    agents = [debater(name, client) for name, client in clients.items()]
    return DebateTeam(agents, plan=Plan(rounds=3, topology=ring()), kind="number", **more), clients


async def until(one: DebateTeam, *, round: int, source: str, token: CancellationToken) -> None:
    """Run and cancel as soon as a debater has replied in a round."""
    with pytest.raises(asyncio.CancelledError):
        async for message in one.run_stream(task=QUESTION, cancellation_token=token):
            if isinstance(message, TurnReplied) and (message.reply.turn.round, message.source) == (round, source):
                token.cancel()


def story(messages: Any) -> list[str]:
    return sorted(message.reply.text or "" for message in messages if isinstance(message, TurnReplied))


async def test_a_debate_that_was_saved_in_the_middle_goes_on_in_another_process(tmp_path: Path) -> None:
    whole, _ = team()
    expected = await whole.run(task=QUESTION)
    first, clients = team()
    await until(first, round=2, source="ben", token=CancellationToken())
    saved = tmp_path / "state.json"
    saved.write_text(json.dumps(await first.save_state()), encoding="utf-8")
    start = {name: len(client.create_calls) for name, client in clients.items()}
    assert 4 <= sum(start.values()) < 9
    program = f"""
import asyncio, json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_state import team
from debate_plugin import DebateDecided, DebateStarted, TurnReplied

async def main():
    one, clients = team({start!r})
    await one.load_state(json.load(open({str(saved)!r})))
    result = await one.run()
    print(json.dumps({{
        "asked": {{name: len(client.create_calls) for name, client in clients.items()}},
        "said": sorted(m.reply.text for m in result.messages if isinstance(m, TurnReplied)),
        "answer": [m.outcome.answer for m in result.messages if isinstance(m, DebateDecided)],
        "debates": [m.debate for m in result.messages if isinstance(m, DebateStarted)],
        "last_context": [str(m.content)[:12] for m in clients["ada"].create_calls[-1]["messages"]],
    }}))

asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    came = json.loads(ran.stdout.splitlines()[-1])
    assert came["asked"] == {name: 3 - count for name, count in start.items()}  # nothing was paid for twice
    assert came["said"] == story(expected.messages)
    assert came["answer"] == [of_type(DebateDecided, expected.messages)[0].outcome.answer]
    assert len(came["last_context"]) == 6  # system, three prompts, its two replies: nothing twice


async def test_a_cancelled_debate_goes_on_with_a_run_without_a_task() -> None:
    one, clients = team()
    await until(one, round=2, source="ada", token=CancellationToken())
    with Store.open("sqlite://") as store:
        result = [item async for item in Recorder(store).record(one.run_stream())][-1]
        (transcript,) = store.transcripts()
    assert story(result.messages) == sorted(line for said in SAID.values() for line in said)  # type: ignore[union-attr]
    assert [len(client.create_calls) for client in clients.values()] == [3, 3, 3]
    assert len(transcript.replies) == 9
    with pytest.raises(ValueError, match="got no task"):
        await one.run()


async def test_between_debates_the_state_is_that_of_the_agents() -> None:
    one, _ = team()
    await one.run(task=QUESTION)
    state = await one.save_state()
    assert state["agent_states"]["debate"]["question"] is None
    other, clients = team()
    await other.load_state(state)
    result = await other.run(task="Another: what is 3+2?")
    assert len(of_type(DebateStarted, result.messages)) == 1
    assert len(clients["ada"].create_calls[0]["messages"]) == 2  # a new debate begins with empty contexts


async def test_a_state_that_does_not_fit_the_team_is_refused() -> None:
    one, _ = team()
    await until(one, round=1, source="ada", token=CancellationToken())
    other = DebateTeam([debater(name, lines("Answer: 5")) for name in SAID], plan=Plan(confidence="off"), kind="number")
    await other.load_state(await one.save_state())
    with pytest.raises((ValueError, RuntimeError), match="with the same plan and debaters"):
        await other.run()


async def test_pausing_begins_no_further_stage_until_resumed() -> None:
    one, clients = team()
    stream = one.run_stream(task=QUESTION)
    async for message in stream:
        if isinstance(message, TurnReplied):
            await one.pause()
            break
    await asyncio.sleep(0.5)
    assert [len(client.create_calls) for client in clients.values()] == [1, 1, 1]
    state = await one.save_state()  # a consistent one, since nothing is under way
    assert len(state["agent_states"]["debate"]["heard"]) == 3
    await one.resume()
    rest = [message async for message in stream]
    assert len([message for message in rest if isinstance(message, RoundVoted)]) == 3
    assert [len(client.create_calls) for client in clients.values()] == [3, 3, 3]


async def test_resetting_forgets_a_debate_under_way() -> None:
    one, _ = team()
    await until(one, round=1, source="ada", token=CancellationToken())
    await one.reset()
    with pytest.raises(ValueError, match="got no task"):
        await one.run()


def written() -> DebateTeam:
    client = ReplayChatCompletionClient(["Answer: 4"] * 20)
    pair = Pair(
        "ben",
        generator=debater("ben_generator", client),
        critic=debater("ben_critic", client),
    )
    return DebateTeam(
        [debater("ada", client, persona="a sceptic"), pair, debategpt(client, cleaning=False)],
        summarizer=summarizer(client),
        judge=judge(client),
        cleaner=cleaner(client),
        plan=Plan(
            rounds=3,
            topology=by_round([chain(), complete()]),
            digest="each",
            decide="judge",
            clean=True,
            stop=agreement(0.9) | stable(2),
        ),
        kind="number",
        termination_condition=MaxMessageTermination(50) | TextMentionTermination("STOP"),
        patience=Patience(seconds=9, retries=2),
        name="court",
        description="Decides.",
    )


async def test_a_team_written_as_data_comes_back_the_same_and_debates() -> None:
    written_down = json.loads(written().dump_component().model_dump_json())
    again = DebateTeam.load_component(ComponentModel(**written_down))
    assert json.loads(again.dump_component().model_dump_json()) == written_down
    assert again.plan == written().plan and again.debaters == ("ada", "ben", "debate")
    assert (again.participants["ada"].system_message or "").startswith("You are a sceptic")
    result = await again.run(task="What is 2+2?")
    assert of_type(DebateDecided, result.messages)[-1].outcome.answer == "4"


def test_no_key_is_written_with_a_team() -> None:
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    client = OpenAIChatCompletionClient(model="gpt-4o", api_key="sk-very-secret-7734")
    written_down = debategpt(client).dump_component().model_dump_json()
    assert "7734" not in written_down
    again = DebateTeam.load_component(ComponentModel(**json.loads(written_down)))
    assert again.debaters == ("ada", "ben", "cleo")


async def test_a_debate_that_was_halted_is_still_halted_when_it_goes_on() -> None:
    def court(client: Thoughtful) -> DebateTeam:
        return DebateTeam(
            [debater(name, ReplayChatCompletionClient(list(said))) for name, said in SAID.items()],
            judge=judge(client),
            plan=Plan(rounds=3, decide="judge"),
            kind="number",
            termination_condition=TextMentionTermination("(a1)"),
        )

    slow, token = Thoughtful(["Score: 5"] * 3), CancellationToken()
    slow.seconds = 5.0
    first = court(slow)
    with pytest.raises(asyncio.CancelledError):
        async for message in first.run_stream(task=QUESTION, cancellation_token=token):
            if isinstance(message, RoundVoted):
                asyncio.get_running_loop().call_later(0.1, token.cancel)
    state = json.loads(json.dumps(await first.save_state()))
    assert state["agent_states"]["debate"]["halted"][0] == 1
    other = court(Thoughtful(["Score: 1", "Score: 5", "Score: 2"]))
    await other.load_state(state)
    slow.seconds = 0.0
    for one in (other, first):
        result = await one.run()
        (decided,) = of_type(DebateDecided, result.messages)
        assert len(decided.outcome.votes) == 1
        assert "mentioned" in (result.stop_reason or "")


async def test_a_team_that_debates_can_be_paused_before_and_while_it_speaks() -> None:
    slow = Thoughtful(["Answer: 5"] * 3)
    slow.seconds = 0.2
    inner = RoundRobinGroupChat([debater("m", slow)], name="panel", max_turns=1)
    one = DebateTeam([inner, debater("ben", lines("Answer: 5", "Answer: 5"))], kind="number")
    stream = one.run_stream(task=QUESTION)
    async for message in stream:
        if isinstance(message, TurnReplied):  # ben's; the panel is still at it
            await one.pause()
            break
    await asyncio.sleep(0.4)
    await one.pause()  # now it has spoken
    await one.resume()
    rest = [message async for message in stream]
    assert any(isinstance(message, DebateDecided) for message in rest)


async def test_a_debate_that_was_cancelled_while_paused_is_not_paused_when_it_goes_on() -> None:
    one, _ = team()
    token = CancellationToken()

    async def held() -> None:
        async for message in one.run_stream(task=QUESTION, cancellation_token=token):
            if isinstance(message, TurnReplied):
                await one.pause()

    running = asyncio.create_task(held())
    await asyncio.sleep(0.5)
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    result = await asyncio.wait_for(one.run(), timeout=10)
    assert len(of_type(TurnReplied, result.messages)) == 9


@pytest.mark.parametrize(
    "preset",
    [
        lambda client: presets.debategpt(client, stop=agreement(0.9)),
        presets.society_of_minds,
        presets.sparse,
        presets.vote_first,
        lambda client: presets.reconcile([client] * 3),
        presets.devils_advocate,
        lambda client: presets.two_sides(client, ("A", "B"), judge_client=client),
        presets.free_mad,
        presets.groups,
    ],
)
def test_every_ready_team_comes_back_from_data(preset: Callable[[ReplayChatCompletionClient], DebateTeam]) -> None:
    one = preset(ReplayChatCompletionClient(["Answer: 4"]))
    written_down = json.loads(one.dump_component().model_dump_json())
    again = DebateTeam.load_component(ComponentModel(**written_down))
    assert again.plan == one.plan and hash(again.plan) is not None
    assert again.participants == one.participants
    assert json.loads(again.dump_component().model_dump_json()) == written_down


async def test_a_termination_condition_is_asked_after_the_last_stage_that_was_saved(tmp_path: Path) -> None:
    """Saved after a stage and before the condition was asked: it is asked as soon as the debate goes on."""
    first, _ = team()
    await until(first, round=2, source="cleo", token=CancellationToken())
    state = json.loads(json.dumps(await first.save_state()))
    moderator = state["agent_states"]["debate"]
    moderator["heard"] = [one for one in moderator["heard"] if one["stage"] == 1]
    for ruled, rounds in ((0, 1), (1, 2)):
        moderator["ruled"] = ruled
        other, _ = team(dict.fromkeys(SAID, 1), termination_condition=TextMentionTermination("(c1)"))
        await other.load_state(state)
        result = await other.run()
        assert len(of_type(RoundVoted, result.messages)) == rounds
