"""Supervised fine-tuning of a LoRA adapter on chat rows; the loss is on the last message."""

from __future__ import annotations

from pathlib import Path

from debate_plugin.errors import needs

with needs("train"):
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

from debate_plugin.files import unused
from debate_plugin.training import lora
from debate_plugin.training.preflight import Told
from debate_plugin.training.rows import read_sft


def train_sft(
    model: str | Path,
    rows: str | Path,
    out: str | Path,
    *,
    adapter: str | Path | None = None,
    settings: lora.LoraSettings | None = None,
    progress: lora.Progress | None = None,
    test_rows: str | Path | None = None,
    told: Told | None = None,
) -> lora.Trained:
    """Train a new adapter on `model`, or continue `adapter`, and write it to the folder `out`.

    `told` is told what the preflight found, before training begins or is refused; the adapter's folder keeps it.
    `test_rows` are rows set aside, whose questions must not be among the trained ones.

    Raises:
        ValueError: the output path is in use, or model, adapter or rows are not what they should be.
    """
    out = unused(out)
    return lora.fit(
        "sft",
        SFTTrainer,
        SFTConfig,
        read_sft(rows),
        model=model,
        adapter=adapter,
        rows=rows,
        out=out,
        settings=settings or lora.LoraSettings(),
        progress=progress,
        test_rows=test_rows,
        told=told,
        completion_only_loss=True,
    )
