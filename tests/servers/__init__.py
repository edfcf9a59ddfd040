"""Real Redis and Valkey servers for tests: from wheels, each in a folder of its own, stopped by its pid.

Speaks to them over a plain socket, so that it works where the library under test does not.
"""

from tests.servers.conversation import HOST, Conversation, Refusal
from tests.servers.kinds import KINDS, Missing, program, why_not
from tests.servers.server import NotUp, PortTaken, Server, one_node_cluster, start

__all__ = [
    "HOST", "KINDS", "Conversation", "Missing", "NotUp", "PortTaken", "Refusal", "Server", "one_node_cluster",
    "program", "start", "why_not",
]  # fmt: skip
