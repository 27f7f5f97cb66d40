"""DebateTeam: an AutoGen group chat that plays the debate protocol, with a private context for every debater."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Self

from autogen_agentchat.base import ChatAgent, Team, TerminationCondition
from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage, MessageFactory
from autogen_agentchat.teams import BaseGroupChat
from autogen_core import AgentRuntime, Component, ComponentModel
from pydantic import BaseModel

from debate_plugin._autogen import ChatAgentContainer, EmbeddedRuntime, SequentialRoutedAgent
from debate_plugin.messages import DEBATE_MESSAGES
from debate_plugin.moderator import Moderator, Table
from debate_plugin.participant import Participant, participants, speakers
from debate_plugin.plan import Plan
from debate_plugin.question import AnswerKind
from debate_plugin.seat import Patience, Seat
from debate_plugin.transcript import plan_settings


class DebateTeamConfig(BaseModel):
    """A team as plain data."""

    name: str
    description: str
    debaters: list[ComponentModel]
    summarizer: ComponentModel | None = None
    judge: ComponentModel | None = None
    cleaner: ComponentModel | None = None
    plan: dict[str, Any]
    kind: AnswerKind
    termination_condition: ComponentModel | None = None
    patience: dict[str, Any]


class DebateTeam(BaseGroupChat, Component[DebateTeamConfig]):
    """Debaters, and the agents that serve them, at one table.

    Each run with a task is one debate over it: the debaters' contexts start empty, the stages of the protocol run
    concurrently, and the last chat message of the result is the final answer. Whatever one debater says reaches
    another only through the protocol. A debater is any `ChatAgent` or `Team`; the judge and the cleaner may be people
    (`UserProxyAgent`). A run without a task goes on with a debate that was cancelled, or saved and loaded.

    `pause` lets the turns under way come to their end and begins no further stage until `resume`. `patience` says how
    long and how often a turn is tried. `custom_message_types` are those that debaters of your own stream.

    A `termination_condition` sees the question, and then the messages of each whole stage (`TurnReplied`, with their
    usage); once it holds, no further round is begun and what was said decides. `Plan.stop` is for conditions on votes.

    Raises:
        ValueError: a role that the plan needs has no agent, two agents share a name, or the topology does not fit.
    """

    component_config_schema = DebateTeamConfig
    component_provider_override = "debate_plugin.team.DebateTeam"

    def __init__(
        self,
        debaters: Sequence[ChatAgent | Team],
        *,
        summarizer: ChatAgent | None = None,
        judge: ChatAgent | None = None,
        cleaner: ChatAgent | None = None,
        plan: Plan | None = None,
        kind: AnswerKind = "free",
        termination_condition: TerminationCondition | None = None,
        patience: Patience | None = None,
        name: str = "debate",
        description: str = "A debate that ends in one answer.",
        runtime: AgentRuntime | None = None,
        custom_message_types: Sequence[type[BaseAgentEvent | BaseChatMessage]] = (),
    ) -> None:
        plan = plan or Plan()
        if not debaters:
            raise ValueError("expected at least one debater, got none")
        roles = {"summarizer": summarizer, "judge": judge, "cleaner": cleaner}
        needed = {
            "summarizer": plan.digest != "none",
            "judge": plan.needs_judge,
            "cleaner": plan.clean,
        }
        servants: dict[str, ChatAgent] = {}
        for role, agent in roles.items():
            if needed[role] and agent is None:
                raise ValueError(
                    f"the plan needs a {role}, and none sits at the table; pass {role}=... or change the plan"
                )
            if agent is None or not needed[role]:
                continue
            if agent.name != role:
                raise ValueError(f"expected the {role} to be named {role!r}, got {agent.name!r}; rename the agent")
            servants[role] = agent
        names = tuple(debater.name for debater in debaters)
        debating = [speaker.name for debater in debaters for speaker in speakers(debater)]
        taken = [*names, *(one for one in debating if one not in names), *servants, name]
        doubled = sorted({one for one in taken if taken.count(one) > 1})
        if doubled:
            raise ValueError(f"expected different names for all agents and the team, got {doubled[0]!r} twice")
        if plan.quorum > len(names):
            raise ValueError(f"expected a quorum of at most the {len(names)} debaters, got {plan.quorum}")
        for number in range(2, max(plan.rounds, 2) + 1):  # a topology that does not fit raises now
            plan.topology.hearing(names, number)
        seated: list[ChatAgent | Team] = [*debaters, *servants.values()]
        super().__init__(
            name=name,
            description=description,
            participants=seated,
            group_chat_manager_name=name,
            group_chat_manager_class=Moderator,
            termination_condition=termination_condition,
            runtime=runtime,
            custom_message_types=[*DEBATE_MESSAGES, *custom_message_types],
        )
        if runtime is None:
            self._runtime = EmbeddedRuntime()
        self.plan = plan
        self._kind: AnswerKind = kind
        self._patience = patience or Patience()
        self._servants = servants
        self._table = Table(
            debaters=names,
            plan=plan,
            kind=kind,
            participants=participants(*seated),
            settings=plan_settings(plan, names),
        )

    @property
    def debaters(self) -> tuple[str, ...]:
        """The debaters' names in seat order."""
        return self._table.debaters

    @property
    def seated(self) -> Sequence[ChatAgent | Team]:
        """The debaters in seat order, then the agents that serve them."""
        return tuple(self._participants)

    @property
    def settings(self) -> dict[str, Any]:
        """The plan as plain data, as transcripts have it."""
        return dict(self._table.settings)

    @property
    def patience(self) -> Patience:
        return self._patience

    @property
    def termination_condition(self) -> TerminationCondition | None:
        return self._termination_condition

    @property
    def participants(self) -> dict[str, Participant]:
        """What is known of each agent that speaks under a name of its own."""
        return dict(self._table.participants)

    def _create_group_chat_manager_factory(self, *args: Any, **group_chat: Any) -> Callable[[], SequentialRoutedAgent]:
        return lambda: Moderator(self._table, *args, **group_chat)

    def _create_participant_factory(
        self, parent_topic_type: str, output_topic_type: str, agent: ChatAgent | Team, message_factory: MessageFactory
    ) -> Callable[[], ChatAgentContainer]:
        # Nothing is published on the group's topic, where every other seat would hear it: seats are asked and answer.
        return lambda: Seat(parent_topic_type, output_topic_type, agent, message_factory, self._patience)

    def _to_config(self) -> DebateTeamConfig:
        condition = self._termination_condition
        return DebateTeamConfig(
            name=self._name,
            description=self._description,
            debaters=[debater.dump_component() for debater in self._participants[: len(self.debaters)]],
            plan=self.plan.to_config(),
            kind=self._kind,
            termination_condition=condition.dump_component() if condition is not None else None,
            patience=asdict(self._patience),
            **{role: agent.dump_component() for role, agent in self._servants.items()},
        )

    @classmethod
    def _from_config(cls, config: DebateTeamConfig) -> Self:
        def loaded(kind: Any, component: ComponentModel | None) -> Any:
            return kind.load_component(component) if component is not None else None

        return cls(
            [_debater(debater) for debater in config.debaters],
            summarizer=loaded(ChatAgent, config.summarizer),
            judge=loaded(ChatAgent, config.judge),
            cleaner=loaded(ChatAgent, config.cleaner),
            plan=Plan.from_config(config.plan),
            kind=config.kind,
            termination_condition=loaded(TerminationCondition, config.termination_condition),
            patience=Patience(**config.patience),
            name=config.name,
            description=config.description,
        )


def _debater(component: ComponentModel) -> ChatAgent | Team:
    return (Team if component.component_type == "team" else ChatAgent).load_component(component)
