"""The stage directions: what is said to an agent at each turn.

Written for real language models; replaceable one by one. Templates are `string.Template`s, since debate text is full of braces. What another agent wrote is always set between
tags, so that a reader can tell who said what.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from string import Template

from debate_plugin.question import AnswerKind, Question

_ANSWER_LINES: dict[AnswerKind, str] = {
    "number": "Answer: <one number>",
    "choice": "Answer: <the letter of one option>",
    "exact": "Answer: <a few words, nothing else>",
    "free": "",
}
_CONFIDENCE_LINE = "Confidence: <a whole number from 1 to 100: how sure you are that your answer is right>"

_VARIABLES = {
    "opening": {"question", "ending"},
    "opening_in_turn": {"question", "replies", "ending"},
    "rebuttal": {"question", "replies", "ending"},
    "rebuttal_from_digest": {"question", "digest", "ending"},
    "check": {"question", "ending"},
    "digest": {"question", "replies"},
    "rank": {"question", "replies"},
    "approve": {"question", "replies"},
    "judge": {"question", "reply"},
    "compare": {"question", "replies"},
    "settle": {"question", "replies"},
    "clean": {"question", "reply"},
}


@dataclass(frozen=True, kw_only=True)
class Directions:
    """One template per kind of turn; each must use the variables its default uses."""

    opening: str = """\
$question

Work through this step by step and show your working.$ending"""

    opening_in_turn: str = """\
$question

This is what debaters before you replied:

$replies

Work the question through yourself, step by step, and show your working; say where theirs does not hold.$ending"""

    rebuttal: str = """\
Here is what other debaters replied to the same question:

$replies

Compare their working with yours, step by step. Keep what holds and correct what does not; change your answer only for a step that you can name. Then answer the question again:

$question

Show your working.$ending"""

    rebuttal_from_digest: str = """\
Here is a summary of what other debaters replied to the same question:

$digest

Compare it with your own working, step by step. Keep what holds and correct what does not; change your answer only for a step that you can name. Then answer the question again:

$question

Show your working.$ending"""

    check: str = """\
Check your last reply step by step, as if somebody else had written it, and correct what does not hold. Then answer the question again:

$question

Show your working.$ending"""

    digest: str = """\
Question:

$question

Replies:

$replies

Summarize these replies for another debater. For each of them give its answer, the intermediate results it rests on, and how sure it is. Keep numbers and names exactly as they stand."""

    rank: str = """\
The debate is over. These are the replies that are left, one for each answer:

$replies

The question was:

$question

Rank all of them by how well their working holds, your own like any other. End with one line:
Ranking: <the labels, best first, with > between them>"""

    approve: str = """\
The debate is over. These are the replies that are left, one for each answer:

$replies

The question was:

$question

Say which of them you believe to be right, your own like any other. End with one line:
Approved: <the labels of those, with commas between them, or none>"""

    judge: str = """\
Question:

$question

Reply to score:

$reply

First work the question out yourself, then compare. End with one line:
Score: <0 to 5>"""

    compare: str = """\
Question:

$question

Two replies to compare:

$replies

First work the question out yourself, then say which reply is better; how long it is and in which place it stands have no weight. End with one line:
Better: <A, B or tie>"""

    settle: str = """\
Question:

$question

What the debaters last replied:

$replies

First work the question out yourself. Then say whether the debate has settled the question: whether one of these replies is right beyond doubt. End with one line:
Settled: <the label of that reply, or none>"""

    clean: str = """\
Question:

$question

Reply to rewrite:

$reply

Rewrite this reply as a direct answer to the question."""

    def __post_init__(self) -> None:
        for field in fields(self):
            template = Template(getattr(self, field.name))
            expected = _VARIABLES[field.name]
            came = set(template.get_identifiers()) if template.is_valid() else None
            if came != expected:
                found = "a stray $ (write $$)" if came is None else " ".join(f"${name}" for name in sorted(came))
                raise ValueError(
                    f"expected the direction {field.name!r} to use {' '.join(f'${n}' for n in sorted(expected))}, "
                    f"found {found or 'none'}; see debate_plugin/directions.py"
                )


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What another debater said, with its name where names are told."""

    text: str
    name: str | None = None
    label: str | None = None  # where a reader is to choose among replies


def open_debate(directions: Directions, question: Question, *, confidence: bool) -> str:
    return _filled(directions.opening, question=question.text, ending=_ending(question.kind, confidence))


def open_in_turn(directions: Directions, question: Question, replies: Sequence[Heard], *, confidence: bool) -> str:
    ending = _ending(question.kind, confidence)
    return _filled(
        directions.opening_in_turn, question=_as_data(question.text), replies=_tagged(replies), ending=ending
    )


def rebut(directions: Directions, question: Question, replies: Sequence[Heard], *, confidence: bool) -> str:
    ending = _ending(question.kind, confidence)
    return _filled(directions.rebuttal, question=_as_data(question.text), replies=_tagged(replies), ending=ending)


def rebut_digest(directions: Directions, question: Question, digest: str, *, confidence: bool) -> str:
    ending = _ending(question.kind, confidence)
    return _filled(
        directions.rebuttal_from_digest, question=_as_data(question.text), digest=_tag("summary", digest), ending=ending
    )


def check(directions: Directions, question: Question, *, confidence: bool) -> str:
    return _filled(directions.check, question=_as_data(question.text), ending=_ending(question.kind, confidence))


def digest(directions: Directions, question: Question, replies: Sequence[Heard]) -> str:
    return _filled(directions.digest, question=_as_data(question.text), replies=_tagged(replies))


def judge(directions: Directions, question: Question, reply: str) -> str:
    return _filled(directions.judge, question=_as_data(question.text), reply=_tag("reply", reply))


def rank(directions: Directions, question: Question, replies: Sequence[Heard]) -> str:
    return _filled(directions.rank, question=_as_data(question.text), replies=_tagged(replies))


def approve(directions: Directions, question: Question, replies: Sequence[Heard]) -> str:
    return _filled(directions.approve, question=_as_data(question.text), replies=_tagged(replies))


def compare(directions: Directions, question: Question, replies: Sequence[Heard]) -> str:
    return _filled(directions.compare, question=_as_data(question.text), replies=_tagged(replies))


def settle(directions: Directions, question: Question, replies: Sequence[Heard]) -> str:
    return _filled(directions.settle, question=_as_data(question.text), replies=_tagged(replies))


def clean(directions: Directions, question: Question, reply: str) -> str:
    return _filled(directions.clean, question=_as_data(question.text), reply=_tag("reply", reply))


def _filled(template: str, **values: str) -> str:
    return Template(template).substitute(values)


def _ending(kind: AnswerKind, confidence: bool) -> str:
    """The form the reply must end in; nothing where the reply as a whole is the answer."""
    lines = [line for line in (_ANSWER_LINES[kind], _CONFIDENCE_LINE if confidence else "") if line]
    return f" End your reply with {_COUNTED[len(lines)]}:\n" + "\n".join(lines) if lines else ""


_COUNTED = {1: "this line", 2: "these two lines"}


def _tagged(replies: Sequence[Heard]) -> str:
    return "\n".join(_tag("reply", reply.text, of=reply.name, label=reply.label) for reply in replies)


def _tag(name: str, text: str, **attributes: str | None) -> str:
    told = (f' {attribute}="{value}"' for attribute, value in attributes.items() if value is not None)
    opened = name + "".join(told)
    return f"<{opened}>\n{_as_data(text.strip())}\n</{name}>"


# Invisible characters and blanks that may stand between the letters of a tag and change nothing to the eye.
_HIDDEN = r"[\s\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]{0,8}"
_OUR_TAGS = re.compile(
    rf"[<\uff1c\ufe64](?={_HIDDEN}[/\uff0f]?{_HIDDEN}(?:{_HIDDEN.join('reply')}|{_HIDDEN.join('summary')}))",
    re.IGNORECASE,
)


def _as_data(text: str) -> str:
    """The text with our own tags in it made powerless: nobody can end its reply early and speak as somebody else."""
    return _OUR_TAGS.sub("\u2039", text)
