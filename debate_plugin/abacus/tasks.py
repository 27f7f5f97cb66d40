"""The tasks Abacus is taught: for each a row of text, and how much weight the loss on its characters has."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from debate_plugin import directions as say
from debate_plugin.abacus import cast, phrases
from debate_plugin.abacus.replies import Case, Said, cleaned, scrambled, summarized
from debate_plugin.abacus.tokenizer import END, rendered
from debate_plugin.abacus.workings import Working, answer_of, working
from debate_plugin.answers import same_answer
from debate_plugin.directions import Directions, Heard
from debate_plugin.evaluation.arithmetic import Operands, question

DIRECTIONS = Directions()
# What can be worked out is not copied: so two in three replies to repeat make no sense in some of their numbers.
NONSENSE = 2 / 3
SCRAMBLED = (0.15, 0.4, 1.0)  # share of the numbers in such a reply
SCORE_WEIGHT = 20.0  # of the loss on a judge's score: one token in a hundred is else hardly trained
FORM_WEIGHT = 0.1  # of the loss on digits whose form is to be learnt, and not their content

Messages = list[tuple[str, str]]


@dataclass(frozen=True)
class Row:
    """Pieces of text, each with the weight of the loss on it."""

    pieces: tuple[tuple[str, float], ...]

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.pieces)


class Teacher:
    """Makes rows; whatever is drawn at random is drawn from `rng`."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def answer(self, operands: Operands) -> Row:
        """An opening, or the question alone answered as a cleaned reply, where fine-tuning on debates starts.

        Both draw their ways of working alike, so that tuning the one moves the other.
        """
        return self.bare(operands) if self.rng.random() < 0.35 else self.opening(operands)

    def drill(self, operands: Sequence[Operands]) -> Row:
        """Last steps alone, for their results: taking away is by far the hardest to learn."""
        pieces: list[tuple[str, float]] = []
        for a, b, c, d, e, f in operands:
            total, taken = a + b * c + d, e * f
            pieces += [(f"\nE: {total}-{taken}=", 0), (str(total - taken), 1)]
        return Row(tuple(pieces))

    def verdicts(self, operands: Sequence[Operands]) -> Row:
        """Verdicts alone, for their scores: whether two numbers are the same."""
        pieces: list[tuple[str, float]] = []
        for one in operands:
            found = int(answer_of(one))
            others = (
                found + self.rng.choice((-1, 1)) * self.rng.choice((1, 2, 5, 10, 40, 100)),
                self.rng.randint(-300, 900),
            )
            says = found if self.rng.random() < 0.5 else self.rng.choice(others)
            pieces += [(phrases.verdict(str(found), str(says)), 0), (_score(found == says), 1)]
        return Row(tuple(pieces))

    def bare(self, operands: Operands) -> Row:
        ending = f"{phrases.CONCLUSION}{answer_of(operands)}."
        return _row([("user", question(operands).text)], [*_taught(working(operands, self.rng)), (ending, 1)])

    def opening(self, operands: Operands) -> Row:
        confident = self._mostly()
        prompt = say.open_debate(DIRECTIONS, question(operands), confidence=confident)
        ending = self._ending(operands, confident)
        return _row([("system", cast.DEBATER), ("user", prompt)], [*_taught(working(operands, self.rng)), *ending])

    def rebuttal(self, case: Case) -> Row:
        """The second turn, after raw replies, their digest, or nobody's: works every hard product out."""
        confident = self._mostly()
        own, *peers = self._seated(case)
        messages, first = self._second_turn(case, own, peers, confident)
        kept = same_answer("number", own.answer, answer_of(case.operands))
        return _row(
            messages,
            [
                (f"{first}\n", 1),
                *_taught(working(case.operands, self.rng, careful=True)),
                (f"\n{phrases.KEPT if kept else phrases.CHANGED}", 1),
                *self._ending(case.operands, confident),
            ],
        )

    def rebuttal_context(self, case: Case) -> tuple[Messages, list[Said]]:
        """What a debater of the room has before it in the second round, and the openings in that, its own first."""
        own, *peers = self._seated(case)
        return self._second_turn(case, own, peers, True)[0], [own, *peers]

    def summary(self, case: Case) -> Row:
        confident = self._mostly()
        replies = self._to_repeat(case, self.rng.choice((1, 2, 2, 3, 4)))
        texts = [Heard(text=reply.with_confidence(confident)) for reply in replies]
        messages = [("system", cast.SUMMARIZER), ("user", say.digest(DIRECTIONS, case.question, texts))]
        summary = "\n".join(summarized(reply, confidence=confident) for reply in replies)
        return _row(messages, [(summary, 1)])

    def cleaning(self, case: Case) -> Row:
        (reply,) = self._to_repeat(case, 1)
        messages = [("system", cast.CLEANER), ("user", say.clean(DIRECTIONS, case.question, self._talk(reply)))]
        return _row(messages, [(cleaned(reply), 1)])

    def judging(self, case: Case) -> Row:
        """Right and wrong replies as often as each other, where the room has both."""
        replies, wanted = case.replies, self.rng.random() < 0.5
        self.rng.shuffle(replies)
        reply = next((reply for reply in replies if reply.right == wanted), replies[0])
        prompt = say.judge(DIRECTIONS, case.question, self._talk(reply))
        pieces = _taught(working(case.operands, self.rng, careful=True))
        verdict = (phrases.verdict(answer_of(case.operands), reply.answer), 1.0)
        score = (_score(reply.right), SCORE_WEIGHT)
        return _row([("system", cast.JUDGE), ("user", prompt)], [*pieces, verdict, score])

    def sureness(self, case: Case) -> Row:
        """A reply as the model gave it, for the two digits of its confidence alone."""
        if case.rebuttals and self.rng.random() < 0.4:
            context, said = self.rng.choice(case.rebuttals)
        else:
            said = self.rng.choice(case.openings)
            prompt = say.open_debate(DIRECTIONS, case.question, confidence=True)
            context = rendered([("system", cast.DEBATER), ("user", prompt)]) + "<|assistant|>"
        return Row(((context + said.text, 0), (f"{phrases.CONFIDENCE}{said.confidence}{END}", 1)))

    def _second_turn(self, case: Case, own: Said, peers: Sequence[Said], confident: bool) -> tuple[Messages, str]:
        """The messages before a debater's second turn, and the sentence its reply starts with."""
        asked = case.question
        if not peers:
            prompt, first = say.check(DIRECTIONS, asked, confidence=confident), phrases.CHECKED
        elif self.rng.random() < 0.7 or len(peers) > 3:
            summary = "\n".join(summarized(peer, confidence=confident) for peer in peers)
            prompt = say.rebut_digest(DIRECTIONS, asked, summary, confidence=confident)
            first = phrases.COMPARED_SUMMARY
        else:
            said = [Heard(text=peer.with_confidence(confident)) for peer in peers]
            prompt, first = say.rebut(DIRECTIONS, asked, said, confidence=confident), phrases.COMPARED
        messages = [
            ("system", cast.DEBATER),
            ("user", say.open_debate(DIRECTIONS, asked, confidence=confident)),
            ("assistant", own.with_confidence(confident)),
            ("user", prompt),
        ]
        return messages, first

    def _ending(self, operands: Operands, confident: bool) -> list[tuple[str, float]]:
        ending = [(f"{phrases.ANSWER}{answer_of(operands)}", 1.0)]
        if confident:  # how sure to be is learnt from the model's own replies, see `sureness`
            ending += [(phrases.CONFIDENCE, 1), (str(self.rng.randint(1, 9) * 10), FORM_WEIGHT)]
        return ending

    def _seated(self, case: Case) -> list[Said]:
        """A debater's own opening and those of the peers it hears."""
        count = 1 + self.rng.choice((0, 1, 2, 2, 2, 3, 4, 4))
        return self.rng.sample(case.openings, min(count, len(case.openings)))

    def _to_repeat(self, case: Case, count: int) -> list[Said]:
        replies = self.rng.sample(case.replies, min(count, len(case.replies)))
        return [
            scrambled(said, self.rng, share=self.rng.choice(SCRAMBLED)) if self.rng.random() < NONSENSE else said
            for said in replies
        ]

    def _talk(self, reply: Said) -> str:
        """The reply, now and then as if it were a later one."""
        if reply.text.startswith("A: ") and self.rng.random() < 0.4:
            first = self.rng.choice((phrases.COMPARED, phrases.COMPARED_SUMMARY, phrases.CHECKED))
            working, answer = reply.text.split(phrases.ANSWER)
            last = self.rng.choice((phrases.KEPT, phrases.CHANGED))
            return f"{first}\n{working}\n{last}{phrases.ANSWER}{answer}"
        return reply.text

    def _mostly(self) -> bool:
        return self.rng.random() < 0.75


def _score(right: bool) -> str:
    return "5" if right else "1"


def _taught(pieces: Working) -> list[tuple[str, float]]:
    return [(piece.text, float(piece.taught)) for piece in pieces]


def _row(messages: Messages, reply: list[tuple[str, float]]) -> Row:
    return Row(((rendered(messages) + "<|assistant|>", 0), *reply, (END, 1)))
