"""What is asked of an agent, and what comes back: the words in which the protocol and its players speak."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from debate_plugin.answers import read_answer, read_confidence
from debate_plugin.question import Question, storable

Role = Literal["debater", "summarizer", "voter", "judge", "cleaner"]
Ballot = Literal["ranking", "approval"]
LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One thing asked of one agent."""

    agent: str
    role: Role
    round: int
    prompt: str
    about: str | None = None  # the debater a digest is made for, or whose reply is judged or cleaned
    against: str | None = None  # the debater whose reply the judge compares that one with
    ballot: Ballot | None = None  # what a voter is asked for
    options: tuple[str, ...] = ()  # the debaters whose replies a voter or judge chooses among, by label: A, B, C, ...


@dataclass(frozen=True, kw_only=True)
class ToolUse:
    """One call of a tool on the way to a reply, and what came back; calls of the same step were made together."""

    step: int
    id: str
    name: str
    arguments: str  # JSON, as the model wrote it
    result: str | None = None  # None where the call was not carried out
    is_error: bool = False


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back for a turn: a text and what was read out of it, or an abstention with its reason."""

    turn: Turn
    text: str | None = None
    answer: str | None = None
    confidence: float | None = None
    score: float | None = None  # a judge's, from 0 to 5
    prefers: Literal["about", "against", "tie"] | None = None  # a judge's, of two replies
    chosen: tuple[str, ...] = ()  # debaters: a voter's ranking, best first, or whom it approves of; a judge's winner
    abstention: str | None = None
    failed: bool = False  # the agent raised or took too long; the abstention says what
    speaker: str | None = None  # who in the seat said it: a pair's critic, a team's member; None for the agent itself
    tools: tuple[ToolUse, ...] = ()
    composed: bool = False  # the text was put together from the results of tools: no model wrote it
    thought: str | None = None  # what a reasoning model let be seen of its thinking
    attempts: int = 1
    seconds: float | None = None  # of the last attempt
    prompt_tokens: int = 0
    completion_tokens: int = 0


Stage = tuple[Turn, ...]
Replies = Sequence[Reply]


def read_reply(question: Question, turn: Turn, text: str) -> Reply:
    """A reply with what its role calls for read out of the text; an unusable text is an abstention with its reason."""
    text = storable(text)
    if not text.strip():
        return Reply(turn=turn, text=text, abstention="the reply is empty")
    match turn.role:
        case "debater":
            answer, confidence = read_answer(question, text), read_confidence(text)
            missing = None if answer is not None else f"no {question.kind} answer found in the reply"
            return Reply(turn=turn, text=text, answer=answer, confidence=confidence, abstention=missing)
        case "judge" if turn.against is not None:
            better = _one_label_behind("Better", text)
            if better is None or not set(better.labels) <= {"A", "B"}:
                return Reply(turn=turn, text=text, abstention="no line 'Better: A', 'Better: B' or 'Better: tie' found")
            prefers = {(): "tie", ("A",): "about", ("B",): "against"}[better.labels]
            return Reply(turn=turn, text=text, prefers=prefers)  # type: ignore[arg-type]  # a dict widens the literals
        case "judge" if turn.options:
            return _with_chosen(turn, text, "Settled", _one_label_behind("Settled", text))
        case "judge":
            score = read_score(text)
            missing = None if score is not None else "no line 'Score: <0 to 5>' found in the judge's reply"
            return Reply(turn=turn, text=text, score=score, abstention=missing)
        case "voter":
            word = "Ranking" if turn.ballot == "ranking" else "Approved"
            return _with_chosen(turn, text, word, _labels_behind(word, text))
        case "summarizer" | "cleaner":
            return Reply(turn=turn, text=text)


def broke_down(replies: Replies) -> bool:
    """Whether most of the turns failed: an outage, which says nothing about the question."""
    return 2 * sum(reply.failed for reply in replies) > len(replies)


def read_score(text: str) -> float | None:
    """The last score on the scale 0 to 5, or None; out of range is None too."""
    found = re.findall(r"(?i)\bscore\b[\s*_]*(?::|=|is)[\s*_]*<?(-?\d++(?:\.\d++)?)>?(?:\s*/\s*5\b)?(?!\s*[\d/])", text)
    return float(found[-1]) if found and 0 <= float(found[-1]) <= 5 else None


@dataclass(frozen=True)
class _Labels:
    """What stands behind a word such as `Ranking:`: labels, or none (nobody, a tie); and what follows them."""

    labels: tuple[str, ...]
    rest: str


# A label stands alone, or whole in brackets; "A clear winner" begins with one all the same, so what follows is kept.
_LABEL = re.compile(r"(?:\(([A-Z])\)|\[([A-Z])\]|<([A-Z])>|([A-Z])(?![\w'\u2019]))")
_BETWEEN = re.compile(r"(?:[ \t*_`,;=&>/|-]|\band\b|\bthen\b){1,8}")


def _labels_behind(word: str, text: str) -> _Labels | None:
    """The labels on the last line that begins with the word and a colon."""
    begins = re.compile(rf"(?im)^[ \t*_#>`-]{{0,8}}{word}[ \t*_]{{0,8}}[:=][ \t*_`]{{0,8}}")
    places = [found.end() for found in begins.finditer(text)]
    if not places:
        return None
    line = text[places[-1] :].partition("\n")[0].strip()
    if nobody := re.match(r"[(<\[]?(?i:none|nobody|tie)[)>\]]?(?!\w)", line):
        return _Labels((), line[nobody.end() :].strip(" .!*_`"))
    labels: list[str] = []
    while (found := _LABEL.match(line)) is not None:
        labels += [group for group in found.groups() if group and group not in labels]
        line = line[found.end() :]
        if (between := _BETWEEN.match(line)) is None:
            break
        line = line[between.end() :]
    return _Labels(tuple(labels), line.strip(" .!*_`")) if labels else None


def _one_label_behind(word: str, text: str) -> _Labels | None:
    """One label or none, and nothing more on the line: "A clear winner" is no A."""
    found = _labels_behind(word, text)
    return found if found is not None and len(found.labels) <= 1 and not found.rest else None


def _with_chosen(turn: Turn, text: str, word: str, found: _Labels | None) -> Reply:
    """The debaters whose labels were found behind the word; `none` chooses nobody, which is an answer."""
    by_label = dict(zip(LABELS, turn.options, strict=False))
    if found is None or not set(found.labels) <= by_label.keys():
        shown = ", ".join(by_label)
        return Reply(turn=turn, text=text, abstention=f"no line '{word}: ...' with labels out of {shown} found")
    return Reply(turn=turn, text=text, chosen=tuple(by_label[label] for label in found.labels))
