"""DebateTeam as an AutoGen team: private contexts, concurrent stages, failures that stay out of the debate."""

import asyncio
import io
from collections.abc import AsyncGenerator, Sequence
from contextlib import redirect_stdout

import pytest
from actors import lines, of_type, scripted_team
from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.base import Response, TaskResult, TerminationCondition
from autogen_agentchat.conditions import (
    ExternalTermination,
    FunctionalTermination,
    MaxMessageTermination,
    TextMentionTermination,
    TimeoutTermination,
    TokenUsageTermination,
)
from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage, TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_agentchat.ui import Console
from autogen_core import CancellationToken

from debate_agents import cleaner, debater
from debate_plugin import (
    DebateDecided,
    DebateStarted,
    DebateTeam,
    Patience,
    Plan,
    Question,
    QuestionMessage,
    RoundVoted,
    TurnReplied,
    ring,
)
from debate_plugin.messages import DEBATE_MESSAGES

AGREEING = {name: ["Answer: 4\nConfidence: 80", "Answer: 4\nConfidence: 90"] for name in ("ada", "ben", "cleo")}


class Echo(BaseChatAgent):
    """Answers 4 and keeps the prompts it was given; can be slow, can raise."""

    def __init__(self, name: str, *, seconds: float = 0.0, error: Exception | None = None) -> None:
        super().__init__(name, description="Answers 4.")
        self.heard: list[str] = []
        self.resets = 0
        self._seconds, self._error = seconds, error

    @property
    def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
        return (TextMessage,)

    async def on_messages(self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken) -> Response:
        self.heard.extend(message.to_text() for message in messages)
        sleeping = asyncio.ensure_future(asyncio.sleep(self._seconds))
        cancellation_token.link_future(sleeping)
        await sleeping
        if self._error is not None:
            raise self._error
        return Response(chat_message=TextMessage(content=f"{self.name} says. Answer: 4", source=self.name))

    async def on_reset(self, cancellation_token: CancellationToken) -> None:
        self.resets += 1


async def test_the_last_message_is_the_cleaned_answer() -> None:
    team = scripted_team(
        AGREEING,
        plan=Plan(digest="each", clean=True),
        summaries=["one", "two", "three"],
        cleaned=["The answer is 4."],
    )
    result = await team.run(task="What is 2+2?")
    assert isinstance(result.messages[-1], TextMessage)
    assert result.messages[-1].content == "The answer is 4."
    assert result.stop_reason == "The debate was decided by majority."
    assert len(of_type(TurnReplied, result.messages)) == 3 + 3 + 3 + 1
    assert [vote.round for vote in of_type(RoundVoted, result.messages)] == [1, 2]
    assert of_type(DebateStarted, result.messages)[0].question.text == "What is 2+2?"


async def test_the_console_shows_a_debate_that_can_be_followed() -> None:
    shown = io.StringIO()
    with redirect_stdout(shown):
        await Console(scripted_team(AGREEING).run_stream(task="What is 2+2?"))
    text = shown.getvalue()
    assert "ada, ben, cleo debate: What is 2+2?" in text
    assert "[round 2, debater]" in text
    assert "Vote after round 1: 4 (ada, ben, cleo)" in text
    assert "Decided by majority: 4" in text


async def test_debaters_hear_their_neighbours_and_nobody_else() -> None:
    agents = [Echo(name) for name in ("ada", "ben", "cleo", "dan")]
    await DebateTeam(agents, plan=Plan(topology=ring()), kind="number").run(task="What is 2+2?")
    opening, rebuttal = agents[0].heard
    assert opening.startswith("What is 2+2?")
    assert "ben says" in rebuttal and "dan says" in rebuttal
    assert "cleo says" not in rebuttal and "ada says" not in rebuttal


async def test_a_stage_is_asked_at_the_same_time() -> None:
    together = 0
    most = 0

    class Counting(Echo):
        async def on_messages(
            self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
        ) -> Response:
            nonlocal together, most
            together += 1
            most = max(most, together)
            await asyncio.sleep(0.05)
            together -= 1
            return await super().on_messages(messages, cancellation_token)

    await DebateTeam([Counting(f"d{seat}") for seat in range(5)], kind="number").run(task="What is 2+2?")
    assert most == 5


async def test_who_raises_abstains_and_its_error_reaches_no_prompt() -> None:
    ada, ben, cleo = Echo("ada"), Echo("ben"), Echo("cleo", error=RuntimeError("boom 7734"))
    result = await DebateTeam([ada, ben, cleo], kind="number").run(task="What is 2+2?")
    abstentions = [message.reply.abstention for message in of_type(TurnReplied, result.messages)]
    assert abstentions.count("RuntimeError: boom 7734") == 2
    assert not any("boom" in prompt for agent in (ada, ben) for prompt in agent.heard)
    assert of_type(DebateDecided, result.messages)[0].outcome.answer == "4"


async def test_who_cancels_itself_abstains_too() -> None:
    team = DebateTeam([Echo("ada"), Echo("ben", error=asyncio.CancelledError())], kind="number")  # type: ignore[arg-type]
    result = await asyncio.wait_for(team.run(task="What is 2+2?"), timeout=5)
    assert of_type(DebateDecided, result.messages)[0].outcome.answer == "4"


async def test_keys_in_errors_are_not_kept() -> None:
    ada = Echo("ada", error=ValueError("Incorrect API key: sk-abcdef123456\nmore"))
    result = await DebateTeam([ada], kind="number").run(task="What is 2+2?")
    assert of_type(TurnReplied, result.messages)[0].reply.abstention == "ValueError: Incorrect API key: [redacted]"


@pytest.mark.parametrize("answer", ["Answer: 1e400", "Answer: " + "9" * 5000, "Answer: " + "9" * 400 + ".5", "\ud800"])
async def test_no_reply_however_odd_ends_the_debate(answer: str) -> None:
    result = await scripted_team({"ada": [answer] * 2, "ben": ["Answer: 0.5"] * 2}).run(task="What is 1/2?")
    assert of_type(DebateDecided, result.messages)[0].outcome.answer == "0.5"


async def test_a_failing_cleaner_leaves_the_uncleaned_answer() -> None:
    team = scripted_team(AGREEING, plan=Plan(clean=True), cleaned=["The answer is 5."])
    result = await team.run(task="What is 2+2?")
    assert result.messages[-1].to_text() == "Answer: 4\nConfidence: 90"


async def test_every_run_is_a_new_debate_with_empty_contexts() -> None:
    ada = Echo("ada")
    team = DebateTeam([ada, Echo("ben")], kind="number")
    await team.run(task="What is 2+2?")
    second = await team.run(task="What is 3+1?")
    assert ada.resets == 2
    assert of_type(DebateDecided, second.messages)[0].outcome.answer == "4"
    await team.reset()
    assert (await team.run(task="Again?")).messages[-1].to_text().endswith("Answer: 4")


async def test_debaters_remember_their_own_turns_within_a_debate() -> None:
    client = lines("Answer: 4", "Answer: 4")
    team = DebateTeam([debater("ada", client), Echo("ben")], kind="number")
    await team.run(task="What is 2+2?")
    calls = client.create_calls  # type: ignore[attr-defined]  # of the replay client
    contents = [message.content for message in calls[1]["messages"]]
    assert contents[1].startswith("What is 2+2?") and contents[2] == "Answer: 4" and "ben says" in contents[3]


async def test_a_question_message_brings_its_kind_and_id() -> None:
    question = Question.of("Which?\nA) red\nB) blue", kind="choice", reference="B")
    team = scripted_team({"ada": ["Answer: B", "Answer: B"]}, kind="free")
    result = await team.run(task=QuestionMessage.of(question))
    assert of_type(DebateStarted, result.messages)[0].question == question
    assert of_type(DebateDecided, result.messages)[0].outcome.answer == "B"


async def test_the_reference_answer_reaches_no_agent() -> None:
    ada = Echo("ada")
    question = Question.of("What is 2+2?", kind="number", reference="982451653")
    await DebateTeam([ada, Echo("ben")], kind="number").run(task=QuestionMessage.of(question))
    assert ada.heard and not any("982451653" in prompt for prompt in ada.heard)


async def test_two_teams_debate_in_one_loop() -> None:
    first, second = scripted_team(AGREEING), scripted_team({"ada": ["Answer: 9", "Answer: 9"]})
    results = await asyncio.gather(first.run(task="What is 2+2?"), second.run(task="What is 4+5?"))
    assert [of_type(DebateDecided, result.messages)[0].outcome.answer for result in results] == ["4", "9"]


async def test_as_a_participant_it_passes_on_the_final_answer_alone() -> None:
    listener = Echo("listener")
    inner = scripted_team(AGREEING, name="panel")
    outer = RoundRobinGroupChat(
        [inner, listener],
        termination_condition=MaxMessageTermination(3),
        custom_message_types=list(DEBATE_MESSAGES),
    )
    await outer.run(task="What is 2+2?")
    assert listener.heard == ["What is 2+2?", "Answer: 4\nConfidence: 90"]


async def test_cancelling_ends_the_run_and_leaves_no_task() -> None:
    before = len(asyncio.all_tasks())
    token = CancellationToken()
    team = DebateTeam([Echo("ada", seconds=30), Echo("ben", seconds=30)], kind="number")
    running = asyncio.create_task(team.run(task="What is 2+2?", cancellation_token=token))
    await asyncio.sleep(0.1)
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, timeout=5)
    await asyncio.sleep(0.05)
    assert len(asyncio.all_tasks()) <= before


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        (Plan(digest="each"), "needs a summarizer"),
        (Plan(clean=True), "needs a cleaner"),
        (Plan(decide="judge"), "needs a judge"),
    ],
)
def test_a_missing_role_is_found_before_the_debate(plan: Plan, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        scripted_team(AGREEING, plan=plan)


def test_names_and_quorum_are_checked_before_the_debate() -> None:
    with pytest.raises(ValueError, match="got 'ada' twice"):
        DebateTeam([Echo("ada"), Echo("ada")])
    with pytest.raises(ValueError, match="got 'debate' twice"):
        DebateTeam([Echo("debate")])
    with pytest.raises(ValueError, match="a quorum of at most the 1 debaters, got 2"):
        DebateTeam([Echo("ada")], plan=Plan(quorum=2))


def test_a_table_without_debaters_or_with_a_misnamed_role_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one debater"):
        DebateTeam([])
    wrong = cleaner(lines())
    wrong._name = "polisher"
    with pytest.raises(ValueError, match="to be named 'cleaner', got 'polisher'"):
        DebateTeam([Echo("ada")], cleaner=wrong, plan=Plan(clean=True))


async def test_an_empty_task_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a question"):
        await scripted_team(AGREEING).run()


async def test_the_stream_ends_with_the_result() -> None:
    items = [item async for item in scripted_team(AGREEING).run_stream(task="What is 2+2?")]
    assert isinstance(items[-1], TaskResult)


async def test_a_termination_condition_sees_whole_stages_and_lets_what_was_said_decide() -> None:
    seen: list[list[str]] = []

    def watch(messages: Sequence[object]) -> bool:
        seen.append([type(message).__name__ for message in messages])
        return len(seen) == 1

    team = DebateTeam(
        [Echo(name) for name in ("ada", "ben", "cleo")],
        plan=Plan(rounds=5),
        kind="number",
        termination_condition=FunctionalTermination(watch),
    )
    for _ in range(2):  # and it is ready for another debate
        seen.clear()
        result = await team.run(task="What is 2+2?")
        assert seen == [["TextMessage", "TurnReplied", "TurnReplied", "TurnReplied"]]
        (decided,) = of_type(DebateDecided, result.messages)
        assert (decided.outcome.answer, decided.outcome.round) == ("4", 1)
        assert result.messages[-1].to_text() == "ada says. Answer: 4"
        assert "decided by majority" in (result.stop_reason or "")


async def test_tokens_and_a_hand_from_outside_end_a_debate_too() -> None:
    scripted = scripted_team(AGREEING, plan=Plan(rounds=2), termination_condition=TokenUsageTermination(1))
    assert len(of_type(RoundVoted, (await scripted.run(task="What is 2+2?")).messages)) == 1
    hand = ExternalTermination()
    hand.set()
    team = scripted_team(AGREEING, plan=Plan(rounds=2), termination_condition=hand)
    assert len(of_type(RoundVoted, (await team.run(task="What is 2+2?")).messages)) == 1


@pytest.mark.parametrize(
    ("condition", "rounds"),
    [
        (TextMentionTermination("ben says"), 1),
        (TextMentionTermination("nobody says"), 2),
        (TextMentionTermination("cleo says", sources=["ada"]), 2),
        (TimeoutTermination(0.001), 1),
        (TimeoutTermination(60) | MaxMessageTermination(4, include_agent_event=True), 1),
        (TextMentionTermination("ada says") & TextMentionTermination("cleo says"), 1),
    ],
)
async def test_any_termination_condition_may_end_a_debate(condition: TerminationCondition, rounds: int) -> None:
    agents = [Echo(name, seconds=0.01) for name in ("ada", "ben", "cleo")]
    result = await DebateTeam(agents, kind="number", termination_condition=condition).run(task="What is 2+2?")
    assert len(of_type(RoundVoted, result.messages)) == rounds


class Doubted(BaseAgentEvent):
    """An event of a user's own."""

    type: str = "Doubted"

    def to_text(self) -> str:
        return "I doubt it."


async def test_debaters_stream_messages_of_their_own() -> None:
    class Doubtful(Echo):
        async def on_messages_stream(
            self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
        ) -> AsyncGenerator[BaseAgentEvent | BaseChatMessage | Response, None]:
            yield Doubted(source=self.name)
            yield await self.on_messages(messages, cancellation_token)

    team = DebateTeam([Doubtful("ada")], kind="number", custom_message_types=[Doubted])
    assert len(of_type(Doubted, (await team.run(task="What is 2+2?")).messages)) == 2
    forgotten = DebateTeam([Doubtful("ada")], kind="number", patience=Patience(retries=0))
    result = await forgotten.run(task="What is 2+2?")
    assert "is not registered" in (of_type(TurnReplied, result.messages)[0].reply.abstention or "")


async def test_a_termination_condition_counts_each_debate_for_itself() -> None:
    agents = [Echo(name) for name in ("ada", "ben")]
    counting = MaxMessageTermination(7, include_agent_event=True)  # a debate's task and four replies are five
    team = DebateTeam(agents, kind="number", termination_condition=counting)
    for _ in range(3):
        assert len(of_type(RoundVoted, (await team.run(task="What is 2+2?")).messages)) == 2
