"""DebateTeam: an AutoGen group chat that plays the debate protocol, with a private context for every debater."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import ChatAgent, Team, TerminationCondition
from autogen_agentchat.messages import MessageFactory
from autogen_agentchat.teams import BaseGroupChat
from autogen_core import AgentRuntime

from debate_plugin._autogen import ChatAgentContainer, SequentialRoutedAgent
from debate_plugin.deciding import CRITERIA
from debate_plugin.messages import DEBATE_MESSAGES
from debate_plugin.moderator import Moderator, Table
from debate_plugin.plan import Plan
from debate_plugin.question import AnswerKind
from debate_plugin.seat import Seat
from debate_plugin.stateless_agent import StatelessAgent


class DebateTeam(BaseGroupChat):
    """Debaters, and the agents that serve them, at one table.

    Each run is one debate over its task: the debaters' contexts start empty, the stages of the protocol run
    concurrently, and the last chat message of the result is the final answer. Whatever one debater says reaches
    another only through the protocol.

    A `termination_condition` sees the question, and then the messages of each whole stage (`TurnReplied`, with their
    usage); once it holds, no further round is begun and what was said decides. `Plan.stop` is for conditions on votes.

    Raises:
        ValueError: a role that the plan needs has no agent, two agents share a name, or the topology does not fit.
    """

    def __init__(
        self,
        debaters: Sequence[ChatAgent],
        *,
        summarizer: ChatAgent | None = None,
        judge: ChatAgent | None = None,
        cleaner: ChatAgent | None = None,
        plan: Plan | None = None,
        kind: AnswerKind = "free",
        termination_condition: TerminationCondition | None = None,
        name: str = "debate",
        description: str = "A debate that ends in one answer.",
        runtime: AgentRuntime | None = None,
    ) -> None:
        plan = plan or Plan()
        if not debaters:
            raise ValueError("expected at least one debater, got none")
        roles = {"summarizer": summarizer, "judge": judge, "cleaner": cleaner}
        needed = {
            "summarizer": plan.digest != "none",
            "judge": "judge" in CRITERIA[plan.decide],
            "cleaner": plan.clean,
        }
        servants: list[ChatAgent] = []
        for role, agent in roles.items():
            if needed[role] and agent is None:
                raise ValueError(
                    f"the plan needs a {role}, and none sits at the table; pass {role}=... or change the plan"
                )
            if agent is None or not needed[role]:
                continue
            if agent.name != role:
                raise ValueError(f"expected the {role} to be named {role!r}, got {agent.name!r}; rename the agent")
            servants.append(agent)
        names = tuple(debater.name for debater in debaters)
        taken = [*names, *(agent.name for agent in servants), name]
        doubled = sorted({one for one in taken if taken.count(one) > 1})
        if doubled:
            raise ValueError(f"expected different names for all agents and the team, got {doubled[0]!r} twice")
        if plan.quorum > len(names):
            raise ValueError(f"expected a quorum of at most the {len(names)} debaters, got {plan.quorum}")
        for number in range(2, plan.rounds + 1):  # a topology that does not fit raises now, not in the first debate
            plan.topology.hearing(names, number)
        participants: list[ChatAgent | Team] = [*debaters, *servants]
        super().__init__(
            name=name,
            description=description,
            participants=participants,
            group_chat_manager_name=name,
            group_chat_manager_class=Moderator,
            termination_condition=termination_condition,
            runtime=runtime,
            custom_message_types=list(DEBATE_MESSAGES),
        )
        self.plan = plan
        self._table = Table(
            debaters=names,
            plan=plan,
            kind=kind,
            system_messages={
                agent.name: system for agent in [*debaters, *servants] if (system := _system_message(agent))
            },
        )

    @property
    def debaters(self) -> tuple[str, ...]:
        """The debaters' names in seat order."""
        return self._table.debaters

    @property
    def system_messages(self) -> dict[str, str]:
        """The system message of each agent that has one."""
        return dict(self._table.system_messages)

    def _create_group_chat_manager_factory(self, *args: Any, **group_chat: Any) -> Callable[[], SequentialRoutedAgent]:
        return lambda: Moderator(self._table, *args, **group_chat)

    def _create_participant_factory(
        self, parent_topic_type: str, output_topic_type: str, agent: ChatAgent | Team, message_factory: MessageFactory
    ) -> Callable[[], ChatAgentContainer]:
        # Answers go to the moderator's own topic: on the group topic every other seat would hear them.
        moderator_topic = self._group_chat_manager_topic_type
        return lambda: Seat(moderator_topic, output_topic_type, agent, message_factory)


def _system_message(agent: ChatAgent) -> str | None:
    """The agent's system message, for the transcript; None where the agent's class has none that we know of."""
    if isinstance(agent, StatelessAgent):
        return agent.system_message
    if isinstance(agent, AssistantAgent):
        # AutoGen offers no public reading of it short of dumping the agent with its model client and tools.
        return "\n\n".join(message.content for message in agent._system_messages) or None
    return None
