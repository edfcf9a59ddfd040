"""A cluster of several nodes on this machine: slots that move between them, nodes that die and are replaced."""

import contextlib
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from tests.servers.conversation import HOST, PATIENCE_S, Refusal
from tests.servers.server import SLOTS, Server, start

NODE_TIMEOUT_MS = 1_000
"""A node that is silent for so long has failed."""


class Cluster:
    """Primaries that share the slots, each with so many replicas."""

    def __init__(self, folder: Path, kind: str, *, nodes: int, replicas: int, options: Mapping[str, str]) -> None:
        self._open = contextlib.ExitStack()
        words = {
            "cluster-enabled": "yes", "cluster-announce-ip": HOST, "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "repl-diskless-sync-delay": "0", **options,
        }  # fmt: skip
        with contextlib.ExitStack() as failing:
            failing.callback(self.close)
            self.servers: list[Server] = []
            for number in range(nodes * (1 + replicas)):
                self.servers.append(self._open.enter_context(start(folder / f"node-{number}", kind, options=words)))
            for number, server in enumerate(self.servers[:nodes]):
                slots = range(SLOTS * number // nodes, SLOTS * (number + 1) // nodes)
                server.say("CLUSTER", "ADDSLOTS", *slots)
                server.say("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for other in self.servers[1:]:
                self.servers[0].say("CLUSTER", "MEET", HOST, other.port)
            self.until(
                "all know each other", lambda: all(len(self._nodes(one)) == len(self.servers) for one in self.servers)
            )
            for number, server in enumerate(self.servers[nodes:]):
                server.say("CLUSTER", "REPLICATE", self.id_of(self.servers[number % nodes]))
            self.until("it is whole", self.is_whole)
            for server in self.servers[nodes:]:
                self.until("it follows", functools.partial(self._follows, server))
            failing.pop_all()

    @property
    def url(self) -> str:
        """The URL of the store. It names one node that leads and one that may not."""
        return f"redis+cluster://{HOST}:{self.servers[0].port},{HOST}:{self.servers[-1].port}"

    def id_of(self, server: Server) -> str:
        return str(server.say("CLUSTER", "MYID").decode())

    def _nodes(self, server: Server) -> list[str]:
        return [line for line in server.say("CLUSTER", "NODES").decode().splitlines() if "handshake" not in line]

    def _all_met(self) -> bool:
        return all(len(self._nodes(server)) == len(self.servers) for server in self.servers)

    def _follows(self, server: Server) -> bool:
        return server.info().get("master_link_status") == "up"

    def is_whole(self) -> bool:
        """Whether all that run say so."""
        return all(b"cluster_state:ok" in server.say("CLUSTER", "INFO") for server in self._awake())

    def _awake(self) -> list[Server]:
        return [
            server
            for server in self.servers
            if server.running and psutil.Process(server.pid).status() != psutil.STATUS_STOPPED
        ]

    def slot_of(self, queue: str) -> int:
        return int(self._awake()[0].say("CLUSTER", "KEYSLOT", f"{{{queue}}}:meta"))

    def owner(self, slot: int) -> Server:
        """The node that serves a slot, as the first node that runs says."""
        for first, last, (_, port, *_rest), *_replicas in self._awake()[0].say("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(server for server in self.servers if server.port == port)
        raise AssertionError(f"nobody serves {slot}")

    def move(self, slot: int, to: Server, *, between: Callable[[], Any] = lambda: None) -> None:
        """Hand a slot over, key by key; `between` is called when some keys have gone, at least once."""
        owner = self.owner(slot)
        to.say("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(owner))
        owner.say("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(to))
        between()
        while keys := owner.say("CLUSTER", "GETKEYSINSLOT", slot, 2):
            owner.say("MIGRATE", HOST, to.port, "", 0, 60_000, "KEYS", *keys)
            between()
        for server in (to, owner, *[other for other in self.servers if other not in (to, owner)]):
            with contextlib.suppress(Refusal):  # a replica
                server.say("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(to))

    def until(self, what: str, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"never happened: {what}"
            time.sleep(0.02)

    def close(self) -> None:
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def cluster(
    folder: Path, kind: str = "valkey-9", *, nodes: int = 3, replicas: int = 0, options: Mapping[str, str] | None = None
) -> Cluster:
    """A running cluster."""
    return Cluster(folder, kind, nodes=nodes, replicas=replicas, options=options or {})
