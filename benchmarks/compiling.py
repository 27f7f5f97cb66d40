"""How long it takes to compile 100,000 debates, and how much memory: `python benchmarks/compiling.py`.

Debates of three debaters in two rounds, with replies of some 120 words about word problems, are written into a store;
then `debate compile` makes preference rows of them with all filters but near-duplicates, and again with those. Each
compilation is a process of its own, whose peak memory the system tells.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_agents import debater
from debate_plugin import DebateTeam, Question, QuestionMessage, Recorder, Store, Transcript
from debate_plugin.answers import Ballot, Vote, count_votes

NAMES = ("ada", "ben", "cleo")
PEOPLE = ("Anna", "Bilal", "Chen", "Dmitri", "Elif", "Farah", "Goran", "Hana", "Igor", "Jun", "Kofi", "Lena")
THINGS = ("apples", "books", "chairs", "drums", "eggs", "flutes", "grapes", "hats", "inks", "jars", "kites", "lamps")
STEPS = (
    "First I write down what is given: {a} {thing} for {person}, and {b} more for each of the {c} days that follow.",
    "Multiplying {b} by {c} gives {bc}, because {b} times {c} is the same as {b} added to itself {c} times.",
    "Now I add the {a} that were there at the start to the {bc} that came later, which makes {total} in all.",
    "To check this I go backwards: {total} less {a} leaves {bc}, and {bc} shared over {c} days is {b} a day again.",
    "One might think that the first day counts twice, but the question says that {person} begins with {a} {thing}.",
    "So nothing is left over, no day is missed, and the number of {thing} that {person} has in the end is {said}.",
)
HELD_OUT = 200  # questions that no row may hold


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--transcripts", type=int, default=100_000)
    options.add_argument("--threshold", type=float, default=0.9, help="of near-duplicates")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.monotonic()
        template = asyncio.run(_template())
        with Store.open(folder / "debates.sqlite") as store:
            _fill(store, template, chosen.transcripts)
        size = (folder / "debates.sqlite").stat().st_size / 2**20
        print(f"{chosen.transcripts} debates written in {time.monotonic() - started:.0f} s, {size:.0f} MiB")
        held_out = [Question.of(_question(random.Random(f"held out/{number}"))[0]) for number in range(HELD_OUT)]
        (folder / "held_out.txt").write_text("\n".join(question.text for question in held_out))
        plain = _compiled(folder, "plain")
        distinct = _compiled(folder, "distinct", "--near-duplicates", str(chosen.threshold))
    print(f"near-duplicates cost {distinct - plain:.1f} s more, {(distinct - plain) / plain:.2f} of the rest")


def _compiled(folder: Path, name: str, *more: str) -> float:
    """Seconds that `debate compile` takes, printed with its peak memory and what it made."""
    filters = "--min-agreement 0.5 --no-debate-talk --length-ratio 4 --held-out held_out.txt"
    words = f"compile --rule majority_minority --out {name}.jsonl {filters} --test-share 0.1 --json".split()
    command = [sys.executable, "-m", "debate_plugin", *words, *more]
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE)
    assert process.stdout is not None
    card = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    assert status == 0
    print(
        f"{name}: {seconds:.1f} s, {used.ru_maxrss / 1024:.0f} MiB at most, {card['rows']} rows of "
        f"{card['transcripts']} debates; left out {card['rows_left_out']}, without a row {card['without_row']}"
    )
    return seconds


async def _template() -> Transcript:
    """A real debate, whose words are then exchanged."""
    team = DebateTeam([debater(name, ReplayChatCompletionClient(["Answer: 1"] * 2)) for name in NAMES], kind="number")
    with Store.open(":memory:") as store:
        question = Question.of("QUESTION", kind="number", source="synthetic", licence="CC0")
        async for _ in Recorder(store).record(team.run_stream(task=QuestionMessage.of(question))):
            pass
        (transcript,) = store.transcripts()
    return transcript


def _fill(store: Store, template: Transcript, count: int) -> None:
    for number in range(count):
        store.add(_debate(template, number))


def _question(drawn: random.Random) -> tuple[str, dict[str, str | int]]:
    a, b, c = drawn.randint(2, 999), drawn.randint(2, 99), drawn.randint(2, 99)
    given: dict[str, str | int] = {
        "person": drawn.choice(PEOPLE),
        "thing": drawn.choice(THINGS),
        "a": a,
        "b": b,
        "c": c,
    }
    text = "{person} has {a} {thing} and gets {b} more on each of {c} days. How many {thing} does {person} have then?"
    return text.format(**given), {**given, "bc": b * c, "total": a + b * c}


def _debate(template: Transcript, number: int) -> Transcript:
    """Two debates in three are disputed; those who are wrong in round 1 mostly come round."""
    drawn = random.Random(number)
    text, given = _question(drawn)
    right = int(given["total"])
    first = [right if drawn.random() < 0.7 else right + drawn.randint(1, 9) for _ in NAMES]
    last = [said if drawn.random() < 0.3 else right for said in first]
    said = {1: [_reply(drawn, given, one) for one in first], 2: [_reply(drawn, given, one) for one in last]}
    stages = []
    for stage in template.stages:
        replies = []
        for place, reply in enumerate(stage):
            prompt = reply.turn.prompt.replace("QUESTION", text)
            if reply.turn.round == 2:
                for other in (one for one in range(3) if one != place):
                    prompt = prompt.replace("Answer: 1", said[1][other], 1)
            changed = reply.turn.__class__(**{**vars(reply.turn), "prompt": prompt})
            answer = str((first if reply.turn.round == 1 else last)[place])
            reply_text = said[reply.turn.round][place]
            replies.append(reply.__class__(**{**vars(reply), "turn": changed, "text": reply_text, "answer": answer}))
        stages.append(tuple(replies))
    votes = tuple(_vote(answers) for answers in (first, last))
    decided = votes[1].groups[0]
    winner = NAMES.index(decided.voters[0])
    outcome = template.outcome.__class__(
        **{
            **vars(template.outcome),
            "answer": decided.answer,
            "text": said[2][winner],
            "debater": NAMES[winner],
            "votes": votes,
        }
    )
    question = Question.of(text, kind="number", source="synthetic", licence="CC0")
    changes = {"id": f"{number:024x}", "question": question, "stages": tuple(stages), "outcome": outcome}
    return template.model_copy(update=changes)


def _reply(drawn: random.Random, given: dict[str, str | int], said: int) -> str:
    steps = [step.format(**given, said=said) for step in STEPS]
    kept = [step for step in steps if drawn.random() < 0.85] or steps
    return "\n".join([*kept, f"Answer: {said}", f"Confidence: {drawn.randint(40, 99)}"])


def _vote(answers: list[int]) -> Vote:
    ballots = [Ballot(voter=name, answer=str(answer)) for name, answer in zip(NAMES, answers, strict=True)]
    return count_votes("number", ballots)


if __name__ == "__main__":
    main()
