"""A debate among other teams and tools, in a runtime of the user's own, and seen by a tracer."""

import asyncio
from typing import Any

import pytest
from actors import lines, of_type, scripted_team
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import TaskResult
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import TextMessage, ToolCallExecutionEvent
from autogen_agentchat.teams import DiGraphBuilder, GraphFlow, RoundRobinGroupChat, SelectorGroupChat
from autogen_agentchat.tools import TeamTool
from autogen_core import CancellationToken, FunctionCall, SingleThreadedAgentRuntime
from autogen_core.models import CreateResult, ModelFamily, ModelInfo, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from debate_plugin import DebateAgent, DebateDecided, DebateStarted, DebateTeam, Recorder, Store
from debate_plugin.messages import DEBATE_MESSAGES

ANSWERS = {name: ["Answer: 4"] * 2 for name in ("ada", "ben", "cleo")}
ABLE = ModelInfo(
    vision=False, function_calling=True, json_output=False, family=ModelFamily.UNKNOWN, structured_output=False
)


def court(name: str = "court", answer: int = 4) -> DebateTeam:
    return scripted_team({one: [f"Answer: {answer}"] * 2 for one in ANSWERS}, name=name)


async def test_a_selector_hands_the_question_to_the_debate() -> None:
    writer = AssistantAgent("writer", model_client=lines("I write: 4."), description="Writes.")
    team = SelectorGroupChat(
        [court(), writer],
        model_client=lines("court", "writer"),
        termination_condition=MaxMessageTermination(3),
        custom_message_types=list(DEBATE_MESSAGES),
    )
    result = await team.run(task="What is 2+2?")
    chat = [message.source for message in result.messages if isinstance(message, TextMessage)]
    assert chat == ["user", "court", "writer"]
    assert of_type(DebateDecided, result.messages)[0].outcome.answer == "4"


async def test_two_debates_side_by_side_in_a_graph_are_recorded_apart() -> None:
    left, right = DebateAgent(court("left", 4)), DebateAgent(court("right", 5))
    asks = AssistantAgent("asks", model_client=lines("What is 2+2?"))
    joins = AssistantAgent("joins", model_client=lines("4 or 5."))
    graph = DiGraphBuilder()
    for node in (asks, left, right, joins):
        graph.add_node(node)
    graph.add_edge("asks", "left").add_edge("asks", "right").add_edge("left", "joins").add_edge("right", "joins")
    flow = GraphFlow([asks, left, right, joins], graph.build(), custom_message_types=list(DEBATE_MESSAGES))
    with Store.open("sqlite://") as store:
        recorder = Recorder(store, settings={"which": "graph"})
        items = [item async for item in recorder.record(flow.run_stream(task="Ask."))]
        kept = list(store.transcripts())
    assert len({item.debate for item in items if isinstance(item, DebateStarted)}) == 2
    assert all(len(transcript.replies) == 6 for transcript in kept) and kept
    assert isinstance(items[-1], TaskResult)
    assert {message.content for message in of_type(TextMessage, items[-1].messages)} >= {"Answer: 4", "Answer: 5"}


async def test_a_debate_as_an_agent_comes_back_from_data_and_keeps_its_state() -> None:
    again = DebateAgent.load_component(DebateAgent(court()).dump_component())
    assert again.team.debaters == tuple(ANSWERS)
    response = await again.on_messages([TextMessage(content="What is 2+2?", source="user")], CancellationToken())
    assert response.chat_message.to_text() == "Answer: 4"
    await again.load_state(await again.save_state())
    await again.on_reset(CancellationToken())


async def test_a_debate_is_a_tool_of_an_agent() -> None:
    tool = TeamTool(team=court(), name="debate", description="Debates a question.", return_value_as_last_message=True)
    client = ReplayChatCompletionClient(
        [
            CreateResult(
                finish_reason="function_calls",
                content=[FunctionCall(id="1", name="debate", arguments='{"task": "What is 2+2?"}')],
                usage=RequestUsage(prompt_tokens=1, completion_tokens=1),
                cached=False,
            ),
            "They say 4.",
        ],
        model_info=ABLE,
    )
    agent = AssistantAgent("host", model_client=client, tools=[tool], reflect_on_tool_use=True)
    result = await agent.run(task="Ask the debaters.")
    (executed,) = of_type(ToolCallExecutionEvent, result.messages)
    assert executed.content[0].content == "Answer: 4"
    assert result.messages[-1].to_text() == "They say 4."


async def test_it_plays_in_a_runtime_of_the_users_own() -> None:
    runtime = SingleThreadedAgentRuntime()
    runtime.start()
    teams = [scripted_team(ANSWERS, name=name, runtime=runtime) for name in ("one", "two")]
    results = await asyncio.gather(*(team.run(task="What is 2+2?") for team in teams))
    await runtime.stop_when_idle()
    assert [of_type(DebateDecided, result.messages)[0].outcome.answer for result in results] == ["4", "4"]


async def test_an_error_in_an_external_runtime_reaches_who_awaits_the_stream() -> None:
    def explode(messages: Any) -> bool:
        raise ZeroDivisionError("boom")

    from autogen_agentchat.conditions import FunctionalTermination

    runtime = SingleThreadedAgentRuntime(ignore_unhandled_exceptions=True)
    runtime.start()
    team = scripted_team(ANSWERS, runtime=runtime, termination_condition=FunctionalTermination(explode))
    with pytest.raises(RuntimeError, match="boom"):
        await asyncio.wait_for(team.run(task="What is 2+2?"), timeout=5)
    await runtime.stop()


@pytest.fixture(scope="module")
def spans() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


async def test_a_tracer_sees_the_debate_and_every_turn_in_it(spans: InMemorySpanExporter) -> None:
    spans.clear()
    await scripted_team(ANSWERS).run(task="What is 2+2?")
    seen = spans.get_finished_spans()
    (debate,) = [span for span in seen if span.name == "debate debate"]
    assert dict(debate.attributes or {}).items() >= {"debate.decided_by": "majority", "debate.rounds": 2}.items()
    turns = [span for span in seen if span.name.startswith("invoke_agent ")]
    assert sorted(span.name for span in turns) == sorted(f"invoke_agent {name}" for name in ANSWERS for _ in range(2))
    assert {span.context.trace_id for span in turns} == {debate.context.trace_id}


async def test_a_debate_takes_part_in_a_round_robin_again_and_again() -> None:
    asks = AssistantAgent("asks", model_client=lines("And what is 1+3?", "Thanks."))
    team = RoundRobinGroupChat(
        [scripted_team({name: ["Answer: 4"] * 4 for name in ANSWERS}, name="court"), asks],
        termination_condition=MaxMessageTermination(5),
        custom_message_types=list(DEBATE_MESSAGES),
    )
    result = await team.run(task="What is 2+2?")
    questions = [message.question.text for message in of_type(DebateStarted, result.messages)]
    assert questions == ["What is 2+2?", "And what is 1+3?"]


async def test_a_cut_off_debate_ends_its_span(spans: InMemorySpanExporter) -> None:
    spans.clear()
    token = CancellationToken()
    team = scripted_team(ANSWERS)
    with pytest.raises(asyncio.CancelledError):
        async for message in team.run_stream(task="What is 2+2?", cancellation_token=token):
            if isinstance(message, DebateStarted):
                token.cancel()
    await asyncio.sleep(0.05)
    assert [span.name for span in spans.get_finished_spans() if span.name.startswith("debate")] == ["debate debate"]
