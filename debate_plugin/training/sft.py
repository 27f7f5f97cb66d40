"""Supervised fine-tuning of a LoRA adapter on chat rows; the loss is on the replies that a row says it is on."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from debate_plugin.errors import needs

with needs("train"):
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

from debate_plugin.files import unused
from debate_plugin.training import lora
from debate_plugin.training.rows import read_sft

METHOD = lora.Method(name="sft", trainer=SFTTrainer, config=SFTConfig, read=read_sft)


def train_sft(
    model: str | Path,
    rows: str | Path,
    out: str | Path,
    *,
    settings: lora.LoraSettings | None = None,
    **options: Unpack[lora.Options],
) -> lora.Trained:
    """Train a new adapter on `model`, or continue `adapter`, and write it to the folder `out`.

    A call that was broken off and is made again goes on from its last checkpoint (`checkpoints`).

    Raises:
        ValueError: the output path is in use, or model, adapter or rows are not what they should be.
    """
    out = unused(out)
    return lora.fit(
        METHOD,
        read_sft(rows),
        model=model,
        rows=rows,
        out=out,
        settings=settings or lora.LoraSettings(),
        config={"completion_only_loss": True},
        **options,
    )
