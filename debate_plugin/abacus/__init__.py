"""Abacus: a language model that debates sums, small enough to live in the package and be trained on two CPU cores."""

from pathlib import Path

FOLDER: Path = Path(__file__).parent / "model"  # loads with transformers' Auto classes

__all__ = ["FOLDER"]
