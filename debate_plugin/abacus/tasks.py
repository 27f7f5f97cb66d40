"""The tasks Abacus is taught: for each a row of text, and which of its characters the loss is taken on."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from debate_plugin import directions as say
from debate_plugin.abacus import cast, phrases
from debate_plugin.abacus.replies import Case, Said, cleaned, summarized
from debate_plugin.abacus.tokenizer import END, rendered
from debate_plugin.abacus.workings import Piece, Working, answer_of, is_gap, lines_of, working
from debate_plugin.answers import same_answer
from debate_plugin.directions import Directions
from debate_plugin.evaluation.arithmetic import Operands, question

DIRECTIONS = Directions()

Messages = list[tuple[str, str]]


@dataclass(frozen=True)
class Row:
    """Pieces of text, each with whether the loss is taken on it."""

    pieces: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.pieces)


@dataclass
class Teacher:
    """Makes rows; `schooling` says whether results are still taught, or only what can be read off the context."""

    rng: random.Random
    schooling: bool = True

    def drill(self, operands: Sequence[Operands]) -> Row:
        """Single steps out of workings, for their results alone."""
        pieces: list[tuple[str, bool]] = []
        for one in operands:
            lines = lines_of(working(one, self.rng))
            for line in self.rng.sample(lines, 3):
                label = self.rng.choice("ABCDE")
                pieces.append((f"\n{label}: ", False))
                pieces += [(piece.text, piece.fact is not None and not is_gap(piece.fact)) for piece in line]
        return Row(tuple(pieces))

    def copying(self) -> Row:
        """Lines of digits and signs without sense, said again: what cleaning and summing up are made of."""
        lines = []
        for label in "ABCDE":
            numbers = [str(self.rng.randint(0, self.rng.choice((29, 999)))) for _ in range(self.rng.randint(2, 5))]
            line = "".join(number + self.rng.choice("+-*") for number in numbers)[:-1]
            lines.append(f"{label}: {line}")
        text = "\n".join(lines)
        return _row([("user", text)], [(text, True)])

    def opening(self, operands: Operands) -> Row:
        confident = self._mostly()
        prompt = say.open_debate(DIRECTIONS, question(operands), confidence=confident)
        messages = [("system", cast.DEBATER), ("user", prompt)]
        return self._reply(messages, None, operands, None, confident)

    def bare(self, operands: Operands) -> Row:
        """The question alone, answered as a cleaned reply: what fine-tuning on debates starts from."""
        messages = [("user", question(operands).text)]
        pieces = self._taught(working(operands, self.rng), "")
        return _row(messages, [*pieces, (f"{phrases.CONCLUSION}{answer_of(operands)}.", True)])

    def rebuttal(self, case: Case) -> Row:
        """The second turn after real openings: raw replies, their digest, or nobody's; the target is right."""
        confident = self._mostly()
        own, *peers = self._seated(case)
        messages, first = self.rebuttal_context(case, own, peers, confident)
        return self._reply(messages, first, case.operands, own, confident)

    def rebuttal_context(
        self, case: Case, own: Said, peers: Sequence[Said], confident: bool, digest: bool | None = None
    ) -> tuple[Messages, str]:
        """What a debater has before it in the second round, and the sentence its reply starts with."""
        asked = case.question
        said = [peer.with_confidence(confident) for peer in peers]
        if digest is None:
            digest = self.rng.random() < 0.5
        if not peers:
            prompt, first = say.check(DIRECTIONS, asked, confidence=confident), phrases.CHECKED
        elif digest:
            summary = "\n".join(summarized(peer, confidence=confident) for peer in peers)
            prompt = say.rebut_digest(DIRECTIONS, asked, summary, confidence=confident)
            first = phrases.COMPARED_SUMMARY
        else:
            prompt, first = say.rebut(DIRECTIONS, asked, said, confidence=confident), phrases.COMPARED
        messages = [
            ("system", cast.DEBATER),
            ("user", say.open_debate(DIRECTIONS, asked, confidence=confident)),
            ("assistant", own.with_confidence(confident)),
            ("user", prompt),
        ]
        return messages, first

    def summary(self, case: Case) -> Row:
        confident = self._mostly()
        count = self.rng.choice((1, 2, 2, 2, 2, 3))
        replies = self._any(case, count, wrong=0.5)
        texts = [reply.with_confidence(confident) for reply in replies]
        messages = [("system", cast.SUMMARIZER), ("user", say.digest(DIRECTIONS, case.question, texts))]
        summary = "\n".join(summarized(reply, confidence=confident) for reply in replies)
        return _row(messages, [(summary, True)])

    def cleaning(self, case: Case) -> Row:
        (reply,) = self._any(case, 1, wrong=0.7)
        messages = [("system", cast.CLEANER), ("user", say.clean(DIRECTIONS, case.question, reply.text))]
        return _row(messages, [(cleaned(reply), True)])

    def judging(self, case: Case) -> Row:
        """Right and wrong replies as often as each other, where the room has both."""
        replies = self._any(case, 8)
        right = self.rng.random() < 0.5
        reply = next((reply for reply in replies if reply.right == right), replies[0])
        prompt = say.judge(DIRECTIONS, case.question, reply.text)
        verdict = f"{phrases.SAYS}{reply.answer}.{phrases.SCORE}{5 if reply.right else 1}"
        pieces = self._taught(working(case.operands, self.rng), prompt)
        return _row([("system", cast.JUDGE), ("user", prompt)], [*pieces, (verdict, True)])

    def sureness(self, case: Case) -> Row:
        """A reply as the model gave it, for the two digits of its confidence alone."""
        if case.rebuttals and self.rng.random() < 0.4:
            context, said = self.rng.choice(case.rebuttals)
        else:
            said = self.rng.choice(case.openings)
            prompt = say.open_debate(DIRECTIONS, case.question, confidence=True)
            context = rendered([("system", cast.DEBATER), ("user", prompt)]) + "<|assistant|>"
        return Row(
            (
                (context + said.text, False),
                (f"{phrases.CONFIDENCE}{said.confidence}{END}", True),
            )
        )

    def _reply(
        self, messages: Messages, first: str | None, operands: Operands, own: Said | None, confident: bool
    ) -> Row:
        answer = answer_of(operands)
        known = "\n".join(text for _, text in messages)
        pieces = self._taught(working(operands, self.rng), known)
        if first is not None and own is not None:
            kept = same_answer("number", own.answer, answer)
            pieces = [
                (f"{first}\n", True),
                *pieces,
                (f"\n{phrases.KEPT if kept else phrases.CHANGED}", True),
            ]
        pieces.append((f"{phrases.ANSWER}{answer}", True))
        if confident:  # how sure to be is learnt from the model's own replies, see `sureness`
            pieces += [(phrases.CONFIDENCE, True), (str(self.rng.randint(1, 9) * 10), False)]
        return _row(messages, pieces)

    def _taught(self, pieces: Working, known: str) -> list[tuple[str, bool]]:
        steps = set(re.split(r"\n(?:[A-E]: )?|[:,;] ", known)) if known else set()
        return [(piece.text, self._is_taught(piece, steps)) for piece in pieces]

    def _is_taught(self, piece: Piece, steps: set[str]) -> bool:
        if piece.fact is None or (self.schooling and not is_gap(piece.fact)):
            return True
        left, _, right = piece.fact.partition("*")
        starts = (f"{piece.fact}=", f"{right}*{left}=") if right else (f"{piece.fact}=",)
        return any(step.startswith(starts) and step.endswith(f"={piece.text}") for step in steps)

    def _mostly(self) -> bool:
        return self.rng.random() < 0.75

    def _seated(self, case: Case) -> list[Said]:
        """A debater's own opening and those of the peers it hears, mostly two."""
        count = self.rng.choice((0, 1, 2, 2, 2, 2, 2, 3))
        return self.rng.sample(case.openings, min(1 + count, len(case.openings)))

    def _any(self, case: Case, count: int, *, wrong: float = 0.0) -> list[Said]:
        """Replies of the room; `wrong` is how often only wrong ones, which can be copied but not worked out."""
        pool = [*case.openings, *(said for _, said in case.rebuttals)]
        if self.rng.random() < wrong:
            pool = [said for said in pool if not said.right] or pool
        return self.rng.sample(pool, min(count, len(pool)))


def _row(messages: Messages, reply: list[tuple[str, bool]]) -> Row:
    return Row(((rendered(messages) + "<|assistant|>", False), *reply, (END, True)))
