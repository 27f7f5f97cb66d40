"""Bootstrap intervals over questions: the questions are the sample, whatever was asked about each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 4000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over questions with its 95 % percentile-bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def estimate(scores: Sequence[float], *, seed: int = 0) -> Estimate:
    """The mean of one score a question.

    Raises:
        ValueError: there are no scores.
    """
    if not scores:
        raise ValueError("expected at least one score, got none; evaluate at least one question")
    values = np.asarray(scores, dtype=float)
    rng = np.random.default_rng(seed)
    # One resample at a time: all at once would take gigabytes for some ten thousand questions.
    means = [values[rng.integers(0, len(values), size=len(values))].mean() for _ in range(_RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(mean=round(float(values.mean()), 4), low=round(float(low), 4), high=round(float(high), 4))


def paired_difference(scores: Sequence[float], baseline: Sequence[float], *, seed: int = 0) -> Estimate:
    """The mean difference on the same questions, in the same order.

    Raises:
        ValueError: the two are not of the same length.
    """
    if len(scores) != len(baseline):
        raise ValueError(f"expected scores of the same questions, got {len(scores)} and {len(baseline)}")
    return estimate([score - base for score, base in zip(scores, baseline, strict=True)], seed=seed)
