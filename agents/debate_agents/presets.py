"""Ready teams, each after its source, which is named; what a source leaves open and we chose is said with it."""

from __future__ import annotations

from collections.abc import Sequence

from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import ChatCompletionClient

from debate_agents.cleaner import cleaner
from debate_agents.debater import debater
from debate_agents.summarizer import summarizer
from debate_plugin.plan import Plan
from debate_plugin.question import AnswerKind
from debate_plugin.stopping import Stop, agreement
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
    )


def society_of_minds(
    model_client: Clients, *, debaters: int = 3, rounds: int = 2, kind: AnswerKind = "number", seed: int = 0
) -> DebateTeam:
    """Du et al. (2023), section 2: everybody hears everybody's last reply, the last round's majority decides.

    No confidence, no digests, no cleaning. In the source ties go to the answer seen first and peers keep their seats'
    order; ours go to the answer that was given earliest, and peers come in a seeded order.
    """
    plan = Plan(rounds=rounds, topology=complete(), confidence="off", seed=seed)
    return DebateTeam(_seated(model_client, debaters), plan=plan, kind=kind)


def sparse(
    model_client: Clients,
    *,
    debaters: int = 6,
    rounds: int = 2,
    topology: Topology | None = None,
    kind: AnswerKind = "number",
    seed: int = 0,
) -> DebateTeam:
    """Li et al. (2024): the same debate over fewer edges, as good or better for fewer tokens.

    A ring of six unless told otherwise; two rounds are ours, since more seldom help.
    """
    plan = Plan(rounds=rounds, topology=topology or ring(), confidence="off", seed=seed)
    return DebateTeam(_seated(model_client, debaters), plan=plan, kind=kind)


def vote_first(
    model_client: Clients,
    *,
    debaters: int = 5,
    enough: float = 0.6,
    audit: float = 0.0,
    kind: AnswerKind = "number",
    seed: int = 0,
) -> DebateTeam:
    """Vote first and debate what is disputed: our default where cost counts.

    After iMAD (2025), which gates a debate by learnt features, and votes whose agreement predicts that they are right:
    a debate repairs few answers, so one round over a ring is held only where fewer than `enough` agree. `audit` is the
    share of agreed questions that is debated all the same, so that the gate can be judged.
    """
    plan = Plan(rounds=2, topology=ring(), stop=agreement(enough), audit=audit, seed=seed)
    return DebateTeam(_seated(model_client, debaters), plan=plan, kind=kind)


def _seated(model_client: Clients, debaters: int) -> list[AssistantAgent]:
    if isinstance(model_client, ChatCompletionClient):
        clients = [model_client] * debaters
    else:
        clients = list(model_client)
        if len(clients) != debaters:
            raise ValueError(
                f"expected one model client or one for each of the {debaters} debaters, got {len(clients)}"
            )
    names = [NAMES[seat] if seat < len(NAMES) else f"debater_{seat + 1}" for seat in range(debaters)]
    return [debater(name, client) for name, client in zip(names, clients, strict=True)]
