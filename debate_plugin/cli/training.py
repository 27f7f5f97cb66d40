"""Training adapters, and the whole path at once."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from debate_plugin.cli.hosted import hosted
from debate_plugin.cli.options import as_json, seed, together
from debate_plugin.cli.tables import print_table
from debate_plugin.errors import InputError
from debate_plugin.progress import bar, silent


@click.group()
def train() -> None:
    """Train a LoRA adapter here, or a model on its server.

    Broken off, the same command goes on from its last checkpoint. `accelerate launch --module debate_plugin train ...`
    trains on all GPUs.
    """


_training = together(
    click.option("--rows", type=Path, required=True, help="JSONL file made by `debate compile`."),
    click.option("--out", type=Path, required=True, help="Adapter folder to write."),
    click.option("--model", default="abacus", show_default=True, help="abacus, a model folder or a hub id."),
    click.option("--adapter", type=Path, help="LoRA adapter folder to go on from."),
    click.option("--rank", type=click.IntRange(min=1)),
    click.option("--epochs", type=click.FloatRange(min=0, min_open=True)),
    click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True)),
    click.option("--batch-size", type=click.IntRange(min=1), help="Rows of an optimizer step."),
    click.option("--max-length", type=click.IntRange(min=1), help="Tokens of a row; longer rows are refused."),
    click.option("--test-rows", type=Path, help="Rows set aside: not to be trained on, their loss is measured."),
    click.option("--save-every", type=click.IntRange(min=1), help="Steps between checkpoints to go on from."),
    click.option("--quantize", type=click.Choice(["none", "4bit"]), help="4bit: QLoRA, on a GPU with bitsandbytes."),
    seed,
    as_json,
)
_beta = click.option("--beta", type=click.FloatRange(min=0, min_open=True), help="Lower trusts the reference less.")


@train.command()
@_training
def sft(**options: Any) -> None:
    """On chats: rows of final_answer, generator, critic, conversation."""
    from debate_plugin.training.lora import LoraSettings
    from debate_plugin.training.sft import train_sft

    _train(train_sft, LoraSettings, **options)


@train.command()
@_training
@_beta
@click.option("--loss-type", help="sigmoid is DPO's; ipo, hinge and the others of TRL's DPOConfig.")
def dpo(**options: Any) -> None:
    """On preferences: rows of majority_minority, judged, self_correction."""
    from debate_plugin.training.preference import PreferenceSettings, train_preference

    _train(train_preference, PreferenceSettings, **options)


@train.command()
@_training
@_beta
def kto(**options: Any) -> None:
    """On labelled replies: rows of binary, next_round_credit."""
    from debate_plugin.training.kto import KtoSettings, train_kto

    _train(train_kto, KtoSettings, **options)


train.add_command(hosted)


def _train(
    trainer: Callable[..., Any],
    settings_class: Callable[..., Any],
    *,
    rows: Path,
    out: Path,
    model: str,
    adapter: Path | None,
    test_rows: Path | None,
    as_json: bool,
    **settings: Any,
) -> None:
    from debate_plugin.models import folder_of
    from debate_plugin.training import processes

    if adapter is not None and settings["rank"] is not None:
        raise InputError("expected --rank for a new adapter, got --adapter too, which has its rank; drop one of them")
    chosen = {name: value for name, value in settings.items() if value is not None}
    with (bar if processes.is_main() else silent)("Training", None) as advance:
        trained = trainer(
            folder_of(model),
            rows,
            out,
            adapter=adapter,
            settings=settings_class(**chosen),
            progress=advance,
            test_rows=test_rows,
            told=lambda found: click.echo(found, err=True),
        )
    if not processes.is_main():
        return
    if as_json:
        click.echo(json.dumps({**asdict(trained), "adapter": str(trained.adapter)}))
    else:
        click.echo(
            f"{trained.rows} rows, {trained.steps} steps, mean loss {trained.loss:.4f}, "
            f"{trained.seconds:.0f} s; adapter in {trained.adapter}"
        )


@click.command()
@click.option("--adapter", type=Path, required=True, help="LoRA adapter folder.")
@click.option("--out", type=Path, required=True, help="Model folder to write.")
@click.option("--model", default="abacus", show_default=True, help="abacus, a model folder or a hub id.")
def merge(adapter: Path, out: Path, model: str) -> None:
    """Work an adapter into its base: a plain model folder."""
    from debate_plugin.models import folder_of
    from debate_plugin.training.merge import merge as merged

    click.echo(f"base and adapter are one model in {merged(folder_of(model), adapter, out)}")


@click.command()
@click.option("--out", type=Path, help="Folder to keep store, rows and adapters in.")
@click.option("--limit", type=click.IntRange(min=1), help="Test questions instead of the default number.")
@seed
@as_json
def demo(out: Path | None, limit: int | None, seed: int, as_json: bool) -> None:
    """The whole path on the embedded model, ending with a table."""
    from debate_plugin.loops.demo import Demo, run_demo

    settings = Demo(seed=seed) if limit is None else Demo(seed=seed, test_questions=limit)
    if out is not None:
        from debate_plugin.files import unused

        unused(out).mkdir()
        result = run_demo(out, settings, bars=bar)
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = run_demo(Path(folder), settings, bars=bar)
    if as_json:
        click.echo(json.dumps(result))
        return
    print_table(result["models"], f"{result['n']} fresh questions, seed {seed}, 95 % bootstrap intervals")
    for name, gains in result["gains"].items():
        for method in ("single", "greedy"):
            gain = gains[method]
            click.echo(f"{name} - base, {method}: {gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]")
    click.echo("seconds: " + ", ".join(f"{stage} {value:.0f}" for stage, value in result["seconds"].items()))
