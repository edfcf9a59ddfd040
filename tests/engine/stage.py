"""What the tests of this folder share: a store whose clock can be moved, its queues, a witness of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from tests.client.kinds import Kind, emptied, left_clean

from surefoot import Event, Job, JobHandle, Queue, Worker, clock
from surefoot.brokers.answers import Lease, PutAnswer
from surefoot.brokers.broker import Broker, Call, Claim, Extend, Facts, Put, Settle
from surefoot.brokers.sqlite.broker import SqliteBroker
from surefoot.client.session import Session, Sessions
from surefoot.client.store import Store
from surefoot.core.codec import mark_begun
from surefoot.core.job import Leased, NewJob
from surefoot.core.transition import Transition

R = TypeVar("R")

PATIENCE_S = 10
"""How long a test waits for what must come; a failure's bound, never a measure."""
SHORT = 1.0
"""A lease in seconds: its keeper renews, and so carries news, four times in it."""


class Wall:
    """The store's clock: this machine's, and as far ahead as a test has moved it."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return clock.wall_ms() + self.ahead_ms

    def forward(self, seconds: float) -> None:
        self.ahead_ms += round(seconds * 1000)


class Moved:
    """A server whose clock can be moved: once it was, each call says the time itself."""

    def __init__(self, broker: Broker, wall: Wall) -> None:
        self.broker = broker
        self.address = broker.address
        self._wall = wall

    def _timed(self, call: Call) -> Call:
        if self._wall.ahead_ms and call.now is None:
            return msgspec.structs.replace(call, now=self._wall())
        return call

    async def run(self, call: Call) -> list[Any]:
        return await self.broker.run(self._timed(call))

    def run_sync(self, call: Call, *, urgent: bool = False) -> list[Any]:
        return self.broker.run_sync(self._timed(call), urgent=urgent)

    async def facts(self) -> Facts:
        return await self.broker.facts()

    async def wait(self, queues: Sequence[str], seconds: float, *, listener: object = None) -> bool:
        return await self.broker.wait(queues, seconds, listener=listener)

    async def ended(self, queue: str, id: str, seconds: float) -> None:
        await self.broker.ended(queue, id, seconds)

    async def close(self) -> None:
        await self.broker.close()

    def close_sync(self) -> None:
        self.broker.close_sync()


class Stage:
    """One store and the queues on it: in memory, or on an emptied server."""

    def __init__(self, kind: Kind = "sqlite") -> None:
        self.kind = kind
        self.wall = Wall()
        self.store: Broker = (
            SqliteBroker(":memory:", wall_ms=self.wall) if kind == "sqlite" else Moved(emptied(), self.wall)
        )
        self.broker: Broker = self.store

    def close(self) -> None:
        """Leave the store, and see that nothing is in it that should not be."""
        self.store.close_sync()
        if self.kind == "redis":
            left_clean()

    def queue(self, name: str = "jobs", **options: Any) -> Queue:
        queue = Queue("sqlite:///never-opened.db", name=name, **options)
        queue.lend(Store(Sessions(self.broker), "test"))
        return queue

    async def put(self, queue: Queue, *jobs: NewJob) -> list[PutAnswer]:
        """Store jobs as any other program could: raw bytes, checked by nobody."""
        [answers] = await Session(self.store).ask([Put(queue.full_name, jobs)])
        return list(answers)


class Thief:
    """Another worker, by hand: it takes leases that have ended, and what is pending."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._session = Session(stage.store)

    async def claim(self, queue: Queue, want: int = 10, lease_ms: int = 60_000) -> list[Leased]:
        trust_ms = self._stage.wall() + 60_000
        [claimed] = await self._session.ask([Claim(queue.full_name, want, lease_ms, trust_ms)])
        return list(claimed.jobs)

    async def begins(self, queue: Queue, leased: Leased) -> None:
        """Say of a job that its run has begun, as a worker does before it begins a suspect."""
        note = mark_begun(leased.note, leased.counts.runs + 1)
        await self._session.ask([Extend(queue.full_name, (Lease(leased.id, leased.token, note),), 1)])

    async def steal(self, queue: Queue) -> Leased:
        """Take a job out of a living worker's hands: as if its machine had slept, and its keeper wakes up too late."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self._stage.wall.forward(3600)
                for leased in await self.claim(queue):  # nothing, where a renewal came in between
                    return leased

    async def settle(self, queue: Queue, *steps: Transition) -> list[str]:
        [verdicts] = await self._session.ask([Settle(queue.full_name, steps)])
        return list(verdicts)


class Witness:
    """Hears every event of a worker, from whatever thread, and lets a test wait for one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self._loop.call_soon_threadsafe(self._hear, event)

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    def of(self, kind: str, job: str | None = None) -> list[Event]:
        return [one for one in self.events if one.kind == kind and job in (None, one.job_id)]

    def kinds(self, job: str) -> list[str]:
        return [one.kind for one in self.events if one.job_id == job]

    async def sees(self, kind: str, job: str | None = None, count: int = 1) -> Event:
        """The `count`-th event of this kind, once it has come."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.of(kind, job)) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.of(kind, job)[count - 1]


async def soon(awaited: Coroutine[Any, Any, R]) -> R:
    """What must come within the patience."""
    async with asyncio.timeout(PATIENCE_S):
        return await awaited


async def happens(event: asyncio.Event) -> None:
    await soon(event.wait())


async def burst(*queues: Queue, **options: Any) -> Worker:
    """Serve until there is nothing to do."""
    worker = Worker(*queues, **options)
    await soon(worker.serve(burst=True))
    return worker


@asynccontextmanager
async def serving(*queues: Queue, **options: Any) -> AsyncIterator[Worker]:
    """A worker in this loop; what happens in the block, and the leaving, is bounded."""
    async with asyncio.timeout(3 * PATIENCE_S), Worker(*queues, **options) as worker:
        yield worker


async def known(handle: JobHandle[Any]) -> Job:
    """The job as the store knows it."""
    job = await handle.job()
    assert job is not None, f"{handle} is unknown to the store"
    return job
