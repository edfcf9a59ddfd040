"""What a process knows of a cluster: its nodes, who serves which slot, and which node a command belongs to.

Says nothing to any of them.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from msgspec.structs import replace
from redis.crc import key_slot

from surefoot.brokers.redis.sentinel import Way
from surefoot.brokers.redis.server import Command, Server
from surefoot.core.errors import StoreUnavailable

SLOTS: Final = 16_384
_KEYLESS: Final = frozenset({"INFO", "CONFIG", "TIME", "WAIT", "SCAN", "CLUSTER"})

Place: TypeAlias = tuple[str, int]


def key_of(command: Command) -> str | bytes | None:
    """The first key of a command, None if it has none."""
    match command[0]:
        case "EVAL" | "EVALSHA":
            found = command[3]
        case str(word) if word in _KEYLESS:
            return None
        case _:
            found = command[1]
    assert isinstance(found, str | bytes), command
    return found


class Slots:
    """The map of one cluster, for all loops and threads of a process. `stale`: ask again before the next use.

    `generation` grows when other nodes serve slots than before.
    """

    def __init__(self, server: Server) -> None:
        self.server: Final = server
        self.stale: bool = True
        self.generation: int = 0
        self._seeds: Final = [(node.host, node.port) for node in server.nodes]
        self._owners: list[Place | None] = [None] * SLOTS
        self._ways: dict[Place, Way] = {}
        self._doubted: set[Place] = set()
        self._met: set[Place] = set(self._seeds)

    def to_ask(self) -> list[Place]:
        """The nodes that may know the map: those that were found first, those that did not answer last."""
        return sorted(dict.fromkeys([*self.primaries(), *self._seeds]), key=self._doubted.__contains__)

    def doubt(self, place: Place) -> None:
        """A node does not answer: the map may have changed, and others are asked before it."""
        self._doubted.add(place)
        self.stale = True

    def meet(self, place: Place) -> None:
        """A node has answered."""
        self._met.add(place)

    def away(self, place: Place, met: StoreUnavailable) -> StoreUnavailable:
        """Why a node cannot be used; one that nobody here has reached yet may be announced wrongly."""
        if place in self._met:
            return met
        return StoreUnavailable(
            f"{met}: so its cluster announces it; set cluster-announce-ip there to an address that clients can reach"
        )

    def primaries(self) -> list[Place]:
        """The nodes that serve slots."""
        return list(dict.fromkeys(place for place in self._owners if place is not None))

    def of(self, key: str | bytes | None) -> Place:
        """The node that serves a key; for none any of them."""
        if key is not None:
            owner = self._owners[key_slot(key.encode() if isinstance(key, str) else key)]
            if owner is not None:
                return owner
        return self.to_ask()[0]

    def learn(self, asked: Place, reply: list[Any]) -> None:
        """The map as a node tells it."""
        owners: list[Place | None] = [None] * SLOTS
        for first, last, (host, port, *more), *_ in reply:
            place = (_host((host or b"").decode(), more) or asked[0], port)
            owners[first : last + 1] = [place] * (last + 1 - first)
        if set(owners) != set(self._owners):
            self.generation += 1
        self._owners = owners
        self._doubted.discard(asked)
        self.stale = False

    def named(self, host: str, port: int, asked: Place) -> Place:
        """The node that another one points to; one without a name is known by its port, or stands beside it."""
        if _host(host):
            return host, port
        return next((place for place in self.primaries() if place[1] == port), (asked[0], port))

    def moved(self, slot: int, place: Place) -> None:
        """One slot is served by another node; most likely others are too."""
        self._owners[slot] = place
        self.stale = True

    def way(self, place: Place) -> Way:
        """The way to one node, for all connections to it."""
        found = self._ways.get(place)
        if found is None:
            host, port = place
            shown = f"the node {host}:{port} of {self.server.shown}"
            found = self._ways[place] = Way(replace(self.server, host=host, port=port, shown=shown, nodes=()))
        return found

    def renew(self) -> None:
        """Any connection may lead to the wrong node."""
        self.stale = True
        for way in list(self._ways.values()):
            way.age += 1


def _host(told: str, more: Sequence[Any] = ()) -> str:
    """The host in an entry of the map, or "" for the one that was asked: so say nodes that do not know their address.

    One that is to be known by a name and has none says "?"; its address stands behind then.
    """
    if told != "?":
        return told
    words = next((entry for entry in more if isinstance(entry, list)), [])
    return next((ip.decode() for word, ip in zip(words[::2], words[1::2], strict=False) if word == b"ip"), "")
