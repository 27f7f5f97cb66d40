"""The rules, one a file: small pure functions from a transcript to rows, or to the reason why there are none."""

from collections.abc import Callable, Sequence

from debate_plugin.dataset.rows import NoRow, Row
from debate_plugin.dataset.rules.final_answer import final_answer
from debate_plugin.dataset.rules.majority_minority import majority_minority
from debate_plugin.transcript import Transcript

Rule = Callable[[Transcript], Sequence[Row] | NoRow]
"""What a rule is: any such function can be compiled with."""

RULES: dict[str, Rule] = {"final_answer": final_answer, "majority_minority": majority_minority}

__all__ = ["RULES", "Rule", "final_answer", "majority_minority"]
