"""A team put together by hand: own personas, a ring, a judge, one debater at another temperature.

python examples/own_team.py
"""

import asyncio

from debate_agents import debater, judge
from debate_plugin import DebateDecided, DebateTeam, Engine, Plan, abacus, ring


async def main() -> None:
    with Engine.load(abacus.FOLDER) as engine:
        bold, calm = engine.client(temperature=1.0, seed=1), engine.client(temperature=0.3, seed=2)
        team = DebateTeam(
            [debater("ada", bold), debater("ben", bold), debater("cleo", calm), debater("dan", calm)],
            judge=judge(calm),
            plan=Plan(rounds=2, topology=ring(), decide="judge"),
            kind="number",
        )
        result = await team.run(task="What is the result of 3+12*17+8-5*9?")
    for message in result.messages:
        if isinstance(message, DebateDecided):
            for number, vote in enumerate(message.outcome.votes, 1):
                print(f"round {number}:", {group.answer: group.voters for group in vote.groups})
            print(f"decided by {message.outcome.decided_by}: {message.outcome.answer}")


asyncio.run(main())
