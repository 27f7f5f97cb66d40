"""What supervised and preference training share: the base with its adapter, the trainer's settings, saving."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from debate_plugin.errors import InputError, needs
from debate_plugin.files import appearing

with needs("train"):
    import torch
    from datasets import Dataset, Features, Json, List, Value
    from datasets.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import PreTrainedTokenizerBase, TrainerCallback, set_seed
    from transformers.trainer_callback import PrinterCallback

from debate_plugin import pretrained
from debate_plugin.engine.batch import context_tokens
from debate_plugin.lineage import Base, Lineage, data_of, parent_of
from debate_plugin.models import name_of
from debate_plugin.training.preflight import Preflight, Told, preflight
from debate_plugin.training.rows import Example

Progress = Callable[[int, int], None]
"""Told the optimizer steps done and to do."""


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """The adapter and its optimizer."""

    rank: int = 16
    alpha: int = 32  # scales the adapter by alpha / rank
    learning_rate: float = 2e-4  # about ten times that of full fine-tuning (Schulman et al. 2025)
    epochs: float = 2.0
    batch_size: int = 16
    max_length: int = 2048  # tokens of a row
    most_cut: float = 0.0  # share of the rows that may be longer and are then cut: a cut reply has lost its end
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "alpha", "learning_rate", "epochs", "batch_size", "max_length"):
            if getattr(self, name) <= 0:
                raise InputError(f"expected {name} above 0, got {getattr(self, name)}")
        if not 0 <= self.most_cut <= 1:
            raise InputError(f"expected a share from 0 to 1 as most_cut, got {self.most_cut}")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training run did."""

    adapter: Path
    rows: int
    steps: int
    loss: float  # mean over the run
    seconds: float


def load_policy(
    model: str | Path, adapter: str | Path | None, settings: LoraSettings
) -> tuple[PeftModel, PreTrainedTokenizerBase, str]:
    """The base with a trainable adapter (a new one on all linear layers, or the given one continued), its tokenizer,
    and the base's fingerprint."""
    set_seed(settings.seed)
    base, tokenizer = pretrained.load(model)
    fingerprint = pretrained.fingerprint(base)
    if adapter is not None:
        folder = pretrained.adapter_folder(adapter, fingerprint=fingerprint)
        return PeftModel.from_pretrained(base, folder, is_trainable=True), tokenizer, fingerprint
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    policy = get_peft_model(base, config)
    if not isinstance(policy, PeftModel):
        raise TypeError(f"expected a PeftModel around the base, got {type(policy).__name__}")
    return policy, tokenizer, fingerprint


def lengths_of(examples: list[Example], tokenizer: Any) -> list[int]:
    """The rows' lengths in tokens, of a pair that of its longer side."""
    return [
        max(
            len(
                tokenizer.apply_chat_template(
                    [*row["prompt"], *row[column]],
                    tools=json.loads(row["tools"]) if row.get("tools") else None,
                    return_dict=True,
                )["input_ids"]
            )
            for column in row
            if column in ("completion", "chosen", "rejected")
        )
        for row in examples
    ]


def dataset_of(examples: list[Example]) -> Dataset:
    """The examples as a dataset; messages as JSON, since calls of different tools have different arguments."""
    kinds = {"label": Value("bool"), "tools": Value("string")}
    columns = {name: kinds.get(name, List(Json())) for row in examples for name in row}
    return Dataset.from_list(
        [{name: row.get(name) for name in columns} for row in examples], features=Features(columns)
    )


def fit(
    method: Literal["sft", "dpo", "kto"],
    trainer_class: Any,
    config_class: Any,
    examples: list[Example],
    *,
    model: str | Path,
    adapter: str | Path | None,
    rows: str | Path,
    out: Path,
    settings: LoraSettings,
    progress: Progress | None,
    test_rows: str | Path | None,
    told: Told | None,
    **config: Any,
) -> Trained:
    """Train with one of TRL's trainers and write the adapter; `config` is for its config class alone."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as work, pretrained.hushed(), _without_dataset_bars():
        policy, tokenizer, fingerprint = load_policy(model, adapter, settings)
        data, parent = data_of(rows), parent_of(adapter) if adapter is not None else None
        longest = min(settings.max_length, context_tokens(policy))
        trainer = trainer_class(
            model=policy,
            args=config_class(**_arguments(settings, work), max_length=longest, **config),
            train_dataset=dataset_of(examples),
            processing_class=tokenizer,
            callbacks=[ProgressCallback(progress)],
        )
        trainer.remove_callback(PrinterCallback)  # standard output belongs to the caller
        found = preflight(
            method=method,
            trainer=trainer,
            examples=examples,
            lengths=lengths_of(examples, tokenizer),
            longest=longest,
            most_cut=settings.most_cut,
            tokenizer=tokenizer,
            rows=rows,
            test_rows=test_rows,
        )
        if told is not None:
            told(found)
        found.refuse()
        result = trainer.train()
    trained = Trained(
        adapter=out,
        rows=len(examples),
        steps=result.global_step,
        loss=result.training_loss,
        seconds=round(time.monotonic() - started, 2),
    )
    shape: Any = policy.peft_config["default"]  # a continued adapter keeps its own
    lineage = Lineage(
        method=method,
        base=Base(name=name_of(model), fingerprint=fingerprint),
        parent=parent,
        data=data,
        settings={**asdict(settings), "rank": shape.r, "alpha": shape.lora_alpha},
        metrics={"loss": trained.loss, "steps": trained.steps, "seconds": trained.seconds},
        versions={name: version(name) for name in ("debate-plugin", "torch", "transformers", "peft", "trl")},
    )
    save_adapter(policy, tokenizer, lineage, found, out)
    return trained


@contextmanager
def _without_dataset_bars() -> Iterator[None]:
    were_on = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if were_on:
            enable_progress_bars()


def _arguments(settings: LoraSettings, work: str) -> dict[str, Any]:
    """What all of TRL's trainers are told."""
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": work,
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,  # below 1 this is a share of all steps
        "seed": settings.seed,
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "gradient_checkpointing": on_gpu,  # memory is short there, time is short here
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def save_adapter(
    policy: PeftModel, tokenizer: PreTrainedTokenizerBase, lineage: Lineage, found: Preflight, out: Path
) -> None:
    """Write the adapter folder; it appears when it is complete."""
    with appearing(out) as unfinished:
        policy.save_pretrained(str(unfinished), selected_adapters=["default"])
        tokenizer.save_pretrained(str(unfinished))
        lineage.write(unfinished)
        found.write(unfinished)


class ProgressCallback(TrainerCallback):
    """Tells a caller how far the trainer is."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._progress is not None:
            self._progress(state.global_step, state.max_steps)
