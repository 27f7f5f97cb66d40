"""Three debaters, a summarizer and a cleaner on the embedded model: `python examples/first_debate.py`."""

import asyncio

from autogen_agentchat.ui import Console

from debate_agents import debategpt
from debate_plugin import Engine, abacus


async def main() -> None:
    with Engine.load(abacus.FOLDER) as engine:
        team = debategpt(engine.client(temperature=1.0, seed=1), kind="number")
        await Console(team.run_stream(task="What is the result of 4+18*27+25-24*2?"))


asyncio.run(main())
