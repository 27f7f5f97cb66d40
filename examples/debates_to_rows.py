"""Questions -> recorded debates -> training rows, all in a temporary folder: `python examples/debates_to_rows.py`."""

import asyncio
import tempfile
from pathlib import Path

from debate_agents import debategpt
from debate_plugin import Engine, Series, Store, abacus, generate
from debate_plugin.dataset.compile import compile_rows
from debate_plugin.dataset.rules import RULES
from debate_plugin.evaluation.arithmetic import questions


async def main(folder: Path) -> None:
    with Engine.load(abacus.FOLDER) as engine, Store.open(folder / "debates.sqlite") as store:
        client = engine.client(temperature=1.0, max_tokens=200, seed=1)
        series = Series(make_team=lambda: debategpt(client, kind="number"), store=store)
        async for held in generate(series, questions(20, seed=1, split="train")):
            print(held.question.text, "->", held.outcome.answer if held.outcome else held.failure)
        for name, rule in RULES.items():
            card = compile_rows(store.transcripts(), rule, folder / f"{name}.jsonl", name=name)
            print(f"{name}: {card.rows} rows of {card.transcripts} transcripts, left out: {card.without_row}")
            print((folder / f"{name}.jsonl").read_text().splitlines()[0])


with tempfile.TemporaryDirectory() as temporary:
    asyncio.run(main(Path(temporary)))
