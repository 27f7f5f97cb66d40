"""The stage directions: replaceable, checked when made, and closed to what debaters write."""

import pytest

from debate_plugin import directions as say
from debate_plugin.directions import Directions
from debate_plugin.question import Question

QUESTION = Question.of("What is $x + {y}?", kind="number")


def test_a_replaced_direction_must_use_its_variables() -> None:
    with pytest.raises(ValueError, match=r"direction 'opening' to use \$ending \$question, found \$question"):
        Directions(opening="Please answer: $question")
    with pytest.raises(ValueError, match=r"found \$colour"):
        Directions(clean="$question $reply $colour")
    with pytest.raises(ValueError, match="a stray"):
        Directions(clean="$question $reply 5$")


def test_a_replaced_direction_is_used() -> None:
    directions = Directions(opening="Q: $question\n$ending")
    assert say.open_debate(directions, QUESTION, confidence=False).startswith("Q: What is $x + {y}?")


def test_confidence_is_asked_for_only_when_it_is_on() -> None:
    assert "Confidence:" in say.open_debate(Directions(), QUESTION, confidence=True)
    assert "Confidence:" not in say.open_debate(Directions(), QUESTION, confidence=False)


def test_each_kind_of_answer_has_its_ending() -> None:
    ends = {
        kind: say.open_debate(Directions(), Question.of("x", kind=kind), confidence=False)
        for kind in ("choice", "free")
    }
    assert "letter" in ends["choice"]
    assert "Answer:" not in ends["free"]


def test_replies_stand_between_tags_and_braces_and_dollars_survive() -> None:
    prompt = say.rebut(
        Directions(), QUESTION, [say.Heard(text="it is {3} $money"), say.Heard(text="4")], confidence=True
    )
    assert "<reply>\nit is {3} $money\n</reply>\n<reply>\n4\n</reply>" in prompt
