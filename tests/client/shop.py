"""What the tests of this folder share: a queue on a store of its own, a worker's hand, a wire that loses answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.client.kinds import Kind, emptied, left_clean

from surefoot import Queue, clock
from surefoot.brokers.broker import Beat, Broker, Call, Claim, Facts, Put, Settle, Verb
from surefoot.brokers.sqlite.broker import SqliteBroker
from surefoot.client.presence import PresenceInfo
from surefoot.client.session import Sessions, SyncSession
from surefoot.client.store import Store
from surefoot.core.codec import encode_error
from surefoot.core.errors import ErrorInfo
from surefoot.core.job import Leased
from surefoot.core.transition import Bury, Counter, Finish, Move, Transition

LEASE_MS = 60_000


class Wire:
    """A real broker behind a wire that records calls and loses what it is told to.

    `losses` are taken one a call that is not only reading: an exception to raise instead of the answer, after the store
    has executed it ("after") or before ("before"); or a list that is answered without asking the store ("instead").
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.calls: list[Call] = []
        self.losses: list[tuple[str, Any]] = []
        self._begun = asyncio.Event()
        self.address = broker.address

    def verbs(self, kind: type[Verb[Any]]) -> list[Any]:
        return [verb for call in self.calls for verb in call.verbs if type(verb) is kind]

    def puts(self) -> list[list[str]]:
        return [[job.id for job in put.jobs] for put in self.verbs(Put)]

    def _loss(self, call: Call) -> tuple[str, Any]:
        self.calls.append(call)
        return self.losses.pop(0) if self.losses and call.tag else ("", None)

    async def heard(self, calls: int = 1) -> None:
        """Wait until so many calls came from this loop."""
        while len(self.calls) < calls:
            self._begun.clear()
            await self._begun.wait()

    async def run(self, call: Call) -> list[Any]:
        self._begun.set()
        when, loss = self._loss(call)
        if when == "instead":
            return list(loss)
        if when == "before":
            raise loss
        answers = await self.broker.run(call)
        if when == "after":
            raise loss
        return answers

    def run_sync(self, call: Call, *, urgent: bool = False) -> list[Any]:
        when, loss = self._loss(call)
        if when == "instead":
            return list(loss)
        if when == "before":
            raise loss
        answers = self.broker.run_sync(call, urgent=urgent)
        if when == "after":
            raise loss
        return answers

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


@contextmanager
def store(kind: Kind = "sqlite", path: str = ":memory:") -> Iterator[Wire]:
    wire = Wire(SqliteBroker(path) if kind == "sqlite" else emptied())
    try:
        yield wire
    finally:
        wire.close_sync()
    if kind == "redis":
        left_clean()


def queue_on(broker: Broker, name: str = "mail", timeout: float = 5.0, **options: Any) -> Queue:
    """A queue that lives in this store."""
    queue = Queue("sqlite:///never-opened.db", name=name, **options)
    queue.lend(Store(Sessions(broker, timeout), "test"))
    return queue


class Hand:
    """Does by hand what a worker does: claims jobs and settles them."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue.full_name
        self.session = SyncSession(queue.broker)

    def claim(self, want: int = 10, lease_ms: int = LEASE_MS) -> list[Leased]:
        [claimed] = self.session.ask([Claim(self.queue, want, lease_ms, clock.wall_ms() + 60_000)])
        return list(claimed.jobs)

    def settle(
        self,
        leased: Leased,
        to: Move,
        bump: Counter | None = "runs",
        error: bytes | None = None,
        keep_ms: int | None = LEASE_MS,
    ) -> str:
        step = Transition(leased.id, leased.token, to, bump, error, keep_ms)
        [[verdict]] = self.session.ask([Settle(self.queue, (step,))])
        return str(verdict)

    def complete(self, result: bytes = b"null", keep_ms: int | None = LEASE_MS) -> Leased:
        [leased] = self.claim(1)
        assert self.settle(leased, Finish("completed", result), keep_ms=keep_ms) == "applied"
        return leased

    def kill(self, message: str = "boom", kind: str = "ValueError", reason: Any = "exhausted") -> Leased:
        """One run that ends in the dead letters."""
        [leased] = self.claim(1)
        error = ErrorInfo(kind=kind, kinds=(kind, "Exception"), message=message, traceback="Traceback ...")
        line = encode_error(error, attempt=leased.counts.runs + 1, reason=reason)
        assert self.settle(leased, Bury(reason), "failures", line) == "applied"
        return leased

    def beat(self, **facts: Any) -> None:
        """A living worker."""
        info = PresenceInfo(**{"name": "web-1", "host": "web-1", "pid": 4122, "concurrency": 5, **facts})
        self.session.ask([Beat(self.queue, self.session.caller, info.encode())])


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Do `work` in another thread while the block runs; its error is raised here."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as met:
            errors.append(met)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)
    assert not thread.is_alive()
    if errors:
        raise errors[0]
