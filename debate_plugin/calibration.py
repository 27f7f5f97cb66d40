"""Calibration: what a stated confidence is worth, learnt from recorded debates whose answers are known.

    calibration, report = calibrate(store.transcripts())
    Plan(calibration=calibration)          # votes weigh what the confidence is worth, not what was stated

Isotonic regression: the surer, the more often right, and nothing else is assumed (Zadrozny & Elkan 2002). How good a
confidence is, is told on questions that the fit has not seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from debate_plugin.answers import read_answer, same_answer
from debate_plugin.errors import InputError, needs

if TYPE_CHECKING:  # a plan may hold a calibration, and a transcript knows plans
    from debate_plugin.transcript import Transcript

_BINS = 10


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Stated confidences, ascending, and the confidence each is worth, both on the scale 0 to 100; lines between."""

    stated: tuple[float, ...]
    worth: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(0 <= value <= 100 for value in (*self.stated, *self.worth)):
            raise ValueError(f"expected confidences from 0 to 100, got {self.stated} and {self.worth}")
        if not self.stated or len(self.stated) != len(self.worth) or list(self.stated) != sorted(set(self.stated)):
            raise ValueError(
                f"expected as many worths as ascending stated confidences and at least one, got {self.stated} and "
                f"{self.worth}"
            )

    def __call__(self, confidence: float) -> float:
        return float(np.interp(confidence, self.stated, self.worth))


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How far a confidence can be trusted; both measures are 0 at best."""

    replies: int
    ece: float  # expected calibration error: mean distance of confidence and accuracy over ten bins, from 0 to 1
    brier: float  # mean squared distance of confidence and being right, from 0 to 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """The same held-out replies with their confidence as stated and as calibrated."""

    stated: Quality
    calibrated: Quality


Example = tuple[float, bool]
"""A stated confidence from 0 to 100, and whether the reply was right."""


def calibrate(transcripts: Iterable[Transcript], *, held_out: float = 0.3) -> tuple[Calibration, Report]:
    """Fit on the replies to some questions and report on the replies to the others.

    Which questions are held out is told by their ids, so all replies to one question fall on the same side.

    Raises:
        InputError: there are no stated confidences with a known answer on one of the sides.
        MissingExtraError: scipy is missing.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"expected a share between 0 and 1 to hold out, got {held_out}")
    sides: tuple[list[Example], list[Example]] = ([], [])
    for transcript in transcripts:
        sides[_is_held_out(transcript.question.id, held_out)].extend(examples(transcript))
    fitted, tested = sides
    if not fitted or not tested:
        raise InputError(
            f"expected replies with a stated confidence to questions with a known answer, got {len(fitted)} to fit and "
            f"{len(tested)} to test on; record debates of questions with references and Plan(confidence='shared')"
        )
    calibration = fit(fitted)
    return calibration, Report(
        stated=quality(tested),
        calibrated=quality([(calibration(confidence), right) for confidence, right in tested]),
    )


def examples(transcript: Transcript) -> list[Example]:
    """The debaters' replies that state a confidence, where the question's reference answer can be read."""
    question = transcript.question
    reference = read_answer(question, question.reference) if question.reference and question.kind != "free" else None
    if reference is None:
        return []
    return [
        (reply.confidence, same_answer(question.kind, reply.answer, reference))
        for reply in transcript.replies
        if reply.turn.role == "debater" and reply.answer is not None and reply.confidence is not None
    ]


def fit(pairs: Sequence[Example]) -> Calibration:
    """The isotonic fit to the examples."""
    with needs("calibration"):
        from scipy.optimize import isotonic_regression

    stated = np.array([confidence for confidence, _ in pairs])
    right = np.array([100.0 * ok for _, ok in pairs])
    values, places, counts = np.unique(stated, return_inverse=True, return_counts=True)
    means = np.bincount(places, weights=right) / counts
    fitted: Any = isotonic_regression(means, weights=counts.astype(float))
    return Calibration(stated=tuple(values.tolist()), worth=tuple(np.asarray(fitted.x).tolist()))


def quality(pairs: Sequence[Example]) -> Quality:
    """ECE over ten bins of equal width, and the Brier score."""
    confidence = np.array([stated for stated, _ in pairs]) / 100
    right = np.array([ok for _, ok in pairs], dtype=float)
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [(bins == one).mean() * abs(confidence[bins == one].mean() - right[bins == one].mean()) for one in set(bins)]
    return Quality(replies=len(pairs), ece=float(sum(gaps)), brier=float(((confidence - right) ** 2).mean()))


def _is_held_out(question_id: str, share: float) -> bool:
    return int.from_bytes(hashlib.sha256(question_id.encode()).digest()[:4]) < share * 2**32
