"""Questions -> recorded debates -> training rows, all in a temporary folder: `python examples/debates_to_rows.py`."""

import asyncio
import tempfile
from pathlib import Path

from debate_agents import debategpt
from debate_plugin import Engine, Series, Store, abacus, generate
from debate_plugin.dataset.compile import Compilation, compile_rows
from debate_plugin.dataset.filters import Secrets
from debate_plugin.dataset.rules import final_answer, majority_minority
from debate_plugin.evaluation.arithmetic import questions


async def main(folder: Path) -> None:
    with Engine.load(abacus.FOLDER) as engine, Store.open(folder / "debates.sqlite") as store:
        client = engine.client(temperature=1.0, max_tokens=200, seed=1)
        series = Series(make_team=lambda: debategpt(client, kind="number"), store=store)
        async for held in generate(series, questions(20, seed=1, split="train")):
            print(held.question.text, "->", held.outcome.answer if held.outcome else held.failure)
        for rule in (final_answer, majority_minority):
            rows = folder / f"{rule.__name__}.jsonl"
            card = compile_rows(store.records(), rows, Compilation(rule=rule, filters=[Secrets()]))
            print(f"{card.rule}: {card.rows} rows of {card.transcripts} transcripts, left out: {card.without_row}")
            print(rows.read_text().splitlines()[0])


with tempfile.TemporaryDirectory() as temporary:
    asyncio.run(main(Path(temporary)))
