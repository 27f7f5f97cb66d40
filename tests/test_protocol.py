"""The debate as a generator: who is asked what, who hears whom, and how it is decided."""

import random
import re
from collections.abc import Sequence
from typing import Literal

import networkx as nx
import pytest
from actors import NAMES, QUESTION, play, says
from hypothesis import given
from hypothesis import strategies as st

from debate_plugin import Plan, Question, Turn, debate
from debate_plugin.deciding import CRITERIA, Decide
from debate_plugin.protocol import Outcome
from debate_plugin.stopping import agreement, stable, unanimity
from debate_plugin.topology import by_round, chain, complete, from_graph, ring
from debate_plugin.turns import read_reply, read_score


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
    stages, outcome = play(Plan(stop=agreement(0.6), rounds=3), speak)
    assert len(stages) == 1 and (outcome.answer, outcome.round) == ("4", 1)
    stages, outcome = play(Plan(stop=agreement(0.7), rounds=3), speak)
    assert len(stages) == 2 and outcome.round == 2
    with pytest.raises(ValueError, match="a share of agreement"):
        agreement(2)


def test_unanimity_is_of_all_who_sit_there() -> None:
    assert len(play(Plan(stop=unanimity()), says({}))[0]) == 1
    assert len(play(Plan(stop=unanimity()), says({("cleo", 1): "hm"}))[0]) == 2
    assert len(play(Plan(stop=agreement(1)), says({("cleo", 1): "hm"}))[0]) == 1


def test_an_answer_that_stays_ends_the_debate() -> None:
    changing = says({(name, 1): "Answer: 5" for name in NAMES})
    assert len(play(Plan(stop=stable(2), rounds=5), changing)[0]) == 3
    assert len(play(Plan(stop=stable(3), rounds=5), changing)[0]) == 4
    assert len(play(Plan(stop=stable(2), rounds=4), lambda turn: "hm")[0]) == 4
    with pytest.raises(ValueError, match="at least two rounds"):
        stable(1)


def test_conditions_join() -> None:
    always, never = agreement(0.1), stable(9)
    assert len(play(Plan(stop=always | never), says({}))[0]) == 1
    assert len(play(Plan(stop=always & never), says({}))[0]) == 2
    assert (always & never).name == "(agreement of 0.1 and stable for 9 rounds)"


def test_an_audit_holds_a_share_of_the_stopped_debates_to_the_end_and_says_so() -> None:
    plan = Plan(stop=agreement(0.5), audit=0.3)
    held = [play(plan, says({}), question=Question.of(f"What is {n}+0?", kind="number")) for n in range(200)]
    audited = [len(stages) == 2 for stages, _ in held]
    assert 0.2 < sum(audited) / 200 < 0.4
    assert [outcome.audited for _, outcome in held] == audited
    assert not play(Plan(), says({}))[1].audited
    with pytest.raises(ValueError, match="to audit, got 2"):
        Plan(audit=2)


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
def tables(draw: st.DrawFn) -> tuple[tuple[str, ...], Plan]:
    names = tuple(f"d{number}" for number in range(draw(st.integers(1, 6))))
    graphs = []
    for _ in range(2):
        graph: nx.DiGraph[str] = nx.DiGraph([(a, b) for a in names for b in names if a != b and draw(st.booleans())])
        graph.add_nodes_from(names)
        graphs.append(from_graph(graph))
    return names, Plan(rounds=draw(st.integers(1, 3)), topology=by_round(graphs), seed=draw(st.integers(0, 9)))


@given(tables(), st.integers(0, 10_000))
def test_a_debater_hears_exactly_its_neighbours_last_replies_and_never_itself(
    table: tuple[tuple[str, ...], Plan], chance: int
) -> None:
    names, plan = table
    rng = random.Random(chance)
    said: dict[tuple[str, int], str | None] = {}

    def speak(turn: Turn) -> str | None:
        words = rng.choice([f"word-{turn.agent}-{turn.round}. Answer: {rng.randrange(3)}", None, "no idea"])
        said[turn.agent, turn.round] = words
        return words

    stages, outcome = play(plan, speak, names=names)
    for stage in stages[1:]:
        for turn in stage:
            hears = plan.topology.hearing(names, turn.round)
            for name in names:
                for number in range(1, plan.rounds + 1):
                    usable = (said.get((name, number)) or "").startswith("word")
                    should = usable and name in hears[turn.agent] and number == turn.round - 1
                    assert (f"word-{name}-{number}." in turn.prompt) is should
    if outcome.answer is not None:
        assert any(outcome.answer == group.answer for vote in outcome.votes for group in vote.groups)


@given(tables(), st.integers(0, 10_000))
def test_same_seed_and_same_replies_give_the_same_debate(table: tuple[tuple[str, ...], Plan], chance: int) -> None:
    names, plan = table

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
    stages, _ = play(Plan(topology=ring()), lambda turn: f"{turn.agent} Answer: 4", names=names)
    assert "cleo" not in stages[1][0].prompt


def test_who_is_heard_may_change_from_round_to_round() -> None:
    plan = Plan(rounds=3, topology=by_round([chain(), complete()]))
    stages, _ = play(plan, lambda turn: f"{turn.agent}{turn.round} Answer: 4")
    assert "cleo1" not in stages[1][0].prompt
    assert "cleo2" in stages[2][0].prompt


def test_peers_are_anonymous_unless_names_are_asked_for() -> None:
    def openings(plan: Plan) -> str:
        return play(plan, lambda turn: "Answer: 4")[0][1][0].prompt

    assert "ben" not in openings(Plan())
    assert '<reply of="ben">\nAnswer: 4\n</reply>' in openings(Plan(anonymous=False))


@pytest.mark.parametrize(("confidence", "heard"), [("private", False), ("shared", True)])
def test_a_private_confidence_counts_and_is_not_heard(confidence: Literal["private", "shared"], heard: bool) -> None:
    said = {"ada": "Answer: 4\nConfidence: 37", "ben": "Answer: 5\nConfidence: 83"}
    stages, outcome = play(Plan(confidence=confidence), lambda turn: said[turn.agent], names=("ada", "ben"))
    assert ("83" in stages[1][0].prompt) is heard
    assert (outcome.answer, outcome.decided_by) == ("5", "confidence")


def test_of_equal_answers_the_surest_alone_is_heard_where_asked_for() -> None:
    names = ("ada", "ben", "cleo", "dan")
    said = {"ben": "x1 Answer: 4\nConfidence: 60", "cleo": "x2 Answer: 4.0\nConfidence: 90", "dan": "x3 Answer: 5"}
    stages, _ = play(Plan(distinct=True), lambda turn: said.get(turn.agent, "Answer: 6"), names=names)
    heard = stages[1][0].prompt
    assert ("x1" in heard, "x2" in heard, "x3" in heard) == (False, True, True)


SPLIT = {"ada": "Answer: 4\nConfidence: 30", "ben": "Answer: 4\nConfidence: 30", "cleo": "Answer: 5\nConfidence: 90"}


@pytest.mark.parametrize(
    ("decide", "answer", "decided_by"),
    [("majority", "4", "majority"), ("confidence", "5", "confidence"), ("surest", "5", "surest")],
)
def test_votes_may_weigh_as_much_as_their_confidence(decide: Decide, answer: str, decided_by: str) -> None:
    outcome = play(Plan(decide=decide), lambda turn: SPLIT[turn.agent])[1]
    assert (outcome.answer, outcome.decided_by) == (answer, decided_by)


def test_confidences_add_up_and_one_that_was_not_stated_adds_nothing() -> None:
    said = {"ada": "Answer: 4\nConfidence: 50", "ben": "Answer: 4\nConfidence: 45", "cleo": SPLIT["cleo"]}
    assert play(Plan(decide="confidence"), lambda turn: said[turn.agent])[1].answer == "4"
    unsaid = says({("cleo", 2): "Answer: 5\nConfidence: 1"})
    assert play(Plan(decide="confidence"), unsaid)[1].answer == "5"
    assert play(Plan(decide="confidence"), says({("cleo", 2): "Answer: 5"}))[1].decided_by == "majority"


def test_over_the_whole_trajectory_an_opening_keeps_its_vote() -> None:
    swayed = says({("ben", 2): "Answer: 5", ("cleo", 2): "Answer: 5", ("cleo", 1): "Answer: 5"}, otherwise="Answer: 4")
    assert play(Plan(), swayed)[1].answer == "5"
    talked_round = says({(name, 2): "Answer: 5" for name in ("ben", "cleo")}, otherwise="Answer: 4")
    outcome = play(Plan(decide="trajectory"), talked_round)[1]
    assert (outcome.answer, outcome.decided_by, outcome.debater, outcome.round) == ("4", "trajectory", "ada", 2)
    gone = says({(name, 2): "hm" for name in NAMES} | {("ada", 2): "Answer: 5"}, otherwise="Answer: 4")
    outcome = play(Plan(decide="trajectory"), gone)[1]
    assert (outcome.answer, outcome.round) == ("4", 1)


def test_a_judge_may_be_asked_on_ties_alone() -> None:
    def speak(turn: Turn) -> str:
        if turn.role == "judge":
            return "Score: 5" if "Answer: 5" in turn.prompt else "Score: 2"
        return {"ada": "Answer: 4\nConfidence: 90", "ben": "Answer: 5"}.get(turn.agent, "Answer: 4")

    stages, outcome = play(Plan(decide="judge on ties"), speak)
    assert len(stages) == 2 and outcome.decided_by == "majority"
    stages, outcome = play(Plan(decide="judge on ties"), speak, names=("ada", "ben"))
    assert len(stages) == 3 and (outcome.answer, outcome.decided_by) == ("5", "judge")


@given(st.lists(st.sampled_from(["4", "5", "6", None]), min_size=1, max_size=7), st.sampled_from(sorted(CRITERIA)))
def test_an_abstention_never_wins_and_names_do_not_matter(answers: list[str | None], decide: Decide) -> None:
    def decided(prefix: str) -> Outcome:
        names = [f"{prefix}{seat}" for seat in range(len(answers))]

        def speak(turn: Turn) -> str:
            if turn.role == "judge":
                return "Score: 3"
            answer = answers[names.index(turn.agent)]
            return "I pass." if answer is None else f"Answer: {answer}"

        return play(Plan(decide=decide), speak, names=names)[1]

    outcome = decided("a")
    assert outcome.answer == decided("z").answer
    if outcome.answer is None:
        assert set(answers) == {None}
    else:
        assert answers.count(outcome.answer) == max(answers.count(one) for one in answers if one is not None)


def test_a_round_without_a_quorum_ends_nothing() -> None:
    alone = says({("ben", 1): "hm", ("cleo", 1): "hm"})
    stages, outcome = play(Plan(quorum=2, stop=agreement(0.6)), alone)
    assert len(stages) == 2 and (outcome.answer, outcome.round) == ("4", 2)
    stages, _ = play(Plan(quorum=2, settle=True), lambda turn: "Settled: A" if turn.role == "judge" else alone(turn))
    assert [stage[0].role for stage in stages] == ["debater", "debater"]


def test_part_of_a_round_decides_nothing() -> None:
    plan = Plan(speaking="in turn", digest="each")
    flow = debate(QUESTION, NAMES, plan, halted=lambda: halted)
    halted, stage, said = False, next(flow), 0
    while True:
        halted = stage[0].role == "summarizer" and stage[0].about == "ben"
        said += 1
        text = {"summarizer": "They say 4."}.get(stage[0].role, "Answer: 5" if stage[0].round == 2 else "Answer: 4")
        try:
            stage = flow.send([read_reply(QUESTION, turn, text) for turn in stage])
        except StopIteration as stop:
            outcome: Outcome = stop.value
            break
    assert said == 3 + 2 + 1 and (outcome.answer, len(outcome.votes)) == ("4", 1)


def test_an_audited_debate_is_held_to_its_end_whatever_the_judge_says() -> None:
    plan = Plan(rounds=3, stop=agreement(0.5), audit=1.0, settle=True)
    stages, outcome = play(plan, lambda turn: "Settled: A" if turn.role == "judge" else "Answer: 4")
    assert len(stages) == 3 and outcome.audited and outcome.decided_by == "majority"


@given(
    st.lists(st.sampled_from(["4", "5", "6", None]), min_size=1, max_size=6),
    st.sampled_from(sorted(CRITERIA)),
    st.permutations(range(6)),
    st.integers(0, 10_000),
)
def test_votes_and_ballots_are_the_same_whoever_bears_which_name(
    given_answers: list[str | None], decide: Decide, order: list[int], chance: int
) -> None:
    """Names change the order in which replies are seen, so a voter that goes by what is said votes alike."""

    def decided(names: Sequence[str]) -> tuple[str | None, str]:
        def speak(turn: Turn) -> str:
            if turn.role == "judge":
                return "Score: 3"
            seat = names.index(turn.agent)
            if turn.role == "voter":
                shown = dict(re.findall(r'<reply label="([A-Z])">\nAnswer: (\d)', turn.prompt))
                liked = sorted(shown, key=lambda label: random.Random(f"{chance}{seat}{shown[label]}").random())
                return f"Ranking: {' > '.join(liked)}\nApproved: {liked[0]}"
            answer = given_answers[seat]
            return "I pass." if answer is None else f"Answer: {answer}"

        outcome = play(Plan(decide=decide), speak, names=names)[1]
        return outcome.answer, outcome.decided_by

    plain = [f"d{seat}" for seat in range(len(given_answers))]
    other = [f"n{place}" for place in order if place < len(given_answers)]
    assert decided(plain) == decided(other)
