"""What supervised and preference training share: the base with its adapter, the trainer's settings, saving."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

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
from debate_plugin.training import metrics, processes
from debate_plugin.training.checkpoints import Checkpoints, last_whole, unfinished
from debate_plugin.training.preflight import Preflight, Told, preflight
from debate_plugin.training.quantized import load_4bit
from debate_plugin.training.rows import Example

Progress = Callable[[int, int], None]
"""Told the optimizer steps done and to do."""

Quantize = Literal["none", "4bit"]


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """The adapter and its optimizer."""

    rank: int = 16
    alpha: int = 32  # scales the adapter by alpha / rank
    learning_rate: float = 2e-4  # about ten times that of full fine-tuning (Schulman et al. 2025)
    epochs: float = 2.0
    batch_size: int = 16  # rows of an optimizer step, of all processes together
    max_length: int = 2048  # tokens of a row
    most_cut: float = 0.0  # share of the rows that may be longer and are then cut: a cut reply has lost its end
    quantize: Quantize = "none"  # 4bit: the frozen base in a quarter of its memory, for a GPU with bitsandbytes
    # Steps between checkpoints, which are all that a kill can cost; to write one (the adapter, and the optimizer's two
    # numbers for each of its weights) takes less than one step of a model for which it matters.
    save_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "alpha", "learning_rate", "epochs", "batch_size", "max_length", "save_every"):
            if getattr(self, name) <= 0:
                raise InputError(f"expected {name} above 0, got {getattr(self, name)}")
        if not 0 <= self.most_cut <= 1:
            raise InputError(f"expected a share from 0 to 1 as most_cut, got {self.most_cut}")
        if self.quantize not in get_args(Quantize):
            raise InputError(f"expected {' or '.join(get_args(Quantize))} as quantize, got {self.quantize!r}")


class Options(TypedDict, total=False):
    """What every method of training can be given besides its settings."""

    adapter: str | Path | None
    """Adapter folder to go on from; a new adapter is begun otherwise."""
    test_rows: str | Path | None
    """Rows set aside: their questions must not be among the trained ones, and the loss on them is measured at the end
    of each epoch."""
    told: Told | None
    """Told what the preflight found, before training begins or is refused; the adapter's folder keeps it."""
    progress: Progress | None
    """Told the optimizer steps done and to do."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One of TRL's trainers, and the rows it takes."""

    name: Literal["sft", "dpo", "kto"]
    trainer: Any
    config: Any
    read: Callable[[str | Path], list[Example]]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training run did."""

    adapter: Path
    rows: int
    steps: int
    loss: float  # mean over the run
    seconds: float  # of this call; what was done before it was broken off is not in it


def load_policy(
    model: str | Path, adapter: str | Path | None, settings: LoraSettings
) -> tuple[PeftModel, PreTrainedTokenizerBase, str]:
    """The base with a trainable adapter (a new one on all linear layers, or the given one continued), its tokenizer,
    and the base's fingerprint."""
    set_seed(settings.seed)
    if settings.quantize == "4bit":
        base, tokenizer, fingerprint = load_4bit(model)
    else:
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
    method: Method,
    examples: list[Example],
    *,
    model: str | Path,
    rows: str | Path,
    out: Path,
    settings: LoraSettings,
    config: Mapping[str, Any],
    adapter: str | Path | None = None,
    test_rows: str | Path | None = None,
    told: Told | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train with one of TRL's trainers and write the adapter; `config` is for its config class alone.

    A run that was broken off is gone on with from its last checkpoint, see `checkpoints`. Under `accelerate launch` all
    processes call this; the main one alone tells and writes.
    """
    started = time.monotonic()
    with pretrained.hushed(), _without_dataset_bars():
        a_process = _rows_of_a_process(method.name, settings.batch_size)
        test_examples = method.read(test_rows) if test_rows is not None else None
        policy, tokenizer, fingerprint = load_policy(model, adapter, settings)
        data, parent = data_of(rows), parent_of(adapter) if adapter is not None else None
        run = {
            "method": method.name,
            "base": fingerprint,
            "adapter": parent.sha256 if parent is not None else None,
            "rows": data.sha256,
            "test rows": data_of(test_rows).sha256 if test_rows is not None else None,
            "settings": asdict(settings),
            "number of processes": processes.count(),
        }
        with unfinished(out, run) as work:
            longest = min(settings.max_length, context_tokens(policy))
            trainer = method.trainer(
                model=policy,
                args=method.config(
                    **_arguments(settings, len(examples), work, a_process), max_length=longest, **config
                ),
                train_dataset=dataset_of(examples),
                eval_dataset=dataset_of(test_examples) if test_examples is not None else None,
                processing_class=tokenizer,
                callbacks=[
                    Checkpoints(settings.save_every),
                    EpochEvaluation(test_examples is not None),
                    ProgressCallback(progress),
                ],
            )
            if adapter is None and "ref" in policy.peft_config:
                # An untrained adapter adds nothing: the base alone is the same reference as TRL's copy, and cheaper.
                policy.delete_adapter("ref")
            trainer.remove_callback(PrinterCallback)  # standard output belongs to the caller

            def look() -> Preflight:
                found = preflight(
                    method=method.name,
                    trainer=trainer,
                    examples=examples,
                    lengths=partial(lengths_of, examples, tokenizer),
                    longest=longest,
                    most_cut=settings.most_cut,
                    tokenizer=tokenizer,
                    rows=rows,
                    test_rows=test_rows,
                )
                if told is not None:
                    told(found)
                found.refuse()
                return found

            found = processes.by_main(look)
            checkpoint = last_whole(work)
            if checkpoint is not None:
                _count_on(trainer, checkpoint)
            result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
            lines = metrics.lines_of(trainer.state.log_history)
            trained = Trained(
                adapter=out,
                rows=len(examples),
                steps=result.global_step,
                loss=metrics.mean_loss(lines),
                seconds=round(time.monotonic() - started, 2),
            )
            shape: Any = policy.peft_config["default"]  # a continued adapter keeps its own
            packages = ["debate-plugin", "torch", "transformers", "peft", "trl"]
            if settings.quantize != "none":
                packages.append("bitsandbytes")
            lineage = Lineage(
                method=method.name,
                base=Base(name=name_of(model), fingerprint=fingerprint),
                parent=parent,
                data=data,
                settings={**asdict(settings), "rank": shape.r, "alpha": shape.lora_alpha},
                metrics={"loss": trained.loss, "steps": trained.steps, "seconds": trained.seconds},
                versions={name: version(name) for name in packages},
            )
            # Where the weights are spread over the processes, all of them are needed to gather them.
            weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
            if processes.is_main():
                save_adapter(policy, weights, tokenizer, lineage, found, lines, out)
            processes.wait_for_all()
    return trained


def _rows_of_a_process(method: str, batch_size: int) -> int:
    """How many of a step's rows each process takes."""
    share, rest = divmod(batch_size, processes.count())
    if rest:
        raise InputError(
            f"expected a batch_size that {processes.count()} processes can share, got {batch_size}; a step takes that "
            "many rows in all"
        )
    if method == "kto" and share < 2:  # the reference point is estimated from the other rows of a process
        raise InputError(
            f"expected a batch_size of at least {2 * processes.count()} for KTO on {processes.count()} processes, "
            f"got {batch_size}"
        )
    return share


def _count_on(trainer: Any, checkpoint: Path) -> None:
    """TRL counts the tokens it has seen, and would begin again at nought."""
    logged = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    trainer._total_train_tokens = max((line["num_tokens"] for line in logged if "num_tokens" in line), default=0)


@contextmanager
def _without_dataset_bars() -> Iterator[None]:
    were_on = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if were_on:
            enable_progress_bars()


def _arguments(settings: LoraSettings, rows: int, work: Path, a_process: int) -> dict[str, Any]:
    """What all of TRL's trainers are told."""
    steps = math.ceil(rows / settings.batch_size) * settings.epochs
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": str(work),
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": a_process,
        "per_device_eval_batch_size": a_process,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "cosine",
        # Below 1 this is a share of all steps. The first step of a warm-up has a rate of nought: a run of few steps
        # would lose much of what it is for, one of a single step all.
        "warmup_steps": 0.05 if steps >= 20 else 0,
        "seed": settings.seed,
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "gradient_checkpointing": on_gpu,  # memory is short there, time is short here
        "save_strategy": "no",  # `Checkpoints` says when
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
    }


def save_adapter(
    policy: PeftModel,
    weights: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    lineage: Lineage,
    found: Preflight,
    lines: list[metrics.Line],
    out: Path,
) -> None:
    """Write the adapter folder; it appears when it is complete."""
    with appearing(out) as unfinished:
        policy.save_pretrained(str(unfinished), state_dict=weights, selected_adapters=["default"])
        tokenizer.save_pretrained(str(unfinished))
        lineage.write(unfinished)
        found.write(unfinished)
        metrics.write(lines, unfinished)


class EpochEvaluation(TrainerCallback):
    """Has the rows set aside looked at, if there are any, at the end of each epoch and of the run.

    That is at the last step of an epoch and not after it, so that it comes before a checkpoint of that step: a resumed
    run would never look back.
    """

    def __init__(self, there_are_any: bool) -> None:
        self._there_are_any = there_are_any

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        ended = state.global_step % len(kwargs["train_dataloader"]) == 0 or state.global_step == state.max_steps
        control.should_evaluate = self._there_are_any and ended


class ProgressCallback(TrainerCallback):
    """Tells a caller how far the trainer is."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._progress is not None and state.is_world_process_zero:
            self._progress(state.global_step, state.max_steps)
