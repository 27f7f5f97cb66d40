"""The debate as a generator: who is asked what, who hears whom, and how it is decided."""

import random
from collections.abc import Callable, Sequence

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from debate_plugin import Plan, Question, Turn, debate
from debate_plugin.protocol import Outcome, Reply, Stage, read_reply, read_score
from debate_plugin.topology import hearing, ring

QUESTION = Question.of("What is 2+2?", kind="number")
NAMES = ("ada", "ben", "cleo")
Speak = Callable[[Turn], str | None]


def play(
    plan: Plan, speak: Speak, *, names: Sequence[str] = NAMES, question: Question = QUESTION
) -> tuple[list[Stage], Outcome]:
    """Play a debate whose agents say what `speak` says; None is a failure."""
    flow = debate(question, names, plan)
    stages, stage = [], next(flow)
    while True:
        stages.append(stage)
        texts = [(turn, speak(turn)) for turn in stage]
        replies = [
            read_reply(question, turn, text) if text is not None else Reply(turn=turn, abstention="failed")
            for turn, text in texts
        ]
        try:
            stage = flow.send(replies)
        except StopIteration as stop:
            return stages, stop.value


def says(answers: dict[tuple[str, int], str], *, otherwise: str = "Answer: 4") -> Speak:
    return lambda turn: answers.get((turn.agent, turn.round), otherwise)


def test_openings_are_independent_then_each_hears_the_round_before() -> None:
    stages, outcome = play(Plan(), lambda turn: f"{turn.agent} in {turn.round}. Answer: 4")
    assert [[turn.round for turn in stage] for stage in stages] == [[1, 1, 1], [2, 2, 2]]
    assert len({turn.prompt for turn in stages[0]}) == 1
    rebuttal = stages[1][0].prompt
    assert "ben in 1" in rebuttal and "cleo in 1" in rebuttal and "ada in 1" not in rebuttal
    assert (outcome.answer, outcome.decided_by) == ("4", "majority")


def test_with_digests_the_summarizer_speaks_before_the_rebuttals() -> None:
    def speak(turn: Turn) -> str:
        return f"digest for {turn.about}" if turn.role == "summarizer" else f"{turn.agent}. Answer: 4"

    stages, _ = play(Plan(digest="each"), speak)
    assert [stage[0].role for stage in stages] == ["debater", "summarizer", "debater"]
    assert [turn.about for turn in stages[1]] == list(NAMES)
    assert "<summary>\ndigest for ben\n</summary>" in stages[2][1].prompt
    assert "cleo. Answer" not in stages[2][1].prompt


def test_when_the_summarizer_fails_the_replies_themselves_are_heard() -> None:
    stages, _ = play(
        Plan(digest="each"), lambda turn: None if turn.role == "summarizer" else f"{turn.agent}. Answer: 4"
    )
    assert "cleo. Answer: 4" in stages[2][1].prompt


def test_a_debate_that_agrees_enough_ends_without_another_round() -> None:
    speak = says({("cleo", 1): "Answer: 5"})
    stages, outcome = play(Plan(enough=0.6, rounds=3), speak)
    assert len(stages) == 1 and (outcome.answer, outcome.round) == ("4", 1)
    stages, outcome = play(Plan(enough=0.7, rounds=3), speak)
    assert len(stages) == 2 and outcome.round == 2
    with pytest.raises(ValueError, match="a share of agreement"):
        Plan(enough=2)


def test_an_empty_digest_is_no_digest() -> None:
    stages, _ = play(Plan(digest="each"), lambda turn: " " if turn.role == "summarizer" else f"{turn.agent}. Answer: 4")
    assert "<summary>" not in stages[2][0].prompt and "cleo. Answer: 4" in stages[2][0].prompt


def test_a_confidence_that_nobody_asked_for_counts_for_nothing() -> None:
    speak = says({("ada", 2): "Answer: 5\nConfidence: 10", ("ben", 2): "Answer: 6\nConfidence: 90"})
    assert play(Plan(confidence="off"), speak, names=("ada", "ben"))[1].decided_by == "earliest"


def test_who_abstains_is_not_heard_and_who_hears_nobody_checks_itself() -> None:
    stages, outcome = play(Plan(), lambda turn: "hm" if turn.agent != "ada" else "Answer: 4")
    assert "hm" not in stages[1][0].prompt
    assert stages[1][0].prompt.startswith("Check your last reply")
    assert "Answer: 4" in stages[1][1].prompt
    assert outcome.votes[0].abstained == ("ben", "cleo")


def test_a_majority_decides_whatever_the_confidence() -> None:
    speak = says({("cleo", 2): "Answer: 5\nConfidence: 99"}, otherwise="Answer: 4\nConfidence: 1")
    assert play(Plan(), speak)[1].answer == "4"


def test_ties_go_by_confidence_then_to_the_earliest_answer() -> None:
    sure = says({("ada", 2): "Answer: 5\nConfidence: 30", ("ben", 2): "Answer: 6\nConfidence: 60"})
    outcome = play(Plan(), sure, names=("ada", "ben"))[1]
    assert (outcome.answer, outcome.decided_by) == ("6", "confidence")
    unsure = says({("ada", 1): "Answer: 7", ("ben", 1): "Answer: 5", ("ada", 2): "Answer: 6", ("ben", 2): "Answer: 5"})
    outcome = play(Plan(), unsure, names=("ada", "ben"))[1]
    assert (outcome.answer, outcome.decided_by) == ("5", "earliest")


def test_a_judge_scores_one_reply_of_each_answer_and_the_best_wins() -> None:
    def speak(turn: Turn) -> str:
        if turn.role == "judge":
            return "Score: 5" if "Answer: 5" in turn.prompt else "Score: 2"
        return "Answer: 5" if turn.agent == "cleo" else "Answer: 4\nConfidence: 90"

    stages, outcome = play(Plan(decide="judge"), speak)
    assert [turn.about for turn in stages[-1]] == ["ada", "cleo"]
    assert all("Confidence: 90" not in turn.prompt for turn in stages[-1])
    assert (outcome.answer, outcome.decided_by, outcome.debater) == ("5", "judge", "cleo")


def test_a_judge_without_a_verdict_leaves_it_to_the_vote() -> None:
    speak = says({("judge", 2): "Both are fine."} | {("cleo", number): "Answer: 5" for number in (1, 2)})
    assert play(Plan(decide="judge"), speak)[1].decided_by == "majority"


def test_the_cleaner_gets_the_surest_winning_reply_without_its_confidence() -> None:
    def speak(turn: Turn) -> str:
        if turn.role == "cleaner":
            return "The answer is 4."
        return f"I am {turn.agent}. Answer: 4\nConfidence: {90 if turn.agent == 'ben' else 10}"

    stages, outcome = play(Plan(clean=True), speak)
    assert "I am ben. Answer: 4\n</reply>" in stages[-1][0].prompt
    assert (outcome.cleaned, outcome.final) == ("The answer is 4.", "The answer is 4.")


@pytest.mark.parametrize("cleaned", ["The answer is 5.", "nothing left", ""])
def test_a_cleaner_that_loses_the_answer_is_not_believed(cleaned: str) -> None:
    outcome = play(Plan(clean=True), lambda turn: cleaned if turn.role == "cleaner" else "Answer: 4")[1]
    assert (outcome.cleaned, outcome.final) == (None, "Answer: 4")


@pytest.mark.parametrize(
    ("cleaned", "believed"),
    [("2 and 2 make 4, in all 1234.", False), ("2+2=4", True), ("First 1000, then 4", True), ("3+1=4", False)],
)
def test_a_cleaner_that_states_a_number_of_its_own_is_not_believed(cleaned: str, believed: bool) -> None:
    outcome = play(Plan(clean=True), lambda turn: cleaned if turn.role == "cleaner" else "Of 1,000: 4. Answer: 4")[1]
    assert (outcome.cleaned == cleaned) is believed


def test_free_answers_are_decided_by_confidence() -> None:
    question = Question.of("Write a line.")
    speak = says({("ben", 2): "Roses are red.\nConfidence: 80"}, otherwise="Violets.\nConfidence: 20")
    outcome = play(Plan(), speak, question=question)[1]
    assert (outcome.answer, outcome.decided_by, outcome.debater) == ("Roses are red.", "confidence", "ben")


def test_without_a_quorum_an_earlier_round_decides_and_without_any_nothing_does() -> None:
    outcome = play(Plan(quorum=2), lambda turn: "Answer: 4" if turn.round == 1 or turn.agent == "ada" else None)[1]
    assert outcome.answer == "4"
    outcome = play(Plan(), lambda turn: None)[1]
    assert (outcome.answer, outcome.decided_by) == (None, "no quorum")


def test_a_plan_says_what_is_wrong_with_it() -> None:
    with pytest.raises(ValueError, match="expected rounds of at least 1, got 0"):
        Plan(rounds=0)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Score: 4 / 10", None),
        ("Score: <4>", 4),
        ("Score: 4", 4),
        ("**Score:** 4.5", 4.5),
        ("Score: 4/5", 4),
        ("Score: 2\nScore: 3", 3),
        ("Score: 7", None),
        ("five", None),
    ],
)
def test_scores_are_read_from_0_to_5(text: str, score: float | None) -> None:
    assert read_score(text) == score


@st.composite
def tables(draw: st.DrawFn) -> tuple[tuple[str, ...], "nx.DiGraph[str]", Plan]:
    names = tuple(f"d{number}" for number in range(draw(st.integers(1, 6))))
    edges = [(a, b) for a in names for b in names if a != b and draw(st.booleans())]
    graph: nx.DiGraph[str] = nx.DiGraph(edges)
    graph.add_nodes_from(names)
    plan = Plan(rounds=draw(st.integers(1, 3)), topology=lambda _: graph, seed=draw(st.integers(0, 9)))
    return names, graph, plan


@given(tables(), st.integers(0, 10_000))
def test_a_debater_hears_exactly_its_neighbours_last_replies_and_never_itself(
    table: tuple[tuple[str, ...], "nx.DiGraph[str]", Plan], chance: int
) -> None:
    names, _, plan = table
    rng = random.Random(chance)
    said: dict[tuple[str, int], str | None] = {}

    def speak(turn: Turn) -> str | None:
        words = rng.choice([f"word-{turn.agent}-{turn.round}. Answer: {rng.randrange(3)}", None, "no idea"])
        said[turn.agent, turn.round] = words
        return words

    stages, outcome = play(plan, speak, names=names)
    hears = hearing(plan.topology, names)
    for stage in stages[1:]:
        for turn in stage:
            for name in names:
                for number in range(1, plan.rounds + 1):
                    usable = (said.get((name, number)) or "").startswith("word")
                    should = usable and name in hears[turn.agent] and number == turn.round - 1
                    assert (f"word-{name}-{number}." in turn.prompt) is should
    if outcome.answer is not None:
        assert any(outcome.answer == group.answer for vote in outcome.votes for group in vote.groups)


@given(tables(), st.integers(0, 10_000))
def test_same_seed_and_same_replies_give_the_same_debate(
    table: tuple[tuple[str, ...], "nx.DiGraph[str]", Plan], chance: int
) -> None:
    names, _, plan = table

    def speak(turn: Turn) -> str:
        return f"Answer: {random.Random(f'{chance}{turn.agent}{turn.round}').randrange(3)}"

    assert play(plan, speak, names=names) == play(plan, speak, names=names)


def test_peers_come_in_a_seeded_order_that_differs_between_debaters() -> None:
    names = tuple(f"d{number}" for number in range(8))

    def order(seed: int) -> list[str]:
        stages, _ = play(Plan(seed=seed), lambda turn: f"{turn.agent} Answer: 4", names=names)
        return [turn.prompt for turn in stages[1]]

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_a_ring_keeps_the_far_side_unheard() -> None:
    names = ("ada", "ben", "cleo", "dan")
    stages, _ = play(Plan(topology=ring), lambda turn: f"{turn.agent} Answer: 4", names=names)
    assert "cleo" not in stages[1][0].prompt
