"""Turns that fail, hang or say nothing: tried again, then an abstention; they leave no trace in anybody's context."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import pytest
from actors import lines, of_type
from autogen_agentchat.agents import AssistantAgent, BaseChatAgent
from autogen_agentchat.base import ChatAgent, Response, TaskResult, Team
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import BaseChatMessage, TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import CancellationToken, SingleThreadedAgentRuntime
from autogen_core.models import CreateResult, LLMMessage
from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_agents import debater
from debate_plugin import DebateDecided, DebateTeam, Patience, Plan, Recorder, Store, TurnReplied, agreement

HASTY = Patience(seconds=0.2, retries=1, backoff=0.01)


class Unreliable(ReplayChatCompletionClient):
    """Says its lines; an exception among them is raised, a number of seconds is slept before the next line."""

    def __init__(self, *script: str | float | Exception) -> None:
        super().__init__([line for line in script if isinstance(line, str)])
        self.script, self.shown = list(script), list[list[str]]()

    async def create(self, messages: Sequence[LLMMessage], **settings: Any) -> CreateResult:
        self.shown.append([str(message.content) for message in messages])
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, float):
            await asyncio.sleep(step)
            step = self.script.pop(0)
        return await super().create(messages, **settings)


def team(*clients: Unreliable, plan: Plan | None = None, patience: Patience = HASTY) -> DebateTeam:
    agents = [debater(f"d{seat}", client) for seat, client in enumerate(clients)]
    return DebateTeam(agents, plan=plan or Plan(), kind="number", patience=patience)


async def test_a_turn_that_fails_is_tried_again_from_the_same_context() -> None:
    shaky = Unreliable("Answer: 4", ConnectionError("reset"), "Answer: 4")
    result = await team(shaky, Unreliable("Answer: 4", "Answer: 4")).run(task="What is 2+2?")
    replies = [message.reply for message in of_type(TurnReplied, result.messages) if message.reply.turn.agent == "d0"]
    assert [reply.attempts for reply in replies] == [1, 2] and not any(reply.failed for reply in replies)
    assert shaky.shown[1] == shaky.shown[2]  # the failed attempt is not in the context of the second
    assert len(shaky.shown[2]) == 4


async def test_a_hung_model_call_does_not_hang_the_debate() -> None:
    hung = Unreliable(60.0, 60.0, "Answer: 4")
    running = team(hung, Unreliable("Answer: 4", "Answer: 4")).run(task="What is 2+2?")
    result = await asyncio.wait_for(running, timeout=10)
    opening, *_ = [message.reply for message in of_type(TurnReplied, result.messages) if message.source == "d0"]
    assert (opening.abstention, opening.failed, opening.attempts) == (
        "TimeoutError: no reply within 0.2 seconds", True, 2,
    )  # fmt: skip
    assert of_type(DebateDecided, result.messages)[0].outcome.answer == "4"


async def test_who_failed_speaks_again_in_the_next_round_without_a_trace_of_it() -> None:
    back = Unreliable(*[ValueError("secret 7734")] * 2, "Answer: 4")
    other = Unreliable("Answer: 4", "Answer: 4")
    result = await team(back, other).run(task="What is 2+2?")
    assert len(back.shown[-1]) == 2 and "secret" not in str(back.shown + other.shown)
    assert [message.reply.failed for message in of_type(TurnReplied, result.messages) if message.source == "d0"] == [
        True,
        False,
    ]


async def test_an_agent_that_will_not_be_cancelled_is_left_behind() -> None:
    class Stubborn(BaseChatAgent):
        @property
        def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
            return (TextMessage,)

        async def on_messages(
            self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
        ) -> Response:
            for _ in range(3):
                try:
                    await asyncio.sleep(5)
                except asyncio.CancelledError:
                    continue
            raise AssertionError("nobody waits for this")

        async def on_reset(self, cancellation_token: CancellationToken) -> None: ...

    one = DebateTeam(
        [Stubborn("d0", description="Stays."), debater("d1", lines("Answer: 4"))],
        plan=Plan(rounds=1),
        kind="number",
        patience=Patience(seconds=0.1, retries=0),
    )
    result = await asyncio.wait_for(one.run(task="What is 2+2?"), timeout=5)
    assert of_type(DebateDecided, result.messages)[0].outcome.answer == "4"


async def test_a_stream_without_a_response_is_a_failure_and_an_empty_reply_an_abstention() -> None:
    class Silent(AssistantAgent):
        async def on_messages_stream(
            self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
        ) -> AsyncGenerator[Any, None]:
            for _ in ():
                yield None

    agents = [Silent("d0", model_client=lines()), debater("d1", lines(" ", "Answer: 4"))]
    one = DebateTeam(agents, plan=Plan(quorum=2), kind="number", patience=Patience(retries=0))
    result = await one.run(task="What is 2+2?")
    first, second, *_ = sorted(
        (message.reply for message in of_type(TurnReplied, result.messages)),
        key=lambda reply: (reply.turn.round, reply.turn.agent),
    )
    assert first.abstention == "RuntimeError: expected a reply from 'd0', its stream ended without one"
    assert (second.abstention, second.failed) == ("the reply is empty", False)
    assert of_type(DebateDecided, result.messages)[0].outcome.decided_by == "no quorum"


async def test_cancelling_in_the_middle_of_a_stage_leaves_no_task_and_no_half_turn() -> None:
    before, token = asyncio.all_tasks(), CancellationToken()
    slow = Unreliable("Answer: 4", 30.0, "Answer: 4")
    one = team(slow, Unreliable("Answer: 5", "Answer: 4"), patience=Patience())
    with pytest.raises(asyncio.CancelledError):
        async for message in one.run_stream(task="What is 2+2?", cancellation_token=token):
            if isinstance(message, TurnReplied) and message.reply.turn.round == 2:
                token.cancel()
    await asyncio.sleep(0.05)
    assert asyncio.all_tasks() == before
    state = await one.save_state()
    contents = state["agent_states"]["d0"]["agent"]["llm_context"]["messages"]
    assert len(contents) == 2  # its opening; nothing of the turn that was cut off


async def test_a_gate_that_nobody_passes_costs_one_round() -> None:
    one = team(Unreliable("Answer: 4"), Unreliable("Answer: 4"), plan=Plan(stop=agreement(1.0)))
    assert (await one.run(task="What is 2+2?")).messages[-1].to_text() == "Answer: 4"


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"retries": -1}, {"backoff": -0.1}])
def test_patience_says_what_is_wrong_with_it(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Patience(**wrong)


class Broken(BaseChatAgent):
    """Answers 4, and breaks where it is told to."""

    def __init__(self, name: str, **breaks: BaseException) -> None:
        super().__init__(name, description="Breaks.")
        self._breaks = breaks

    @property
    def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
        return (TextMessage,)

    def _may_break(self, where: str) -> None:
        if where in self._breaks:
            raise self._breaks[where]

    async def on_messages(self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken) -> Response:
        self._may_break("speaking")
        return Response(chat_message=TextMessage(content="Answer: 4", source=self.name))

    async def on_reset(self, cancellation_token: CancellationToken) -> None:
        self._may_break("resetting")

    async def save_state(self) -> Mapping[str, Any]:
        self._may_break("saving")
        return {}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self._may_break("loading")


@pytest.mark.parametrize(
    "breaks",
    [
        {"speaking": BaseExceptionGroup("many", [GeneratorExit()])},
        {"speaking": GeneratorExit()},
        {"speaking": asyncio.CancelledError()},
        {"resetting": RuntimeError("cannot forget")},
        {"resetting": BaseExceptionGroup("many", [GeneratorExit()])},
        {"saving": NotImplementedError("no state"), "speaking": ValueError("once")},
        {"speaking": ValueError("once"), "loading": NotImplementedError("no state")},
        {"speaking": ValueError("\ud800 is no text")},
    ],
    ids=range(8),
)
async def test_however_an_agent_breaks_the_debate_goes_on(breaks: dict[str, BaseException]) -> None:
    agents = [Broken("d0", **breaks), debater("d1", lines("Answer: 4", "Answer: 4"))]
    one = DebateTeam(agents, kind="number", patience=HASTY)
    with Store.open("sqlite://") as store:
        stream = Recorder(store).record(one.run_stream(task="What is 2+2?"))
        messages = [item async for item in stream if not isinstance(item, TaskResult)]
        assert len(list(store.transcripts())) == 1
    assert any(message.reply.failed for message in of_type(TurnReplied, messages) if message.source == "d0")
    assert of_type(DebateDecided, messages)[0].outcome.answer == "4"


def panel(*clients: ReplayChatCompletionClient) -> RoundRobinGroupChat:
    members: list[ChatAgent | Team] = [
        AssistantAgent(f"m{seat}", model_client=client) for seat, client in enumerate(clients)
    ]
    return RoundRobinGroupChat(members, name="panel", termination_condition=MaxMessageTermination(3))


async def test_a_team_that_failed_once_is_whole_again() -> None:
    second = Unreliable(ConnectionError("reset"), "Answer: 4", "Answer: 4")
    inner = panel(ReplayChatCompletionClient(["hm, 1?", "hm, 1?", "hm, 1?"]), second)
    one = DebateTeam([inner, debater("d1", lines("Answer: 4", "Answer: 4"))], kind="number", patience=HASTY)
    result = await one.run(task="What is 2+2?")
    replies = [message.reply for message in of_type(TurnReplied, result.messages) if message.source == "panel"]
    assert [(reply.answer, reply.speaker, reply.attempts) for reply in replies] == [("4", "m1", 2), ("4", "m1", 1)]


async def test_a_team_that_was_cut_off_goes_on_when_the_debate_does() -> None:
    token = CancellationToken()
    slow = Unreliable("Answer: 4", 30.0, "Answer: 4")
    inner = panel(ReplayChatCompletionClient(["hm"] * 3), slow)
    one = DebateTeam([inner, debater("d1", lines("Answer: 5", "Answer: 4"))], kind="number")
    with pytest.raises(asyncio.CancelledError):
        async for message in one.run_stream(task="What is 2+2?", cancellation_token=token):
            if isinstance(message, TurnReplied) and message.reply.turn.round == 2:
                await asyncio.sleep(0.2)  # the panel's second member is at it
                token.cancel()
    result = await asyncio.wait_for(one.run(), timeout=10)
    spoken = [message.reply.speaker for message in of_type(TurnReplied, result.messages) if message.source == "panel"]
    assert spoken == ["m1", "m1"]


async def test_cancelling_waits_for_nobody_who_will_not_be_cancelled() -> None:
    class Stays(Unreliable):
        async def create(self, messages: Sequence[LLMMessage], **settings: Any) -> CreateResult:
            for _ in range(3):
                try:
                    await asyncio.sleep(20)
                except asyncio.CancelledError:
                    continue
            raise AssertionError("nobody waits for this")

    token = CancellationToken()
    one = team(Stays(), patience=Patience(seconds=None))
    running = asyncio.create_task(one.run(task="What is 2+2?", cancellation_token=token))
    await asyncio.sleep(0.1)
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, timeout=5)


async def test_an_agent_whose_state_cannot_be_had_debates_all_the_same() -> None:
    one = DebateTeam([Broken("d0", saving=NotImplementedError("no state"))], kind="number")
    result = await one.run(task="What is 2+2?")
    assert [message.reply.answer for message in of_type(TurnReplied, result.messages)] == ["4", "4"]


async def test_ending_a_hung_team_leaves_the_users_own_runtime_alone() -> None:
    runtime = SingleThreadedAgentRuntime()
    runtime.start()
    members: list[ChatAgent | Team] = [AssistantAgent("m0", model_client=Unreliable(1.5, "Answer: 4"))]
    inner = RoundRobinGroupChat(members, name="panel", max_turns=1, runtime=runtime)
    one = DebateTeam(
        [inner, debater("d1", lines("Answer: 4"))],
        plan=Plan(rounds=1),
        kind="number",
        patience=Patience(seconds=0.2, retries=0),
        runtime=runtime,
    )
    result = await asyncio.wait_for(one.run(task="What is 2+2?"), timeout=10)
    assert of_type(DebateDecided, result.messages)[0].outcome.answer == "4"
    await runtime.stop_when_idle()
