"""The few fixed words that Abacus says around its workings."""

from __future__ import annotations

BY_HEART = " is "  # between a product and its result, where it is not worked out

COMPARED = "I have compared the replies step by step."
COMPARED_SUMMARY = "I have compared the summary with my working."
CHECKED = "I have checked my reply step by step."
KEPT = "I keep my answer."
CHANGED = "I change my answer."
SENTENCES = (COMPARED, COMPARED_SUMMARY, CHECKED, KEPT, CHANGED)

ANSWER = "\nAnswer: "
CONFIDENCE = "\nConfidence: "
CONCLUSION = "\nThe answer is "
FOUND = "\nI found "
SAYS = ", the reply says "
SCORE = "\nScore: "
SUM_UP_ANSWER = "; answer "
SUM_UP_CONFIDENCE = "; confidence "
MARKS = (
    BY_HEART,
    ANSWER,
    CONFIDENCE,
    CONCLUSION,
    FOUND,
    SAYS,
    SCORE,
    SUM_UP_ANSWER,
    SUM_UP_CONFIDENCE,
    ", ",
    "A: ",
    *(f"\n{label}: " for label in "ABCDE"),
    "What is the result of ",
    "\n\n",
    "</reply>\n<reply>",
)


def opening(working: str, answer: str, confidence: int | None) -> str:
    return f"{working}{ANSWER}{answer}{_sure(confidence)}"


def rebuttal(first: str, working: str, last: str, answer: str, confidence: int | None) -> str:
    return f"{first}\n{working}\n{last}{ANSWER}{answer}{_sure(confidence)}"


def verdict(found: str, says: str) -> str:
    """All of a verdict but its score."""
    return f"{FOUND}{found}{SAYS}{says}.{SCORE}"


def _sure(confidence: int | None) -> str:
    return "" if confidence is None else f"{CONFIDENCE}{confidence}"
