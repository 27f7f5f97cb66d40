"""Rooms full of the model's own debaters: what they open with and what they reply, as material for the roles."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from debate_plugin import directions as say
from debate_plugin.abacus import cast
from debate_plugin.abacus.replies import Calibration, Case, Said, read
from debate_plugin.abacus.sampler import Sampler
from debate_plugin.abacus.tasks import DIRECTIONS, Teacher
from debate_plugin.abacus.tokenizer import rendered
from debate_plugin.evaluation.arithmetic import Operands, question

ROOM = 3  # debaters in a room


def opening_prompt(operands: Operands, *, confidence: bool = False) -> str:
    prompt = say.open_debate(DIRECTIONS, question(operands), confidence=confidence)
    return rendered([("system", cast.DEBATER), ("user", prompt)]) + "<|assistant|>"


def accuracy(sampler: Sampler, operands: Sequence[Operands]) -> float:
    """The share of questions that one sampled opening answers right."""
    samples = sampler([opening_prompt(one) for one in operands])
    said = [read(question(one), sample) for one, sample in zip(operands, samples, strict=True)]
    return sum(one is not None and one.right for one in said) / len(said)


def convene(sampler: Sampler, operands: Sequence[Operands], rng: random.Random) -> list[Case]:
    """Hold the first two rounds of a debate on each question, one debater's second; grade every reply's confidence."""
    seats = [one for one in operands for _ in range(ROOM)]
    samples = sampler([opening_prompt(one) for one in seats])
    cases: dict[Operands, Case] = {one: Case(operands=one, openings=[]) for one in operands}
    for one, sample in zip(seats, samples, strict=True):
        if (said := read(question(one), sample)) is not None:
            cases[one].openings.append(said)
    rooms = [case for case in cases.values() if len(case.openings) == ROOM]
    _grade([said for case in rooms for said in case.openings])
    _reply(sampler, rooms, rng)
    return rooms


def _reply(sampler: Sampler, rooms: Sequence[Case], rng: random.Random) -> None:
    if not rooms:  # a model that has learnt nothing yet
        return
    teacher, contexts = Teacher(rng), []
    for case in rooms:
        own, *peers = rng.sample(case.openings, ROOM)
        messages, _ = teacher.rebuttal_context(case, own, peers, True)
        contexts.append(rendered(messages) + "<|assistant|>")
    for case, context, sample in zip(rooms, contexts, sampler(contexts), strict=True):
        if (said := read(case.question, sample)) is not None:
            answers = Counter(opening.answer for opening in case.openings)
            said.agreement = answers[said.answer] / ROOM
            case.rebuttals.append((context, said))
    _grade([said for case in rooms for _, said in case.rebuttals])


def _grade(replies: Sequence[Said]) -> None:
    if {said.right for said in replies} == {True, False}:
        Calibration(replies).grade(replies)
