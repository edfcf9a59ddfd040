"""What lies between an actor and the store: a broker whose connections lose, delay, repeat and cut, as a seed draws.

It never changes what is carried. A request that certainly was not executed is StoreUnavailable; all else is NoAnswer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final

from tests.simulation.kernel import Actor, Broken, Kernel
from tests.simulation.server import Server
from tests.simulation.story import Story

from surefoot.brokers.broker import Call, Facts, NoAnswer, NoRoom
from surefoot.core.errors import StoreUnavailable

TIMEOUT_MOST_S: Final = 0.8
"""How long a connection waits for an answer; less where leases are short, or a silent one would cost them all."""
_LATE_S: Final = 1.0
"""How long the end of a blocked read is waited for."""


@dataclass(frozen=True)
class Weather:
    """How often what goes wrong, each from 0 to 1, and how long a message takes on its way (seconds)."""

    slow_s: float = 0.002
    lost_request: float = 0.0
    lost_reply: float = 0.0
    late: float = 0.0  # the request arrives, but long after anybody waits for its answer
    repeated: float = 0.0
    cut: float = 0.0
    lost_wake: float = 0.0
    late_wake: float = 0.0
    false_wake: float = 0.0
    lost_end: float = 0.0


FINE: Final = Weather()


@dataclass(eq=False)
class _Read:
    """A blocked read. `actor` hears of the token, if it still lives and the token is not lost on its way."""

    network: Network
    actor: Actor
    queue: str
    future: asyncio.Future[bool]
    closed: asyncio.Future[None]
    taken: bool = False  # it waits no longer at the store
    brought: bool = False

    def take(self) -> None:
        self.taken = True
        self.network.carry_token(self)


@dataclass
class _Ear:
    actor: Actor
    future: asyncio.Future[None]


@dataclass
class Network:
    """The broker of every actor of a life. The store is away for all (`down`), or one actor is cut off (`apart`)."""

    kernel: Kernel
    server: Server
    story: Story
    draw: Random
    weather: Weather = FINE
    down: bool = False
    apart: set[Actor] = field(default_factory=set)
    address: str = "sim://store"
    timeout_s: float = TIMEOUT_MOST_S
    _reads: dict[tuple[Actor, str], _Read] = field(default_factory=dict)
    _refused: set[tuple[str, int]] = field(default_factory=set)
    _rung: set[tuple[Actor, str]] = field(default_factory=set)
    _ears: dict[tuple[str, str], list[_Ear]] = field(default_factory=dict)

    # --- calls ---

    async def run(self, call: Call) -> list[Any]:
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._send(self._actor(), call, future)
        return await future

    def run_sync(self, call: Call, *, urgent: bool = False) -> list[Any]:
        raise Broken("a blocking call on an actor's loop")

    async def facts(self) -> Facts:
        actor = self._actor()
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.kernel.after(self._way(), lambda: _settle(future, not (self.down or actor in self.apart)))
        if not await future:
            raise StoreUnavailable("the store is away")
        return Facts("simulation", "noeviction", "log")

    def _send(self, actor: Actor, call: Call, future: asyncio.Future[list[Any]]) -> None:
        kernel, weather, draw = self.kernel, self.weather, self.draw
        if self.down and draw.random() < 0.8:
            kernel.after(self._way(), lambda: _fail(future, StoreUnavailable("the store is away (connection refused)")))
            return
        if self.down or actor in self.apart:
            kernel.after(self.timeout_s, lambda: _fail(future, NoAnswer()))
            return
        luck = draw.random() if weather is not FINE else 1.0
        way = self._way()
        for share, what in (  # noqa: B007  # what is drawn, it is used behind the loop
            (weather.cut, "cut"),
            (weather.lost_request, "request lost"),
            (weather.lost_reply, "reply lost"),
            (weather.late, "late"),
            (weather.repeated, "repeated"),
        ):
            if luck < share:
                break
            luck -= share
        else:
            kernel.after(way, lambda: self._arrive(actor, call, future, ""))
            return
        if what == "cut" and draw.random() < 0.5:
            self.story.tell(actor, lambda: f"not sent: {said(call)}")
            kernel.after(
                way, lambda: _fail(future, StoreUnavailable("the connection was cut before anything was sent"))
            )
            return
        kernel.after(way if what == "cut" else self.timeout_s, lambda: _fail(future, NoAnswer()))
        if what == "late":
            kernel.after(self.timeout_s + draw.expovariate(1.0), lambda: self._arrive(actor, call, None, what))
        elif what == "repeated":
            kernel.after(way, lambda: self._arrive(actor, call, future, ""))
            kernel.after(way + draw.expovariate(1.0), lambda: self._arrive(actor, call, None, what))
        elif what == "reply lost" or (what == "cut" and draw.random() < 0.5):
            kernel.after(way, lambda: self._arrive(actor, call, None, what))
        else:
            self.story.tell(actor, lambda: f"{what}: {said(call)}")

    def _arrive(self, actor: Actor, call: Call, future: asyncio.Future[list[Any]] | None, what: str) -> None:
        if self.down:
            self.story.tell(actor, lambda: f"met a store that went away: {said(call)}")
            if future is not None:
                self.kernel.after(self._way(), lambda: _fail(future, NoAnswer()))
            return
        if what == "repeated" and (call.caller, call.number) in self._refused:
            return  # who was answered after one sending knows that no other one is under way
        answers = list[Any]()
        try:
            self.server.run(call, answers)
        finally:
            self.story.tell(actor, lambda: f"{f'({what}) ' if what else ''}{said(call)} -> {answered(answers)}")
        if any(isinstance(answer, NoRoom) for answer in answers):
            self._refused.add((call.caller, call.number))
        if future is None:
            return
        if actor in self.apart:
            self.kernel.after(self.timeout_s, lambda: _fail(future, NoAnswer()))
        else:
            self.kernel.after(self._way(), lambda: _settle(future, answers))

    def _way(self) -> float:
        return self.weather.slow_s * (0.1 + self.draw.random())

    def _actor(self) -> Actor:
        actor = self.kernel.running
        assert actor is not None
        return actor

    # --- wake-ups ---

    async def wait(self, queues: Sequence[str], seconds: float, *, listener: object = None) -> bool:
        actor, [queue] = self._actor(), queues
        if (actor, queue) in self._rung:
            self._rung.discard((actor, queue))
            return True
        if self.down:
            await asyncio.sleep(self._way())
            raise StoreUnavailable("the store is away (connection refused)")
        loop = asyncio.get_running_loop()
        read = self._reads[actor, queue] = _Read(self, actor, queue, loop.create_future(), loop.create_future())
        self.kernel.after(self._way(), lambda: self._block(read))
        self.kernel.after(seconds + 0.1 * self.draw.random(), lambda: self._end(read))  # the store gives it up itself
        timer = loop.call_later(seconds, _settle, read.future, False)
        if self.draw.random() < self.weather.false_wake:
            self.kernel.after(seconds * self.draw.random(), lambda: _settle(read.future, True))
        try:
            if await read.future:
                return True
        finally:
            timer.cancel()
            if not actor.dead:
                self.kernel.after(self._way(), lambda: self._end(read))
        # Nobody waits any more: the read is ended, and what it brings until then counts.
        late = loop.call_later(_LATE_S, _settle, read.closed, None)
        await read.closed
        late.cancel()
        return read.brought

    def _end(self, read: _Read) -> None:
        if read.actor in self.apart:
            return
        self.server.unblock(read.queue, read)
        if not read.taken:
            read.taken = True
            self.kernel.after(self._way(), lambda: _settle(read.closed, None))

    def _block(self, read: _Read) -> None:
        if self.down:
            _fail(read.future, StoreUnavailable("the connection was cut"))
        elif read.actor not in self.apart and not read.taken:
            self.server.block(read.queue, read)

    def carry_token(self, read: _Read) -> None:
        weather = self.weather
        if read.actor.dead or read.actor in self.apart or self.draw.random() < weather.lost_wake:
            self.story.tell(read.actor, lambda: f"the token of {read.queue} is lost on its way")
            return
        way = self._way()
        if self.draw.random() < weather.late_wake:
            way += self.draw.expovariate(1.0)
        self.kernel.after(way, lambda: self._ring(read))

    def _ring(self, read: _Read) -> None:
        self.story.tell(read.actor, lambda: f"is woken for {read.queue}")
        read.brought = True
        newest = self._reads[read.actor, read.queue]
        if not newest.future.done():  # an older read, given up, may bring what a newer one waits for
            newest.future.set_result(True)
        elif read.closed.done():
            self._rung.add((read.actor, read.queue))
        else:
            read.closed.set_result(None)

    def leave(self, actor: Actor) -> None:
        """An actor is gone, and its system has closed its connections."""
        for readers in self.server.readers.values():
            readers[:] = [one for one in readers if not (isinstance(one, _Read) and one.actor is actor)]

    def go_down(self) -> None:
        """The store is away: whoever waits is told."""
        self.down = True
        for readers in self.server.readers.values():
            for read in readers:
                assert isinstance(read, _Read)
                self.kernel.after(self._way(), partial(_fail, read.future, StoreUnavailable("the connection was cut")))
            readers.clear()

    # --- ends ---

    async def ended(self, queue: str, id: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        ear = _Ear(self._actor(), loop.create_future())
        ears = self._ears.setdefault((queue, id), [])
        ears.append(ear)
        timer = loop.call_later(seconds, _settle, ear.future, None)
        try:
            await ear.future
        finally:
            timer.cancel()
            ears.remove(ear)

    def told(self, queue: str, id: str) -> None:
        for ear in self._ears.get((queue, id), ()):
            if self.down or ear.actor in self.apart or self.draw.random() < self.weather.lost_end:
                continue
            self.kernel.after(self._way(), partial(_settle, ear.future, None))

    async def close(self) -> None: ...
    def close_sync(self) -> None: ...


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done() and not future.get_loop().is_closed():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done() and not future.get_loop().is_closed():
        future.set_exception(error)


def said(call: Call) -> str:
    """A call in a few words."""
    verbs = ", ".join(_verb(verb) for verb in call.verbs)
    return f"{call.caller[:4]}.{call.number} {verbs}"


def _verb(verb: Any) -> str:
    name = type(verb).__name__.lower()
    queue = verb.queue.partition(":")[2]
    match name:
        case "put":
            inside = " ".join(job.id[-6:] for job in verb.jobs)
        case "claim":
            inside = f"{verb.want} trust {verb.trust_ms % 10**8 if verb.trust_ms else 0}"
        case "settle":
            inside = " ".join(f"{one.id[-6:]}:{type(one.to).__name__.lower()}" for one in verb.transitions)
        case "extend":
            inside = " ".join(one.id[-6:] for one in verb.leases)
        case "cancel" | "requeue" | "move" | "get":
            inside = " ".join(id[-6:] for id in verb.ids)
        case "tick":
            inside = f"{verb.name} {verb.tick_ms}"
        case _:
            inside = ""
    return f"{name} {queue}({inside})"


def answered(answers: list[Any]) -> str:
    return ", ".join(_answer(answer) for answer in answers)


def _answer(answer: Any) -> str:
    match answer:
        case Exception():
            return repr(answer)
        case list():
            return "[" + " ".join(_answer(one) for one in answer) + "]"
        case str() | int() | None:
            return str(answer)
    jobs = getattr(answer, "jobs", None)
    if jobs is not None:
        lost = f", {answer.recovered} recovered" if answer.recovered else ""
        return f"[{' '.join(one.id[-6:] for one in jobs)}{lost}] sleep {answer.wait_ms} ms"
    word = getattr(answer, "word", None) or getattr(answer, "state", None)
    if word is not None:
        return str(word)
    held = getattr(answer, "held", None)
    return type(answer).__name__.lower() if held is None else "held" if held else "lost"
