"""Reading an answer and a confidence out of a reply, telling when two answers are the same, and counting votes.

The last match wins everywhere: what stands earlier in a reply is often a quotation of somebody else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from debate_plugin.question import AnswerKind, Question

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
# A minus directly behind a digit or a bracket is a subtraction ("5-3"), not a sign.
_NUMBER = re.compile(
    rf"(?<![\d\w.)])(?P<sign>-?)\s?\$?(?P<top>{_DIGITS})(?:[eE](?P<exponent>[-+]?\d{{1,3}})(?!\w))?"
    r"(?:\s?/\s?(?P<bottom>\d++)(?!\.\d))?"
)
_MARKED = re.compile(
    r"\\boxed\s*\{(?P<boxed>(?:[^{}]|\{[^{}]*\})*)\}"
    r"|(?m:^####[ \t]*)(?=-?\$?[\d.,/]+\s*$|-?\$?[\d.,/]+\s*\n)"
    r"|\banswer\b[*_\s]{0,8}(?:is\b|:|=)[*_\s]{0,8}:?[*_\s]{0,8}(?:\.{3})?",
    re.IGNORECASE,
)
_CONFIDENCE = re.compile(
    r"[*_]{0,4}\bconfidence(?:\s{1,4}(?:score|level))?[\s*_]{0,8}(?:\bis\b|:|=)[\s*_]{0,8}"
    r"(?P<value>\d++(?:\.\d++)?|\.\d++)(?![,\d])"
    r"(?P<unit>\s*%|\s*/\s*100?\b|\s+out\s+of\s+100?\b)?(?!\s{0,8}/)[*_]{0,4}",
    re.IGNORECASE,
)
_OPTION = re.compile(r"(?m)^\s*\(?(?P<letter>[A-Z])[).:]\s+(?P<text>.+?)\s*$")
_BRACKETED = re.compile(r"[(\[<]([A-Z])[)\]>]")
_LONGEST_NUMBER = 40  # digits; what is longer is no answer but a runaway reply
_LONGEST_REPLY = 20_000  # characters, from the end, in which an answer is looked for
_MOST_MARKERS = 50


def read_answer(question: Question, text: str) -> str | None:
    """The answer a reply gives to the question, in canonical form, or None where it gives none.

    Canonical forms: a number without separators (`1234`, `-0.5`, `1/3`), an option's letter (`B`), an exact answer
    without markdown and final full stop, a free answer as it stands.
    """
    text = without_confidence(text)
    if question.kind == "free":
        return text or None
    text = _plain(text[-_LONGEST_REPLY:])
    # "My answer is unchanged" marks nothing: the last marker behind which an answer stands is the one that counts.
    markers = list(_MARKED.finditer(text))[-_MOST_MARKERS:]
    for marker in reversed(markers):
        said = _said(text, marker)
        match question.kind:
            case "number":
                answer = _number_said(said)
            case "choice":
                answer = _choice_said(question.text, said)
            case "exact":
                answer = _trimmed(said)
        if answer is not None:
            return answer
    match question.kind:
        case "number":
            return _last_number(text)
        case "choice":
            return _choice_in(question.text, text)
        case "exact":
            return _trimmed(text) if not markers and "\n" not in text.strip() else None


def same_answer(kind: AnswerKind, left: str, right: str) -> bool:
    """Whether two canonical answers are the same; free answers never are (a judge or confidence decides those).

    Numbers are compared exactly, save that one with two or more decimals stands for all that round to it.
    """
    if left == right and kind != "free":
        return True
    match kind:
        case "number":
            gap = abs(_value(left) - _value(right))
            return gap == 0 or any(
                decimals >= 2 and gap <= Fraction(1, 2 * 10**decimals)
                for decimals in (_decimals(left), _decimals(right))
            )
        case "choice":
            return False
        case "exact":
            return " ".join(left.casefold().split()) == " ".join(right.casefold().split())
        case "free":
            return False


def read_confidence(text: str) -> float | None:
    """The stated confidence on the scale 1 to 100, or None; invents nothing.

    Reads `87`, `87%`, `87/100`, `9/10` and, as a share, decimals up to 1 (`0.87`).
    """
    found = list(_CONFIDENCE.finditer(text))
    if not found:
        return None
    value, unit = float(found[-1]["value"]), found[-1]["unit"] or ""
    is_share = not unit and value <= 1 and "." in found[-1]["value"]
    if is_share:
        value *= 100
    elif unit.rstrip().endswith("10"):
        value *= 10
    return value if 0 <= value <= 100 else None


def without_confidence(text: str) -> str:
    """The reply without the confidence that `read_confidence` reads."""
    return re.sub(r"\n{3,}", "\n\n", _CONFIDENCE.sub("", text)).strip()


def numbers_in(text: str) -> set[str]:
    """The numbers that stand in a text, without signs and thousands separators."""
    return set(re.findall(r"\d+(?:\.\d+)?", re.sub(r"(?<=\d),(?=\d{3}\b)", "", _plain(text))))


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
    """Without what LaTeX and typography put around numbers and words."""
    text = re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3})", "", text.replace("\u2212", "-").replace("\u2013", "-"))
    text = text.replace("\\,", "").replace("\\!", "").replace("\\$", "$").replace("{,}", ",")
    text = re.sub(r"\\(?:text|mathrm|mathbf)\{([^{}]*)\}", r"\1", text)
    return re.sub(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}", r"\1/\2", text)


def _said(text: str, marker: re.Match[str]) -> str:
    """What the marker marks: the inside of a box, or the rest of the line."""
    boxed = marker["boxed"]
    return (boxed if boxed is not None else text[marker.end() :].partition("\n")[0]).strip()


def _trimmed(said: str) -> str | None:
    return said.strip(" \t\n*_`\"'.") or None


def _number_said(said: str) -> str | None:
    """`18 + 3 = 21` says 21, `72 = 8*9` says 72, and `5, as 3+2=5` says 5."""
    claim = re.split(r",\s|\s\(|;|\s(?:since|because|as|so)\s", said)[0]
    result = re.fullmatch(rf"\W*?{_NUMBER.pattern}\W*", claim.rpartition("=")[2].strip())
    if "=" in claim and result:
        return _canonical(result)
    found = _NUMBER.search(claim) or _NUMBER.search(said)
    return _canonical(found) if found else None


def _last_number(text: str) -> str | None:
    found = list(_NUMBER.finditer(text))
    return _canonical(found[-1]) if found else None


def _canonical(found: re.Match[str]) -> str | None:
    top, exponent, bottom = found["top"].replace(",", ""), int(found["exponent"] or 0), found["bottom"] or "1"
    if max(len(top), len(bottom), abs(exponent)) > _LONGEST_NUMBER or int(bottom) == 0:
        return None
    text = f"{Decimal(top).scaleb(exponent):f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    text = text.lstrip("0") or "0"
    if text.startswith("."):
        text = "0" + text
    if int(bottom) != 1:
        text = f"{text}/{int(bottom)}"
    return f"-{text}" if found["sign"] and text != "0" else text


def _value(canonical: str) -> Fraction:
    top, _, bottom = canonical.partition("/")
    return Fraction(top) / int(bottom or 1)


def _decimals(canonical: str) -> int:
    return 0 if "/" in canonical else len(canonical.partition(".")[2])


def _options(question: str) -> dict[str, str]:
    """Letter -> text of the options that the question lists; no text is known where it lists none."""
    listed = {match["letter"]: match["text"].casefold() for match in _OPTION.finditer(question)}
    return listed or dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "")


def _choice_said(question: str, said: str) -> str | None:
    """The option in what a marker marks: a leading letter, an option's text, or the one letter that is named."""
    options = _options(question)
    leading = re.match(
        r"[\s(\[<*_`\"']*(?:the\s+)?(?:(?:option|choice|letter)\s+)?[(\[<]?([A-Za-z])(?=[^\w\s'-]|$)", said
    )
    if leading and leading[1].upper() in options:
        other = re.match(r"\W*(?:or|and)\W+([A-Z])\b", said[leading.end() :])
        return None if other else leading[1].upper()
    words = f" {re.sub(r'[^a-z0-9]+', ' ', said.casefold())} "
    worded = [letter for letter, text in options.items() if text and f" {re.sub(r'[^a-z0-9]+', ' ', text)} " in words]
    if len(worded) == 1:
        return worded[0]
    named = set(_BRACKETED.findall(said)) or set(re.findall(r"\b([A-Z])\b(?!\s[a-z'])", said))
    return named.pop() if len(named) == 1 and named <= options.keys() else None


def _choice_in(question: str, text: str) -> str | None:
    """The option in a reply without a marker: the last bracketed letter or `option B`, or nothing but the option."""
    options = _options(question)
    named: list[str] = re.findall(r"[(\[<]([A-Z])[)\]>]|\b(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s+([A-Z])\b", text)
    letters = ["".join(groups) for groups in named]
    if letters:
        return letters[-1] if letters[-1] in options else None
    return _choice_said(question, text) if "\n" not in text.strip() and len(text) <= 60 else None
