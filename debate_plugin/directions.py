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
    "rebuttal": {"question", "replies", "ending"},
    "rebuttal_from_digest": {"question", "digest", "ending"},
    "check": {"question", "ending"},
    "digest": {"question", "replies"},
    "judge": {"question", "reply"},
    "clean": {"question", "reply"},
}


@dataclass(frozen=True, kw_only=True)
class Directions:
    """One template per kind of turn; each must use the variables its default uses."""

    opening: str = """\
$question

Work through this step by step and show your working.$ending"""

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

    judge: str = """\
Question:

$question

Reply to score:

$reply

First work the question out yourself, then compare. End with one line:
Score: <0 to 5>"""

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


def open_debate(directions: Directions, question: Question, *, confidence: bool) -> str:
    return _filled(directions.opening, question=question.text, ending=_ending(question.kind, confidence))


def rebut(directions: Directions, question: Question, replies: Sequence[Heard], *, confidence: bool) -> str:
    ending = _ending(question.kind, confidence)
    return _filled(directions.rebuttal, question=question.text, replies=_tagged(replies), ending=ending)


def rebut_digest(directions: Directions, question: Question, digest: str, *, confidence: bool) -> str:
    ending = _ending(question.kind, confidence)
    return _filled(
        directions.rebuttal_from_digest, question=question.text, digest=_tag("summary", digest), ending=ending
    )


def check(directions: Directions, question: Question, *, confidence: bool) -> str:
    return _filled(directions.check, question=question.text, ending=_ending(question.kind, confidence))


def digest(directions: Directions, question: Question, replies: Sequence[Heard]) -> str:
    return _filled(directions.digest, question=question.text, replies=_tagged(replies))


def judge(directions: Directions, question: Question, reply: str) -> str:
    return _filled(directions.judge, question=question.text, reply=_tag("reply", reply))


def clean(directions: Directions, question: Question, reply: str) -> str:
    return _filled(directions.clean, question=question.text, reply=_tag("reply", reply))


def _filled(template: str, **values: str) -> str:
    return Template(template).substitute(values)


def _ending(kind: AnswerKind, confidence: bool) -> str:
    """The form the reply must end in; nothing where the reply as a whole is the answer."""
    lines = [line for line in (_ANSWER_LINES[kind], _CONFIDENCE_LINE if confidence else "") if line]
    return f" End your reply with {_COUNTED[len(lines)]}:\n" + "\n".join(lines) if lines else ""


_COUNTED = {1: "this line", 2: "these two lines"}


def _tagged(replies: Sequence[Heard]) -> str:
    return "\n".join(_tag("reply", reply.text, of=reply.name) for reply in replies)


def _tag(name: str, text: str, *, of: str | None = None) -> str:
    opened = name if of is None else f'{name} of="{of}"'
    return f"<{opened}>\n{_as_data(text.strip())}\n</{name}>"


def _as_data(text: str) -> str:
    """The text with our own tags in it made powerless: nobody can end its reply early and speak as somebody else."""
    return re.sub(r"<(?=\s*/?\s*(?:reply|summary)\b)", "\u2039", text, flags=re.IGNORECASE)
