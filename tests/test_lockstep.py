"""In lockstep as at a live table: the same replies make the same transcripts, a batch a stage, nothing asked twice."""

import asyncio
import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from actors import lines
from autogen_agentchat.agents import AssistantAgent, UserProxyAgent
from autogen_agentchat.base import TerminationCondition
from autogen_agentchat.conditions import ExternalTermination, MaxMessageTermination, TokenUsageTermination
from autogen_core.memory import ListMemory
from autogen_core.model_context import BufferedChatCompletionContext
from autogen_core.models import CreateResult, LLMMessage, ModelInfo, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_agents import (
    cleaner,
    debategpt,
    debater,
    devils_advocate,
    free_mad,
    groups,
    judge,
    reconcile,
    two_sides,
    vote_first,
)
from debate_plugin import (
    DebateTeam,
    Engine,
    Patience,
    Plan,
    Question,
    Series,
    Store,
    Transcript,
    abacus,
    agreement,
    debate_in_lockstep,
    generate,
)
from debate_plugin.batches import Live, Request
from debate_plugin.evaluation.arithmetic import questions
from debate_plugin.participant import Participant
from debate_plugin.series import Held
from debate_plugin.transcript import debate_id

QUESTIONS = [
    Question.of(f"What is {number}+{number}?", kind="number", reference=str(2 * number)) for number in range(12)
]


class Oracle(ReplayChatCompletionClient):
    """Says what depends on the chat it is shown alone, sometimes nothing usable, and fails at some chats."""

    def __init__(self, name: str = "oracle") -> None:
        super().__init__([])
        self.name = name
        self.asked: Counter[str] = Counter()

    async def create(self, messages: Sequence[LLMMessage], **_: Any) -> CreateResult:
        shown = json.dumps([self.name, *(message.model_dump(mode="json") for message in messages)], sort_keys=True)
        self.asked[shown] += 1
        draw = random.Random(hashlib.sha256(shown.encode()).hexdigest())
        await asyncio.sleep(draw.random() / 1000)
        luck = draw.random()
        if luck < 0.03 or (luck < 0.2 and self.asked[shown] == 1):
            raise ConnectionError(f"no line at {draw.random():.3f}")
        labels = draw.sample("ABC", 3)
        text = (
            f"A: {draw.randint(1, 9)}\nRanking: {', '.join(labels)}\nApproved: {labels[0]}\n"
            f"Better: {draw.choice('AB')}\n"
            f"Settled: {draw.choice(['A', 'none', 'none'])}\nScore: {draw.randint(0, 5)}\n"
            f"Answer: {draw.choice(['4', '5', '6'])}\nConfidence: {draw.randint(1, 100)}"
        )
        return CreateResult(
            content=text if luck < 0.95 else " ",
            finish_reason="stop",
            usage=RequestUsage(prompt_tokens=len(shown) // 4, completion_tokens=len(text) // 4),
            cached=False,
            thought="Hm." if luck > 0.7 else None,
        )


def plain(plan: Plan, condition: Callable[[], TerminationCondition] | None = None) -> Callable[[Oracle], DebateTeam]:
    return lambda client: DebateTeam(
        [debater(name, client) for name in ("ada", "ben", "cleo")],
        judge=judge(client) if plan.needs_judge else None,
        cleaner=cleaner(client) if plan.clean else None,
        plan=plan,
        kind="number",
        termination_condition=condition() if condition else None,
        patience=Patience(retries=1, backoff=0),
    )


TEAMS: dict[str, Callable[[Oracle], DebateTeam]] = {
    "debategpt": lambda client: debategpt(client, rounds=3, patience=Patience(backoff=0)),
    "vote first": lambda client: vote_first(client, audit=0.3, patience=Patience(retries=0)),
    "reconcile": lambda _: reconcile([Oracle("a"), Oracle("b"), Oracle("c")], patience=Patience(backoff=0)),
    "devil's advocate": lambda client: devils_advocate(client, patience=Patience(backoff=0)),
    "two sides": lambda client: two_sides(client, sides=("4", "5"), judge_client=client, patience=Patience(backoff=0)),
    "free mad": lambda client: free_mad(client, patience=Patience(backoff=0)),
    "groups": lambda client: groups(client, patience=Patience(backoff=0)),
    "ranking": plain(Plan(rounds=2, decide="ranking", confidence="private", clean=True)),
    "judge on ties": plain(Plan(rounds=2, decide="judge on ties", judge_samples=2, stop=agreement(0.9))),
    "in turn, ended": plain(
        Plan(rounds=4, speaking="in turn"), lambda: MaxMessageTermination(5, include_agent_event=True)
    ),
    "ended by cost": plain(Plan(rounds=4), lambda: TokenUsageTermination(max_total_token=1500)),
}


async def live(series: Series, asked: Sequence[Question]) -> list[Held]:
    return [held async for held in generate(series, asked, concurrency=len(asked))]


async def in_lockstep(series: Series, asked: Sequence[Question], batches: Any = None, **options: Any) -> list[Held]:
    return [held async for held in debate_in_lockstep(series, asked, batches, **options)]


def told(transcripts: Sequence[Transcript]) -> list[dict[str, Any]]:
    """All of the transcripts but the clock."""
    dumped = [transcript.model_dump(mode="json", exclude={"started", "seconds"}) for transcript in transcripts]
    for one in dumped:
        for stage in one["stages"]:
            for reply in stage:
                reply.pop("seconds")
    return dumped


@pytest.mark.parametrize("name", TEAMS)
async def test_the_same_replies_make_the_same_transcripts(name: str) -> None:
    asked = QUESTIONS
    kept: list[list[dict[str, Any]]] = []
    for play in (live, in_lockstep):
        with Store.open(":memory:") as store:
            held = await play(Series(make_team=partial(TEAMS[name], Oracle()), store=store), asked)
            assert len(held) == len(asked)
            kept.append(told(list(store.transcripts())))
            assert not store.unfinished()
    assert kept[0] == kept[1]
    assert len(kept[0]) >= len(asked) - 2
    replies = [reply for one in kept[0] for stage in one["stages"] for reply in stage]
    assert any(reply["abstention"] for reply in replies) and any(reply["thought"] for reply in replies)
    assert name == "vote first" or any(reply["attempts"] > 1 for reply in replies)


async def test_the_embedded_model_says_the_same_in_lockstep() -> None:
    asked = questions(24, seed=3, split="train")
    kept = []
    for play in (live, in_lockstep):
        with Engine.load(abacus.FOLDER) as engine, Store.open(":memory:") as store:
            client, helper = engine.client(seed=1, max_tokens=120), engine.client(temperature=0.0, max_tokens=120)
            series = Series(make_team=partial(debategpt, client, helper_client=helper), store=store)
            assert [held.failure for held in await play(series, asked)] == [None] * len(asked)
            kept.append(told(list(store.transcripts())))
    assert kept[0] == kept[1]


class Counted(Live):
    """Notes how many requests each batch has."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    async def answers(self, requests: Sequence[Request]) -> list[CreateResult | Exception]:
        assert len({request.id for request in requests}) == len(requests)
        assert all(len(request.id) <= 64 for request in requests)
        self.sizes.append(len(requests))
        return await super().answers(requests)


def steady() -> DebateTeam:
    said = {"ada": ["Answer: 4", "Answer: 4"], "ben": ["Answer: 5", "Answer: 4"]}
    return DebateTeam([debater(name, lines(*texts)) for name, texts in said.items()], plan=Plan(), kind="number")


async def test_each_stage_of_all_debates_is_one_batch() -> None:
    batches = Counted()
    with Store.open(":memory:") as store:
        series = Series(make_team=steady, store=store)
        await in_lockstep(series, QUESTIONS, batches)
        assert batches.sizes == [24, 24]
        assert await in_lockstep(series, QUESTIONS, batches) == []
        assert batches.sizes == [24, 24]
    batches = Counted()
    with Store.open(":memory:") as store:
        await in_lockstep(Series(make_team=steady, store=store), QUESTIONS[:5], batches, at_once=2)
        assert batches.sizes == [4, 4, 4, 4, 2, 2] and len(store) == 5


async def test_debates_cut_off_go_on_and_nothing_is_asked_again(tmp_path: Path) -> None:
    class Outage(Counted):
        async def answers(self, requests: Sequence[Request]) -> list[CreateResult | Exception]:
            if len(self.sizes) == 1:
                raise ConnectionError("the endpoint is gone")
            return await super().answers(requests)

    place = tmp_path / "debates.sqlite"
    with Store.open(place) as store:
        with pytest.raises(ConnectionError, match="the endpoint is gone"):
            await in_lockstep(Series(make_team=steady, store=store), QUESTIONS, Outage())
        assert len(store) == 0 and len(store.unfinished()) == len(QUESTIONS)

    def second_half() -> DebateTeam:
        return DebateTeam([debater(name, lines("Answer: 4")) for name in ("ada", "ben")], plan=Plan(), kind="number")

    batches = Counted()
    with Store.open(place) as store:
        held = await in_lockstep(Series(make_team=second_half, store=store), QUESTIONS, batches)
        assert [one.failure for one in held] == [None] * len(QUESTIONS)
        assert batches.sizes == [24]
        assert {reply.text for one in store.transcripts() for reply in one.in_round(1)} == {"Answer: 4", "Answer: 5"}
        assert not store.unfinished()


async def test_a_debate_begun_live_goes_on_in_lockstep(tmp_path: Path) -> None:
    class Hanging(ReplayChatCompletionClient):
        async def create(self, *args: Any, **kwargs: Any) -> CreateResult:
            if len(self.create_calls) == 1:
                await asyncio.sleep(3600)
            return await super().create(*args, **kwargs)

    def hanging() -> DebateTeam:
        said = {"ada": "Answer: 4", "ben": "Answer: 5"}
        team = [debater(name, Hanging([text, text])) for name, text in said.items()]
        return DebateTeam(team, plan=Plan(), kind="number")

    with Store.open(tmp_path / "debates.sqlite") as store:
        series = Series(make_team=hanging, store=store)
        async with aclosing(generate(series, QUESTIONS[:3], concurrency=3)) as debates:
            waiting = asyncio.ensure_future(anext(debates))
            while len(store.unfinished()) < 3:
                await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        batches = Counted()
        await in_lockstep(
            Series(
                make_team=lambda: DebateTeam(
                    [debater(name, lines("Answer: 4")) for name in ("ada", "ben")], plan=Plan(), kind="number"
                ),
                store=store,
            ),
            QUESTIONS[:3],
            batches,
        )
        assert batches.sizes == [6] and len(store) == 3


async def test_a_debate_begun_in_lockstep_goes_on_live(tmp_path: Path) -> None:
    class Once(Live):
        batches = 0

        async def answers(self, requests: Sequence[Request]) -> list[CreateResult | Exception]:
            self.batches += 1
            if self.batches == 3:
                raise ConnectionError("the endpoint is gone")
            return await super().answers(requests)

    whole = partial(debategpt, rounds=3, patience=Patience(retries=0))
    kept = []
    for cut_off in (False, True):
        client = Oracle()
        with Store.open(tmp_path / f"{cut_off}.sqlite") as store:
            series = Series(make_team=partial(whole, client), store=store)
            if cut_off:
                with pytest.raises(ConnectionError):
                    await in_lockstep(series, QUESTIONS, Once())
                assert len(store.unfinished()) == len(QUESTIONS)
            await live(series, QUESTIONS)
            kept.append((told(list(store.transcripts())), client.asked))
            assert not store.unfinished()
    assert kept[0] == kept[1]  # nothing was asked a second time


async def test_what_halted_a_debate_halts_it_when_it_goes_on(tmp_path: Path) -> None:
    def halting() -> DebateTeam:
        said = [debater(name, lines("Answer: 4", "Answer: 5", "Answer: 6")) for name in ("ada", "ben")]
        return DebateTeam(
            said,
            plan=Plan(rounds=3, clean=True),
            cleaner=cleaner(lines("4")),
            kind="number",
            termination_condition=MaxMessageTermination(3, include_agent_event=True),
        )

    def going_on() -> DebateTeam:
        said = [debater(name, lines("Answer: 5")) for name in ("ada", "ben")]
        return DebateTeam(
            said,
            plan=Plan(rounds=3, clean=True),
            cleaner=cleaner(lines("It is 4.")),
            kind="number",
            termination_condition=ExternalTermination(),
        )

    class Once(Live):
        async def answers(self, requests: Sequence[Request]) -> list[CreateResult | Exception]:
            if any("Reply to rewrite" in str(request.messages[-1].content) for request in requests):
                raise ConnectionError("the endpoint is gone")
            return await super().answers(requests)

    with Store.open(tmp_path / "d.sqlite") as store:
        with pytest.raises(ConnectionError):
            await in_lockstep(Series(make_team=halting, store=store), QUESTIONS[:2], Once())
        await in_lockstep(Series(make_team=going_on, store=store), QUESTIONS[:2])
        assert [max(reply.turn.round for reply in one.replies) for one in store.transcripts()] == [1, 1]


async def test_what_is_decided_is_committed_before_anybody_leaves() -> None:
    with Store.open(":memory:") as store:
        async with aclosing(debate_in_lockstep(Series(make_team=steady, store=store), QUESTIONS)) as debates:
            async for _ in debates:
                break
        assert len(store) == len(QUESTIONS) and not store.unfinished()


async def test_a_question_that_stands_twice_is_debated_once() -> None:
    for play in (live, in_lockstep):
        with Store.open(":memory:") as store:
            held = await play(Series(make_team=steady, store=store), [*QUESTIONS[:2], *QUESTIONS[:2]])
            assert (len(held), len(store)) == (2, 2) and not store.unfinished()


async def test_what_another_version_kept_begins_anew(tmp_path: Path) -> None:
    with Store.open(tmp_path / "d.sqlite") as store:
        series = Series(make_team=steady, store=store)
        id = debate_id(series.run, series.all_settings(), QUESTIONS[0])
        store.keep(id, json.dumps({"agent_states": {"debate": {"heard": [{"said": "something"}]}}}))
        assert [one.failure for one in await in_lockstep(series, QUESTIONS[:1])] == [None]


async def test_a_client_that_gives_up_fails_its_turn_alone() -> None:
    class GivingUp(ReplayChatCompletionClient):
        async def create(self, *args: Any, **kwargs: Any) -> CreateResult:
            raise asyncio.CancelledError

    def team() -> DebateTeam:
        said = [debater(name, lines("Answer: 4", "Answer: 4")) for name in ("ada", "ben")]
        return DebateTeam(
            [*said, debater("cleo", GivingUp([]))], plan=Plan(), kind="number", patience=Patience(backoff=0)
        )

    with Store.open(":memory:") as store:
        assert [one.failure for one in await in_lockstep(Series(make_team=team, store=store), QUESTIONS[:2])] == [
            None
        ] * 2


async def test_no_more_are_asked_at_once_than_may_be() -> None:
    under_way, most = 0, 0

    class Slow(ReplayChatCompletionClient):
        async def create(self, *args: Any, **kwargs: Any) -> CreateResult:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.001)
            under_way -= 1
            return await super().create(*args, **kwargs)

    def team() -> DebateTeam:
        return DebateTeam(
            [debater(name, Slow(["Answer: 4"] * 2)) for name in ("ada", "ben")], plan=Plan(), kind="number"
        )

    with Store.open(":memory:") as store:
        await in_lockstep(Series(make_team=team, store=store), QUESTIONS, Live(5))
    assert most == 5


async def test_a_debate_that_breaks_down_is_told_and_not_kept() -> None:
    class Nobody:
        async def answers(self, requests: Sequence[Request]) -> list[CreateResult | Exception]:
            return [TimeoutError("expired") for _ in requests]

    with Store.open(":memory:") as store:
        held = await in_lockstep(Series(make_team=steady, store=store), QUESTIONS[:3], Nobody())
        assert [one.failure for one in held] == ["TimeoutError: expired"] * 3
        assert len(store) == 0 and not store.unfinished()


class Derived(AssistantAgent):
    """May do anything."""


def able() -> ReplayChatCompletionClient:
    info = ModelInfo(vision=False, function_calling=True, json_output=False, family="unknown", structured_output=False)
    return ReplayChatCompletionClient(["x"], model_info=info)


def one() -> int:
    """One."""
    return 1


@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        (lambda: AssistantAgent("ada", able(), tools=[one]), "'ada' has tools"),
        (lambda: AssistantAgent("ada", lines("x"), memory=[ListMemory()]), "'ada' has a memory"),
        (lambda: AssistantAgent("ada", lines("x"), model_context=BufferedChatCompletionContext(4)), "has a context of"),
        (lambda: AssistantAgent("ada", lines("x"), output_content_type=Participant), "answers in a type of its own"),
        (lambda: UserProxyAgent("ada"), "'ada' is a UserProxyAgent"),
        (lambda: Derived("ada", lines("x")), "'ada' is a Derived"),
    ],
)
async def test_agents_that_do_more_than_speak_are_refused(agent: Callable[[], Any], reason: str) -> None:
    def make_team() -> DebateTeam:
        return DebateTeam([agent(), debater("ben", lines("x"))], plan=Plan(), kind="number")

    with (
        Store.open(":memory:") as store,
        pytest.raises(ValueError, match=f"expected agents that do nothing but speak, .*{reason}"),
    ):
        await in_lockstep(Series(make_team=make_team, store=store), QUESTIONS[:1])
