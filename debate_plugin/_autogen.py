"""The names of autogen-agentchat 0.7.5 that are not exported; imported here and nowhere else."""

from autogen_agentchat.teams._group_chat._base_group_chat_manager import BaseGroupChatManager
from autogen_agentchat.teams._group_chat._chat_agent_container import ChatAgentContainer
from autogen_agentchat.teams._group_chat._events import GroupChatStart, SerializableException
from autogen_agentchat.teams._group_chat._sequential_routed_agent import SequentialRoutedAgent

__all__ = [
    "BaseGroupChatManager",
    "ChatAgentContainer",
    "GroupChatStart",
    "SequentialRoutedAgent",
    "SerializableException",
]
