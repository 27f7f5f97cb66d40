"""The task, the statistics and the comparison."""

import pytest
from actors import scripted_team
from autogen_ext.models.replay import ReplayChatCompletionClient

from debate_plugin import DebateTeam, Question
from debate_plugin.evaluation.arithmetic import draw, expression, question, questions, result
from debate_plugin.evaluation.compare import Contestant, compare, is_right
from debate_plugin.evaluation.statistics import estimate, paired_difference


def test_the_arithmetic_task_is_that_of_the_papers() -> None:
    operands = (4, 18, 27, 25, 24, 2)
    asked = question(operands)
    assert asked.text == "What is the result of 4+18*27+25-24*2?"
    assert asked.reference == "467" == str(result(operands))


def test_questions_are_seeded_distinct_and_of_six_different_operands() -> None:
    asked = questions(200, seed=0, split="train")
    assert asked == questions(200, seed=0, split="train")
    assert asked != questions(200, seed=1, split="train")
    assert len({one.id for one in asked}) == 200
    import random

    for operands in draw(50, random.Random(0), split="test"):
        assert len(set(operands)) == 6 and min(operands) >= 0 and max(operands) <= 29
        assert eval(expression(operands)) == result(operands)


def test_splits_are_disjoint_whatever_the_seeds() -> None:
    splits = ("pretrain", "validation", "train", "test")
    sets = [{one.id for seed in range(3) for one in questions(300, seed=seed, split=split)} for split in splits]  # type: ignore[arg-type]
    assert sum(map(len, sets)) == len(set.union(*sets))
    with pytest.raises(ValueError, match="expected a split out of pretrain"):
        questions(1, seed=0, split="dev")  # type: ignore[arg-type]


def test_an_interval_holds_the_mean_and_narrows_with_more_questions() -> None:
    few, many = estimate([0, 1] * 10), estimate([0, 1] * 1000)
    assert few.low < 0.5 < few.high
    assert many.high - many.low < (few.high - few.low) / 5
    assert estimate([1.0] * 5).low == 1.0
    with pytest.raises(ValueError, match="at least one score"):
        estimate([])


def test_a_paired_difference_sees_what_the_intervals_of_each_hide() -> None:
    base = [float(number % 2) for number in range(100)]
    better = [1.0 if number < 10 else score for number, score in enumerate(base)]
    gain = paired_difference(better, base)
    assert gain.low > 0
    assert estimate(better).low < estimate(base).high
    with pytest.raises(ValueError, match="same questions"):
        paired_difference([1], [1, 0])


def test_no_answer_is_never_right_and_a_missing_reference_is_named() -> None:
    asked = question((4, 18, 27, 25, 24, 2))
    assert is_right(asked, "467") and is_right(asked, "467.0")
    assert not is_right(asked, None)
    with pytest.raises(ValueError, match="has no reference answer"):
        is_right(Question.of("x", kind="number"), "1")
    with pytest.raises(ValueError, match="expected a number as the reference"):
        is_right(Question.of("x", kind="number", reference="none"), "1")


async def test_all_columns_come_from_the_same_prompts_and_the_vote_costs_what_the_debate_costs() -> None:
    asked = Question.of("What is 2+2?", kind="number", reference="4")
    sampling = ReplayChatCompletionClient(["Answer: 5"] * 20)
    greedy = ReplayChatCompletionClient(["Answer: 4"])
    teams: list[DebateTeam] = []

    def team() -> DebateTeam:
        teams.append(
            scripted_team(
                {
                    "ada": ["Answer: 4", "Answer: 4"],
                    "ben": ["Answer: 4", "Answer: 4"],
                    "cleo": ["Answer: 5", "Answer: 4"],
                }
            )
        )
        return teams[-1]

    scores = await compare(Contestant(greedy=greedy, sampling=sampling, make_team=team), [asked])
    assert scores.greedy == [1.0]
    assert scores.vote == [1.0]
    assert scores.debate == [1.0]
    # six replies in the debate, three of them openings: three more samples, all wrong
    assert len(sampling.create_calls) == 3
    assert scores.single == [2 / 6]
    assert scores.vote_equal_cost == [0.0]
    asked_of_greedy = greedy.create_calls[0]["messages"]
    assert asked_of_greedy[0].content == teams[0].participants["ada"].system_message
    assert "What is 2+2?" in asked_of_greedy[1].content
