"""Ballots, judges and paths: the ways to decide that ask somebody, and the plans they belong to."""

import pytest
from actors import NAMES, play, says

from debate_plugin import Plan, Question, Turn, chain
from debate_plugin.turns import Reply, read_reply

SPLIT = {("ada", 2): "I say Answer: 4", ("ben", 2): "I say Answer: 5", ("cleo", 2): "I say Answer: 6"}


def label_of(turn: Turn, word: str) -> str:
    """The label of the reply in which a word stands."""
    shown = turn.prompt.split("</reply>")
    return next(part.split('label="')[1][0] for part in shown if word in part)


def test_debaters_rank_one_reply_of_each_answer_and_the_best_ranked_wins() -> None:
    def speak(turn: Turn) -> str:
        if turn.role != "voter":
            return says(SPLIT)(turn) or ""
        first, second = ("5", "4") if turn.agent != "ben" else ("4", "5")
        order = [label_of(turn, f"Answer: {answer}") for answer in (first, second, "6")]
        return f"Ranking: {' > '.join(order)}"

    stages, outcome = play(Plan(decide="ranking"), speak)
    assert [turn.agent for turn in stages[-1]] == list(NAMES)
    assert all("I say" in turn.prompt and "ada" not in turn.prompt for turn in stages[-1])
    assert len({turn.options for turn in stages[-1]}) > 1  # everybody sees them in an order of its own
    assert (outcome.answer, outcome.decided_by) == ("5", "ranking")
    assert outcome.scores["ranking"] == {"4": 4.0, "5": 5.0, "6": 0.0}


def test_debaters_approve_of_as_many_answers_as_they_like() -> None:
    def speak(turn: Turn) -> str:
        if turn.role != "voter":
            return says(SPLIT)(turn) or ""
        if turn.agent == "ada":
            return "Approved: none"
        return f"**Approved:** {label_of(turn, 'Answer: 6')}, {label_of(turn, 'Answer: ' + '45'[turn.agent == 'ben'])}"

    outcome = play(Plan(decide="approval"), speak)[1]
    assert (outcome.answer, outcome.decided_by) == ("6", "approval")
    assert outcome.scores["approval"] == {"4": 1.0, "5": 1.0, "6": 2.0}


def test_an_agreed_answer_needs_no_ballot() -> None:
    stages, outcome = play(Plan(decide="ranking"), says({}))
    assert len(stages) == 2 and outcome.decided_by == "majority"


def test_free_answers_can_be_ranked() -> None:
    question = Question.of("Write a line about the sea.")

    def speak(turn: Turn) -> str:
        if turn.role == "voter":
            return f"Ranking: {label_of(turn, 'waves')}"
        return "It has waves." if turn.agent == "ben" else f"{turn.agent} likes it."

    outcome = play(Plan(decide="ranking"), speak, question=question)[1]
    assert (outcome.debater, outcome.decided_by) == ("ben", "ranking")


def test_a_judge_compares_every_two_replies_in_both_orders() -> None:
    def speak(turn: Turn) -> str:
        if turn.role == "judge":  # always takes the first it is shown, save that 6 is always better
            return f"Better: {label_of(turn, 'Answer: 6') if 'Answer: 6' in turn.prompt else 'A'}"
        return says(SPLIT)(turn) or ""

    stages, outcome = play(Plan(decide="judge", judging="pairwise"), speak)
    assert {(turn.about, turn.against) for turn in stages[-1]} == {
        (first, second) for first in NAMES for second in NAMES if first != second
    }
    assert (outcome.answer, outcome.decided_by) == ("6", "judge")
    assert outcome.scores["judge"] == {"4": 0.5, "5": 0.5, "6": 2.0}  # a judge that heeds places favours nobody


def test_a_judge_may_be_asked_several_times_and_the_mean_counts() -> None:
    said = iter(["Score: 5", "Score: 1", "no idea", "Score: 4", "Score: 4", "Score: 3"] + ["Score: 0"] * 3)
    stages, outcome = play(
        Plan(decide="judge", judge_samples=3), lambda turn: next(said) if turn.role == "judge" else says(SPLIT)(turn)
    )
    assert len(stages[-1]) == 9
    assert outcome.scores["judge"] == {"4": 3.0, "5": pytest.approx(11 / 3), "6": 0.0}
    assert outcome.answer == "5"


@pytest.mark.parametrize(
    ("text", "prefers"),
    [
        ("Better: A", "about"),
        ("**Better:** B", "against"),
        ("better: tie", "tie"),
        ("Better: A\nBetter: B", "against"),
        ("Better: (B)", "against"),
        ("Better: `A`.", "about"),
        ("Better: C", None),
        ("Better: a tie", None),
        ("Better: A or B", None),
        ("A is good", None),
        ("Better: B\nWhat makes it better is a clean step", "against"),
    ],
)
def test_comparisons_are_read(text: str, prefers: str | None) -> None:
    turn = Turn(agent="judge", role="judge", round=2, prompt="...", about="ada", against="ben")
    assert read_reply(Question.of("Which?"), turn, text).prefers == prefers


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("Ranking: B > A", ("ben", "ada")),
        ("I rank.\n**Ranking:** A, B", ("ada", "ben")),
        ("Ranking: B > B > A", ("ben", "ada")),
        ("Ranking: (B), then (A)", ("ben", "ada")),
        ("Ranking: B > A. I prefer B.", ("ben", "ada")),
        ("Ranking: B, A (C has an error)", ("ben", "ada")),
        ("Ranking: A, not B", ("ada",)),
        ("Ranking: none", ()),
        ("Ranking: C > A", None),
        ("Ranking: I cannot", None),
        ("B is better than A", None),
    ],
)
def test_rankings_are_read(text: str, chosen: tuple[str, ...] | None) -> None:
    turn = Turn(agent="cleo", role="voter", round=2, prompt="...", ballot="ranking", options=("ada", "ben"))
    reply: Reply = read_reply(Question.of("Which?"), turn, text)
    assert reply.chosen == (chosen or ()) and (reply.abstention is None) is (chosen is not None)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("Settled: B", ("ben",)),
        ("Settled: none", ()),
        ("Settled: A clear winner has not emerged", None),
        ("Settled: nothing; A errs", None),
        ("Settled: A, B", None),
    ],
)
def test_only_a_plain_word_settles_a_debate(text: str, chosen: tuple[str, ...] | None) -> None:
    turn = Turn(agent="judge", role="judge", round=2, prompt="...", options=("ada", "ben"))
    reply = read_reply(Question.of("Which?"), turn, text)
    assert reply.chosen == (chosen or ()) and (reply.abstention is None) is (chosen is not None)


def test_a_change_of_mind_says_more_than_staying() -> None:
    convinced = says({("ada", 1): "Answer: 5", ("ada", 2): "Answer: 6", ("ben", 1): "Answer: 5"}, otherwise="Answer: 6")
    outcome = play(Plan(decide="conviction"), convinced)[1]
    assert outcome.scores["conviction"] == {"6": 1 + 0.5 + 0.75 + 0.75, "5": 2 - 1.25}
    assert (outcome.answer, outcome.decided_by) == ("6", "conviction")


def test_an_answer_that_was_given_up_loses_to_one_that_was_taken_up() -> None:
    speak = says(
        {(name, 1): "Answer: 5" for name in ("ada", "ben")}
        | {("ben", 2): "Answer: 6", ("cleo", 2): "Answer: 6", ("ada", 2): "Answer: 5", ("cleo", 1): "Answer: 7"}
    )
    scores = play(Plan(decide="conviction"), speak)[1].scores["conviction"]
    assert scores["5"] == 2 + 0.5 - 0.625 and scores["6"] == 1.5 and scores["7"] == 1 - 0.625


def test_a_judge_may_end_the_debate_when_the_question_is_settled() -> None:
    def speak(turn: Turn) -> str:
        if turn.role == "judge":
            return f"Settled: {label_of(turn, 'Answer: 5')}" if turn.round == 2 else "Settled: none"
        return "Answer: 5" if turn.agent == "ben" else "Answer: 4"

    stages, outcome = play(Plan(rounds=4, settle=True), speak)
    assert [stage[0].role for stage in stages] == ["debater", "judge", "debater", "judge"]
    assert (outcome.answer, outcome.decided_by, len(outcome.votes)) == ("5", "settled", 2)


def test_who_speaks_in_turn_has_heard_those_before() -> None:
    plan = Plan(speaking="in turn", rounds=2)
    stages, _ = play(plan, lambda turn: f"{turn.agent}{turn.round} Answer: 4")
    assert [[turn.agent for turn in stage] for stage in stages] == [[name] for name in NAMES * 2]
    prompts = {(stage[0].agent, stage[0].round): stage[0].prompt for stage in stages}
    assert "cleo1" not in prompts["ada", 1] and "before you" not in prompts["ada", 1]
    assert "ada1" in prompts["cleo", 1] and "ben1" in prompts["cleo", 1]
    assert "ben1" in prompts["ada", 2] and "cleo1" in prompts["ada", 2]
    assert "ada2" in prompts["ben", 2] and "ada1" not in prompts["ben", 2] and "cleo1" in prompts["ben", 2]


def test_in_turn_a_debater_hears_its_neighbours_alone() -> None:
    stages, _ = play(Plan(speaking="in turn", topology=chain()), lambda turn: f"{turn.agent}{turn.round} Answer: 4")
    last = stages[2][0].prompt
    assert "ben1" in last and "ada1" not in last


def test_a_plan_refuses_words_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="expected judging out of score, pairwise, got 'coin'"):
        Plan(judging="coin")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="judge_samples of at least 1, got 0"):
        Plan(judge_samples=0)
