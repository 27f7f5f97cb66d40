"""What is looked at before the first step: the silent ways in which training goes wrong, each told and refused.

It reads the tokens and weights that the trainer itself holds, not what they were meant to be.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from debate_plugin.errors import InputError, needs
from debate_plugin.pretrained import prompt_ids
from debate_plugin.training.rows import Example

with needs("train"):
    import torch

FILE = "preflight.json"
_END = 3  # tokens at the end of a reply among which the stop token is: some templates put a line break behind it


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool
    found: str
    advice: str  # what to do where it has not passed

    def __str__(self) -> str:
        return f"{'ok' if self.passed else 'REFUSED'}  {self.name}: {self.found}" + (
            "" if self.passed else f"; {self.advice}"
        )


@dataclass(frozen=True)
class Preflight:
    """All that was looked at."""

    checks: tuple[Check, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.checks))

    def write(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps([asdict(check) for check in self.checks], indent=2) + "\n", "utf-8")

    def refuse(self) -> None:
        """Refuse to train where a check has not passed.

        Raises:
            InputError: names every check that has not.
        """
        if failed := [check for check in self.checks if not check.passed]:
            told = " | ".join(f"{check.name}: {check.found}; {check.advice}" for check in failed)
            raise InputError(f"expected to pass every check before training, {told}")


Told = Callable[[Preflight], None]
"""Is told what was found, before training begins or is refused."""


@dataclass(frozen=True)
class Tokens:
    """One row as the trainer holds it."""

    prompt: list[int]
    replies: tuple[list[int], ...]  # what carries loss, or is weighed against each other


def preflight(
    *,
    method: Literal["sft", "dpo", "kto"],
    trainer: Any,
    examples: Sequence[Example],
    lengths: Callable[[], Sequence[int]],
    longest: int,
    most_cut: float,
    tokenizer: Any,
    rows: str | Path,
    test_rows: str | Path | None,
) -> Preflight:
    """Look at a trainer that is about to train; `lengths` are those of the rows before anything was cut."""
    policy = trainer.model
    tokens = list(_tokens(method, trainer.train_dataset))
    held = [len(row.prompt) + max(map(len, row.replies)) for row in tokens]
    # To tokenise all rows once more is the dearest part of the look, and says nothing new where none reached the limit.
    all_are_whole = len(held) == len(examples) and max(held, default=longest) < longest
    # What was cut is known to have lost its end; whether the others are whole is the question.
    whole = [row for row in tokens if len(row.prompt) + max(map(len, row.replies)) < longest]
    checks = [
        _cut(held if all_are_whole else lengths(), longest, most_cut),
        _trained(tokens, len(examples)),
        _ends(whole, _stop_ids(policy, tokenizer)),
        _template(whole, examples, tokenizer),
    ]
    if method == "dpo":
        checks.append(_differ(tokens))
    checks.append(_trainable(policy))
    if method != "sft":
        checks.append(_reference(policy))
    if test_rows is not None:
        checks.append(_apart(rows, test_rows))
    return Preflight(tuple(checks))


def _tokens(method: str, dataset: Any) -> Iterator[Tokens]:
    for row in dataset:
        if method == "dpo":
            yield Tokens(row["prompt_ids"], (row["chosen_ids"], row["rejected_ids"]))
        elif method == "kto":
            yield Tokens(row["prompt_ids"], (row["completion_ids"],))
        else:
            labels = row["labels"]
            first = next((place for place, label in enumerate(labels) if label != -100), len(labels))
            yield Tokens(row["input_ids"][:first], ([label for label in labels[first:] if label != -100],))


def _cut(lengths: Sequence[int], longest: int, most: float) -> Check:
    cut = sum(length > longest for length in lengths)
    return Check(
        name="rows within the length limit",
        passed=cut <= most * len(lengths),
        found=f"{cut} of {len(lengths)} are longer than {longest} tokens, the longest has {max(lengths)}",
        advice="leave them out, or raise max_length if the model's context allows it",
    )


def _trained(tokens: Sequence[Tokens], rows: int) -> Check:
    # TRL drops rows that have none, without a word.
    empty = rows - len(tokens) + sum(not all(row.replies) for row in tokens)
    total = sum(len(reply) for row in tokens for reply in row.replies)
    return Check(
        name="every row has tokens to train on",
        passed=empty == 0,
        found=f"{empty} of {rows} have none, {total} tokens in all",
        advice="look at the completions of these rows",
    )


def _ends(tokens: Sequence[Tokens], stops: set[int]) -> Check:
    endless = sum(stops.isdisjoint(reply[-_END:]) for row in tokens for reply in row.replies)
    return Check(
        name="every reply ends with a stop token",
        passed=endless == 0,
        found=f"{endless} of {sum(len(row.replies) for row in tokens)} do not",
        advice="the model would never learn to stop; mend the chat template or name its stop token as eos_token",
    )


def _stop_ids(policy: Any, tokenizer: Any) -> set[int]:
    named = getattr(policy.generation_config, "eos_token_id", None)
    ids = named if isinstance(named, list) else [named]
    return {one for one in (*ids, tokenizer.eos_token_id) if one is not None}


def _template(tokens: Sequence[Tokens], examples: Sequence[Example], tokenizer: Any) -> Check:
    """Whether what stands before a reply in training is what stands before it when the engine asks.

    The rows of the trainer may be in another order, so they are compared as sets.
    """
    asked = {tuple(prompt_ids(tokenizer, one["prompt"], tools=_tools(one))) for one in examples}
    other = sum(tuple(row.prompt) not in asked for row in tokens)
    return Check(
        name="prompts are the same in training and at inference",
        passed=other == 0,
        found=f"{other} of {len(tokens)} differ",
        advice="the chat template renders a prompt alone otherwise than with its reply; mend the template",
    )


def _tools(example: Example) -> Any:
    return json.loads(example["tools"]) if example.get("tools") else None


def _differ(tokens: Sequence[Tokens]) -> Check:
    same = sum(row.replies[0] == row.replies[1] for row in tokens)
    return Check(
        name="chosen and rejected differ",
        passed=same == 0,
        found=f"{same} of {len(tokens)} pairs are the same",
        advice="leave these pairs out",
    )


def _trainable(policy: Any) -> Check:
    names = [name.split(".lora_A")[0] for name, _ in policy.named_parameters() if ".lora_A" in name]
    adapted = sorted({name.rpartition(".")[2] for name in names})
    trained = [(name, weight) for name, weight in policy.named_parameters() if weight.requires_grad]
    stray = [name for name, _ in trained if ".lora_" not in name]
    count = sum(weight.numel() for _, weight in trained)
    return Check(
        name="the adapter is trained and nothing else",
        passed=bool(trained) and not stray,
        found=f"{count} weights on {', '.join(adapted) or 'no layer'}" + (f", and {stray[0]} too" if stray else ""),
        advice="the adapter's layers must be the model's linear ones, and its base frozen",
    )


def _reference(policy: Any) -> Check:
    """Whether the reference is what training starts from: a frozen copy of the adapter that is continued, or the base
    alone, which a new adapter is as long as its B is nothing."""
    weights = {name: weight for name, weight in policy.named_parameters() if ".lora_" in name}
    pairs = [
        (weight, weights.get(name.replace(".default.", ".ref.")))
        for name, weight in weights.items()
        if ".default." in name
    ]
    if not any(".ref." in name for name in weights):
        pairs = [(weight, torch.zeros_like(weight)) for name, weight in weights.items() if ".lora_B." in name]
    moving = sum(copy is not None and copy.requires_grad for _, copy in pairs)
    other = sum(copy is None or not torch.equal(weight, copy) for weight, copy in pairs)
    return Check(
        name="the reference is what training starts from",
        passed=bool(pairs) and other == 0 and moving == 0,
        found=f"{other} of {len(pairs)} weights differ, {moving} are not frozen",
        advice="the reference must be a frozen copy of the adapter; use another version of trl",
    )


def _apart(rows: str | Path, test_rows: str | Path) -> Check:
    shared = _questions(rows) & _questions(test_rows)
    return Check(
        name="no test question is trained on",
        passed=not shared,
        found=f"{len(shared)} questions are in {Path(rows).name} and in {Path(test_rows).name}",
        advice="set test questions aside before debating, with --test-share",
    )


def _questions(path: str | Path) -> set[str]:
    try:
        lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"expected a readable row file, {path} could not be read ({error}); check the path") from error
    named = {str(line.get("provenance", {}).get("question", "")) for line in lines}
    if named <= {""}:
        raise InputError(f"expected rows with their provenance in {path}, found none; were they compiled here?")
    return named - {""}
