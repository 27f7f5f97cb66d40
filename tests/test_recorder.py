"""The recorder keeps any AutoGen run, whole or broken off, and changes nothing of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from actors import lines, of_type, scripted_team
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import TaskResult
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import ModelClientStreamingChunkEvent, TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import CancellationToken, FunctionCall
from autogen_core.models import CreateResult, ModelInfo, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_agents import debater
from debate_plugin import DEBATE_MESSAGES, DebateTeam, Engine, Plan, Question, QuestionMessage, Recorder, Store
from debate_plugin.conversation import Conversation


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store.open(tmp_path / "records.sqlite") as store:
        yield store


def kinds(conversation: Conversation) -> list[str]:
    return [said.message["type"] for said in conversation.messages]


def product(a: int, b: int) -> int:
    """Multiply."""
    return a * b


def calculating() -> AssistantAgent:
    usage = RequestUsage(prompt_tokens=10, completion_tokens=5)
    call = FunctionCall(id="1", name="product", arguments='{"a": 4, "b": 5}')
    client = ReplayChatCompletionClient(
        [
            CreateResult(finish_reason="function_calls", content=[call], usage=usage, cached=False, thought="Hm, 4*5."),
            CreateResult(finish_reason="stop", content="It is 20.", usage=usage, cached=False),
        ],
        model_info=ModelInfo(
            vision=False, function_calling=True, json_output=False, family="unknown", structured_output=False
        ),
    )
    return AssistantAgent("ada", client, tools=[product], reflect_on_tool_use=True, system_message="Use the tool.")


async def test_an_agents_run_is_kept_with_its_tools_usage_and_thoughts(store: Store) -> None:
    agent = calculating()
    recorder = Recorder(store, run="sums", settings={"temperature": 0})
    items = [item async for item in recorder.record(agent.run_stream(task="What is 4*5?"), of=agent)]
    assert isinstance(items[-1], TaskResult)
    (kept,) = store.conversations()
    assert kinds(kept) == [
        "TextMessage",
        "ThoughtEvent",
        "ToolCallRequestEvent",
        "ToolCallExecutionEvent",
        "TextMessage",
    ]
    assert kept.messages[2].message["content"][0]["arguments"] == '{"a": 4, "b": 5}'
    assert kept.messages[3].message["content"][0]["content"] == "20"
    assert (kept.prompt_tokens, kept.completion_tokens) == (20, 10)
    assert (kept.end, kept.error, kept.run, kept.settings) == ("finished", None, "sums", {"temperature": 0})
    ada = kept.participants["ada"]
    assert ada.system_message == "Use the tool." and ada.tools[0]["function"]["name"] == "product"
    assert [said.seconds for said in kept.messages] == sorted(said.seconds for said in kept.messages)


async def test_nothing_of_the_stream_is_changed(store: Store) -> None:
    def team() -> RoundRobinGroupChat:
        seated = [debater(name, lines(f"I am {name}.")) for name in ("ada", "ben")]
        return RoundRobinGroupChat(list(seated), termination_condition=MaxMessageTermination(3))

    plain = [item async for item in team().run_stream(task="Hello")]
    recorded = [item async for item in Recorder(store).record(team().run_stream(task="Hello"))]
    assert [type(item) for item in plain] == [type(item) for item in recorded]
    said = [[one.to_text() for one in items[:-1]] for items in (plain, recorded)]  # type: ignore[union-attr]
    assert said[0] == said[1]
    (kept,) = store.conversations()
    assert [one.message["source"] for one in kept.messages] == ["user", "ada", "ben"]
    assert kept.stop_reason == "Maximum number of messages 3 reached, current message count: 3"
    assert kept.participants == {}


async def test_a_debate_alone_is_kept_as_its_transcript(store: Store) -> None:
    plan = Plan(rounds=1)
    team = scripted_team({"ada": ["Answer: 4"], "ben": ["Answer: 5"]}, plan=plan)
    async for _ in Recorder(store, settings={"model": "m"}).record(team.run_stream(task="What is 2+2?")):
        pass
    assert store.count("conversation") == 0
    (kept,) = store.transcripts()
    assert kept.settings["rounds"] == 1 and kept.settings["model"] == "m"  # the plan without being told
    assert [len(stage) for stage in kept.stages] == [2]
    assert all(reply.seconds is not None for reply in kept.replies)


async def test_two_debates_on_one_question_are_two_transcripts(store: Store) -> None:
    recorder = Recorder(store)
    for _ in range(2):
        team = scripted_team({"ada": ["Answer: 4"] * 2})
        async for _ in recorder.record(team.run_stream(task="What is 2+2?")):
            pass
    assert len(store) == 2


async def test_a_debate_in_another_team_is_kept_twice_over_as_itself_and_in_the_run(store: Store) -> None:
    inner = scripted_team({"ada": ["Answer: 4"] * 2, "ben": ["Answer: 4"] * 2})
    writer = AssistantAgent("writer", lines("So it is 4."))
    outer = RoundRobinGroupChat(
        [inner, writer], termination_condition=MaxMessageTermination(3), custom_message_types=list(DEBATE_MESSAGES)
    )
    async for _ in Recorder(store).record(outer.run_stream(task="What is 2+2?"), of=outer):
        pass
    (transcript,), (conversation,) = store.transcripts(), store.conversations()
    assert conversation.debates == (transcript.id,)
    assert set(conversation.participants) == {"ada", "ben", "writer"}
    assert conversation.messages[-1].message["content"] == "So it is 4."


class Slow(ReplayChatCompletionClient):
    async def create(self, *args: Any, **kwargs: Any) -> CreateResult:
        await asyncio.sleep(0.05)
        return await super().create(*args, **kwargs)


def slow_team() -> RoundRobinGroupChat:
    seated = [AssistantAgent(name, Slow([f"{name} speaks"] * 9)) for name in ("ada", "ben")]
    return RoundRobinGroupChat(list(seated), termination_condition=MaxMessageTermination(9))


async def test_a_consumer_who_leaves_early_leaves_what_was_said(store: Store) -> None:
    team = slow_team()
    async with aclosing(Recorder(store).record(team.run_stream(task="Hello"))) as stream:
        async for item in stream:
            if isinstance(item, TextMessage) and item.source == "ben":
                break
    (kept,) = store.conversations()
    assert kept.end == "left"
    assert [said.message["source"] for said in kept.messages] == ["user", "ada", "ben"]
    await team.reset()  # the team's own stream was closed too, so it is no longer running


async def test_a_consumer_who_raises_leaves_what_was_said(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        async with aclosing(Recorder(store).record(slow_team().run_stream(task="Hello"))) as stream:
            async for item in stream:
                if isinstance(item, TextMessage) and item.source == "ada":
                    raise ZeroDivisionError
    (kept,) = store.conversations()
    assert kept.end == "left" and len(kept.messages) == 2


async def test_a_consumer_who_forgets_to_close_is_recorded_all_the_same(store: Store) -> None:
    async for item in Recorder(store).record(slow_team().run_stream(task="Hello")):
        if isinstance(item, TextMessage) and item.source == "ada":
            break
    for _ in range(20):
        await asyncio.sleep(0.02)
    (kept,) = store.conversations()
    assert kept.end == "left"


@pytest.mark.parametrize("by", ["task", "token"])
async def test_a_cancelled_run_is_kept(store: Store, by: str) -> None:
    token = CancellationToken()
    seen: list[object] = []

    async def consume() -> None:
        async for item in Recorder(store).record(slow_team().run_stream(task="Hello", cancellation_token=token)):
            seen.append(item)
            if len(seen) == 2 and by == "token":
                token.cancel()

    consuming = asyncio.create_task(consume())
    while len(seen) < 2:
        await asyncio.sleep(0.01)
    if by == "task":
        consuming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consuming
    (kept,) = store.conversations()
    assert kept.end == "cancelled" and len(kept.messages) == 2


async def test_a_run_that_fails_says_why_without_its_keys(store: Store) -> None:
    class Breaks(ReplayChatCompletionClient):
        async def create(self, *args: Any, **kwargs: Any) -> CreateResult:
            raise ConnectionError("refused Bearer sk-abcdef123456\nand more")

    team = RoundRobinGroupChat([AssistantAgent("ada", Breaks([]))], max_turns=1)
    with pytest.raises(RuntimeError):
        async for _ in Recorder(store).record(team.run_stream(task="Hello")):
            pass
    (kept,) = store.conversations()
    assert kept.end == "failed" and "ConnectionError" in (kept.error or "")
    assert "abcdef" not in kept.model_dump_json()


async def test_a_message_that_was_cut_short_is_kept_as_far_as_it_came(store: Store) -> None:
    async def stream() -> AsyncIterator[Any]:
        yield TextMessage(content="Hello", source="user")
        for piece in ("Once ", "upon", " a\ud800"):
            yield ModelClientStreamingChunkEvent(content=piece, source="ada")
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        async for _ in Recorder(store).record(stream()):
            pass
    (kept,) = store.conversations()
    assert kept.unfinished == {"ada": "Once upon a?"} and len(kept.messages) == 1


async def test_a_debate_that_was_left_is_kept_as_a_conversation(store: Store) -> None:
    team = scripted_team({"ada": ["Answer: 4"] * 2, "ben": ["Answer: 5"] * 2})
    async with aclosing(Recorder(store).record(team.run_stream(task="What is 2+2?"))) as stream:
        async for item in stream:
            if type(item).__name__ == "RoundVoted":
                break
    (kept,) = store.conversations()
    assert kinds(kept) == ["TextMessage", "DebateStarted", "TurnReplied", "TurnReplied", "RoundVoted"]
    assert len(store) == 0


async def test_texts_that_no_database_takes_are_kept_as_far_as_they_can_be(store: Store) -> None:
    agent = AssistantAgent("ada", lines("nul \x00 and half a character \ud800"))
    async for _ in Recorder(store).record(agent.run_stream(task="odd \udfff?")):
        pass
    (kept,) = store.conversations()
    assert [said.message["content"] for said in kept.messages] == ["odd ??", "nul \x00 and half a character ?"]


async def test_one_recorder_serves_many_teams_at_once(store: Store) -> None:
    recorder = Recorder(store)

    async def hold(number: int) -> None:
        if number % 2:
            team = scripted_team({"ada": [f"Answer: {number}"] * 2, "ben": [f"Answer: {number}"] * 2})
            stream = team.run_stream(task=QuestionMessage.of(Question.of(f"Which number is {number}?", kind="number")))
            async for _ in recorder.record(stream):
                pass
        else:
            async for _ in recorder.record(slow_team().run_stream(task=f"Hello {number}")):
                pass

    await asyncio.gather(*(hold(number) for number in range(20)))
    assert sorted(int(transcript.outcome.answer or 0) for transcript in store.transcripts()) == list(range(1, 20, 2))
    greeted = sorted(kept.messages[0].message["content"] for kept in store.conversations())
    assert greeted == sorted(f"Hello {number}" for number in range(0, 20, 2))
    assert all(len(kept.messages) == 9 for kept in store.conversations())


async def test_who_spoke_with_which_model_and_adapter_is_in_the_transcript(store: Store, engine: Engine) -> None:
    seated = [debater("ada", engine.client(max_tokens=8)), debater("ben", lines("Answer: 4", "Answer: 4"))]
    team = DebateTeam(list(seated), kind="number")
    async for _ in Recorder(store).record(team.run_stream(task="What is 2+2?")):
        pass
    (kept,) = store.transcripts()
    assert (kept.participants["ada"].model, kept.participants["ada"].adapter) == ("abacus", None)
    assert kept.described(kept.replies[0]).model == "abacus"
    assert kept.participants["ben"].model is None


async def test_tool_calls_of_a_debater_are_in_the_chat_that_its_next_turn_saw(store: Store) -> None:
    usage = RequestUsage(prompt_tokens=0, completion_tokens=0)
    call = FunctionCall(id="1", name="product", arguments='{"a": 2, "b": 2}')
    client = ReplayChatCompletionClient(
        [
            CreateResult(finish_reason="function_calls", content=[call], usage=usage, cached=False),
            CreateResult(finish_reason="stop", content="Answer: 4", usage=usage, cached=False, thought="It is four."),
            CreateResult(finish_reason="stop", content="Answer: 4", usage=usage, cached=False),
        ],
        model_info=ModelInfo(
            vision=False, function_calling=True, json_output=False, family="unknown", structured_output=False
        ),
    )
    ada = AssistantAgent("ada", client, tools=[product], reflect_on_tool_use=True, system_message=None)
    team = DebateTeam([ada, debater("ben", lines("Answer: 5", "Answer: 4"))], kind="number")
    result = [item async for item in Recorder(store).record(team.run_stream(task="What is 2+2?"))][-1]
    assert of_type(TextMessage, result.messages)[-1].content == "Answer: 4"  # type: ignore[union-attr]
    (kept,) = store.transcripts()
    shown = kept.messages(next(reply for reply in kept.in_round(2) if reply.turn.agent == "ada"))
    assert [message["role"] for message in shown] == ["user", "assistant", "tool", "assistant", "user"]
    assert json.loads(shown[1]["tool_calls"][0]["function"]["arguments"]) == {"a": 2, "b": 2}
    assert (shown[2]["tool_call_id"], shown[2]["content"]) == ("1", "4")
    assert kept.in_round(1)[0].thought == "It is four."
    assert kept.participants["ada"].tools[0]["function"]["parameters"]["required"] == ["a", "b"]


async def test_settings_that_are_no_data_are_refused_at_once(store: Store) -> None:
    with pytest.raises(ValueError, match="written as JSON"):
        Recorder(store, settings={"client": object()})
    with pytest.raises(ValueError, match="at most 200 characters"):
        Recorder(store, run="r" * 201)


async def test_half_characters_anywhere_end_nobodys_run(store: Store) -> None:
    recorder = Recorder(store, run="r\ud800", settings={"note": "\udfff"})
    agent = AssistantAgent("ada", lines("Hi"), system_message="odd \ud800")
    async for _ in recorder.record(agent.run_stream(task="Hello"), of=agent):
        pass
    team = scripted_team({"ada": ["Answer: 4"] * 2})
    question = Question(id="q\ud800", text="What \ud800?", kind="number")
    async for _ in recorder.record(team.run_stream(task=QuestionMessage.of(question))):
        pass
    assert len(store) == store.count("conversation") == 1 and recorder.unsaved == []


async def test_a_stream_whose_end_raises_is_kept_all_the_same(store: Store) -> None:
    async def stream() -> AsyncIterator[Any]:
        try:
            yield TextMessage(content="Hello", source="user")
            yield TextMessage(content="Hi", source="ada")
        finally:
            raise ConnectionError("while closing")

    with pytest.raises(ConnectionError):
        async with aclosing(Recorder(store).record(stream())) as recorded:
            async for _ in recorded:
                break
    assert store.count("conversation") == 1


async def test_one_record_that_cannot_be_kept_keeps_no_other_out(tmp_path: Path) -> None:
    class Picky(Store):
        def add(self, record: Any) -> bool:
            if record.kind == "conversation":
                raise ValueError("never")
            return super().add(record)

    with Picky.open(tmp_path / "records.sqlite") as store:
        recorder = Recorder(store)
        async for _ in recorder.record(AssistantAgent("ada", lines("Hi")).run_stream(task="Hello")):
            pass
        for _ in range(2):
            async for _ in recorder.record(scripted_team({"ada": ["Answer: 4"] * 2}).run_stream(task="2+2?")):
                pass
        assert len(store) == 2 and len(recorder.unsaved) == 1
