"""SqliteBroker: one store in a file or in memory, as everybody else sees it. Threads and connections live behind it."""

import asyncio
import atexit
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

from surefoot import clock
from surefoot.brokers.bells import Bells
from surefoot.brokers.broker import Call, Facts, counted
from surefoot.brokers.sqlite.reader import Reader
from surefoot.brokers.sqlite.schema import Synchronous
from surefoot.brokers.sqlite.store import MEMORY, Store
from surefoot.brokers.sqlite.ticket import Ticket
from surefoot.brokers.sqlite.verbs import only_reads
from surefoot.brokers.sqlite.writer import Writer
from surefoot.core.errors import StoreUnsuitable
from surefoot.core.names import UNDERSTANDS

_CLOSING_S: Final = 5.0
_AT_EXIT_S: Final = 1.0
_FORKING_S: Final = 10.0


class SqliteBroker:
    """Opens at first use; usable again after a close. A forked child gets threads and connections of its own."""

    def __init__(
        self,
        path: str,
        *,
        timeout: float = 5,
        synchronous: Synchronous = "full",
        busy_timeout: float = 30,
        wall_ms: Callable[[], int] = clock.wall_ms,
        understands: int = UNDERSTANDS,
    ) -> None:
        self.path: Final = path if path == MEMORY else os.path.abspath(path)
        self._timeout = timeout
        self._patience = timeout + busy_timeout
        self._understands = understands
        self.synchronous: Final[Synchronous] = synchronous
        self._busy_timeout = busy_timeout
        self._wall_ms = wall_ms
        self._spoilt = False
        self._fresh()
        _brokers.add(self)

    def _fresh(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._bells = Bells()
        self._writer: Writer | None = None
        self._reader: Reader | None = None

    @property
    def address(self) -> str:
        """The store's URL."""
        return f"sqlite:///{self.path}"

    # --- calls ---

    async def run(self, call: Call) -> list[Any]:
        """One call from the running loop; one transaction, perhaps together with other calls."""
        ticket = Ticket(call, loop=asyncio.get_running_loop())
        self._submit(ticket)
        return await ticket.result(self.path, self._timeout, self._patience)

    def run_sync(self, call: Call, *, urgent: bool = False) -> list[Any]:
        """The same from any thread, blocking it."""
        ticket = Ticket(call, urgent=urgent)
        self._submit(ticket)
        return ticket.wait(self.path, self._timeout, self._patience)

    def _submit(self, ticket: Ticket) -> None:
        counted(ticket.call)
        self._same_process()
        if self._spoilt:
            raise StoreUnsuitable(
                f"this process was forked while {self.path} was in long use, and cannot use it safely; "
                "fork before the queue is busy, or start a fresh process."
            )
        with self._lock:
            if self.path != MEMORY and only_reads(ticket.call):
                self._reading().submit(ticket)
            else:
                self._writing().submit(ticket)

    async def facts(self) -> Facts:
        """What this library is; a file drops nothing."""
        return Facts(f"SQLite {sqlite3.sqlite_version}", keeps="nothing" if self.path == MEMORY else "log")

    # --- waiting ---

    async def wait(self, queues: Sequence[str], seconds: float, *, listener: object = None) -> bool:
        """Wait for a wake-up. Workers that share loop and queue pass a `listener` each, so that every one hears it."""
        self._watch()
        return await self._bells.wait(queues, seconds, asyncio.get_running_loop() if listener is None else listener)

    async def ended(self, queue: str, id: str, seconds: float) -> None:
        """Wait for the end of one job, in whatever process it comes."""
        ending = self._bells.ended(queue, id, seconds)
        self._watch()
        await ending

    def _watch(self) -> None:
        self._same_process()
        with self._lock:
            self._writing().nudge()

    # --- opening and closing ---

    def _writing(self) -> Writer:
        if self._writer is None:
            self._writer = Writer(self._store(), self._bells, self._understands)
        return self._writer

    def _reading(self) -> Reader:
        if self._reader is None:
            self._reader = Reader(self._store(reads_only=True), self._understands)
        return self._reader

    def _store(self, *, reads_only: bool = False) -> Store:
        return Store(
            self.path, synchronous=self.synchronous, busy_timeout=self._busy_timeout, wall_ms=self._wall_ms,
            reads_only=reads_only,
        )  # fmt: skip

    async def close(self) -> None:
        """Close the file; other loops open it again at their next call. A store in memory stays: it is nowhere else."""
        if self.path != MEMORY:
            await asyncio.get_running_loop().run_in_executor(None, self.close_sync)

    def close_sync(self) -> None:
        """Finish what was taken in, end the threads, close under the lock. What is in memory is gone then."""
        self._close(_CLOSING_S)

    def _close(self, seconds: float) -> None:
        self._same_process()
        with self._lock:
            parts = self._parts()
            self._reader = self._writer = None
        for part in parts:
            part.stop()
        self._bells.release_all()
        for part in parts:
            part.join(seconds)

    def _parts(self) -> list[Reader | Writer]:
        return [part for part in (self._reader, self._writer) if part is not None]

    # --- forks ---

    def _same_process(self) -> None:
        if self._pid != os.getpid():
            self._forked()

    def _forked(self) -> None:
        """We are a child now: the parent's threads are not here, its connections and waiters are not ours."""
        self._spoilt = any([part.store.abandon() for part in self._parts()]) or self._spoilt
        self._fresh()


_brokers: weakref.WeakSet[SqliteBroker] = weakref.WeakSet()


_held: list[threading.Lock] = []


def _before_fork() -> None:
    """No open connection crosses a fork: SQLite's table of locks would come along, and the child believe that it holds
    the parent's. The last process to close would then delete the log that the child still writes to.
    """
    brokers = list(_brokers)
    for broker in brokers:  # nobody opens anything from here on
        if broker._lock.acquire(timeout=_FORKING_S):
            _held.append(broker._lock)
    for store in [part.store for broker in brokers for part in broker._parts()]:
        if store.in_use.acquire(timeout=_FORKING_S):
            _held.append(store.in_use)
            if not store.in_memory:
                store.close_logged()


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().release()


def _after_fork_in_child() -> None:
    _held.clear()
    for broker in list(_brokers):
        broker._forked()


def _at_exit() -> None:
    for broker in list(_brokers):
        if broker.path != MEMORY:
            broker._close(_AT_EXIT_S)


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
