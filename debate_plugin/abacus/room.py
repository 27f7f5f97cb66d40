"""Rooms of debaters, as material for the roles: imagined ones at first, later ones full of the model itself."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from debate_plugin import directions as say
from debate_plugin.abacus import cast, phrases
from debate_plugin.abacus.replies import Case, Said, grade, read
from debate_plugin.abacus.tasks import DIRECTIONS, Teacher
from debate_plugin.abacus.tokenizer import rendered
from debate_plugin.abacus.workings import answer_of, is_gap, text_of, working
from debate_plugin.engine.batch import sample
from debate_plugin.engine.sampling import Prompt, Sampling
from debate_plugin.evaluation.arithmetic import Operands, question

ROOM = 5  # debaters in a room
_BATCH = 256
_LONGEST = 200  # tokens of a reply


class Speaker:
    """A model that replies to rendered prompts, many at once; the same seed and calls give the same replies."""

    def __init__(self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> None:
        self._model, self._tokenizer, self._seed, self._calls = model, tokenizer, seed, 0

    def __call__(self, prompts: Sequence[str], *, temperature: float = 1.0) -> list[str]:
        """One reply to each prompt; temperature 0 is greedy."""
        if not prompts:
            return []
        self._calls += 1
        encoded = self._tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
        order = sorted(range(len(encoded)), key=lambda place: len(encoded[place]))
        texts = [""] * len(encoded)
        for start in range(0, len(order), _BATCH):
            places = order[start : start + _BATCH]
            batch = [
                Prompt(
                    ids=tuple(encoded[place]),
                    sampling=Sampling(
                        temperature=temperature, max_tokens=_LONGEST, seed=f"{self._seed}/{self._calls}/{place}"
                    ),
                )
                for place in places
            ]
            for slot, completion in sample(self._model, self._tokenizer, batch):
                texts[places[slot]] = completion.text
        return texts


def opening_prompt(operands: Operands) -> str:
    prompt = say.open_debate(DIRECTIONS, question(operands), confidence=False)
    return rendered([("system", cast.DEBATER), ("user", prompt)]) + "<|assistant|>"


def accuracy(speak: Speaker, operands: Sequence[Operands], *, temperature: float) -> float:
    """The share of questions that one opening answers right."""
    texts = speak([opening_prompt(one) for one in operands], temperature=temperature)
    said = [read(question(one), text) for one, text in zip(operands, texts, strict=True)]
    return sum(one is not None and one.right for one in said) / len(said)


def imagined(operands: Operands, rng: random.Random) -> Case:
    """A room as it may come to be once the model can speak: products that nobody learnt by heart are guessed."""

    def recall(left: int, right: int) -> int:
        return max(0, left * right + rng.randint(-60, 60)) if is_gap(left, right) else left * right

    case, wanted = Case(operands=operands, openings=[]), answer_of(operands)
    for _ in range(ROOM):
        steps = text_of(working(operands, rng, recall=recall))
        answer = re.findall(r"-?\d+", steps)[-1]
        text = f"{steps}{phrases.ANSWER}{answer}"
        sure = 10 * rng.randint(1, 9)
        case.openings.append(Said(text=text, answer=answer, right=answer == wanted, confidence=sure))
    return case


def convene(speak: Speaker, operands: Sequence[Operands], rng: random.Random) -> list[Case]:
    """Hold the first two rounds of a debate on each question, one debater's second; grade every reply's confidence."""
    seats = [one for one in operands for _ in range(ROOM)]
    texts = speak([opening_prompt(one) for one in seats])
    cases: dict[Operands, Case] = {one: Case(operands=one, openings=[]) for one in operands}
    for one, text in zip(seats, texts, strict=True):
        if (said := read(question(one), text)) is not None:
            cases[one].openings.append(said)
    rooms = [case for case in cases.values() if len(case.openings) >= 2]
    grade([said for case in rooms for said in case.openings])
    if rooms:  # a model that has learnt nothing yet holds none
        _reply(speak, rooms, rng)
    return rooms


def _reply(speak: Speaker, rooms: Sequence[Case], rng: random.Random) -> None:
    teacher = Teacher(rng)
    seated = [teacher.rebuttal_context(case) for case in rooms]
    contexts = [rendered(messages) + "<|assistant|>" for messages, _ in seated]
    for case, (_, openings), context, text in zip(rooms, seated, contexts, speak(contexts), strict=True):
        if (said := read(case.question, text)) is not None:
            said.agreement = round(sum(one.answer == said.answer for one in openings) / len(openings), 1)
            case.rebuttals.append((context, said))
    grade([said for case in rooms for _, said in case.rebuttals])
