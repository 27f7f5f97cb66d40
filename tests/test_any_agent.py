"""Whoever debates: agents with tools, memory and models of their own, pairs, teams and people."""

import asyncio
import io
from contextlib import redirect_stdout
from typing import Any

from actors import lines, of_type, scripted_team
from autogen_agentchat.agents import AssistantAgent, UserProxyAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import (
    MemoryQueryEvent,
    ModelClientStreamingChunkEvent,
    TextMessage,
    ToolCallExecutionEvent,
)
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_agentchat.ui import Console
from autogen_core import CancellationToken, FunctionCall
from autogen_core.memory import ListMemory, MemoryContent, MemoryMimeType
from autogen_core.models import CreateResult, ModelFamily, ModelInfo, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_agents import debater
from debate_plugin import (
    DebateDecided,
    DebateStarted,
    DebateTeam,
    MemberSpoke,
    Pair,
    Plan,
    Recorder,
    Reply,
    Store,
    TurnAsked,
    TurnReplied,
)

ABLE = ModelInfo(
    vision=False, function_calling=True, json_output=False, family=ModelFamily.UNKNOWN, structured_output=False
)


def multiply(left: int, right: int) -> int:
    """The product."""
    return left * right


def call(name: str, arguments: str, id: str = "c1") -> CreateResult:
    return CreateResult(
        finish_reason="function_calls",
        content=[FunctionCall(id=id, name=name, arguments=arguments)],
        usage=RequestUsage(prompt_tokens=7, completion_tokens=3),
        cached=False,
    )


def replies_of(name: str, result: Any) -> list[Reply]:
    return [message.reply for message in of_type(TurnReplied, result.messages) if message.source == name]


async def test_a_debater_uses_tools_and_the_transcript_keeps_calls_and_results() -> None:
    client = ReplayChatCompletionClient(
        [
            call("multiply", '{"left": 6, "right": 7}'),
            "With the tool: Answer: 42",
            call("multiply", '{"left": "six"}', id="c2"),
            "Answer: 42",
        ],
        model_info=ABLE,
    )
    tooled = debater("ada", client, tools=[multiply], reflect_on_tool_use=True)
    team = DebateTeam([tooled, debater("ben", lines("Answer: 41", "Answer: 42"))], kind="number")
    with Store.open("sqlite://") as store:
        messages = [item async for item in Recorder(store).record(team.run_stream(task="What is 6*7?"))]
        (transcript,) = store.transcripts()
    first, second = transcript.said_by("ada")
    assert [(use.name, use.arguments, use.result, use.is_error) for use in first.tools] == [
        ("multiply", '{"left": 6, "right": 7}', "42", False)
    ]
    assert second.tools[0].is_error and second.answer == "42"
    assert first.prompt_tokens > 7  # the call is paid for too
    assert any(isinstance(message, ToolCallExecutionEvent) for message in messages)
    shown = next(message.to_text() for message in messages if isinstance(message, TurnReplied) and message.reply.tools)
    assert '[multiply({"left": 6, "right": 7}) -> 42]' in shown


async def test_a_debater_remembers_what_its_memory_holds() -> None:
    memory = ListMemory()
    await memory.add(MemoryContent(content="The product is 42.", mime_type=MemoryMimeType.TEXT))
    client = ReplayChatCompletionClient(["Answer: 42", "Answer: 42"])
    team = DebateTeam([debater("ada", client, memory=[memory])], kind="number")
    result = await team.run(task="What is 6*7?")
    assert of_type(MemoryQueryEvent, result.messages)
    assert any("The product is 42." in str(message.content) for message in client.create_calls[0]["messages"])


async def test_debaters_have_models_of_their_own() -> None:
    clients = [ReplayChatCompletionClient([f"Answer: {answer}"] * 2) for answer in (4, 4, 5)]
    team = DebateTeam([debater(f"d{seat}", client) for seat, client in enumerate(clients)], kind="number")
    result = await team.run(task="What is 2+2?")
    assert of_type(DebateDecided, result.messages)[0].outcome.answer == "4"
    assert [len(client.create_calls) for client in clients] == [2, 2, 2]


async def test_the_tokens_of_debaters_stream_by() -> None:
    agents = [debater(name, lines("Answer: 4 it is", "Answer: 4"), model_client_stream=True) for name in ("ada", "ben")]
    items = [item async for item in DebateTeam(agents, kind="number").run_stream(task="What is 2+2?")]
    chunks = [item for item in items if isinstance(item, ModelClientStreamingChunkEvent)]
    assert {chunk.source for chunk in chunks} == {"ada", "ben"} and len(chunks) > 4
    assert not any(isinstance(message, ModelClientStreamingChunkEvent) for message in items[-1].messages)  # type: ignore[union-attr]


def panel(name: str, *said: str) -> RoundRobinGroupChat:
    members = [AssistantAgent(f"{name}_{seat}", model_client=lines(*said[seat::2])) for seat in range(2)]
    return RoundRobinGroupChat(members, name=name, termination_condition=MaxMessageTermination(3))  # type: ignore[arg-type]


async def test_a_team_debates_and_what_its_members_say_stays_inside() -> None:
    inner = panel("panel", "hm, 41?", "Answer: 42", "right", "Answer: 42")
    ben = ReplayChatCompletionClient(["Answer: 41", "Answer: 42"])
    result = await DebateTeam([inner, debater("ben", ben)], kind="number").run(task="What is 6*7?")
    first, second = replies_of("panel", result)
    assert (first.text, first.speaker, second.answer) == ("Answer: 42", "panel_1", "42")
    assert [message.content for message in of_type(MemberSpoke, result.messages)][:2] == ["hm, 41?", "Answer: 42"]
    assert len(of_type(TextMessage, result.messages)) == 2  # the task and the final answer
    heard = str(ben.create_calls[1]["messages"])
    assert "Answer: 42" in heard and "hm, 41?" not in heard


async def test_a_debate_debates_in_a_debate_and_is_recorded_once() -> None:
    inner = scripted_team({"x": ["Answer: 42"] * 4, "y": ["Answer: 42"] * 4}, name="inner")
    outer = DebateTeam([inner, debater("ben", lines("Answer: 42", "Answer: 42"))], kind="number", name="outer")
    with Store.open("sqlite://") as store:
        items = [item async for item in Recorder(store).record(outer.run_stream(task="What is 6*7?"))]
        (transcript,) = store.transcripts()
    assert transcript.debaters == ("inner", "ben")
    assert len([item for item in items if isinstance(item, DebateStarted)]) == 1
    assert transcript.outcome.answer == "42"


async def test_a_person_debates_is_shown_what_it_is_asked_and_is_waited_for() -> None:
    typed = iter(["Answer: 4", "I stay. Answer: 4"])

    async def ask(prompt: str, token: CancellationToken | None) -> str:
        await asyncio.sleep(0.02)
        return next(typed)

    team = DebateTeam(
        [UserProxyAgent("me", input_func=ask), debater("ben", lines("Answer: 5", "Answer: 4"))], kind="number"
    )
    shown = io.StringIO()
    with redirect_stdout(shown):
        result = await Console(team.run_stream(task="What is 2+2?"))
    asked = of_type(TurnAsked, result.messages)
    assert len(asked) == 2 and "Answer: 5" in asked[1].to_text()
    assert "for me]\nHere is what other debaters replied" in shown.getvalue()
    assert of_type(DebateDecided, result.messages)[0].outcome.answer == "4"


async def test_a_person_judges_one_reply_after_the_other() -> None:
    waiting, most, asked = 0, 0, []

    async def ask(prompt: str, token: CancellationToken | None) -> str:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0.02)
        waiting -= 1
        asked.append(prompt)
        return "Score: 5" if len(asked) == 2 else "Score: 1"

    team = DebateTeam(
        [debater("ada", lines("Answer: 4")), debater("ben", lines("Answer: 5"))],
        judge=UserProxyAgent("judge", input_func=ask),
        plan=Plan(rounds=1, decide="judge"),
        kind="number",
    )
    result = await team.run(task="What is 2+3?")
    assert (most, len(asked)) == (1, 2)
    assert of_type(DebateDecided, result.messages)[0].outcome.decided_by == "judge"


async def test_an_assistant_as_judge_judges_each_reply_for_itself() -> None:
    client = ReplayChatCompletionClient(["Score: 2", "Score: 4"])
    team = DebateTeam(
        [debater("ada", lines("Answer: 4")), debater("ben", lines("Answer: 5"))],
        judge=AssistantAgent("judge", model_client=client),
        plan=Plan(rounds=1, decide="judge"),
        kind="number",
    )
    await team.run(task="What is 2+3?")
    assert [len(made["messages"]) for made in client.create_calls] == [2, 2]


async def test_a_pair_shares_a_chair_generator_opens_critic_rebuts() -> None:
    opens, rebuts = ReplayChatCompletionClient(["Answer: 5"] * 2), ReplayChatCompletionClient(["Answer: 4"] * 2)
    chair = Pair(
        "ada",
        generator=AssistantAgent("ada_generator", model_client=opens, system_message="You open."),
        critic=AssistantAgent("ada_critic", model_client=rebuts, system_message="You rebut."),
    )
    team = DebateTeam([chair, debater("ben", lines(*["Answer: 4"] * 4))], kind="number")
    for _ in range(2):  # and again, from empty contexts
        with Store.open("sqlite://") as store:
            result = [item async for item in Recorder(store).record(team.run_stream(task="What is 2+2?"))][-1]
            (transcript,) = store.transcripts()
    opening, rebuttal = replies_of("ada", result)
    assert (opening.speaker, rebuttal.speaker) == ("ada_generator", "ada_critic")
    seen = [str(message.content) for message in rebuts.create_calls[1]["messages"]]
    assert seen[0] == "You rebut." and seen[2] == "Answer: 5" and "Answer: 4" in seen[3]
    assert [message["content"] for message in transcript.messages(rebuttal)] == seen
    assert transcript.messages(opening)[0]["content"] == "You open."
    assert len(opens.create_calls) == 2
