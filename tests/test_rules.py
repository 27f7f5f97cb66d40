"""The rules: who deserves credit for what, and why a record gives nothing."""

import json
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from actors import lines
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from records import DISPUTED, QUESTION, calculating, calling, debated, product, recorded, talked, with_tools

from debate_agents import debater
from debate_plugin import DebateTeam, Plan, Question, Transcript
from debate_plugin.answers import read_answer
from debate_plugin.conversation import Conversation
from debate_plugin.dataset.rows import NoRow, Row
from debate_plugin.dataset.rules import (
    RULES,
    binary,
    conversation,
    critic,
    final_answer,
    generator,
    judged,
    majority_minority,
    next_round_credit,
    prompts_only,
    rule_named,
    self_correction,
    takes,
)


def rows_of(made: Any) -> list[Any]:
    assert not isinstance(made, NoRow), made
    return list(made)


# final_answer


async def test_final_answer_is_the_question_and_the_cleaned_text() -> None:
    transcript = await debated(plan=Plan(clean=True), cleaned=["The answer is 4."])
    (row,) = rows_of(final_answer(transcript))
    assert row["messages"] == [
        {"role": "user", "content": "What is 2+2?"},
        {"role": "assistant", "content": "The answer is 4.", "loss": True},
    ]
    origin = row["provenance"]
    assert origin["transcript"] == transcript.id and origin["remark"] == ""
    assert [(turn["agent"], turn["role"]) for turn in origin["turns"]] == [("ada", "debater"), ("cleaner", "cleaner")]
    assert origin["agreement"] == pytest.approx(2 / 3, abs=1e-4)


async def test_what_the_cleaner_lost_is_used_uncleaned_and_says_so_or_is_dropped() -> None:
    transcript = await debated(plan=Plan(clean=True), cleaned=["The answer is 5."])
    (row,) = rows_of(final_answer(transcript))
    assert row["messages"][1]["content"] == "Answer: 4"
    assert row["provenance"]["remark"] == "uncleaned: the cleaner lost the answer"
    assert [turn["role"] for turn in row["provenance"]["turns"]] == ["debater"]
    assert final_answer(transcript, uncleaned="drop") == NoRow("the cleaner lost the answer")


async def test_a_cleaned_text_in_a_store_that_lost_the_answer_is_not_believed() -> None:
    transcript = await debated(plan=Plan(clean=True), cleaned=["The answer is 4."])
    spoilt = transcript.model_dump()
    spoilt["outcome"]["cleaned"] = "The answer is 7."
    (row,) = rows_of(final_answer(Transcript.model_validate(spoilt)))
    assert row["messages"][1]["content"] == "Answer: 4" and row["provenance"]["remark"]


async def test_the_form_that_the_debate_asked_for_is_not_taught() -> None:
    said = "A: 2+2=4\n**Answer:** 4\nConfidence: 90"
    (row,) = rows_of(final_answer(await debated({"ada": [said, said]})))
    assert row["messages"][1]["content"] == "A: 2+2=4\nThe answer is 4."


async def test_agreement_is_that_of_the_round_that_decided() -> None:
    silent_in_the_end = {name: ["Answer: 4", "no idea"] for name in DISPUTED}
    (row,) = rows_of(final_answer(await debated(silent_in_the_end)))
    assert row["provenance"]["agreement"] == 1.0
    assert [turn["round"] for turn in row["provenance"]["turns"]] == [1]


# generator and critic


async def test_a_generator_learns_its_own_opening_that_agrees_with_the_vote() -> None:
    transcript = await debated()
    (row,) = rows_of(generator(transcript))
    assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]
    assert row["messages"][:2] == transcript.messages(transcript.replies[0])
    assert row["messages"][2] == {"role": "assistant", "content": DISPUTED["ada"][0], "loss": True}
    assert generator(transcript, agent="ben") == NoRow("no opening agrees with the decision")
    assert generator(transcript, agent="dora") == NoRow("no debater 'dora'")


async def test_a_corrected_trace_carries_loss_on_its_last_turn_alone() -> None:
    transcript = await debated()
    (row,) = rows_of(critic(transcript, agent="ben"))
    assert row["provenance"]["part"] == "corrected"
    assert [(message["role"], message.get("loss")) for message in row["messages"]] == [
        ("system", None),
        ("user", None),
        ("assistant", False),
        ("user", None),
        ("assistant", True),
    ]
    assert row["messages"][2]["content"] == DISPUTED["ben"][0]
    assert row["messages"][:-1][-1] == transcript.messages(transcript.said_by("ben")[1])[-1]
    (paper,) = rows_of(critic(transcript, agent="ben", all_turns=True))
    assert [message["loss"] for message in paper["messages"] if "loss" in message] == [True, True]


async def test_a_kept_trace_carries_loss_where_it_agrees() -> None:
    wavering = {"ada": ["Answer: 4", "Answer: 5", "Answer: 4"], "ben": ["Answer: 4"] * 3}
    transcript = await debated(wavering, plan=Plan(rounds=3))
    (row,) = rows_of(critic(transcript, agent="ada"))
    assert row["provenance"]["part"] == "kept"
    assert [message["loss"] for message in row["messages"] if "loss" in message] == [True, False, True]


async def test_traces_that_end_elsewhere_or_have_no_first_answer_are_no_critics() -> None:
    transcript = await debated()
    assert isinstance(critic(transcript, agent="cleo"), NoRow)
    silent = await debated({"ada": ["hm", "Answer: 4"], "ben": ["Answer: 4", "Answer: 4"]})
    assert isinstance(critic(silent, agent="ada"), NoRow)
    assert critic(await debated(plan=Plan(rounds=1))) == NoRow("one round only")


async def test_in_a_trace_with_tools_results_carry_no_loss_and_calls_do_as_their_turn() -> None:
    transcript = await with_tools()
    (row,) = rows_of(critic(transcript, agent="ada"))
    assert [(message["role"], message.get("loss")) for message in row["messages"]] == [
        ("system", None),
        ("user", None),
        ("assistant", True),
        ("tool", None),
        ("assistant", True),
        ("user", None),
        ("assistant", True),
    ]
    assert row["tools"][0]["function"]["name"] == "product"
    assert row["messages"][2]["tool_calls"][0]["function"] == {"name": "product", "arguments": '{"a": 4, "b": 5}'}
    assert row["messages"][3] == {"role": "tool", "tool_call_id": "call1", "name": "product", "content": "20"}


# preferences


async def test_a_preference_pair_is_two_openings_to_one_prompt() -> None:
    transcript = await debated()
    (row,) = rows_of(majority_minority(transcript))
    assert [message["role"] for message in row["prompt"]] == ["system", "user"]
    assert row["prompt"] == transcript.messages(transcript.replies[0])
    assert row["chosen"][0]["content"].startswith("A: 2+2=4")
    assert row["rejected"][0]["content"].startswith("Answer: 5")


FIVE = {
    **{name: ["Answer: 4", "Answer: 4"] for name in ("ada", "ben", "cleo")},
    **{name: [f"Answer: {9 + place}", "Answer: 4"] for place, name in enumerate(("dora", "emil"))},
}


async def test_all_pairs_or_k_of_them_drawn_by_a_seed() -> None:
    transcript = await debated(FIVE)
    every = rows_of(majority_minority(transcript))
    assert len(every) == 6
    for k in (1, 2, 5, 9):
        some = rows_of(majority_minority(transcript, k=k))
        assert len(some) == min(k, 6) and all(row in every for row in some)
        assert some == rows_of(majority_minority(transcript, k=k))
    drawn = [json.dumps(rows_of(majority_minority(transcript, k=2, seed=seed))) for seed in range(8)]
    assert len(set(drawn)) > 1


async def test_last_answers_stand_behind_the_opening_prompt_as_in_the_paper() -> None:
    transcript = await debated()
    rows = rows_of(majority_minority(transcript, replies="final"))
    assert [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows] == [
        (DISPUTED["ada"][1], DISPUTED["cleo"][1]),
        (DISPUTED["ben"][1], DISPUTED["cleo"][1]),
    ]
    assert all(row["prompt"] == transcript.messages(transcript.replies[0]) for row in rows)


@pytest.mark.parametrize(
    ("openings", "reason"),
    [
        (["Answer: 4", "Answer: 4", "Answer: 4"], "unanimous openings"),
        (["Answer: 1", "Answer: 2", "Answer: 3"], "none of the openings agrees with the decision"),
    ],
)
async def test_debates_without_a_pair_say_why(openings: list[str], reason: str) -> None:
    debaters = {name: [said, "Answer: 4"] for name, said in zip(("ada", "ben", "cleo"), openings, strict=True)}
    assert majority_minority(await debated(debaters)) == NoRow(reason)


async def test_debaters_with_other_system_messages_make_no_pair() -> None:
    ada = debater("ada", lines("Answer: 4", "Answer: 4"))
    ben = debater("ben", lines("Answer: 5", "Answer: 4"), persona="a sceptic")
    transcript = await recorded(DebateTeam([ada, ben], kind="number"))
    assert majority_minority(transcript) == NoRow("no two debaters share their prompt")


async def test_a_pair_with_tools_holds_calls_and_results() -> None:
    ada = calculating("ada", "4*5 is 20. Answer: 20", "Answer: 20")
    client = calling("Answer: 9", "Answer: 20", calls=False)
    ben = AssistantAgent("ben", client, tools=[product], system_message="Use the tool.")
    (row,) = rows_of(majority_minority(await recorded(DebateTeam([ada, ben], kind="number"))))
    assert [message["role"] for message in row["chosen"]] == ["assistant", "tool", "assistant"]
    assert [message["role"] for message in row["rejected"]] == ["assistant"]
    assert row["tools"][0]["function"]["name"] == "product"


def judged_plan(**plan: Any) -> Plan:
    return Plan(rounds=1, decide="judge", confidence="off", **plan)


async def test_the_judges_best_is_chosen_over_its_worst() -> None:
    three = {"ada": ["Answer: 4"], "ben": ["Answer: 5"], "cleo": ["Answer: 6"]}
    said = ["Score: 3", "Score: 4", "Score: 1", "Score: 2", "no idea", "Score: 5"]  # two samples each
    transcript = await debated(three, plan=judged_plan(judge_samples=2), verdicts=said)
    (row,) = rows_of(judged(transcript))
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("Answer: 6", "Answer: 5")
    assert row["prompt"] == transcript.messages(transcript.replies[0])


async def test_ties_and_single_replies_make_no_pair() -> None:
    two = {"ada": ["Answer: 4"], "ben": ["Answer: 5"]}
    tied = await debated(two, plan=judged_plan(), verdicts=["Score: 3", "Score: 3"])
    assert judged(tied) == NoRow("a tie")
    unread = await debated(two, plan=judged_plan(), verdicts=["Score: 3", "hm"])
    assert judged(unread) == NoRow("one reply judged")
    assert judged(await debated()) == NoRow("not judged")
    later = Plan(rounds=2, decide="judge")
    twice = {name: [*said, *said] for name, said in two.items()}
    heard = await debated(twice, plan=later, verdicts=["Score: 3", "Score: 1"])
    assert judged(heard) == NoRow("the judged replies do not share their prompt")


async def test_length_is_controlled_as_in_meta_rewarding() -> None:
    four = {
        "ada": ["A long reply that is the best of all. Answer: 4"],
        "ben": ["Nearly as good. Answer: 5"],
        "cleo": ["Bad. Answer: 6"],
        "dora": ["Nearly as bad, and it goes on and on and on. Answer: 7"],
    }
    said = ["Score: 5", "Score: 4.5", "Score: 0", "Score: 0.5"]
    transcript = await debated(four, plan=judged_plan(), verdicts=said)
    (plain,) = rows_of(judged(transcript))
    assert [turn["agent"] for turn in plain["provenance"]["turns"]] == ["ada", "cleo"]
    (controlled,) = rows_of(judged(transcript, rho=0.2))
    assert [turn["agent"] for turn in controlled["provenance"]["turns"]] == ["ben", "dora"]
    with pytest.raises(ValueError, match=r"below 0\.5"):
        judged(transcript, rho=0.5)


async def test_comparisons_in_both_orders_are_scores_too() -> None:
    two = {"ada": ["Answer: 4"], "ben": ["Answer: 5"]}
    plan = judged_plan(judging="pairwise")
    transcript = await debated(two, plan=plan, verdicts=["Better: B", "Better: A"])
    (row,) = rows_of(judged(transcript))
    assert [turn["agent"] for turn in row["provenance"]["turns"]] == ["ben", "ada"]
    unsure = await debated(two, plan=plan, verdicts=["Better: A", "Better: A"])  # whatever comes first
    assert judged(unsure) == NoRow("a tie")


async def test_a_corrected_debater_is_a_pair_of_its_own_replies() -> None:
    transcript = await debated()
    (row,) = rows_of(self_correction(transcript))
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == (DISPUTED["ben"][1], DISPUTED["ben"][0])
    assert row["prompt"] == transcript.messages(transcript.said_by("ben")[0])
    assert self_correction(transcript, agent="ada") == NoRow("nobody was corrected")


# labels


async def test_credit_goes_to_the_reply_whose_answer_was_taken_over() -> None:
    swayed = {
        "ada": ["Answer: 4", "Answer: 4"],
        "ben": ["Answer: 5", "Answer: 4"],  # won over by ada
        "cleo": ["Answer: 6", "Answer: 4"],  # and so was cleo
        "dora": ["Answer: 4", "Answer: 6"],  # led astray by cleo
    }
    rows = rows_of(next_round_credit(await debated(swayed)))
    said = {row["provenance"]["turns"][0]["agent"]: row["label"] for row in rows}
    assert said == {"ada": True, "dora": True, "cleo": False}
    assert next_round_credit(await debated({"ada": ["Answer: 4"] * 2})) == NoRow("no reply moved anybody")
    assert next_round_credit(await debated(plan=Plan(rounds=1))) == NoRow("one round only")


async def test_only_those_who_were_heard_are_credited() -> None:
    from debate_plugin import edges

    plan = Plan(topology=edges([("ada", "ben")]))
    rows = rows_of(
        next_round_credit(
            await debated(
                {name: [f"Answer: {said}", "Answer: 4"] for name, said in (("ada", 4), ("ben", 5), ("cleo", 4))},
                plan=plan,
            )
        )
    )
    assert [row["provenance"]["turns"][0]["agent"] for row in rows] == ["ada"]


async def test_binary_labels_every_answered_opening() -> None:
    rows = rows_of(binary(await debated()))
    assert [(row["completion"][0]["content"][:9], row["label"]) for row in rows] == [
        ("A: 2+2=4\n", True),
        ("Answer: 5", False),
    ]
    assert binary(await debated({"ada": ["Answer: 4"] * 2})) == NoRow("unanimous openings")


async def test_prompts_come_with_the_answer_of_the_vote() -> None:
    (row,) = rows_of(prompts_only(await debated()))
    assert row["prompt"] == [{"role": "user", "content": "What is 2+2?"}] and row["answer"] == "4"
    free = await debated({"ada": ["Roses.", "Red."]}, question=Question.of("Write a line."))
    assert "answer" not in rows_of(prompts_only(free))[0]


# all rules


async def test_the_reference_answer_enters_no_row() -> None:
    transcript = await debated()
    for rule in RULES.values():
        if takes(rule) == "debate":
            assert QUESTION.reference is not None and QUESTION.reference not in json.dumps(
                rule(transcript), default=str
            )


async def test_free_answers_give_chats_but_no_votes() -> None:
    question = Question.of("Write a line.")
    transcript = await debated({"ada": ["Roses.", "Red."], "ben": ["Blue.", "Sky."]}, question=question)
    for rule in (generator, critic, majority_minority, self_correction, next_round_credit, binary):
        assert rule(transcript) == NoRow("free answers cannot agree")
    assert not isinstance(final_answer(transcript), NoRow)


async def test_a_debate_without_a_decision_gives_nothing() -> None:
    transcript = await debated({"ada": ["hm", "hm"], "ben": ["so", "so"]})
    for name, rule in RULES.items():
        if takes(rule) == "debate" and name != "judged":
            assert rule(transcript) == NoRow("no decision")


async def test_rules_change_nothing_and_repeat_themselves() -> None:
    transcript = await debated(FIVE)
    before = transcript.model_dump_json()
    for rule in RULES.values():
        if takes(rule) == "debate":
            assert rule(transcript) == rule(transcript)
    assert transcript.model_dump_json() == before


async def test_every_learnt_answer_is_the_decided_one() -> None:
    """A property over rules and debates: nothing that is to be learnt says another answer than the vote's."""
    for debaters in (DISPUTED, FIVE):
        transcript = await debated(debaters)
        for rule in (generator, critic, majority_minority, self_correction):
            made = rule(transcript)
            for row in () if isinstance(made, NoRow) else made:
                for text in learnt(row):
                    assert read_answer(transcript.question, text) == "4", (rule, text)


def learnt(row: Row) -> list[str]:
    if "messages" in row:
        return [message["content"] for message in row["messages"] if message.get("loss")]
    return [row["chosen"][-1]["content"]] if "chosen" in row else []


# conversations


async def test_an_agents_side_of_a_run_with_its_tools() -> None:
    (row,) = rows_of(conversation(await talked(calculating())))
    assert [(message["role"], message.get("loss")) for message in row["messages"]] == [
        ("system", None),
        ("user", None),
        ("assistant", True),
        ("tool", None),
        ("assistant", True),
    ]
    assert row["tools"][0]["function"]["parameters"]["properties"].keys() == {"a", "b"}
    assert row["provenance"]["turns"][0]["agent"] == "ada"


async def test_in_a_group_everybody_hears_the_others_as_users() -> None:
    names = ("ada", "ben")
    seated = [AssistantAgent(name, lines(f"{name} 1", f"{name} 2"), system_message=None) for name in names]
    team = RoundRobinGroupChat(list(seated), termination_condition=MaxMessageTermination(5))
    rows = rows_of(conversation(await talked(team, "Talk")))
    said = [[(message["role"], message["content"]) for message in row["messages"]] for row in rows]
    assert said == [
        [("user", "Talk"), ("assistant", "ada 1"), ("user", "ben 1"), ("assistant", "ada 2")],
        [
            ("user", "Talk"),
            ("user", "ada 1"),
            ("assistant", "ben 1"),
            ("user", "ada 2"),
            ("assistant", "ben 2"),
        ],
    ]


async def test_what_the_model_was_shown_is_what_the_row_shows() -> None:
    """Against the requests that the model really got."""
    client = lines("one", "two")
    ada = AssistantAgent("ada", client, system_message="Be short.")
    ben = AssistantAgent("ben", lines("three", "four"))
    team = RoundRobinGroupChat([ada, ben], termination_condition=MaxMessageTermination(5))
    (row,) = rows_of(conversation(await talked(team, "Talk"), agent="ada"))
    asked = [[message.content for message in call["messages"]] for call in client.create_calls]  # type: ignore[attr-defined]
    shown = [message["content"] for message in row["messages"]]
    for first, second in pairwise([*asked, shown]):
        assert second[: len(first)] == first
    assert shown == [*asked[-1], "two"]


async def test_a_run_that_did_not_end_gives_nothing() -> None:
    whole = await talked(calculating())
    for end in ("left", "cancelled", "failed"):
        assert conversation(whole.model_copy(update={"end": end})) == NoRow(f"did not finish: {end}")
    assert conversation(whole, agent="ben") == NoRow("no agent with a model spoke")


# finding rules


def of_length(transcript: Transcript, *, words: int = 3) -> list[Row] | NoRow:
    return NoRow(f"a rule of one's own, {words}")


def of_a_run(run: Conversation) -> list[Row] | NoRow:
    return NoRow("a rule for conversations")


async def test_rules_are_found_by_name_and_take_options() -> None:
    transcript = await debated(FIVE)
    rule = rule_named("majority_minority", {"k": "2", "replies": "openings"})
    assert isinstance(rule, partial) and rule.keywords == {"k": 2, "replies": "openings"}
    assert len(rows_of(rule(transcript))) == 2
    assert rule_named("critic", {"all_turns": "true"}).keywords == {"all_turns": True}  # type: ignore[attr-defined]
    assert rule_named("test_rules:of_length", {"words": "5"})(transcript) == NoRow("a rule of one's own, 5")
    assert takes(rule_named("test_rules:of_a_run")) == "conversation"
    assert takes(rule) == takes(rule_named("test_rules:of_length")) == "debate"
    assert takes(conversation) == "conversation"


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("finalanswer", {}, "expected a rule out of final_answer, generator"),
        ("no_such_module:rule", {}, "could not be imported"),
        ("test_rules:nothing", {}, "could not be imported"),
        ("majority_minority", {"n": "2"}, "its options are replies, k, seed"),
        ("binary", {"n": "2"}, "it has none"),
        ("majority_minority", {"k": "two"}, "expected k=int"),
        ("majority_minority", {"replies": "all"}, "expected replies='openings' or 'final'"),
        ("critic", {"all_turns": "yes"}, "expected all_turns=bool"),
    ],
)
def test_what_is_no_rule_or_option_is_told(name: str, options: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        rule_named(name, options)


# what an agent was shown, where it is not plain


async def test_only_what_a_model_wrote_carries_loss_in_a_run() -> None:
    from autogen_agentchat.agents import UserProxyAgent

    boss = UserProxyAgent("boss", input_func=lambda _: "Do it.")
    ada = AssistantAgent("ada", lines("Done."), system_message=None)
    team = RoundRobinGroupChat([boss, ada], termination_condition=MaxMessageTermination(3))
    (row,) = rows_of(conversation(await talked(team, "Hello")))
    assert [(message["role"], message["content"]) for message in row["messages"]] == [
        ("user", "Hello"),
        ("user", "Do it."),
        ("assistant", "Done."),
    ]


async def test_where_it_is_not_certain_what_was_shown_there_is_no_row() -> None:
    from autogen_agentchat.agents import SocietyOfMindAgent
    from autogen_agentchat.teams import DiGraphBuilder, GraphFlow

    def agents(*names: str) -> list[Any]:
        return [AssistantAgent(name, lines(f"{name} 1", f"{name} 2")) for name in names]

    a, b, c = agents("a", "b", "c")
    builder = DiGraphBuilder()
    builder.add_node(a).add_node(b).add_node(c)
    builder.add_edge(a, b).add_edge(a, c)
    graph = GraphFlow([a, b, c], graph=builder.build(), termination_condition=MaxMessageTermination(9))
    inner = RoundRobinGroupChat(agents("w"), max_turns=1)
    nested = RoundRobinGroupChat([SocietyOfMindAgent("som", inner, lines("so")), *agents("o")], max_turns=2)
    not_told = NoRow("who was shown what is not told: nested or parallel agents, or an earlier run remembered")
    for team in (graph, nested):
        assert conversation(await talked(team, "Hello")) == not_told
    once = RoundRobinGroupChat(agents("x"), max_turns=1)
    assert not isinstance(conversation(await talked(once, "Hello")), NoRow)
    assert conversation(await talked(once, "Again")) == not_told  # it remembers the first run
    untold = await talked(RoundRobinGroupChat(agents("y"), max_turns=1), "Hello", knows=False)
    assert conversation(untold) == NoRow("the recorder was not told whose stream it is: record(..., of=team)")


async def test_a_summary_of_tool_results_is_nothing_a_model_said() -> None:
    """AutoGen's default: no reflection, so the reply is the tool's result, and the agent's context ends with that."""
    from autogen_ext.models.replay import ReplayChatCompletionClient

    client = calling("Answer: 20")
    ada = AssistantAgent(
        "ada", client, tools=[product], tool_call_summary_format="Answer: {result}", system_message=None
    )
    ben = debater("ben", ReplayChatCompletionClient(["Answer: 9", "Answer: 20"]))
    question = Question.of("What is 4*5?", kind="number")
    transcript = await recorded(DebateTeam([ada, ben], kind="number"), question)
    assert transcript.in_round(1)[0].composed and transcript.in_round(1)[0].answer == "20"
    (row,) = rows_of(generator(transcript, agent="ada"))
    assert [message["role"] for message in row["messages"]] == ["user", "assistant", "tool"]
    asked = client.create_calls[1]["messages"]
    shown = transcript.messages(transcript.said_by("ada")[1])
    assert [message["role"] for message in shown] == ["user", "assistant", "tool", "user"]
    assert [type(message).__name__ for message in asked] == [
        "UserMessage",
        "AssistantMessage",
        "FunctionExecutionResultMessage",
        "UserMessage",
    ]


async def test_a_critic_is_shown_what_the_generator_said_and_not_its_tools() -> None:
    from debate_plugin import Pair

    critic_client = lines("Answer: 20")
    critic_agent = AssistantAgent("c", critic_client, system_message="Criticise.")
    pair = Pair("p", generator=calculating("g", "Answer: 9"), critic=critic_agent)
    team = DebateTeam([pair, debater("ben", lines("Answer: 20", "Answer: 20"))], kind="number")
    transcript = await recorded(team, Question.of("What is 4*5?", kind="number"))
    last = transcript.said_by("p")[1]
    shown = [message["content"] for message in transcript.messages(last)]
    asked = critic_client.create_calls[0]["messages"]  # type: ignore[attr-defined]
    assert shown == [message.content for message in asked]
    (row,) = rows_of(critic(transcript, agent="p"))
    assert [turn["speaker"] for turn in row["provenance"]["turns"]] == ["g", "c"]
    assert [message.get("loss") for message in row["messages"]] == [None, None, False, None, True]
    assert self_correction(transcript, agent="p") == NoRow("nobody was corrected")


async def test_what_a_team_made_of_a_turn_is_not_known() -> None:
    x, y = calculating("x", "x says 20"), AssistantAgent("y", lines("Answer: 20", "Answer: 20"))
    inner = RoundRobinGroupChat([x, y], max_turns=2, name="inner")
    team = DebateTeam([inner, debater("ben", lines("Answer: 9"))], plan=Plan(rounds=1), kind="number")
    transcript = await recorded(team, Question.of("What is 4*5?", kind="number"))
    reply = transcript.replies[0]
    assert reply.speaker == "y" and reply.tools == () and not transcript.knows(reply)
    assert generator(transcript, agent="inner") == NoRow("no opening agrees with the decision")


async def test_one_reply_of_each_answer_credits_nobody() -> None:
    transcript = await debated(plan=Plan(distinct=True))
    assert next_round_credit(transcript) == NoRow("one reply of each answer was heard: whose is not told")


async def test_openings_without_an_answer_are_not_unanimous() -> None:
    late = await debated({"ada": ["hm", "Answer: 4"], "ben": ["so", "Answer: 4"]})
    assert binary(late) == majority_minority(late) == NoRow("none of the openings can be used")


async def test_a_long_degenerate_reply_takes_no_time() -> None:
    blank = "Answer: 4\n" + "\nAnswer: " + " " * 300_000 + ".\nx"
    (row,) = rows_of(final_answer(await debated({"ada": [blank, blank]}, question=Question.of("Write."))))
    assert len(row["messages"][1]["content"]) > 300_000


@pytest.mark.parametrize(("name", "options"), [("majority_minority", {"k": "0"}), ("judged", {"rho": "0.7"})])
async def test_options_out_of_range_are_told_in_one_line(name: str, options: dict[str, str]) -> None:
    transcript = await debated()
    with pytest.raises(ValueError, match=f"expected {next(iter(options))}"):
        rule_named(name, options)(transcript)


@pytest.mark.parametrize("name", ["os:getcwd", "debate_plugin.dataset.rules:RULES", ":x"])
def test_what_is_no_function_of_a_record_is_no_rule(name: str) -> None:
    with pytest.raises(ValueError, match="a function that takes a record"):
        rule_named(name)
