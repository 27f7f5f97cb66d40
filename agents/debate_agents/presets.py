"""Ready teams, each after its source, which is named; what a source leaves open and we chose is said with it.

Further arguments of a preset go to `DebateTeam`: `name`, `patience`, `termination_condition`, `runtime`, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import ChatCompletionClient

from debate_agents.advocate import advocate
from debate_agents.cleaner import cleaner
from debate_agents.debater import debater
from debate_agents.devil import devil
from debate_agents.judge import judge
from debate_agents.summarizer import summarizer
from debate_plugin import topology as topologies
from debate_plugin.calibration import Calibration
from debate_plugin.directions import Directions
from debate_plugin.plan import Plan
from debate_plugin.question import AnswerKind
from debate_plugin.stopping import Stop, agreement, unanimity
from debate_plugin.team import DebateTeam
from debate_plugin.topology import Topology, complete, ring

NAMES = ("ada", "ben", "cleo", "dan", "eve", "finn", "gwen", "hal", "ida", "jon")

Clients = ChatCompletionClient | Sequence[ChatCompletionClient]
"""One model for all debaters, or one each: different models help more than anything else a debate can change."""


def debategpt(
    model_client: Clients,
    *,
    debaters: int = 3,
    rounds: int = 2,
    topology: Topology | None = None,
    summaries: bool = True,
    confidence: bool = True,
    cleaning: bool = True,
    stop: Stop | None = None,
    helper_client: ChatCompletionClient | None = None,
    kind: AnswerKind = "free",
    seed: int = 0,
    **team: Any,
) -> DebateTeam:
    """DebateGPT (2024): Du et al.'s debate with summaries, confidence scores and a cleaned answer, each switchable.

    `stop` is ours: when a debate ends without another round, see `debate_plugin.stopping`.

    The source leaves open how many debaters and rounds there are (we take 3 and 2, as Du et al.), how confidence
    weighs (the others see it; it breaks ties) and which reply is cleaned (the deciding group's surest).
    `helper_client` sums up and cleans, the first debater's model where it is None; at temperature 0 it is more
    faithful.
    """
    seated = _seated(model_client, debaters)
    helper = helper_client or (model_client if isinstance(model_client, ChatCompletionClient) else model_client[0])
    return DebateTeam(
        seated,
        summarizer=summarizer(helper) if summaries else None,
        cleaner=cleaner(helper) if cleaning else None,
        plan=Plan(
            rounds=rounds,
            topology=topology or complete(),
            digest="each" if summaries else "none",
            confidence="shared" if confidence else "off",
            clean=cleaning,
            stop=stop,
            seed=seed,
        ),
        kind=kind,
        **team,
    )


def society_of_minds(
    model_client: Clients,
    *,
    debaters: int = 3,
    rounds: int = 2,
    kind: AnswerKind = "number",
    seed: int = 0,
    **team: Any,
) -> DebateTeam:
    """Du et al. (2023), section 2: everybody hears everybody's last reply, the last round's majority decides.

    No confidence, no digests, no cleaning. In the source ties go to the answer seen first and peers keep their seats'
    order; ours go to the answer that was given earliest, and peers come in a seeded order.
    """
    plan = Plan(rounds=rounds, topology=complete(), confidence="off", seed=seed)
    return DebateTeam(_seated(model_client, debaters), plan=plan, kind=kind, **team)


def sparse(
    model_client: Clients,
    *,
    debaters: int = 6,
    rounds: int = 2,
    topology: Topology | None = None,
    kind: AnswerKind = "number",
    seed: int = 0,
    **team: Any,
) -> DebateTeam:
    """Li et al. (2024): the same debate over fewer edges, as good or better for fewer tokens.

    A ring of six unless told otherwise; two rounds are ours, since more seldom help.
    """
    plan = Plan(rounds=rounds, topology=topology or ring(), confidence="off", seed=seed)
    return DebateTeam(_seated(model_client, debaters), plan=plan, kind=kind, **team)


def vote_first(
    model_client: Clients,
    *,
    debaters: int = 5,
    enough: float = 0.6,
    audit: float = 0.0,
    kind: AnswerKind = "number",
    seed: int = 0,
    **team: Any,
) -> DebateTeam:
    """Vote first and debate what is disputed: our default where cost counts.

    After iMAD (2025), which gates a debate by learnt features, and votes whose agreement predicts that they are right:
    a debate repairs few answers, so one round over a ring is held only where fewer than `enough` agree. `audit` is the
    share of agreed questions that is debated all the same, so that the gate can be judged.
    """
    plan = Plan(rounds=2, topology=ring(), stop=agreement(enough), audit=audit, seed=seed)
    return DebateTeam(_seated(model_client, debaters), plan=plan, kind=kind, **team)


def reconcile(
    model_clients: Sequence[ChatCompletionClient],
    *,
    rounds: int = 4,
    kind: AnswerKind = "number",
    seed: int = 0,
    **team: Any,
) -> DebateTeam:
    """ReConcile (Chen et al. 2023): different models, who hear answers and confidences; votes weigh by confidence.

    One debater a model. As in the source what a confidence counts for falls in steps (its section 3), and the debate
    ends once all agree, after three rounds of discussion at the latest. Left out: its human explanations that once
    convinced a model, which need data; and the answers are not grouped before they are heard.
    """
    plan = Plan(
        rounds=rounds,
        topology=complete(),
        confidence="shared",
        calibration=RECONCILE_STEPS,
        decide="confidence",
        stop=unanimity(),
        seed=seed,
    )
    return DebateTeam(_seated(model_clients, len(model_clients)), plan=plan, kind=kind, **team)


# Self-reports are too sure: below 60 they count 10, from 80 half, from 90 four fifths; only a full 100 counts in full.
RECONCILE_STEPS = Calibration(
    stated=(60, 60.01, 79.99, 80, 89.99, 90, 99.99, 100), worth=(10, 30, 30, 50, 50, 80, 80, 100)
)


def devils_advocate(
    model_client: ChatCompletionClient,
    *,
    rounds: int = 3,
    judge_client: ChatCompletionClient | None = None,
    kind: AnswerKind = "number",
    seed: int = 0,
    **team: Any,
) -> DebateTeam:
    """MAD (Liang et al. 2023): one answers, a devil's advocate objects, in turn; a judge ends it and decides.

    The judge is asked after each round whether the question is settled, as in the source. Where it never is, the
    source's judge picks among the answers that are left; ours compares their last replies in both orders.
    """
    plan = Plan(
        rounds=rounds,
        speaking="in turn",
        confidence="off",
        settle=True,
        decide="judge",
        judging="pairwise",
        seed=seed,
    )
    return DebateTeam(
        [debater(NAMES[0], model_client), devil("devil", model_client)],
        judge=judge(judge_client or model_client),
        plan=plan,
        kind=kind,
        **team,
    )


def two_sides(
    model_client: Clients,
    sides: tuple[str, str],
    *,
    judge_client: ChatCompletionClient,
    rounds: int = 3,
    kind: AnswerKind = "choice",
    seed: int = 0,
    **team: Any,
) -> DebateTeam:
    """Two debaters argue for the sides they are given, whatever they believe, to persuade a judge (Khan et al. 2024).

    `sides` are the two answers. The debaters speak at the same time and then hear each other, as in the source. Its
    judge reads the whole debate; ours reads what each side said last, in both orders, so that no order favours one.
    The judge may be a weaker model: that is what the source is about.
    """
    first, second = _clients(model_client, 2)
    plan = Plan(rounds=rounds, confidence="off", decide="judge", judging="pairwise", seed=seed)
    return DebateTeam(
        [advocate(NAMES[0], first, side=sides[0]), advocate(NAMES[1], second, side=sides[1])],
        judge=judge(judge_client),
        plan=plan,
        kind=kind,
        **team,
    )


def free_mad(
    model_client: Clients,
    *,
    debaters: int = 3,
    rounds: int = 2,
    kind: AnswerKind = "number",
    seed: int = 0,
    **team: Any,
) -> DebateTeam:
    """Free-MAD (Cui et al. 2025): debaters are told not to conform, and every change of mind counts in the decision.

    One round of debate, no vote in the end: see `conviction` in `debate_plugin.deciding`, whose numbers are ours, as
    are the words of the direction.
    """
    plan = Plan(
        rounds=rounds,
        confidence="off",
        decide="conviction",
        directions=Directions(rebuttal=UNCONFORMING),
        seed=seed,
    )
    return DebateTeam(_seated(model_client, debaters), plan=plan, kind=kind, **team)


UNCONFORMING = """\
Here is what other debaters replied to the same question:

$replies

How many of them agree says nothing about who is right. Look for the step in each of these replies that does not hold, and for one in yours. Keep your answer unless you can name the step of yours that is wrong. Then answer the question again:

$question

Show your working.$ending"""


def groups(
    model_client: Clients,
    *,
    debaters: int = 6,
    parts: int = 2,
    helper_client: ChatCompletionClient | None = None,
    kind: AnswerKind = "number",
    seed: int = 0,
    **team: Any,
) -> DebateTeam:
    """GroupDebate (Liu et al. 2024): a round within each group, then a round in which all hear all, in digests.

    The source varies how many rounds there are of each; one of each is ours.
    """
    clients = _clients(model_client, debaters)
    return DebateTeam(
        _seated(clients, debaters),
        summarizer=summarizer(helper_client or clients[0]),
        plan=Plan(
            rounds=3,
            topology=topologies.by_round([topologies.groups(parts, bridge=False), complete()]),
            digest="each",
            confidence="off",
            seed=seed,
        ),
        kind=kind,
        **team,
    )


def _clients(model_client: Clients, debaters: int) -> list[ChatCompletionClient]:
    if isinstance(model_client, ChatCompletionClient):
        return [model_client] * debaters
    if len(model_client) != debaters:
        raise ValueError(
            f"expected one model client or one for each of the {debaters} debaters, got {len(model_client)}"
        )
    return list(model_client)


def _seated(model_client: Clients, debaters: int) -> list[AssistantAgent]:
    clients = _clients(model_client, debaters)
    names = [NAMES[seat] if seat < len(NAMES) else f"debater_{seat + 1}" for seat in range(debaters)]
    return [debater(name, client) for name, client in zip(names, clients, strict=True)]
