"""A base in 4 bits, frozen under the adapter that is trained on it: QLoRA (Dettmers et al. 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from debate_plugin import pretrained
from debate_plugin.errors import InputError, needs
from debate_plugin.training import processes

with needs("train"):
    import torch
    from peft import prepare_model_for_kbit_training
    from transformers import BitsAndBytesConfig


def refuse_without_gpu() -> None:
    """See that there is what four bits need.

    Raises:
        InputError: there is no GPU.
        MissingExtraError: bitsandbytes is not installed.
    """
    if not torch.cuda.is_available():
        raise InputError(
            "expected a GPU to train on a base in 4 bits, this machine shows none; train with quantize='none' here"
        )
    with needs("qlora"):
        import bitsandbytes  # noqa: F401  # found missing before the base is read


def load_4bit(model: str | Path) -> tuple[Any, Any, str]:
    """The base as NF4 with doubly quantised constants, computing in bfloat16; its tokenizer; and the fingerprint of the
    base as it was saved, which is the one that the adapter will be loaded on.

    Raises:
        InputError, MissingExtraError: as `refuse_without_gpu`, or there is no such model.
    """
    refuse_without_gpu()
    # Four bits say nothing certain of the weights they came from, so those are read too, in main memory, and let go.
    fingerprint = pretrained.fingerprint(pretrained.load(model)[0])
    packed = BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    base, tokenizer = pretrained.load(model, quantization_config=packed, device_map={"": processes.device()})
    prepared = prepare_model_for_kbit_training(  # type: ignore[no-untyped-call]  # peft leaves it untyped
        base, gradient_checkpointing_kwargs={"use_reentrant": False}
    )
    return prepared, tokenizer, fingerprint
