"""A cluster: which node serves a queue, and what is said to each of them. All keys of a queue are in one slot.

Commands without a key go where the one before them went. Nodes that point elsewhere are followed.
"""

import asyncio
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final, TypeAlias

from msgspec.structs import replace
from redis import exceptions as told
from redis.crc import key_slot

from surefoot.brokers.broker import NoAnswer
from surefoot.brokers.redis.link import Greeting, Packed
from surefoot.brokers.redis.pool import Apart, Pool, Threads
from surefoot.brokers.redis.sentinel import Way
from surefoot.brokers.redis.server import Command, Server
from surefoot.core.errors import StoreUnavailable

SLOTS: Final = 16_384
_HOPS: Final = 5
"""How often one command follows a node that points to another."""
_KEYLESS: Final = frozenset({"INFO", "CONFIG", "TIME", "WAIT", "SCAN", "CLUSTER"})
_MAP: Final[Command] = ("CLUSTER", "SLOTS")

Place: TypeAlias = tuple[str, int]
Batch: TypeAlias = tuple[Place, list[Command]]
_Outcome: TypeAlias = list[Any] | NoAnswer | StoreUnavailable
_Route: TypeAlias = Generator[list[Batch], list[_Outcome], list[Any]]


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
    """What a process knows of a cluster: nodes, and who serves which slot. `stale`: ask again before the next use."""

    def __init__(self, server: Server) -> None:
        self.server: Final = server
        self.stale: bool = True
        self._seeds: Final = [(node.host, node.port) for node in server.nodes]
        self._owners: list[Place | None] = [None] * SLOTS
        self._ways: dict[Place, Way] = {}

    def to_ask(self) -> list[Place]:
        """The nodes that may know the map, those that were found first."""
        return list(dict.fromkeys([*self.primaries(), *self._seeds]))

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
        """The map as a node tells it; one that does not know its own address leaves it out."""
        owners: list[Place | None] = [None] * SLOTS
        for first, last, (host, port, *_), *_ in reply:
            place = ((host or b"").decode() or asked[0], port)
            owners[first : last + 1] = [place] * (last + 1 - first)
        self._owners = owners
        self.stale = False

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


def route(slots: Slots, commands: Sequence[Command]) -> _Route:
    """What to say to which node, until all is answered. Raises NoAnswer if some of it may have been executed."""
    scans = commands[0][0] == "SCAN"
    going = [_scanning(slots, commands[0])] if scans else [
        _Unit([commands[at] for at in unit], unit, slots.of(key_of(commands[unit[0]]))) for unit in units(commands)
    ]  # fmt: skip
    replies: list[Any] = [None] * len(commands)
    for hop in range(_HOPS):
        said: dict[Place, list[_Unit]] = {}
        for unit in going:
            said.setdefault(unit.place, []).append(unit)
        outcomes = yield [(place, [word for unit in some for word in unit.words()]) for place, some in said.items()]
        troubles = [outcome for outcome in outcomes if not isinstance(outcome, list)]
        if troubles:
            slots.stale = True
            if hop or len(troubles) < len(outcomes):
                raise NoAnswer(str(troubles[0])) from troubles[0]
            raise troubles[0]
        going = []
        for some, outcome in zip(said.values(), outcomes, strict=True):
            heard = iter(outcome if isinstance(outcome, list) else ())
            going += [unit for unit in some if unit.is_sent_on(slots, heard, replies)]
        if not going:
            break
    return [_scanned(slots, commands[0], replies[0])] if scans else replies


class _Unit:
    """Commands that must stay together on one connection, and where they go."""

    def __init__(self, commands: list[Command], at: range, place: Place) -> None:
        self.place = place
        self._commands = commands
        self._at = at
        self._asking = False

    def words(self) -> list[Command]:
        return [("ASKING",), *self._commands] if self._asking else self._commands

    def is_sent_on(self, slots: Slots, heard: Iterator[Any], replies: list[Any]) -> bool:
        """Take its replies; whether another node is to be asked."""
        if self._asking:
            next(heard)
        for at in self._at:
            replies[at] = next(heard)
        first = replies[self._at[0]]
        if isinstance(first, told.ClusterDownError):
            slots.stale = True
        if not isinstance(first, told.AskError):  # the driver makes MOVED a kind of it
            return False
        self.place = (first.host or self.place[0], first.port)
        self._asking = not isinstance(first, told.MovedError)
        if not self._asking:
            slots.moved(first.slot_id, self.place)
        return True


def _node_of(command: Command) -> tuple[int, str]:
    """Which node a SCAN is at, and its cursor there: one walk leads over all nodes."""
    cursor = command[1]
    number, _, there = (cursor.decode() if isinstance(cursor, bytes) else str(cursor)).rpartition(":")
    return int(number or 0), there


def _scanning(slots: Slots, command: Command) -> _Unit:
    number, cursor = _node_of(command)
    places = slots.primaries()
    return _Unit([("SCAN", cursor, *command[2:])], range(1), places[min(number, len(places) - 1)])


def _scanned(slots: Slots, command: Command, reply: Any) -> Any:
    if isinstance(reply, Exception):
        return reply
    number, _ = _node_of(command)
    cursor, keys = reply
    if cursor == b"0":
        return [b"%d:0" % (number + 1) if number + 1 < len(slots.primaries()) else b"0", keys]
    return [b"%d:%b" % (number, cursor), keys]


def units(commands: Sequence[Command]) -> list[range]:
    """The commands that must stay together: one with a key, and those without one that follow it."""
    starts = [at for at, command in enumerate(commands) if at == 0 or key_of(command) is not None]
    return [range(start, end) for start, end in zip(starts, [*starts[1:], len(commands)], strict=True)]


def _learnt(slots: Slots, place: Place, outcome: _Outcome) -> bool:
    match outcome:
        case [list(reply)] if reply:
            slots.learn(place, reply)
            return True
    return False


class Nodes:
    """The connections of one event loop with the nodes of a cluster."""

    def __init__(self, slots: Slots, greeting: Greeting) -> None:
        self._slots = slots
        self._greeting = greeting
        self._pools: dict[Place, Pool] = {}

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """As `Connections.send`."""
        if not commands:
            return []
        await self._load()
        steps = route(self._slots, commands)
        try:
            batches = next(steps)
            while True:
                batches = steps.send(await asyncio.gather(*[self.say(*batch) for batch in batches]))
        except StopIteration as end:
            replies: list[Any] = end.value
            return replies

    async def say(self, place: Place, commands: Sequence[Command]) -> _Outcome:
        """Say commands to one node."""
        try:
            return await self._pool(place).exchange(Packed(commands))
        except (NoAnswer, StoreUnavailable) as trouble:
            return trouble

    async def apart(self, key: str | bytes | None) -> Apart:
        """A connection with the node that serves a key."""
        await self._load()
        try:
            return await self._pool(self._slots.of(key)).apart()
        except StoreUnavailable:
            self._slots.stale = True
            raise

    async def _load(self) -> None:
        if self._slots.stale:
            outcome: _Outcome = []
            for place in self._slots.to_ask():
                outcome = await self.say(place, [_MAP])
                if _learnt(self._slots, place, outcome):
                    return
            _refuse(self._slots, outcome)

    def _pool(self, place: Place) -> Pool:
        found = self._pools.get(place)
        if found is None:
            way = self._slots.way(place)
            found = self._pools[place] = Pool(way.server, self._greeting, way)
        return found

    async def close(self) -> None:
        """Close all of them."""
        for pool in self._pools.values():
            await pool.close()


class ThreadNodes:
    """The connections that threads share with the nodes of a cluster."""

    def __init__(self, slots: Slots, greeting: Greeting) -> None:
        self._slots = slots
        self._greeting = greeting
        self._threads: dict[Place, Threads] = {}

    def send(self, commands: Sequence[Command]) -> list[Any]:
        """As `Connections.send_sync`."""
        if not commands:
            return []
        self._load()
        steps = route(self._slots, commands)
        try:
            batches = next(steps)
            while True:
                batches = steps.send([self.say(*batch) for batch in batches])
        except StopIteration as end:
            replies: list[Any] = end.value
            return replies

    def say(self, place: Place, commands: Sequence[Command]) -> _Outcome:
        """Say commands to one node."""
        threads = self._threads.get(place)
        if threads is None:
            threads = self._threads.setdefault(place, Threads(self._greeting, self._slots.way(place)))
        try:
            return threads.exchange(Packed(commands))
        except (NoAnswer, StoreUnavailable) as trouble:
            return trouble

    def _load(self) -> None:
        if self._slots.stale:
            outcome: _Outcome = []
            for place in self._slots.to_ask():
                outcome = self.say(place, [_MAP])
                if _learnt(self._slots, place, outcome):
                    return
            _refuse(self._slots, outcome)

    def close(self) -> None:
        """Close all of them."""
        for threads in list(self._threads.values()):
            threads.close()


def _refuse(slots: Slots, outcome: _Outcome) -> None:
    """No node told the map: nothing of what is asked was executed."""
    match outcome:
        case [Exception() as error]:
            raise StoreUnavailable(f"cannot reach {slots.server.shown} ({error})") from error
        case Exception() as error:
            raise StoreUnavailable(str(error)) from error
    raise StoreUnavailable(f"cannot reach {slots.server.shown} (no node serves a slot)")
