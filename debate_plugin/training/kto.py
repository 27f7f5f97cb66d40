"""Training of a LoRA adapter on labelled replies: KTO (Ethayarajh et al. 2024), which needs no pairs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from debate_plugin.errors import InputError, needs

with needs("train"):
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer

from debate_plugin.files import unused
from debate_plugin.training import lora
from debate_plugin.training.rows import read_labelled


@dataclass(frozen=True, kw_only=True)
class KtoSettings(lora.LoraSettings):
    """As for DPO: a smaller step than supervised training, and one look at each reply."""

    learning_rate: float = 2e-5
    epochs: float = 1.0
    beta: float = 0.1  # lower trusts the reference less
    desirable_weight: float | None = None  # of good replies; None weighs both kinds so that they count alike
    undesirable_weight: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 2:  # the reference point is estimated from the other rows of a batch
            raise InputError(f"expected a batch_size of at least 2 for KTO, got {self.batch_size}")


METHOD = lora.Method(name="kto", trainer=KTOTrainer, config=KTOConfig, read=read_labelled)


def train_kto(
    model: str | Path,
    rows: str | Path,
    out: str | Path,
    *,
    settings: KtoSettings | None = None,
    **options: Unpack[lora.Options],
) -> lora.Trained:
    """Train a new adapter on `model`, or continue `adapter`, and write it to the folder `out`.

    The reference is what training starts from, as for `train_preference`.

    A call that was broken off and is made again goes on from its last checkpoint (`checkpoints`).

    Raises:
        ValueError: the output path is in use, or model, adapter or rows are not what they should be; rows of one
            label alone are among that.
    """
    out = unused(out)
    settings = settings or KtoSettings()
    examples = read_labelled(rows)
    good = sum(bool(example["label"]) for example in examples)
    bad = len(examples) - good
    if not good or not bad:
        raise InputError(f"expected good and bad replies in {rows}, got {good} good and {bad} bad; KTO needs both")
    # TRL takes the rows in their order, and those of one question stand together.
    random.Random(settings.seed).shuffle(examples)
    return lora.fit(
        METHOD,
        examples,
        model=model,
        rows=rows,
        out=out,
        settings=settings,
        config={
            "beta": settings.beta,
            # The rarer kind is weighed up to the other (section 4.2 of the paper wants them to count about alike).
            "desirable_weight": settings.desirable_weight or max(1.0, bad / good),
            "undesirable_weight": settings.undesirable_weight or max(1.0, good / bad),
        },
        **options,
    )
