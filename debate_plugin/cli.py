"""The command line: every command is a few lines over the library.

What the user must fix is one line on standard error and exit code 2; what failed on the way is exit code 1.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import warnings
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from debate_plugin.errors import InputError, MissingExtraError, RunError
from debate_plugin.progress import bar

_Command = TypeVar("_Command", bound=Callable[..., Any])
_KINDS = click.Choice(["number", "choice", "exact", "free"])
_HOPELESS = 10  # debates that failed in a row from the start: nobody answers there


def _with(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Options that several commands share, written once."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_seed = click.option("--seed", default=0, show_default=True, help="Seed of sampling, speaking order and splits.")
_limit = click.option("--limit", type=click.IntRange(min=1), help="Take only the first N questions.")
_in_file = _with(
    click.option("--column", help="Column of a JSON or JSONL file that holds the question."),
    click.option("--kind", type=_KINDS, help="Kind of answer; told from the file by default."),
    _limit,
)
_debate = _with(
    click.option(
        "--model", default="abacus", show_default=True, help="abacus, a model folder, a hub id, or openai:NAME."
    ),
    click.option("--base-url", help="Address of an OpenAI-compatible server; the key comes from OPENAI_API_KEY."),
    click.option("--adapter", type=Path, help="LoRA adapter folder to speak with."),
    click.option("--debaters", default=3, show_default=True, type=click.IntRange(min=1)),
    click.option("--rounds", default=2, show_default=True, type=click.IntRange(min=1)),
    click.option(
        "--topology", default="complete", show_default=True, type=click.Choice(["complete", "ring", "star", "chain"])
    ),
    click.option("--summaries/--no-summaries", default=True, help="Digest what the others said."),
    click.option("--confidence/--no-confidence", default=True, help="Ask for confidence from 1 to 100."),
    click.option("--cleaning/--no-cleaning", default=True, help="Clean the final answer of debate talk."),
    click.option("--temperature", default=1.0, show_default=True, type=click.FloatRange(min=0)),
    click.option(
        "--max-tokens", default=1024, show_default=True, type=click.IntRange(min=1), help="Tokens of one reply."
    ),
    click.option("--concurrency", default=64, show_default=True, type=click.IntRange(min=1), help="Debates at once."),
    _seed,
)


@dataclass(frozen=True, kw_only=True)
class _Debating:
    """The options that `_debate` adds to a command: which model speaks, and in what team."""

    model: str
    base_url: str | None
    adapter: Path | None
    debaters: int
    rounds: int
    topology: str
    summaries: bool
    confidence: bool
    cleaning: bool
    temperature: float
    max_tokens: int
    concurrency: int
    seed: int

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> _Debating:
        return cls(**{field.name: options.pop(field.name) for field in fields(cls)})

    def speaker(self) -> Any:
        from debate_plugin.models import open_model

        return open_model(self.model, base_url=self.base_url, adapter=self.adapter)

    def client(self, speaker: Any, *, temperature: float | None = None) -> Any:
        chosen = self.temperature if temperature is None else temperature
        return speaker.client(temperature=chosen, max_tokens=self.max_tokens, seed=self.seed)

    def team(self, client: Any, helper: Any, *, kind: Any = "free") -> Any:
        """The team; `helper` sums up and cleans. Questions from files bring their own kind."""
        from debate_agents.presets import debategpt
        from debate_plugin.topology import NAMED

        return debategpt(
            client,
            debaters=self.debaters,
            rounds=self.rounds,
            topology=NAMED[self.topology](),
            summaries=self.summaries,
            confidence=self.confidence,
            cleaning=self.cleaning,
            helper_client=helper,
            kind=kind,
            seed=self.seed,
        )


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="debate-plugin")
@click.pass_context
def app(context: click.Context) -> None:
    """Debate, record, compile, train, evaluate."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@app.command()
@click.argument("question")
@click.option(
    "--kind", type=_KINDS, default="free", show_default=True, help="Kind of answer; free ones are not voted on."
)
@_debate
@_as_json
def run(question: str, kind: str, as_json: bool, **options: Any) -> None:
    """Hold one debate and show it."""
    outcome = asyncio.run(_run(question, _Debating(**options), kind=kind, as_json=as_json))
    if as_json:
        click.echo(json.dumps(asdict(outcome)))
    if outcome.answer is None:
        raise RunError("the debaters came to no answer; their abstentions say why")


@app.command()
@click.option(
    "--questions", "question_file", type=Path, required=True, help="Alpaca JSON, GSM8K JSONL, any JSONL, text."
)
@_in_file
@_debate
@click.option(
    "--store", "store_place", default="debates.sqlite", show_default=True, help="SQLite file or database URL."
)
@click.option("--run", "run_name", default="default", show_default=True, help="Name of the run in the store.")
@_as_json
def generate(as_json: bool, **options: Any) -> None:
    """Debate the questions of a file; those the store holds already are skipped."""
    counts = asyncio.run(_generate(_Debating.taken_from(options), **options))
    if as_json:
        click.echo(json.dumps(counts))
    else:
        click.echo(
            f"{counts['debated']} debated, {counts['skipped']} were there already, {counts['failed']} failed; "
            f"{options['store_place']} holds {counts['stored']}"
        )
    if counts["failed"]:
        raise RunError(f"{counts['failed']} debates failed and were not recorded, the last because: {counts['reason']}")


@app.command(name="compile")
@click.option(
    "--store", "store_place", default="debates.sqlite", show_default=True, help="SQLite file or database URL."
)
@click.option("--rule", "rule_name", default="final_answer", show_default=True, help="Who deserves credit for what.")
@click.option("--run", "run_name", help="Only the debates of this run.")
@click.option(
    "--min-agreement",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of votes behind the answer.",
)
@click.option("--out", type=Path, required=True, help="JSONL file to write; its card goes beside it.")
@_as_json
def compile_command(
    store_place: str, rule_name: str, run_name: str | None, min_agreement: float, out: Path, as_json: bool
) -> None:
    """Make training rows of the store's transcripts."""
    from debate_plugin.dataset.compile import compile_rows
    from debate_plugin.dataset.rules import RULES
    from debate_plugin.store import Store

    if rule_name not in RULES:
        raise InputError(f"expected a rule out of {', '.join(RULES)}, got {rule_name!r}")
    with Store.open(store_place, create=False) as store, bar("Compiling", store.count(run=run_name)) as advance:

        def counted() -> Any:
            for done, transcript in enumerate(store.transcripts(run=run_name), 1):
                yield transcript
                advance(done)

        card = compile_rows(counted(), RULES[rule_name], out, name=rule_name, min_agreement=min_agreement)
    if as_json:
        click.echo(json.dumps(asdict(card)))
    else:
        left_out = ", ".join(f"{reason}: {count}" for reason, count in card.without_row.items()) or "none left out"
        click.echo(f"{card.rows} rows of {card.transcripts} transcripts in {out} ({left_out})")


@app.command()
@click.argument("method", type=click.Choice(["sft", "dpo"]))
@click.option("--rows", type=Path, required=True, help="JSONL file made by `debate compile`.")
@click.option("--out", type=Path, required=True, help="Adapter folder to write.")
@click.option("--model", default="abacus", show_default=True, help="abacus, a model folder or a hub id.")
@click.option("--adapter", type=Path, help="LoRA adapter folder to go on from.")
@click.option("--rank", type=click.IntRange(min=1))
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True))
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True))
@click.option("--batch-size", type=click.IntRange(min=1))
@click.option("--max-length", type=click.IntRange(min=1), help="Tokens of a row; longer rows are refused.")
@_seed
@_as_json
def train(method: str, rows: Path, out: Path, model: str, adapter: Path | None, as_json: bool, **settings: Any) -> None:
    """Train a LoRA adapter: sft on chats, dpo on preferences."""
    from debate_plugin.models import folder_of

    if adapter is not None and settings["rank"] is not None:
        raise InputError("expected --rank for a new adapter, got --adapter too, which has its rank; drop one of them")
    chosen = {name: value for name, value in settings.items() if value is not None}
    folder = folder_of(model)
    with bar("Training", None) as advance:
        if method == "sft":
            from debate_plugin.training.lora import LoraSettings
            from debate_plugin.training.sft import train_sft

            trained = train_sft(folder, rows, out, adapter=adapter, settings=LoraSettings(**chosen), progress=advance)
        else:
            from debate_plugin.training.preference import PreferenceSettings, train_preference

            trained = train_preference(
                folder, rows, out, adapter=adapter, settings=PreferenceSettings(**chosen), progress=advance
            )
    if as_json:
        click.echo(json.dumps({**asdict(trained), "adapter": str(trained.adapter)}))
    else:
        click.echo(
            f"{trained.rows} rows, {trained.steps} steps, mean loss {trained.loss:.4f}, "
            f"{trained.seconds:.0f} s; adapter in {trained.adapter}"
        )


@app.command()
@click.option(
    "--questions",
    "question_file",
    type=Path,
    help="Question file with reference answers; the papers' arithmetic without.",
)
@_in_file
@_debate
@_as_json
def evaluate(as_json: bool, **options: Any) -> None:
    """Compare one answer, votes and the debate on the same questions."""
    report = asyncio.run(_evaluate(_Debating.taken_from(options), **options))
    if as_json:
        click.echo(json.dumps(report))
    else:
        _print_table({"model": report["methods"]}, f"{report['n']} questions, 95 % bootstrap intervals")


@app.command()
@click.option("--out", type=Path, help="Folder to keep store, rows and adapters in.")
@click.option("--limit", type=click.IntRange(min=1), help="Test questions instead of the default number.")
@_seed
@_as_json
def demo(out: Path | None, limit: int | None, seed: int, as_json: bool) -> None:
    """The whole path on the embedded model, ending with a table."""
    from debate_plugin.loops.demo import Demo, run_demo

    settings = Demo(seed=seed) if limit is None else Demo(seed=seed, test_questions=limit)
    if out is not None:
        from debate_plugin.training.lora import unused_folder

        unused_folder(out).mkdir()
        result = run_demo(out, settings, bars=bar)
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = run_demo(Path(folder), settings, bars=bar)
    if as_json:
        click.echo(json.dumps(result))
        return
    _print_table(result["models"], f"{result['n']} fresh questions, seed {seed}, 95 % bootstrap intervals")
    for name, gains in result["gains"].items():
        for method in ("single", "greedy"):
            gain = gains[method]
            click.echo(f"{name} - base, {method}: {gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]")
    click.echo("seconds: " + ", ".join(f"{stage} {value:.0f}" for stage, value in result["seconds"].items()))


async def _run(question: str, debating: _Debating, *, kind: str, as_json: bool) -> Any:
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
    debating: _Debating,
    *,
    question_file: Path,
    column: str | None,
    kind: Any,
    limit: int | None,
    store_place: str,
    run_name: str,
) -> dict[str, Any]:
    from debate_plugin.question import read_questions
    from debate_plugin.series import Series
    from debate_plugin.series import generate as debates
    from debate_plugin.store import Store

    asked = read_questions(question_file, column=column, kind=kind)[:limit]
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
            async with aclosing(debates(series, open_questions, concurrency=debating.concurrency)) as ending:
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
    debating: _Debating, *, question_file: Path | None, column: str | None, kind: Any, limit: int | None
) -> dict[str, Any]:
    from debate_plugin.evaluation import arithmetic
    from debate_plugin.evaluation.compare import Contestant, compare
    from debate_plugin.question import read_questions

    if question_file is None:
        asked = arithmetic.questions(limit or 200, seed=debating.seed, split="test")
    else:
        asked = read_questions(question_file, column=column, kind=kind)[:limit]
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


def _print_table(models: dict[str, dict[str, dict[str, float]]], title: str) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in models:
        table.add_column(name, justify="right")
    for method in next(iter(models.values())):
        cells = (models[name][method] for name in models)
        table.add_row(method, *(_with_ends(cell) for cell in cells))
    Console().print(table)


def _with_ends(cell: dict[str, float]) -> str:
    """`.442 [.350, .533]`: three of these and their labels fit 80 columns."""
    mean, low, high = (f"{cell[part]:.3f}".removeprefix("0") for part in ("accuracy", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _complain(sentence: str) -> None:
    click.echo("error: " + " ".join(sentence.split()), err=True)


def main() -> None:
    """Run the command line; what went wrong is one line, and the exit code says whose it is."""
    # A server may name a model otherwise than it was asked for; the user named it and need not be told each time.
    warnings.filterwarnings("ignore", message="Resolved model mismatch")
    try:
        app.main(prog_name="debate", standalone_mode=False)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "debate"
        _complain(f"{error.format_message()} See '{where} --help'.")
        raise SystemExit(2) from None
    except (InputError, MissingExtraError, OSError) as error:
        _complain(str(error))
        raise SystemExit(2) from None
    except RunError as error:
        _complain(str(error))
        raise SystemExit(1) from None
    except (click.Abort, KeyboardInterrupt):
        _complain("stopped; what was recorded is kept")
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
