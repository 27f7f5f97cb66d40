"""What a DebateTeam costs beside its model calls: time, memory, messages.

    python benchmarks/overhead.py [--json] [--only debate|throughput|leaks|messages] [--debates 64] [--repeats 3]
                                  [--long 1000]

The model is a local server (`server.py`) that answers every call after 200 ms. Times are ratios within one run:

debate      one debate (3 debaters, 2 rounds) over its critical path, two calls one after the other
throughput  debates a second, 32 at a time, over: the same prompts as bare calls in the same pattern; the same debate
            wired with GraphFlow; RoundRobinGroupChat with as many calls. Contestants take turns; medians are compared
leaks       1,000 debates in one process, with a latency of 20 ms: growth of memory and of live objects for each debate
            after the first tenth, tasks and sockets left when the client is closed. Reads /proc, so Linux only
messages    what the runtime sends and handles in one round on a ring, and peer replies quoted in its prompts; without
            a server
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import linear_regression, median

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import Team
from autogen_agentchat.teams import DiGraphBuilder, GraphFlow, RoundRobinGroupChat
from autogen_core import EVENT_LOGGER_NAME
from autogen_core.logging import MessageEvent
from autogen_core.models import ChatCompletionClient, LLMMessage
from autogen_ext.models.replay import ReplayChatCompletionClient

from benchmarks.server import ANSWER, COMPLETION_TOKENS, opened, served
from debate_agents import debater, society_of_minds
from debate_plugin import DebateTeam, Plan, ring

QUESTION = "What is the result of 2+2?"
NAMES = ("ada", "ben", "cleo")
CALLS = 2 * len(NAMES)  # of one debate
CONCURRENCY = 32  # debates at a time
LATENCY, SHORT_LATENCY = 0.2, 0.02  # seconds; the short one for the leaks, which are not timed
TIMED_DEBATES = 20
RINGS = (4, 16, 64)

Prompt = Sequence[LLMMessage]
Hold = Callable[[], Awaitable[object]]
"""Holds one debate, or does what it is compared with."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One result, and what it should be where that is known."""

    part: str
    what: str
    value: float
    at_most: float | None = None
    at_least: float | None = None

    def verdict(self) -> str:
        if self.at_most is not None:
            return f"at most {self.at_most:g}".ljust(14) + ("met" if self.value <= self.at_most else "MISSED")
        if self.at_least is not None:
            return f"at least {self.at_least:g}".ljust(14) + ("met" if self.value >= self.at_least else "MISSED")
        return ""


async def recorded_prompts() -> list[list[Prompt]]:
    """What a debate asks the model, stage by stage."""
    client = ReplayChatCompletionClient([ANSWER] * CALLS)
    await hold_debate(client)
    prompts: list[Prompt] = [call["messages"] for call in client.create_calls]
    return [prompts[: len(NAMES)], prompts[len(NAMES) :]]


async def hold_debate(client: ChatCompletionClient) -> None:
    await society_of_minds(client, debaters=len(NAMES), rounds=2).run(task=QUESTION)


async def hold_bare(client: ChatCompletionClient, stages: Sequence[Sequence[Prompt]]) -> None:
    """The model calls of a debate and nothing else."""
    for prompts in stages:
        await asyncio.gather(*(client.create(prompt) for prompt in prompts))


async def hold_graph_flow(client: ChatCompletionClient, task: str) -> None:
    """Three openings in parallel, then three rebuttals, each of which waits for all openings.

    The openings' edges are the join: a seventh agent between the rounds would only cost more messages.
    """
    openings = [debater(f"{name}_opening", client) for name in NAMES]
    rebuttals = [debater(f"{name}_rebuttal", client) for name in NAMES]
    graph = DiGraphBuilder()
    for agent in [*openings, *rebuttals]:
        graph.add_node(agent)
    for opening in openings:
        for rebuttal in rebuttals:
            graph.add_edge(opening, rebuttal)
    await GraphFlow([*openings, *rebuttals], graph.build()).run(task=task)


async def hold_round_robin(client: ChatCompletionClient, task: str) -> None:
    await RoundRobinGroupChat([debater(name, client) for name in NAMES], max_turns=CALLS).run(task=task)


async def debate(given: argparse.Namespace) -> list[Figure]:
    """One debate at a time, and a bare call before each."""
    stages = await recorded_prompts()
    calls, debates = [], []
    with served(LATENCY) as url:
        async with opened(url) as client:
            await hold_debate(client)  # opens the connections
            for _ in range(TIMED_DEBATES):
                calls.append(await _seconds(partial(client.create, stages[0][0])))
                debates.append(await _seconds(partial(hold_debate, client)))
    seconds, call = median(debates), median(calls)
    figure = partial(Figure, part="debate")
    return [
        figure(what="seconds of a debate, median", value=seconds),
        figure(what="seconds of a bare call, median", value=call),
        figure(what="debate over two bare calls", value=seconds / (2 * call), at_most=1.10),
        figure(what=f"debate over twice {LATENCY:g} s", value=seconds / (2 * LATENCY)),
    ]


async def throughput(given: argparse.Namespace) -> list[Figure]:
    """All contestants in turn, several times over."""
    stages = await recorded_prompts()
    task = str(stages[0][0][-1].content)  # the same words for all contestants
    with served(LATENCY) as url:
        async with opened(url) as client:
            contestants: dict[str, Hold] = {
                "bare calls": partial(hold_bare, client, stages),
                "DebateTeam": partial(hold_debate, client),
                "GraphFlow": partial(hold_graph_flow, client, task),
                "RoundRobinGroupChat": partial(hold_round_robin, client, task),
            }
            for hold in contestants.values():
                await _hold_many(hold, CONCURRENCY)  # opens the connections, and all code has run once
            rates: dict[str, list[float]] = {name: [] for name in contestants}
            processor: dict[str, list[float]] = {name: [] for name in contestants}
            for _ in range(given.repeats):
                for name, hold in contestants.items():
                    gc.collect()
                    used, before = client.total_usage().completion_tokens, time.process_time()
                    rates[name].append(given.debates / await _hold_many(hold, given.debates))
                    processor[name].append((time.process_time() - before) / given.debates)
                    _check_calls(name, client.total_usage().completion_tokens - used, given.debates)
    rate = {name: median(values) for name, values in rates.items()}
    figure = partial(Figure, part="throughput")
    return [
        *(figure(what=f"{name}, debates a second", value=value) for name, value in rate.items()),
        *(figure(what=f"{name}, ms of CPU a debate", value=1000 * median(all)) for name, all in processor.items()),
        figure(what="DebateTeam over bare calls", value=rate["DebateTeam"] / rate["bare calls"], at_least=0.9),
        figure(
            what="bare calls over GraphFlow, which no team can exceed", value=rate["bare calls"] / rate["GraphFlow"]
        ),
        figure(what="DebateTeam over GraphFlow", value=rate["DebateTeam"] / rate["GraphFlow"], at_least=1.4),
        figure(
            what="DebateTeam over RoundRobinGroupChat",
            value=rate["DebateTeam"] / rate["RoundRobinGroupChat"],
            at_least=2,
        ),
    ]


async def leaks(given: argparse.Namespace) -> list[Figure]:
    """Many debates in a row, with a look at the process after each tenth of them."""
    step = given.long // 10
    counts, memory, objects = [], [], []
    with served(SHORT_LATENCY) as url:
        async with opened(url) as client:
            await hold_debate(client)  # what is loaded once and stays
        tasks, sockets = await _left()
        async with opened(url) as client:
            for held in range(step, 10 * step + 1, step):
                await _hold_many(partial(hold_debate, client), step)
                gc.collect()
                counts.append(held)
                memory.append(_resident_bytes())
                objects.append(len(gc.get_objects()))
            _check_calls("DebateTeam", client.total_usage().completion_tokens, counts[-1])
        tasks_after, sockets_after = await _left()
    figure = partial(Figure, part="leaks")
    return [
        *(
            figure(what=f"MiB resident after {count:,} debates", value=size / 2**20)
            for count, size in zip(counts, memory, strict=True)
        ),
        figure(what="bytes more for each debate", value=linear_regression(counts, memory).slope),
        figure(what="live objects more for each debate", value=linear_regression(counts, objects).slope, at_most=0.1),
        figure(what="tasks left", value=tasks_after - tasks, at_most=0),
        figure(what="sockets left", value=sockets_after - sockets, at_most=0),
    ]


async def messages(given: argparse.Namespace) -> list[Figure]:
    """Rings of several sizes; one round is what a debate of two rounds has more than one of one round."""
    rows: dict[int, dict[str, int]] = {}
    for size in RINGS:
        (one, _), (two, quoted) = [await _ring_debate(size, rounds=rounds) for rounds in (1, 2)]
        stock_one, stock_two = [await _group_chat(size, rounds=rounds) for rounds in (1, 2)]
        rows[size] = {
            "edges": ring().graph([*_models(size)]).number_of_edges(),
            "pairs": size * (size - 1),
            "messages sent": two["SEND"] - one["SEND"],
            "messages handled": two["DELIVER"] - one["DELIVER"],
            "peer replies in prompts": quoted,
            "messages handled by RoundRobinGroupChat": stock_two["DELIVER"] - stock_one["DELIVER"],
        }
    figure = partial(Figure, part="messages")
    small, large = rows[RINGS[0]], rows[RINGS[-1]]
    return [
        *(figure(what=f"ring of {size}: {what}", value=n) for size, row in rows.items() for what, n in row.items()),
        *(
            figure(
                what=f"{what}, ring of {RINGS[-1]} over {RINGS[0]}",
                value=large[what] / small[what],
                at_most=large["edges"] / small["edges"],
            )
            for what in ("messages handled", "peer replies in prompts")
        ),
    ]


PARTS = {"debate": debate, "throughput": throughput, "leaks": leaks, "messages": messages}


async def _seconds(hold: Hold) -> float:
    started = time.perf_counter()
    await hold()
    return time.perf_counter() - started


async def _hold_many(hold: Hold, count: int) -> float:
    """Seconds for so many debates, a few of them at a time."""
    waiting = iter(range(count))

    async def work() -> None:
        for _ in waiting:  # shared by the workers: each takes the next
            await hold()

    return await _seconds(lambda: asyncio.gather(*(work() for _ in range(CONCURRENCY))))


def _check_calls(name: str, completion_tokens: int, debates: int) -> None:
    calls = completion_tokens / COMPLETION_TOKENS
    if calls != CALLS * debates:
        raise RuntimeError(f"expected {CALLS} model calls in each of {debates} debates of {name}, got {calls:g} in all")


async def _left() -> tuple[int, int]:
    """Tasks and open sockets of this process, once what was closed is gone."""
    await asyncio.sleep(0.1)  # transports close in the loop's next turns
    gc.collect()
    links = [os.path.join("/proc/self/fd", number) for number in os.listdir("/proc/self/fd")]
    targets = [os.readlink(link) for link in links if os.path.lexists(link)]  # listing had a link of its own
    return len(asyncio.all_tasks()), sum(target.startswith("socket:") for target in targets)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Tally(logging.Handler):
    """Counts the messages that AutoGen's runtimes log: `SEND` once each, `DELIVER` once for each agent that gets it."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, MessageEvent):
            self.stages[record.msg.kwargs["delivery_stage"].removeprefix("DeliveryStage.")] += 1


async def _counted(team: Team) -> Counter[str]:
    """What the runtime did while the team ran."""
    log, tally = logging.getLogger(EVENT_LOGGER_NAME), Tally()
    log.addHandler(tally)
    log.setLevel(logging.INFO)
    await team.run(task=QUESTION)
    log.setLevel(logging.WARNING)
    log.removeHandler(tally)
    return tally.stages


async def _ring_debate(size: int, *, rounds: int) -> tuple[Counter[str], int]:
    """The runtime's messages in one debate, and the replies of others in the last round's prompts."""
    models = _models(size)
    plan = Plan(rounds=rounds, topology=ring(), confidence="off")
    counted = await _counted(DebateTeam(_seated(models), plan=plan, kind="number"))
    quoted = 0
    for name, model in models.items():
        prompt = str(model.create_calls[-1]["messages"][-1].content)
        quoted += sum(prompt.count(_reply(other)) for other in models if other != name)
    return counted, quoted


async def _group_chat(size: int, *, rounds: int) -> Counter[str]:
    return await _counted(RoundRobinGroupChat([*_seated(_models(size))], max_turns=rounds * size))


def _models(size: int) -> dict[str, ReplayChatCompletionClient]:
    """A model for each debater, which says whose it is."""
    names = [f"debater_{seat}" for seat in range(size)]
    return {name: ReplayChatCompletionClient([_reply(name)] * 2) for name in names}


def _reply(name: str) -> str:
    return f"So says {name}.\n{ANSWER}"


def _seated(models: Mapping[str, ChatCompletionClient]) -> list[AssistantAgent]:
    return [debater(name, model) for name, model in models.items()]


def _line(figure: Figure) -> str:
    return f"{figure.part:11}{figure.what:58}{figure.value:>10,.6g}  {figure.verdict()}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--only", choices=PARTS, help="this part alone")
    parser.add_argument("--debates", type=int, default=64, help="of each contestant, in each repetition of throughput")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions of throughput")
    parser.add_argument("--long", type=int, default=1000, help="debates of leaks; at least 20")
    given = parser.parse_args()
    if given.long < 20:
        parser.error("expected --long of at least 20, to see growth")
    figures: list[Figure] = []
    for name in [given.only] if given.only else PARTS:
        found = asyncio.run(PARTS[name](given))
        figures += found
        if not given.json:
            print("\n".join(map(_line, found)), flush=True)
    if given.json:
        print(json.dumps({"settings": vars(given), "figures": [asdict(one) for one in figures]}, indent=2))


if __name__ == "__main__":
    main()
