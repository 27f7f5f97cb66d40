"""Preference training of a LoRA adapter: DPO (Rafailov et al. 2023) on chosen and rejected replies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from debate_plugin.errors import needs

with needs("train"):
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

from debate_plugin.files import unused
from debate_plugin.training import lora
from debate_plugin.training.rows import read_preferences


@dataclass(frozen=True, kw_only=True)
class PreferenceSettings(lora.LoraSettings):
    """DPO wants a smaller step than supervised training and one look at each pair."""

    learning_rate: float = 2e-5
    epochs: float = 1.0
    beta: float = 0.1  # lower trusts the reference less
    loss_type: str = "sigmoid"  # DPO's; `ipo`, `hinge` and the others that TRL's DPOConfig names


METHOD = lora.Method(name="dpo", trainer=DPOTrainer, config=DPOConfig, read=read_preferences)


def train_preference(
    model: str | Path,
    rows: str | Path,
    out: str | Path,
    *,
    settings: PreferenceSettings | None = None,
    **options: Unpack[lora.Options],
) -> lora.Trained:
    """Train a new adapter on `model`, or continue `adapter`, and write it to the folder `out`.

    The reference is what training starts from: the base for a new adapter, a frozen copy of `adapter` otherwise (TRL
    makes that copy beside the trained one).

    A call that was broken off and is made again goes on from its last checkpoint (`checkpoints`).

    Raises:
        ValueError: the output path is in use, or model, adapter or rows are not what they should be.
    """
    out = unused(out)
    settings = settings or PreferenceSettings()
    return lora.fit(
        METHOD,
        read_preferences(rows),
        model=model,
        rows=rows,
        out=out,
        settings=settings,
        config={"beta": settings.beta, "loss_type": [settings.loss_type]},
        **options,
    )
