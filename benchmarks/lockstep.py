"""Debates in lockstep against the live team, through the in-process engine.

    python benchmarks/lockstep.py [--questions 500] [--repeats 3]

The same arithmetic questions, the same team (the demo's), a fresh engine and an empty store on disk each time; the two
take turns. `generate` holds 64 debates at a time, as the command does by default. Ratios are of medians.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median

from debate_plugin import Engine, Series, Store, abacus, debate_in_lockstep, generate
from debate_plugin.evaluation.arithmetic import questions
from debate_plugin.loops.demo import MAX_TOKENS, Demo, demo_team
from debate_plugin.question import Question

CONCURRENCY = 64


async def held(asked: list[Question], place: Path, *, lockstep: bool) -> tuple[float, int]:
    """Seconds, and replies in all."""
    with Engine.load(abacus.FOLDER) as engine, Store.open(place) as store:
        client = engine.client(temperature=1.0, max_tokens=MAX_TOKENS, seed=0)
        helper = engine.client(temperature=0.0, max_tokens=MAX_TOKENS)
        series = Series(make_team=lambda: demo_team(client, helper, Demo()), store=store)
        started = time.perf_counter()
        ending = debate_in_lockstep(series, asked) if lockstep else generate(series, asked, concurrency=CONCURRENCY)
        replies = [one.replies async for one in ending]
        seconds = time.perf_counter() - started
        if len(store) != len(asked):
            raise RuntimeError(f"expected {len(asked)} debates, the store holds {len(store)}")
    return seconds, sum(replies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    asked = questions(given.questions, seed=0, split="train")
    took: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(held(asked[:20], Path(folder) / "warm", lockstep=False))
        for repeat in range(given.repeats):
            for lockstep, seconds in took.items():
                one, replies = asyncio.run(held(asked, Path(folder) / f"{repeat}-{lockstep}", lockstep=lockstep))
                seconds.append(one)
                name = "in lockstep" if lockstep else "live"
                print(f"  {name:12}{one:7.1f} s, {replies} replies, {replies / one:.1f}/s", flush=True)
    ratio = median(took[False]) / median(took[True])
    print(f"lockstep over live: {ratio:.2f} (at least 1: {'met' if ratio >= 1 else 'MISSED'})")


if __name__ == "__main__":
    main()
