"""Transcripts -> training rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from debate_plugin.cli.options import as_json, run_name, seed, store
from debate_plugin.errors import InputError
from debate_plugin.progress import bar


@click.command(name="compile")
@store
@run_name
@click.option(
    "--rule",
    "rule_name",
    default="final_answer",
    show_default=True,
    help="Who deserves credit for what: a rule's name, or module:function.",
)
@click.option("--set", "options", multiple=True, metavar="NAME=VALUE", help="An option of the rule; may be repeated.")
@click.option(
    "--out", type=Path, required=True, help="NAME.jsonl, .json, .parquet, or a folder; NAME.card.* go beside it."
)
@click.option(
    "--format",
    "format_name",
    default="trl",
    show_default=True,
    type=click.Choice(["trl", "trl-messages", "openai", "sharegpt", "alpaca"]),
    help="Whose rows they are.",
)
@click.option("--min-agreement", default=0.0, show_default=True, type=click.FloatRange(0, 1), help="Of the votes.")
@click.option("--max-agreement", default=1.0, show_default=True, type=click.FloatRange(0, 1), help="Of the votes.")
@click.option("--no-debate-talk", is_flag=True, help="Leave out rows that would teach to speak of a debate.")
@click.option("--length-ratio", type=click.FloatRange(min=1), help="Most that a pair may differ in length.")
@click.option("--near-duplicates", type=click.FloatRange(0, 1, True, True), help="Likeness to an earlier row, as 0.9.")
@click.option("--held-out", type=Path, multiple=True, help="Question file that no row may hold; may be repeated.")
@click.option("--held-out-words", default=13, show_default=True, type=click.IntRange(min=1), help="Words in a row.")
@click.option("--keep-secrets", is_flag=True, help="Do not look for keys and tokens.")
@click.option(
    "--test-share",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of the questions whose rows go to NAME.test.",
)
@click.option("--per-agent", is_flag=True, help="Write a file for each agent: NAME.AGENT.")
@click.option("--mix", multiple=True, metavar="PART=SHARE", help="Shares of the rule's parts; may be repeated.")
@click.option("--tokenizer", help="Model whose tokens the card counts; it counts words without.")
@seed
@as_json
def compile_(store_place: str, run_name: str | None, out: Path, as_json: bool, **options: Any) -> None:
    """Make training rows of the store's records."""
    from debate_plugin.dataset.compile import compile_rows
    from debate_plugin.dataset.rules import takes
    from debate_plugin.store import Store

    compilation = _compilation(**options)
    kind = takes(compilation.rule)
    with (
        Store.open(store_place, create=False) as opened,
        bar("Compiling", opened.count(kind, run=run_name)) as advance,
    ):

        def counted() -> Iterator[Any]:
            for done, record in enumerate(opened.records(kind, run=run_name), 1):
                yield record
                advance(done)

        card = compile_rows(counted(), out, compilation)
    if as_json:
        click.echo(json.dumps(card.as_json()))
        return
    left_out = {**card.without_row, **{f"rows: {reason}": count for reason, count in card.rows_left_out.items()}}
    told = ", ".join(f"{reason}: {count}" for reason, count in left_out.items()) or "none left out"
    names = ", ".join(file.name for file in card.files)
    click.echo(f"{card.rows} rows of {card.with_rows} of {card.transcripts} transcripts in {names} ({told})")


def _compilation(
    *,
    rule_name: str,
    options: tuple[str, ...],
    format_name: Any,
    min_agreement: float,
    max_agreement: float,
    no_debate_talk: bool,
    length_ratio: float | None,
    near_duplicates: float | None,
    held_out: tuple[Path, ...],
    held_out_words: int,
    keep_secrets: bool,
    test_share: float,
    per_agent: bool,
    mix: tuple[str, ...],
    tokenizer: str | None,
    seed: int,
) -> Any:
    from debate_plugin.dataset import filters
    from debate_plugin.dataset.compile import Compilation, words
    from debate_plugin.dataset.rules import MIXES, rule_named
    from debate_plugin.question import read_questions

    if min_agreement > max_agreement:
        raise InputError(f"expected --min-agreement up to --max-agreement, got {min_agreement} and {max_agreement}")
    chosen: list[filters.Filter] = []
    if min_agreement > 0 or max_agreement < 1:
        chosen.append(filters.Agreement(minimum=min_agreement, maximum=max_agreement))
    if no_debate_talk:
        chosen.append(filters.DebateTalk())
    if length_ratio is not None:
        chosen.append(filters.LengthBalance(length_ratio))
    if held_out:
        questions = [question for path in held_out for question in read_questions(path)]
        chosen.append(filters.HeldOut(questions, words=held_out_words))
    if not keep_secrets:
        chosen.append(filters.Secrets())
    if near_duplicates is not None:
        chosen.append(filters.NearDuplicates(near_duplicates))
    shares = {part: _share(part, text) for part, text in _pairs("--mix", mix).items()}
    measure, unit = _measure(tokenizer) if tokenizer is not None else (words, "words")
    return Compilation(
        rule=rule_named(rule_name, _pairs("--set", options)),
        format=format_name,
        filters=chosen,
        mix=shares or MIXES.get(rule_name),
        test_share=test_share,
        per_agent=per_agent,
        seed=seed,
        measure=measure,
        unit=unit,
    )


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if wrong := [text for text, (_, sign, _) in zip(texts, pairs, strict=True) if not sign]:
        raise InputError(f"expected {option} NAME=VALUE, got {wrong[0]!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _share(part: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"expected a number as the share of {part!r}, got {text!r}") from None


def _measure(model: str) -> tuple[Callable[[str], int], str]:
    """The tokens of a model, without those that a chat template adds."""
    from debate_plugin.models import folder_of, name_of
    from debate_plugin.pretrained import load_tokenizer

    tokenizer = load_tokenizer(folder_of(model))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False)), f"tokens of {name_of(folder_of(model))}"
