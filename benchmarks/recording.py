"""What it costs to record debates: the same ones unrecorded, with a `Recorder`, and with `generate`.

    python benchmarks/recording.py [--debates 128] [--alone 10] [--repeats 25]

A debate has 3 debaters and 2 rounds; a model call takes 50 ms and brings 187 words. Records go into a SQLite file on
disk; `generate` also keeps there what a debate has come to after each stage. Contestants take turns, each with an empty
store that is opened beforehand. The ratio is that of the medians; in brackets, where the middle half of the repetitions
lies. One debate at a time has the processor to itself; 32 at a time wait for it about as long as for the model.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from autogen_core.models import CreateResult, LLMMessage
from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_agents import debater
from debate_plugin import DebateTeam, Plan, Question, QuestionMessage, Recorder, Series, Store, generate

NAMES, ROUNDS = ("ada", "ben", "cleo"), 2
CONCURRENCY = 32
CALL_SECONDS = 0.05
AT_MOST = 1.05
REPLY = """\
Let me take the trip apart and work through it leg by leg, so that each step can be checked.

1. The first leg is 45 miles, and the train covers it at 60 miles an hour. 45/60 is three quarters of an hour, which is
   45 minutes.
2. At the junction it waits. The question says that the wait is a third of the time of the first leg, so it is 45/3,
   which is 15 minutes.
3. The second leg is 80 miles long. The speed is now a third higher than before, so it is 60+20, which is 80 miles an
   hour, and the leg takes exactly one hour.

Adding these up I get 45+15+60, which is 120 minutes. I have checked that nothing was counted twice: the wait belongs to
neither leg, and both legs are given in miles, so no units need to be converted. The other way to see it is by the
clock: leaving at nine, the train is at the junction at a quarter to ten, goes on at ten and arrives at eleven.

Answer: 120"""

Hold = Callable[[Sequence[Question], int, Store], Awaitable[None]]
"""Holds a debate of each question, so many at a time."""


class Slow(ReplayChatCompletionClient):
    """Takes its time over each answer."""

    async def create(self, messages: Sequence[LLMMessage], **settings: Any) -> CreateResult:
        await asyncio.sleep(CALL_SECONDS)
        return await super().create(messages, **settings)


def team() -> DebateTeam:
    seated = [debater(name, Slow([f"This is {name}. {REPLY}"] * ROUNDS)) for name in NAMES]
    return DebateTeam(seated, plan=Plan(rounds=ROUNDS), kind="number")


async def unrecorded(questions: Sequence[Question], concurrency: int, store: Store) -> None:
    async def hold(question: Question) -> None:
        async for _ in team().run_stream(task=QuestionMessage.of(question)):
            pass

    await _hold_all(hold, questions, concurrency)


async def with_recorder(questions: Sequence[Question], concurrency: int, store: Store) -> None:
    recorder = Recorder(store)

    async def hold(question: Question) -> None:
        debate = team()
        async for _ in recorder.record(debate.run_stream(task=QuestionMessage.of(question)), of=debate):
            pass

    await _hold_all(hold, questions, concurrency)


async def with_generate(questions: Sequence[Question], concurrency: int, store: Store) -> None:
    async for _ in generate(Series(make_team=team, store=store), questions, concurrency=concurrency):
        pass


CONTESTANTS: dict[str, Hold] = {"unrecorded": unrecorded, "Recorder": with_recorder, "generate": with_generate}


async def compare(debates: int, concurrency: int, repeats: int, folder: Path) -> None:
    """All contestants in turn, several times over."""
    questions = [Question.of(f"How many minutes does trip {number} take?", kind="number") for number in range(debates)]
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    processor: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for repeat in range(repeats):
        for name, hold in CONTESTANTS.items():
            with Store.open(folder / f"{name}-{concurrency}-{repeat}.sqlite") as store:
                gc.collect()
                started, worked = time.perf_counter(), time.process_time()
                await hold(questions, concurrency, store)
                seconds[name].append(time.perf_counter() - started)
                processor[name].append(time.process_time() - worked)
                if len(store) != (0 if name == "unrecorded" else debates):
                    raise RuntimeError(f"expected {debates} debates in the store of {name}, found {len(store)}")
    print(f"{debates} debates, {concurrency} at a time, {repeats} times")
    for name, took in seconds.items():
        ratio = median(took) / median(seconds["unrecorded"])
        low, _, high = quantiles([one / base for one, base in zip(took, seconds["unrecorded"], strict=True)], n=4)
        verdict = f"at most {AT_MOST:g}: {'met' if ratio <= AT_MOST else 'MISSED'}" if name == "Recorder" else ""
        row = (
            f"  {name:12}{median(took):7.3f} s{1000 * median(processor[name]) / debates:7.2f} ms of CPU a debate"
            f"{ratio:8.3f} times ({low:.3f} to {high:.3f})  {verdict}"
        )
        print(row.rstrip(), flush=True)


async def _hold_all(
    hold: Callable[[Question], Awaitable[None]], questions: Sequence[Question], concurrency: int
) -> None:
    waiting = iter(questions)

    async def work() -> None:
        for question in waiting:  # shared by the workers: each takes the next
            await hold(question)

    await asyncio.gather(*(work() for _ in range(concurrency)))


async def run(given: argparse.Namespace, folder: Path) -> None:
    with Store.open("sqlite://") as store:
        for hold in CONTESTANTS.values():  # all code has run once
            await hold([Question.of("How many minutes does it take?", kind="number")], 1, store)
    await compare(given.alone, 1, given.repeats, folder)
    await compare(given.debates, CONCURRENCY, given.repeats, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--debates", type=int, default=128, help=f"held {CONCURRENCY} at a time")
    parser.add_argument("--alone", type=int, default=10, help="debates held one at a time")
    parser.add_argument("--repeats", type=int, default=25)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(given, Path(folder)))


if __name__ == "__main__":
    main()
