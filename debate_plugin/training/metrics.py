"""What was logged while an adapter was trained: a line a step in its folder, and the learning curves as a picture.

{"step": 1, "epoch": 0.5, "loss": 0.71, "learning_rate": 0.0002, "grad_norm": 1.3, "mean_token_accuracy": 0.83, ...}
{"step": 2, "epoch": 1.0, "eval_loss": 0.65, ...}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from debate_plugin.errors import needs

with needs("train"):
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

FILE, PICTURE = "metrics.jsonl", "curves.png"
_TIMES = ("_runtime", "_per_second")  # of an evaluation; what the machine was doing is not what was learnt
_PANELS = {"loss": "loss", "rewards/margins": "reward margin", "rewards/accuracies": "reward accuracy"}

Line = dict[str, float | None]
"""What was logged at a step; None is a number that was not finite, for which JSON has no word."""


def lines_of(logged: Iterable[Mapping[str, Any]]) -> list[Line]:
    """A trainer's log without its closing summary: a line for each step and one for each evaluation."""
    return [
        {"step": one["step"], "epoch": one["epoch"]}
        | {
            name: value if math.isfinite(value) else None
            for name, value in sorted(one.items())  # a checkpoint sorts them too
            if name not in ("step", "epoch") and not name.endswith(_TIMES)
        }
        for one in logged
        if "loss" in one or "eval_loss" in one
    ]


def mean_loss(lines: Iterable[Line]) -> float:
    """The mean loss of all steps, those before a resume among them."""
    return fmean(math.nan if (loss := line["loss"]) is None else loss for line in lines if "loss" in line)


def write(lines: Iterable[Line], folder: Path) -> None:
    """Write the lines, and their picture beside them."""
    lines = list(lines)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / FILE).write_text(text, encoding="utf-8")
    _draw(lines).savefig(folder / PICTURE, dpi=120)


def _draw(lines: list[Line]) -> Figure:
    """A panel a metric, over steps: on the trained rows, and where there are any on those set aside."""
    panels = {name: title for name, title in _PANELS.items() if any(name in line for line in lines)}
    # A figure of its own: pyplot would keep it for ever, and choose how pictures are shown for the whole process.
    figure = Figure(figsize=(7, 2.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for (name, title), ax in zip(panels.items(), axes, strict=True):
        for key, label, marker in ((name, "trained rows", ""), (f"eval_{name}", "rows set aside", "o")):
            points = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
            if points:
                # A single step is no line, but can still be seen.
                ax.plot(*zip(*points, strict=True), marker=marker or ("." if len(points) == 1 else ""), label=label)
        ax.set_ylabel(title)
        ax.grid(alpha=0.3)
        if len(ax.get_lines()) > 1:
            ax.legend()
    axes[-1].set_xlabel("optimizer step")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
