"""A cluster: which node serves a queue, and what is said to each of them. All keys of a queue are in one slot.

Commands without a key go where the one before them went. Nodes that point elsewhere are followed; a script that they
know only by its digest is sent on by whoever has its text.
"""

import asyncio
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final, TypeAlias

from redis import exceptions as told

from surefoot.brokers.broker import NoAnswer
from surefoot.brokers.redis.link import Greeting, Packed
from surefoot.brokers.redis.pool import Apart, Pool, Threads
from surefoot.brokers.redis.server import Command
from surefoot.brokers.redis.slots import Place, Slots, key_of
from surefoot.core.errors import StoreUnavailable, StoreUnsuitable

_HOPS: Final = 5
"""How often one command follows a node that points to another."""
_MAP: Final[Command] = ("CLUSTER", "SLOTS")

Batch: TypeAlias = tuple[Place, list[Command]]
_Outcome: TypeAlias = list[Any] | NoAnswer | StoreUnavailable
_Route: TypeAlias = Generator[list[Batch], list[_Outcome], list[Any]]


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
        troubles = {
            place: outcome for place, outcome in zip(said, outcomes, strict=True) if not isinstance(outcome, list)
        }
        if troubles:
            raise _trouble(slots, troubles, some_may_be_done=hop > 0 or len(troubles) < len(outcomes))
        going = []
        for some, outcome in zip(said.values(), outcomes, strict=True):
            heard = iter(outcome if isinstance(outcome, list) else ())
            going += [unit for unit in some if unit.is_sent_on(slots, heard, replies)]
        if not going:
            break
    return [_scanned(slots, commands[0], replies[0])] if scans else replies


def _trouble(slots: Slots, met: dict[Place, NoAnswer | StoreUnavailable], *, some_may_be_done: bool) -> Exception:
    """What nodes met, as it concerns all that was said: certainly not executed only if none may have done any of it."""
    for place in met:
        slots.doubt(place)
    for trouble in met.values():
        if isinstance(trouble, NoAnswer):
            return trouble
    first = next(iter(met.values()))
    if not some_may_be_done:
        return first
    unknown = NoAnswer(str(first))
    unknown.__cause__ = first
    return unknown


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
        self.place = slots.named(first.host, first.port, self.place)
        self._asking = not isinstance(first, told.MovedError)
        if not self._asking:
            slots.moved(first.slot_id, self.place)
        if self._commands[0][0] == "EVALSHA":
            # The other node may know this script and not the one before it, which would then run after it.
            replies[self._at[0]] = told.NoScriptError("it is to be sent whole to another node")
            return False
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
    slots.doubt(place)
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

    async def each(self, commands: Sequence[Command]) -> list[list[Any]]:
        """Say the same to every node that serves slots. One that is away is left out; raises if all are."""
        await self._load()
        places = self._slots.primaries()
        outcomes = await asyncio.gather(*[self.say(place, commands) for place in places])
        return _all_heard(self._slots, list(zip(places, outcomes, strict=True)))

    async def say(self, place: Place, commands: Sequence[Command]) -> _Outcome:
        """Say commands to one node."""
        try:
            replies = await self._pool(place).exchange(Packed(commands))
        except StoreUnavailable as trouble:
            return self._slots.away(place, trouble)
        except NoAnswer as trouble:
            return trouble
        self._slots.meet(place)
        return replies

    async def apart(self, key: str | bytes | None) -> Apart:
        """A connection with the node that serves a key."""
        await self._load()
        place = self._slots.of(key)
        try:
            return await self._pool(place).apart()
        except StoreUnavailable:
            self._slots.doubt(place)
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

    def each(self, commands: Sequence[Command]) -> list[list[Any]]:
        """As `Nodes.each`."""
        self._load()
        return _all_heard(self._slots, [(place, self.say(place, commands)) for place in self._slots.primaries()])

    def say(self, place: Place, commands: Sequence[Command]) -> _Outcome:
        """Say commands to one node."""
        threads = self._threads.get(place)
        if threads is None:
            threads = self._threads.setdefault(place, Threads(self._greeting, self._slots.way(place)))
        try:
            replies = threads.exchange(Packed(commands))
        except StoreUnavailable as trouble:
            return self._slots.away(place, trouble)
        except NoAnswer as trouble:
            return trouble
        self._slots.meet(place)
        return replies

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


def _all_heard(slots: Slots, said: Sequence[tuple[Place, _Outcome]]) -> list[list[Any]]:
    heard: list[list[Any]] = []
    trouble: Exception = StoreUnavailable(f"cannot reach {slots.server.shown} (no node serves a slot)")
    for place, outcome in said:
        if isinstance(outcome, list):
            heard.append(outcome)
        else:
            slots.doubt(place)
            trouble = outcome
    if not heard:
        raise trouble
    return heard


def _refuse(slots: Slots, outcome: _Outcome) -> None:
    """No node told the map: nothing of what is asked was executed."""
    shown = slots.server.shown
    match outcome:
        case [told.ResponseError() as error] if "cluster support disabled" in str(error):
            raise StoreUnsuitable(f"{shown} is no cluster: write {shown.replace('+cluster', '', 1)}.") from error
        case [Exception() as error]:
            raise StoreUnavailable(f"cannot reach {shown} ({error})") from error
        case Exception() as error:
            raise StoreUnavailable(str(error)) from error
    raise StoreUnavailable(f"cannot reach {shown} (no node serves a slot)")
