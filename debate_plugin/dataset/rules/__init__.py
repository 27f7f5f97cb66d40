"""The rules, one a file: small pure functions from a record to rows, or to the reason why there are none.

Any such function can be compiled with: `debate compile --rule my_module:my_rule`. Which records it takes, its first
parameter's annotation says (`Transcript` or `Conversation`); its keyword parameters are its options.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, get_args, get_type_hints

from debate_plugin.conversation import Conversation
from debate_plugin.dataset.rows import NoRow, Row
from debate_plugin.dataset.rules.binary import binary
from debate_plugin.dataset.rules.conversation import conversation
from debate_plugin.dataset.rules.critic import critic
from debate_plugin.dataset.rules.final_answer import final_answer
from debate_plugin.dataset.rules.generator import generator
from debate_plugin.dataset.rules.judged import judged
from debate_plugin.dataset.rules.majority_minority import majority_minority
from debate_plugin.dataset.rules.next_round_credit import next_round_credit
from debate_plugin.dataset.rules.prompts_only import prompts_only
from debate_plugin.dataset.rules.self_correction import self_correction
from debate_plugin.errors import InputError
from debate_plugin.record import Kind

Rule = Callable[[Any], Sequence[Row] | NoRow]
"""What a rule is."""

RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        final_answer,
        generator,
        critic,
        majority_minority,
        judged,
        self_correction,
        next_round_credit,
        binary,
        prompts_only,
        conversation,
    )
}

MIXES: dict[str, dict[str, float]] = {"critic": {"corrected": 0.5, "kept": 0.5}}
"""Rules whose rows have parts, and the shares in which they are mixed unless others are named."""


def rule_named(name: str, options: Mapping[str, str] | None = None) -> Rule:
    """A rule by its name, or by `module:function`, with its options read from text.

    Raises:
        InputError: there is no such rule or option, or an option's value does not fit.
    """
    if name in RULES:
        rule = RULES[name]
    elif ":" in name:
        module, _, function = name.partition(":")
        if "" not in sys.path and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # where a rule of one's own is likely to be
        try:
            rule = getattr(import_module(module), function)
            takes(rule)
        except (ImportError, AttributeError, ValueError, TypeError, StopIteration) as error:
            raise InputError(
                f"expected a rule at {name!r}, a function that takes a record; it could not be imported ({error})"
            ) from error
    else:
        raise InputError(f"expected a rule out of {', '.join(RULES)}, or module:function, got {name!r}")
    known = {
        parameter.name: parameter
        for parameter in inspect.signature(rule).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    hints = get_type_hints(rule)
    chosen = {}
    for option, text in (options or {}).items():
        if option not in known:
            has = f"its options are {', '.join(known)}" if known else "it has none"
            raise InputError(f"expected an option of the rule {name!r}, got {option!r}; {has}")
        chosen[option] = _value(option, text, hints.get(option, str))
    return partial(rule, **chosen) if chosen else rule


def takes(rule: Rule) -> Kind:
    """Which records a rule is for."""
    function = rule.func if isinstance(rule, partial) else rule
    first = next(iter(inspect.signature(function).parameters))
    return "conversation" if get_type_hints(function).get(first) is Conversation else "debate"


def _value(option: str, text: str, hint: Any) -> Any:
    """An option's value, in the first of the types it may have that the text fits."""
    kinds = get_args(hint) or (hint,)
    for kind in kinds:
        if isinstance(kind, str):  # one of the words of a Literal
            if text == kind:
                return text
        elif kind is bool:
            if text.lower() in ("true", "false"):
                return text.lower() == "true"
        elif kind in (int, float, str):
            try:
                return kind(text)
            except ValueError:
                continue
    words = " or ".join(repr(kind) if isinstance(kind, str) else getattr(kind, "__name__", str(kind)) for kind in kinds)
    raise InputError(f"expected {option}={words}, got {text!r}")


__all__ = [
    "MIXES",
    "RULES",
    "Rule",
    "binary",
    "conversation",
    "critic",
    "final_answer",
    "generator",
    "judged",
    "majority_minority",
    "next_round_credit",
    "prompts_only",
    "rule_named",
    "self_correction",
    "takes",
]
