"""What `kill -9` takes from a store: a process that holds debates is killed at random moments, again and again.

    python benchmarks/kills.py [--kills 200] [--seed 0] [--json]

A process holds 40 debates (3 debaters, 3 rounds) with `generate`, 8 at a time, into a SQLite file; a model call takes
10 to 30 ms. It is killed within 0.4 seconds of its first answer or, one time in five, before that. What it left is
examined in a copy, so that the next process finds the file as the kill left it and goes on from there. A store that is
full is followed by an empty one. Each answer is noted in a log when it is given, and so paid for: the log tells what
was asked again.

With `--into FOLDER` it is the process that is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autogen_core.models import AssistantMessage, CreateResult, LLMMessage, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_agents import debater
from debate_plugin import DebateTeam, InputError, Plan, Question, Series, Store, Transcript, generate
from debate_plugin.moderator import ModeratorState
from debate_plugin.transcript import debate_id

NAMES, ROUNDS = ("ada", "ben", "cleo"), 3
QUESTIONS = [Question.of(f"What is {number}+1?", kind="number") for number in range(40)]
CONCURRENCY = 8
CALL = 0.01, 0.03  # seconds, drawn between these
AFTER_FIRST_ANSWER = 0.4  # seconds within which a process is killed
EARLY = 0.2  # the share of processes that are killed before their first answer
STUCK = 120.0  # seconds

Answer = tuple[str, str, int]
"""A question's text, who answered it, and in which round."""


@dataclass(kw_only=True)
class Violations:
    """What a kill must not do."""

    stores_not_opened: int = 0  # for the examination, or by the next process
    transcripts_unreadable: int = 0
    transcripts_lost: int = 0  # that were in the store after an earlier kill, or that `generate` had told of
    transcripts_doubled: int = 0  # beside another of the same question
    committed_stages_paid_twice: int = 0  # with an answer that the store held at the moment of the kill
    debates_that_lost_two_stages: int = 0  # in one kill: answers that were paid for and are not in the store
    questions_without_whole_transcript: int = 0  # in the end


@dataclass(kw_only=True)
class Tally:
    """All that was seen."""

    kills: int = 0
    early_kills: int = 0  # of them, those before the process had given an answer
    stores: int = 0
    answers: int = 0
    repeated_answers: int = 0
    violations: Violations = field(default_factory=Violations)


class Noting(ReplayChatCompletionClient):
    """Notes each answer in a log when it is given."""

    def __init__(self, name: str, log: Path) -> None:
        super().__init__([])
        self._name = name
        self._log = log

    async def create(self, messages: Sequence[LLMMessage], **settings: Any) -> CreateResult:
        await asyncio.sleep(random.uniform(*CALL))
        question = str(messages[1].content).partition("?")[0] + "?"
        number = sum(isinstance(message, AssistantMessage) for message in messages) + 1
        with self._log.open("a") as log:
            log.write(f"{question}|{self._name}|{number}\n")
        nothing = RequestUsage(prompt_tokens=0, completion_tokens=0)
        return CreateResult(finish_reason="stop", content=_said(self._name, number), usage=nothing, cached=False)


class Place:
    """One store, and what the processes that filled it have noted beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "debates.sqlite"
        self.log = folder / "answers.txt"
        self.told = folder / "told.txt"  # questions whose debates `generate` has yielded
        self.errors = folder / "errors.txt"

    def series(self, store: Store) -> Series:
        def team() -> DebateTeam:
            seated = [debater(name, Noting(name, self.log)) for name in NAMES]
            return DebateTeam(seated, plan=Plan(rounds=ROUNDS), kind="number")

        return Series(make_team=team, store=store)

    async def fill(self) -> None:
        """What the process does that is killed."""
        with Store.open(self.store) as store:
            async for held in generate(self.series(store), QUESTIONS, concurrency=CONCURRENCY):
                with self.told.open("a") as told:
                    told.write(f"{held.question.text}\n")

    def answers(self) -> list[Answer]:
        asked = [line.split("|") for line in _lines(self.log)]
        return [(question, name, int(number)) for question, name, number in asked]


@dataclass(kw_only=True)
class Left:
    """What is in a store."""

    transcripts: list[Transcript]
    unreadable: int
    answers: set[Answer]  # in transcripts, and in what is kept of unfinished debates

    @classmethod
    def examined(cls, place: Place) -> Left:
        """From a copy, which is recovered as the file itself will be; there may be no file yet.

        Raises:
            InputError: it does not open.
        """
        copy = Place(place.folder / "copy")
        shutil.rmtree(copy.folder, ignore_errors=True)
        copy.folder.mkdir()
        for file in place.folder.glob(f"{place.store.name}*"):
            if not file.name.endswith("-shm"):  # an index of the log, which is made anew
                shutil.copy(file, copy.folder)
        with Store.open(copy.store) as store:
            records = list(store.records())
            transcripts = [record for record in records if isinstance(record, Transcript)]
            left = cls(transcripts=transcripts, unreadable=len(records) - len(transcripts), answers=set())
            for transcript in transcripts:
                left.answers |= {
                    (transcript.question.text, reply.turn.agent, reply.turn.round) for reply in transcript.replies
                }
            series = copy.series(store)
            settings = series.all_settings()
            for question in QUESTIONS:
                state = store.kept(debate_id(series.run, settings, question))
                if state is not None:
                    debate = ModeratorState.model_validate(json.loads(state)["agent_states"]["debate"])
                    turns = [heard.reply.turn for heard in debate.heard]
                    left.answers |= {(question.text, turn.agent, turn.round) for turn in turns}
        with closing(sqlite3.connect(copy.store)) as connection:
            found = connection.execute("PRAGMA integrity_check").fetchone()[0]
        if found != "ok":
            raise InputError(f"expected a whole SQLite file, its check says: {found}")
        return left


class Killer:
    """Fills stores with processes that it kills, and examines what they leave."""

    def __init__(self, folder: Path, *, kills: int, seed: int = 0) -> None:
        self.tally = Tally()
        self._folder = folder
        self._kills = kills
        self._drawn = random.Random(seed)
        self._startup = 1.0  # seconds to the first answer, as last seen

    def run(self) -> Tally:
        while self.tally.kills < self._kills:
            self.tally.stores += 1
            place = Place(self._folder / str(self.tally.stores))
            place.folder.mkdir()
            self._fill(place)
            answers = place.answers()
            self.tally.answers += len(answers)
            self.tally.repeated_answers += len(answers) - len(set(answers))
        return self.tally

    def _fill(self, place: Place) -> None:
        """Start process after process, until one comes to its end."""
        wrong = self.tally.violations
        before, answers_before = Left(transcripts=[], unreadable=0, answers=set()), 0
        while True:
            code = self._killed(place)
            if code not in (0, -signal.SIGKILL):
                print(f"{place.folder}: {place.errors.read_text()}", file=sys.stderr)
                wrong.stores_not_opened += 1
                return
            try:
                left = Left.examined(place)
            except InputError as error:
                print(f"{place.folder}: {error}", file=sys.stderr)
                wrong.stores_not_opened += 1
                return
            answers = place.answers()
            self._compare(place, before, left, asked=set(answers[answers_before:]), answered=set(answers))
            before, answers_before = left, len(answers)
            if code == 0:
                whole = {transcript.question.text for transcript in left.transcripts if _is_whole(transcript)}
                wrong.questions_without_whole_transcript += len(QUESTIONS) - len(whole)
                return

    def _compare(self, place: Place, before: Left, left: Left, *, asked: set[Answer], answered: set[Answer]) -> None:
        """Look for what a process has done wrong, or the one before it, whose work it went on with."""
        wrong = self.tally.violations
        wrong.transcripts_unreadable += left.unreadable
        ids = {transcript.id for transcript in left.transcripts}
        questions = Counter(transcript.question.text for transcript in left.transcripts)
        lost = {transcript.question.text for transcript in before.transcripts if transcript.id not in ids}
        wrong.transcripts_lost += len(lost | (set(_lines(place.told)) - questions.keys()))
        wrong.transcripts_doubled += questions.total() - len(questions)
        wrong.committed_stages_paid_twice += len(_stages(asked & before.answers))
        stages_lost = Counter(question for question, _ in _stages(answered - left.answers))
        wrong.debates_that_lost_two_stages += sum(stages > 1 for stages in stages_lost.values())

    def _killed(self, place: Place) -> int:
        """The exit status of a process that was killed, or ended before it could be; once all are killed none is."""
        size, is_last = _size(place.log), self.tally.kills == self._kills
        is_early = self._drawn.random() < EARLY
        moment = self._drawn.random()
        with place.errors.open("w") as errors:
            process = subprocess.Popen([sys.executable, __file__, "--into", str(place.folder)], stderr=errors)
        started = time.monotonic()
        try:
            if is_last:
                return process.wait(STUCK)
            while not is_early and process.poll() is None and _size(place.log) == size:
                if time.monotonic() > started + STUCK:
                    raise RuntimeError(f"expected an answer within {STUCK:g} seconds, got none; see {place.folder}")
                time.sleep(0.002)
            if not is_early:
                self._startup = time.monotonic() - started
            process.wait(moment * (self._startup if is_early else AFTER_FIRST_ANSWER))
        except subprocess.TimeoutExpired:
            if is_last:
                raise
        finally:
            process.kill()  # SIGKILL
            process.wait()
        if process.returncode == -signal.SIGKILL:
            self.tally.kills += 1
            self.tally.early_kills += _size(place.log) == size
        return process.returncode


def _stages(answers: set[Answer]) -> set[tuple[str, int]]:
    return {(question, number) for question, _, number in answers}


def _said(name: str, number: int) -> str:
    return f"I am {name}, in round {number}. Answer: 4"


def _is_whole(transcript: Transcript) -> bool:
    said = [reply.text for reply in transcript.replies]
    return said == [_said(name, number) for number in range(1, ROUNDS + 1) for name in NAMES]


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--into", type=Path, help="be the process that is killed: fill the store in this folder")
    given = parser.parse_args()
    if given.into is not None:
        asyncio.run(Place(given.into).fill())
        return
    with tempfile.TemporaryDirectory() as folder:
        tally = Killer(Path(folder), kills=given.kills, seed=given.seed).run()
    if given.json:
        print(json.dumps(asdict(tally), indent=2))
        return
    rows = {
        "kills": tally.kills,
        "of them before the first answer": tally.early_kills,
        "stores filled": tally.stores,
        **{name.replace("_", " "): count for name, count in asdict(tally.violations).items()},
        "answers": tally.answers,
        "of them asked again": f"{tally.repeated_answers} ({tally.repeated_answers / tally.answers:.3f})",
    }
    for name, value in rows.items():
        print(f"{name:38}{value}")


if __name__ == "__main__":
    main()
