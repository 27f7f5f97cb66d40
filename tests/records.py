"""Transcripts and conversations for tests, from real teams whose lines are written beforehand."""

from collections.abc import Mapping, Sequence
from typing import Any

from actors import scripted_team
from autogen_agentchat.agents import AssistantAgent
from autogen_core import FunctionCall
from autogen_core.models import CreateResult, ModelInfo, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_agents import debater
from debate_plugin import DebateTeam, Question, QuestionMessage, Recorder, Store, Transcript
from debate_plugin.conversation import Conversation
from debate_plugin.dataset.rows import PromptRow, Row, provenance

QUESTION = Question.of("What is 2+2?", kind="number", reference="4444", source="sums", licence="MIT")
NOTHING = RequestUsage(prompt_tokens=0, completion_tokens=0)

DISPUTED = {
    "ada": ["A: 2+2=4\nAnswer: 4\nConfidence: 60", "Answer: 4\nConfidence: 90"],
    "ben": ["Answer: 5\nConfidence: 50", "I agree with the others. Answer: 4\nConfidence: 70"],
    "cleo": ["no idea", "Answer: 5\nConfidence: 40"],
}


async def recorded(team: DebateTeam, question: Question = QUESTION) -> Transcript:
    with Store.open(":memory:") as store:
        async for _ in Recorder(store).record(team.run_stream(task=QuestionMessage.of(question))):
            pass
        (transcript,) = store.transcripts()
    return transcript


async def debated(
    debaters: Mapping[str, Sequence[str]] = DISPUTED, *, question: Question = QUESTION, **team: Any
) -> Transcript:
    return await recorded(scripted_team(debaters, **team), question)


async def talked(agent: Any, task: str = "What is 4*5?", *, knows: bool = True) -> Conversation:
    """A run of any team or agent; `knows` tells the recorder whose stream it is."""
    with Store.open(":memory:") as store:
        async for _ in Recorder(store).record(agent.run_stream(task=task), of=agent if knows else None):
            pass
        (conversation,) = store.conversations()
    return conversation


def product(a: int, b: int) -> int:
    """Multiply."""
    return a * b


def calling(*replies: str, calls: bool = True) -> ReplayChatCompletionClient:
    """A model that can call tools, and calls `product` before its first reply if `calls` is set."""
    call = FunctionCall(id="call1", name="product", arguments='{"a": 4, "b": 5}')
    first = CreateResult(finish_reason="function_calls", content=[call], usage=NOTHING, cached=False)
    texts = [CreateResult(finish_reason="stop", content=text, usage=NOTHING, cached=False) for text in replies]
    info = ModelInfo(vision=False, function_calling=True, json_output=False, family="unknown", structured_output=False)
    return ReplayChatCompletionClient([*([first] if calls else []), *texts], model_info=info)


def calculating(name: str = "ada", *replies: str) -> AssistantAgent:
    client = calling(*(replies or ("It is 20.",)))
    return AssistantAgent(name, client, tools=[product], reflect_on_tool_use=True, system_message="Use the tool.")


async def with_tools() -> Transcript:
    """A debate of two who agree after one of them used a tool and the other was wrong."""
    ada = calculating("ada", "4*5 is 20. Answer: 20", "Answer: 20")
    ben = debater("ben", ReplayChatCompletionClient(["Answer: 9", "Answer: 20"]))
    return await recorded(DebateTeam([ada, ben], kind="number"), Question.of("What is 4*5?", kind="number"))


def nothing_but_questions(transcript: Transcript) -> list[Row]:
    """A rule as a user would add one."""
    prompt: PromptRow = {
        "prompt": [{"role": "user", "content": transcript.question.text}],
        "tools": [],
        "provenance": provenance(transcript, "nothing_but_questions"),
    }
    return [prompt]
