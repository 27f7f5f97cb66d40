"""Holding debates: one to look at, or those of a question file; and comparing them with votes."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from debate_plugin.cli.options import KINDS, Debating, as_json, in_file, store, with_team
from debate_plugin.cli.tables import print_table
from debate_plugin.errors import InputError, RunError
from debate_plugin.progress import bar

_HOPELESS = 10  # debates that failed in a row from the start: nobody answers there


@click.command()
@click.argument("question")
@click.option(
    "--kind", type=KINDS, default="free", show_default=True, help="Kind of answer; free ones are not voted on."
)
@with_team
@as_json
def run(question: str, kind: str, as_json: bool, **options: Any) -> None:
    """Hold one debate and show it."""
    outcome = asyncio.run(_run(question, Debating(**options), kind=kind, as_json=as_json))
    if as_json:
        click.echo(json.dumps(asdict(outcome)))
    if outcome.answer is None:
        raise RunError("the debaters came to no answer; their abstentions say why")


@click.command()
@click.option(
    "--questions", "question_file", type=Path, required=True, help="Alpaca JSON, GSM8K JSONL, any JSONL, text."
)
@in_file
@with_team
@store
@click.option("--source", help="Where the questions are from, for the cards of data sets; the file's name by default.")
@click.option("--licence", help="The licence of that source.")
@click.option("--run", "run_name", default="default", show_default=True, help="Name of the run in the store.")
@click.option(
    "--play",
    type=click.Choice(["live", "lockstep", "batch-api"]),
    default="live",
    show_default=True,
    help="Hold debates as they come, or in lockstep: one batch for each stage of all of them, asked live or through "
    "the server's Batch API.",
)
@click.option(
    "--ledger",
    type=Path,
    default="ledger",
    show_default=True,
    help="Folder in which --play batch-api notes what it submitted; the same command goes on from it.",
)
@click.option(
    "--poll-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Between two looks at a batch of --play batch-api.",
)
@as_json
def generate(as_json: bool, **options: Any) -> None:
    """Debate the questions of a file, but for the test share; those the store holds already are skipped."""
    counts = asyncio.run(_generate(Debating.taken_from(options), **options))
    if as_json:
        click.echo(json.dumps(counts))
    else:
        click.echo(
            f"{counts['debated']} debated, {counts['skipped']} were there already, {counts['failed']} failed; "
            f"{options['store_place']} holds {counts['stored']}"
        )
    if counts["failed"]:
        raise RunError(f"{counts['failed']} debates failed and were not recorded, the last because: {counts['reason']}")


@click.command()
@click.option(
    "--questions",
    "question_file",
    type=Path,
    help="Question file with reference answers; the papers' arithmetic without.",
)
@in_file
@with_team
@as_json
def evaluate(as_json: bool, **options: Any) -> None:
    """Compare one answer, votes and the debate on the same questions; of a file, those of the test share, if any."""
    report = asyncio.run(_evaluate(Debating.taken_from(options), **options))
    if as_json:
        click.echo(json.dumps(report))
    else:
        print_table({"model": report["methods"]}, f"{report['n']} questions, 95 % bootstrap intervals")


async def _run(question: str, debating: Debating, *, kind: str, as_json: bool) -> Any:
    from autogen_agentchat.ui import Console as DebateConsole

    from debate_plugin.messages import DebateDecided

    async with debating.speaker() as speaker:
        client, helper = debating.client(speaker), debating.client(speaker, temperature=0.0)
        stream = debating.team(client, helper, kind=kind).run_stream(task=question)
        result = await (_last(stream) if as_json else DebateConsole(stream))
    return next(message.outcome for message in result.messages if isinstance(message, DebateDecided))


async def _last(stream: Any) -> Any:
    return [item async for item in stream][-1]


async def _generate(
    debating: Debating,
    *,
    question_file: Path,
    column: str | None,
    kind: Any,
    limit: int | None,
    test_share: float,
    store_place: str,
    run_name: str,
    source: str | None,
    licence: str | None,
    play: str,
    ledger: Path,
    poll_seconds: float,
) -> dict[str, Any]:
    from debate_plugin.batches import Live
    from debate_plugin.lockstep import debate_in_lockstep
    from debate_plugin.question import read_questions
    from debate_plugin.series import Series
    from debate_plugin.series import generate as debates
    from debate_plugin.store import Store

    questions = read_questions(question_file, column=column, kind=kind, source=source, licence=licence)
    asked = _on_side("train", questions, test_share)[:limit]
    async with debating.speaker() as speaker:
        client, helper = debating.client(speaker), debating.client(speaker, temperature=0.0)
        settings = {
            "model": debating.model,
            "adapter": str(debating.adapter) if debating.adapter is not None else None,
            "temperature": debating.temperature,
            "max_tokens": debating.max_tokens,
        }
        with Store.open(store_place) as store:
            series = Series(
                make_team=lambda: debating.team(client, helper), store=store, run=run_name, settings=settings
            )
            open_questions = series.open_questions(asked)
            debated = failed = tokens = 0
            reason = None
            match play:
                case "live":
                    holding = debates(series, open_questions, concurrency=debating.concurrency)
                case "lockstep":
                    is_server = debating.model.startswith("openai:")  # the engine makes batches of any number
                    live = Live(debating.concurrency if is_server else None)
                    holding = debate_in_lockstep(series, open_questions, live)
                case _:  # a batch may take a day: all that are to be debated go into one
                    at_once = max(len(open_questions), 1)
                    batches = speaker.batches(ledger, poll_seconds=poll_seconds)
                    holding = debate_in_lockstep(series, open_questions, batches, at_once=at_once)
            async with aclosing(holding) as ending:
                with bar("Debating", len(open_questions)) as advance:
                    async for held in ending:
                        if held.failure is not None:
                            failed, reason = failed + 1, held.failure
                        else:
                            debated, tokens = debated + 1, tokens + held.completion_tokens
                        advance(debated + failed, note=f"{tokens:,} tokens")
                        if failed == _HOPELESS and not debated:
                            raise RunError(
                                f"expected answers from {debating.base_url or debating.model}, the first {failed} "
                                f"debates all failed ({reason}); check the model and the server"
                            )
            return {
                "debated": debated,
                "skipped": len(asked) - len(open_questions),
                "failed": failed,
                "reason": reason,
                "completion_tokens": tokens,
                "stored": len(store),
            }


async def _evaluate(
    debating: Debating,
    *,
    question_file: Path | None,
    column: str | None,
    kind: Any,
    limit: int | None,
    test_share: float,
) -> dict[str, Any]:
    from debate_plugin.evaluation import arithmetic
    from debate_plugin.evaluation.compare import Contestant, compare
    from debate_plugin.question import read_questions

    if question_file is None:
        asked = arithmetic.questions(limit or 200, seed=debating.seed, split="test")
    else:
        questions = read_questions(question_file, column=column, kind=kind)
        asked = _on_side("test", questions, test_share)[:limit] if test_share else questions[:limit]
    async with debating.speaker() as speaker:
        client, greedy = debating.client(speaker), debating.client(speaker, temperature=0.0)
        contestant = Contestant(greedy=greedy, sampling=client, make_team=lambda: debating.team(client, greedy))
        with bar("Evaluating", len(asked)) as advance:
            scores = await compare(contestant, asked, concurrency=debating.concurrency, progress=advance)
    return {
        "n": len(asked),
        "seed": debating.seed,
        "methods": {
            method: {"accuracy": value.mean, "low": value.low, "high": value.high}
            for method, value in scores.estimates().items()
        },
    }


def _on_side(side: str, questions: list[Any], test_share: float) -> list[Any]:
    from debate_plugin.splits import split_of

    chosen = [question for question in questions if split_of(question.id, test_share=test_share) == side]
    if not chosen:
        raise InputError(
            f"expected questions on the {side} side, a test share of {test_share:g} leaves none of {len(questions)} "
            "there; choose another share"
        )
    return chosen
