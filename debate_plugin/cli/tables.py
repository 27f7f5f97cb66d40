"""Tables of accuracies."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def print_table(models: dict[str, dict[str, dict[str, float]]], title: str) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in models:
        table.add_column(name, justify="right")
    for method in next(iter(models.values())):
        cells = (models[name][method] for name in models)
        table.add_row(method, *(_with_ends(cell) for cell in cells))
    Console().print(table)


def _with_ends(cell: dict[str, float]) -> str:
    """`.442 [.350, .533]`: three of these and their labels fit 80 columns."""
    mean, low, high = (f"{cell[part]:.3f}".removeprefix("0") for part in ("accuracy", "low", "high"))
    return f"{mean} [{low}, {high}]"
