"""Fine-tuning on a server: `debate train hosted`, whose options are others than those of training here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from debate_plugin.cli.options import as_json
from debate_plugin.errors import InputError, needs


@click.command()
@click.option("--rows", type=Path, required=True, help="JSONL file made by `debate compile --format openai`.")
@click.option("--out", type=Path, required=True, help="Record of the job; the same command goes on from it.")
@click.option("--model", required=True, help="openai:NAME, a model that the server fine-tunes.")
@click.option("--base-url", help="Address of an OpenAI-compatible server; the key comes from OPENAI_API_KEY.")
@click.option("--method", type=click.Choice(["supervised", "dpo"]), default="supervised", show_default=True)
@click.option("--validation-rows", type=Path, help="Rows that the server reports the loss of.")
@click.option("--epochs", type=click.IntRange(min=1))
@click.option("--batch-size", type=click.IntRange(min=1))
@click.option("--learning-rate-multiplier", type=click.FloatRange(min=0, min_open=True))
@click.option("--beta", type=click.FloatRange(min=0, min_open=True), help="Of dpo: higher keeps closer to the base.")
@click.option("--suffix", help="Goes into the trained model's name.")
@click.option("--seed", type=int)
@click.option("--poll-seconds", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True)
@as_json
def hosted(
    rows: Path,
    out: Path,
    model: str,
    base_url: str | None,
    validation_rows: Path | None,
    poll_seconds: float,
    as_json: bool,
    **settings: Any,
) -> None:
    """Fine-tune a model of a server; what is left out is the server's choice."""
    from debate_plugin.training.hosted import HostedJob, HostedSettings, train_hosted

    with needs("openai"):
        from openai import AsyncOpenAI

    if not model.startswith("openai:"):
        raise InputError(f"expected --model openai:NAME, got {model!r}; train local models by sft, dpo or kto")
    key = os.environ.get("OPENAI_API_KEY")
    if not key and base_url is None:
        raise InputError("expected an API key in OPENAI_API_KEY, it is not set; export it or name a --base-url")

    async def train() -> HostedJob:
        async with AsyncOpenAI(api_key=key or "none", base_url=base_url) as openai:
            return await train_hosted(
                openai,
                rows,
                out,
                model=model.removeprefix("openai:"),
                validation=validation_rows,
                settings=HostedSettings(**settings),
                poll_seconds=poll_seconds,
                told=_changes(),
            )

    job = asyncio.run(train())
    if as_json:
        click.echo(job.model_dump_json())
    else:
        click.echo(f"{job.data.rows} rows, {job.trained_tokens} tokens trained; debate with --model openai:{job.model}")


def _changes() -> Callable[[Any], None]:
    """Tells how far it has come whenever that is news."""
    before = ""

    def told(progress: Any) -> None:
        nonlocal before
        tokens = f", {progress.trained_tokens} tokens" if progress.trained_tokens else ""
        now = f"{progress.status}{tokens}{': ' + progress.event if progress.event else ''}"
        if now != before:
            click.echo(now, err=True)
        before = now

    return told
