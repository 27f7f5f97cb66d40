"""Reading an answer and a confidence out of a reply, telling when two answers are the same, and counting votes.

The last match wins everywhere: what stands earlier in a reply is often a quotation of somebody else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from debate_plugin.question import AnswerKind, Question

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
# A minus directly behind a digit or a bracket is a subtraction ("5-3"), not a sign.
_NUMBER = re.compile(
    rf"(?<![\d\w.)])(?P<sign>-?)\s?\$?(?P<top>{_DIGITS})(?:[eE](?P<exponent>[-+]?\d{{1,3}})(?!\w))?(?:\s?/\s?(?P<bottom>\d+))?"
)
_MARKED = re.compile(
    r"\\boxed\s*\{(?P<boxed>(?:[^{}]|\{[^{}]*\})*)\}"
    r"|####[ \t]*"
    r"|\banswer\b[*_\s]*(?:is\b|:|=)[*_\s]*:?[*_\s]*",
    re.IGNORECASE,
)
_CONFIDENCE = re.compile(
    r"\bconfidence\b[\s*_]*(?:is|:|=)?[\s*_]*(?P<value>\d+(?:\.\d+)?|\.\d+)(?P<unit>\s*%|\s*/\s*100\b)?", re.IGNORECASE
)
_CONFIDENCE_LINE = re.compile(r"(?im)^[\s*_]*confidence\b[^\n]*$")
_OPTION = re.compile(r"(?m)^\s*\(?(?P<letter>[A-Z])[).:]\s+(?P<text>.+?)\s*$")


def read_answer(question: Question, text: str) -> str | None:
    """The answer a reply gives to the question, in canonical form, or None where it gives none.

    Canonical forms: a number without separators (`1234`, `-0.5`, `1/3`), an option's letter (`B`), an exact answer
    without markdown and final full stop, a free answer as it stands.
    """
    text = _plain(without_confidence(text))
    if question.kind == "free":
        return text.strip() or None
    marked = list(_MARKED.finditer(text))
    said = _said(text, marked[-1]) if marked else None
    match question.kind:
        case "number":
            return _number_said(said) if said is not None else _last_number(text)
        case "choice":
            return _choice(question.text, said if said is not None else text, marked=said is not None)
        case "exact":
            whole = text.strip()
            if said is None and "\n" not in whole:
                said = whole
            return (said or "").strip(" \t*_`\"'.") or None


def same_answer(kind: AnswerKind, left: str, right: str) -> bool:
    """Whether two canonical answers are the same; free answers never are (a judge or confidence decides those)."""
    match kind:
        case "number":
            a, b = _value(left), _value(right)
            # Whole numbers are the same or not; a tolerance is for what was rounded on the way.
            whole = a == int(a) and b == int(b)
            return a == b or (not whole and math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-9))
        case "choice":
            return left == right
        case "exact":
            return " ".join(left.casefold().split()) == " ".join(right.casefold().split())
        case "free":
            return False


def read_confidence(text: str) -> float | None:
    """The stated confidence on the scale 1 to 100, or None; reads `87`, `87%`, `87/100` and `0.87`, invents nothing."""
    found = list(_CONFIDENCE.finditer(_plain(text)))
    if not found:
        return None
    value = float(found[-1]["value"])
    if found[-1]["unit"] is None and 0 < value < 1:
        value *= 100
    return value if 0 <= value <= 100 else None


def without_confidence(text: str) -> str:
    """The reply without its confidence lines."""
    return _CONFIDENCE_LINE.sub("", text).strip()


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """One voter's answer (None abstains)."""

    voter: str
    answer: str | None
    confidence: float | None = None


@dataclass(frozen=True, kw_only=True)
class Group:
    """Voters whose answers are the same."""

    answer: str
    voters: tuple[str, ...]
    confidence: float  # sum of the voters' stated confidences; 0 where none was stated


@dataclass(frozen=True, kw_only=True)
class Vote:
    """The groups of one round, most voters first; equal sizes by summed confidence, then by who spoke first."""

    groups: tuple[Group, ...] = ()
    abstained: tuple[str, ...] = ()

    @property
    def agreement(self) -> float:
        """Share of those who answered that stand behind the largest group (0 when nobody answered)."""
        answered = sum(len(group.voters) for group in self.groups)
        return len(self.groups[0].voters) / answered if answered else 0.0


def count_votes(kind: AnswerKind, ballots: Sequence[Ballot]) -> Vote:
    """Group equal answers; an abstention joins no group and never wins."""
    groups: list[list[Ballot]] = []
    for ballot in ballots:
        if ballot.answer is None:
            continue
        for group in groups:
            if same_answer(kind, group[0].answer or "", ballot.answer):
                group.append(ballot)
                break
        else:
            groups.append([ballot])
    counted = [
        Group(
            answer=group[0].answer or "",
            voters=tuple(ballot.voter for ballot in group),
            confidence=math.fsum(ballot.confidence or 0.0 for ballot in group),
        )
        for group in groups
    ]
    counted.sort(key=lambda group: (-len(group.voters), -group.confidence))  # stable: first spoken stays first
    return Vote(
        groups=tuple(counted),
        abstained=tuple(ballot.voter for ballot in ballots if ballot.answer is None),
    )


def _plain(text: str) -> str:
    text = text.replace("\u2212", "-").replace("\\,", "").replace("\\!", "").replace("\\$", "$")
    return re.sub(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}", r"\1/\2", text)


def _said(text: str, marker: re.Match[str]) -> str:
    """What the marker marks: the inside of a box, or the rest of the line."""
    boxed = marker["boxed"]
    return (boxed if boxed is not None else text[marker.end() :].partition("\n")[0]).strip()


def _number_said(said: str) -> str | None:
    """`18 + 3 = 21` says 21; `42, since 6*7` says 42."""
    return _last_number(said) if "=" in said else _first_number(said)


def _first_number(text: str) -> str | None:
    found = _NUMBER.search(text)
    return _canonical(found) if found else None


def _last_number(text: str) -> str | None:
    found = list(_NUMBER.finditer(text))
    return _canonical(found[-1]) if found else None


def _canonical(found: re.Match[str]) -> str | None:
    top = Decimal(found["top"].replace(",", ""))
    if found["exponent"]:
        top = top.scaleb(int(found["exponent"]))
    text = f"{top:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    text = text.lstrip("0") or "0"
    if text.startswith("."):
        text = "0" + text
    bottom = found["bottom"]
    if bottom is not None:
        if int(bottom) == 0:
            return None
        text = f"{text}/{int(bottom)}" if int(bottom) != 1 else text
    return f"-{text}" if found["sign"] and text != "0" else text


def _value(canonical: str) -> float | int:
    top, _, bottom = canonical.partition("/")
    if bottom:
        return float(top) / int(bottom)
    return float(top) if "." in top else int(top)


def _choice(question: str, said: str, *, marked: bool) -> str | None:
    bracketed: list[str] = re.findall(r"\(([A-Z])\)", said)
    if bracketed:
        return bracketed[0] if marked else bracketed[-1]
    if marked:
        letter = re.match(r"[*_`\"'\s]*(?:option\s+)?([A-Za-z])(?![\w'])", said, re.IGNORECASE)
        if letter:
            return letter[1].upper()
    options = {match["text"].casefold(): match["letter"] for match in _OPTION.finditer(question)}
    wording = said.strip(" \t*_`\"'.").casefold()
    if wording in options:
        return options[wording]
    return wording.upper() if not marked and re.fullmatch(r"[a-z]", wording) else None
