"""From questions to the store: recorded when decided, kept when killed, never held twice."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from actors import scripted_team
from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_agents import debategpt, debater
from debate_plugin import DebateTeam, Plan, Question, QuestionMessage, Recorder, Series, Store, Transcript, generate
from debate_plugin.series import Held
from debate_plugin.transcript import debate_id

QUESTIONS = [
    Question.of(f"What is {number}+{number}?", kind="number", reference=str(2 * number)) for number in range(6)
]


def two_debaters() -> DebateTeam:
    return scripted_team({"ada": ["A: 2+2=4\nAnswer: 4", "Answer: 4"], "ben": ["Answer: 5", "Answer: 4"]})


async def hold(store: Store, questions: list[Question], **series: object) -> list[Held]:
    making: dict[str, object] = {"make_team": two_debaters, **series}
    return [held async for held in generate(Series(store=store, **making), questions, concurrency=3)]  # type: ignore[arg-type]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "debates.sqlite"


async def test_every_debate_is_recorded_once_and_skipped_the_next_time(place: Path) -> None:
    with Store.open(place) as store:
        assert len(await hold(store, QUESTIONS[:4])) == 4
    with Store.open(place) as store:
        second = await hold(store, QUESTIONS)
        assert {held.question.id for held in second} == {question.id for question in QUESTIONS[4:]}
        assert len(store) == 6


async def test_other_settings_or_another_run_are_other_debates(place: Path) -> None:
    with Store.open(place) as store:
        await hold(store, QUESTIONS[:1])
        assert len(await hold(store, QUESTIONS[:1], settings={"model": "other"})) == 1
        assert len(await hold(store, QUESTIONS[:1], run="second")) == 1
        assert len(list(store.transcripts(run="second"))) == 1


async def test_a_transcript_holds_every_turn_and_rebuilds_its_prompts(place: Path) -> None:
    with Store.open(place) as store:
        await hold(store, QUESTIONS[2:3])
        (transcript,) = store.transcripts()
    assert [(reply.turn.agent, reply.turn.round) for reply in transcript.replies] == [
        ("ada", 1),
        ("ben", 1),
        ("ada", 2),
        ("ben", 2),
    ]
    last = transcript.messages(transcript.replies[-1])
    assert [message["role"] for message in last] == ["system", "user", "assistant", "user"]
    assert last[2]["content"] == "Answer: 5"
    assert "A: 2+2=4" in last[3]["content"]
    assert transcript.question.reference == "4"
    assert Transcript.model_validate_json(transcript.model_dump_json()) == transcript


async def test_replies_are_in_seat_order_whoever_came_first(place: Path) -> None:
    class Slow(ReplayChatCompletionClient):
        async def create(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
            await asyncio.sleep(0.05)
            return await super().create(*args, **kwargs)  # type: ignore[arg-type]

    def team() -> DebateTeam:
        quick = scripted_team({"ben": ["Answer: 4"], "cleo": ["Answer: 4"]})
        slow = debater("ada", Slow(["Answer: 4"]))
        return DebateTeam([slow, *quick._participants], plan=Plan(rounds=1), kind="number")

    with Store.open(place) as store:
        await hold(store, QUESTIONS[:1], make_team=team)
        (transcript,) = store.transcripts()
    assert [reply.turn.agent for reply in transcript.replies] == ["ada", "ben", "cleo"]


async def test_a_debate_in_which_every_turn_failed_can_be_held_again(place: Path) -> None:
    with Store.open(place) as store:
        (held,) = await hold(store, QUESTIONS[:1], make_team=lambda: debategpt(ReplayChatCompletionClient([])))
        assert held.outcome is None and "No more mock responses" in (held.failure or "")
        assert len(store) == 0
        assert len(await hold(store, QUESTIONS[:1])) == 1


async def test_the_kind_of_answer_is_part_of_the_debate(place: Path) -> None:
    with Store.open(place) as store:
        await hold(store, [Question.of("What is 1+1?", kind="number")])
        assert len(await hold(store, [Question.of("What is 1+1?", kind="exact")])) == 1


async def test_leaving_early_stops_what_is_under_way(place: Path) -> None:
    """A debate that is cancelled asks nobody any more."""
    asked = 0

    class Counting(ReplayChatCompletionClient):
        async def create(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
            nonlocal asked
            asked += 1
            await asyncio.sleep(0.2)
            return await super().create(*args, **kwargs)  # type: ignore[arg-type]

    def team() -> DebateTeam:
        return debategpt(Counting(["Answer: 4"] * 40), rounds=6, summaries=False, cleaning=False)

    with Store.open(place) as store:
        series = Series(make_team=team, store=store)
        waiting = asyncio.create_task(anext(generate(series, QUESTIONS[:2])))
        await asyncio.sleep(0.3)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        before = asked
        await asyncio.sleep(0.5)
        assert asked == before < 2 * 3 * 6
        assert len(store) == 0


async def test_what_was_decided_is_kept_when_the_consumer_stops_early(place: Path) -> None:
    with Store.open(place) as store:
        series = Series(make_team=two_debaters, store=store)
        debates = generate(series, QUESTIONS, concurrency=1)
        await anext(debates)
        await debates.aclose()
        assert 1 <= len(store) <= 2


async def test_the_recorder_passes_everything_on(place: Path) -> None:
    with Store.open(place) as store:
        recorder = Recorder(store)
        plain = [type(item) async for item in two_debaters().run_stream(task="What is 2+2?")]
        stream = two_debaters().run_stream(task=QuestionMessage.of(QUESTIONS[0]))
        recorded = [type(item) async for item in recorder.record(stream)]
        assert recorded[1:] == plain[1:]
        assert len(store) == 1


async def test_transcripts_come_in_an_order_that_does_not_depend_on_who_finished_first(place: Path) -> None:
    with Store.open(place) as store:
        await hold(store, QUESTIONS)
        first = [transcript.id for transcript in store.transcripts()]
        assert first == sorted(first)


async def test_the_file_is_in_write_ahead_mode(place: Path) -> None:
    with Store.open(place) as store:
        await hold(store, QUESTIONS[:1])
        with sqlite3.connect(place) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


RESUMED = """
import asyncio, sys
from pathlib import Path
from autogen_ext.models.replay import ReplayChatCompletionClient
from debate_agents import debater
from debate_plugin import DebateTeam, Plan, Question, Series, Store, generate

store, log, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])

class Logged(ReplayChatCompletionClient):
    async def create(self, messages, **settings):
        await asyncio.sleep(seconds)
        asked = messages[1].content.split("?")[0]
        turn = sum(type(message).__name__ == "AssistantMessage" for message in messages) + 1
        with log.open("a") as file:  # what was answered, and so paid for
            file.write(f"{asked}|{self.name}|{turn}\\n")
        return await super().create(messages, **settings)

def client(name):
    made = Logged([f"I am {name}. Answer: 4"] * 3)
    made.name = name
    return made

def team():
    seated = [debater(name, client(name)) for name in ("ada", "ben", "cleo")]
    return DebateTeam(seated, plan=Plan(rounds=3), kind="number")

async def main():
    questions = [Question.of(f"What is {number}+1?", kind="number") for number in range(6)]
    with Store.open(store) as opened:
        async for _ in generate(Series(make_team=team, store=opened), questions, concurrency=3):
            pass
        print(len(opened), [len(transcript.replies) for transcript in opened.transcripts()])

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", [0.3, 0.55, 0.9])
def test_a_killed_run_pays_at_most_for_the_stage_in_flight_again(tmp_path: Path, moment: float) -> None:
    program, store, log = tmp_path / "run.py", tmp_path / "debates.sqlite", tmp_path / "log.txt"
    program.write_text(RESUMED)
    killed = subprocess.Popen([sys.executable, str(program), str(store), str(log), "0.15"])
    while not log.exists():  # the first answers have come
        time.sleep(0.02)
    time.sleep(moment)
    killed.kill()  # SIGKILL
    killed.wait()
    before = log.read_text().splitlines()
    ran = subprocess.run([sys.executable, str(program), str(store), str(log), "0"], capture_output=True, text=True)
    assert ran.stdout.split() == ["6", "[9,", "9,", "9,", "9,", "9,", "9]"], ran.stderr
    answered = Counter(log.read_text().splitlines())
    assert len(answered) == 6 * 3 * 3
    again = [line.split("|") for line, times in answered.items() if times > 1]
    assert len(again) < len(before)  # something was kept
    assert all(times <= 2 for times in answered.values())
    for asked in {asked for asked, _, _ in again}:
        assert len({turn for one, _, turn in again if one == asked}) == 1  # one stage of each debate


async def test_a_debate_that_was_cut_off_goes_on_and_its_transcript_is_whole(place: Path) -> None:
    class Hangs(ReplayChatCompletionClient):
        async def create(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
            if len(self.create_calls) == 1:
                await asyncio.sleep(60)
            return await super().create(*args, **kwargs)  # type: ignore[arg-type]

    first = Hangs(["Answer: 4"] * 2), Hangs(["Answer: 5"] * 2)

    def team(*clients: ReplayChatCompletionClient) -> DebateTeam:
        return DebateTeam([debater(f"d{seat}", client) for seat, client in enumerate(clients)], kind="number")

    with Store.open(place) as store:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await hold(store, QUESTIONS[:1], make_team=lambda: team(*first))
        assert len(store) == 0
        second = ReplayChatCompletionClient(["Answer: 4"]), ReplayChatCompletionClient(["Answer: 4"])
        (held,) = await hold(store, QUESTIONS[:1], make_team=lambda: team(*second))
        (transcript,) = store.transcripts()
        assert store.kept(transcript.id) is None  # what was unfinished is finished
    assert held.replies == 4 and [len(client.create_calls) for client in second] == [1, 1]
    assert [reply.answer for reply in transcript.replies] == ["4", "5", "4", "4"]
    shown = [message["content"] for message in transcript.messages(transcript.replies[3])]
    assert shown == [message.content for message in second[1].create_calls[0]["messages"]]


async def test_what_another_version_kept_is_not_stumbled_over(place: Path) -> None:
    with Store.open(place) as store:
        settings = Series(make_team=two_debaters, store=store).all_settings()
        store.keep(debate_id("default", settings, QUESTIONS[0]), '{"agent_states": {}}')
        (held,) = await hold(store, QUESTIONS[:1])
        assert held.outcome is not None and len(store) == 1


async def test_only_a_debate_under_way_is_kept(place: Path) -> None:
    """Killed between its last stage and its transcript, a debate must have something to go on from."""
    kept: list[str] = []

    class Watched(Store):
        def keep(self, id: str, state: str | None, *, run: str = "default") -> None:
            kept.append(state or "")
            super().keep(id, state, run=run)

    with Watched.open(place) as store:
        await hold(store, QUESTIONS[:2])
        assert len(store) == 2
    assert kept and all(json.loads(state)["agent_states"]["debate"]["question"] for state in kept)
