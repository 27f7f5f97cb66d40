"""Options that several commands share, each written once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])
KINDS = click.Choice(["number", "choice", "exact", "free"])


def together(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Options that several commands share, written once."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
seed = click.option("--seed", default=0, show_default=True, help="Seed of sampling, speaking order and splits.")
limit = click.option("--limit", type=click.IntRange(min=1), help="Take only the first N questions.")
in_file = together(
    click.option("--column", help="Column of a JSON or JSONL file that holds the question."),
    click.option("--kind", type=KINDS, help="Kind of answer; told from the file by default."),
    limit,
    click.option(
        "--test-share",
        default=0.0,
        show_default=True,
        type=click.FloatRange(0, 1, max_open=True),
        help="Share of the questions, told by their ids, that is set aside for testing.",
    ),
)
with_team = together(
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
    seed,
)


@dataclass(frozen=True, kw_only=True)
class Debating:
    """The options that `with_team` adds to a command: which model speaks, and in what team."""

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
    def taken_from(cls, options: dict[str, Any]) -> Debating:
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


store = click.option(
    "--store", "store_place", default="debates.sqlite", show_default=True, help="SQLite file or database URL."
)
run_name = click.option("--run", "run_name", help="Only what was recorded under this name.")
