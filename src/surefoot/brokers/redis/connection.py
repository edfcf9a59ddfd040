"""All traffic of a Redis broker: `send`, and a connection apart for whoever reads for long. No verb and no key here."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from surefoot.brokers.bells import call_into
from surefoot.brokers.redis.cluster import Nodes, ThreadNodes
from surefoot.brokers.redis.link import Greeting, Met, Packed
from surefoot.brokers.redis.pool import Apart, Pool, Threads
from surefoot.brokers.redis.sentinel import Way
from surefoot.brokers.redis.server import Command, Server
from surefoot.brokers.redis.slots import Slots

__all__ = ["Apart", "Command", "Connections", "Server"]

_Ending: TypeAlias = AsyncGenerator[None, None]


class Connections:
    """The connections of one broker in one process: a pool for each event loop, and those of threads.

    Replies come in order, an error reply as a value. Raises StoreUnavailable if certainly nothing was executed, and
    NoAnswer if it may have been. `greet` is said first on each new connection; `met` hears the replies of the first.
    """

    def __init__(self, server: Server, greet: Sequence[Command] = (), met: Met | None = None) -> None:
        self.server: Final = server
        self._greet = greet
        self._met = met
        self._partings: list[Callable[[], Awaitable[None]]] = []
        self._fresh()

    def _fresh(self) -> None:
        greeting = Greeting(self._greet, self._met)
        self._greeting = greeting
        self._lock = threading.Lock()
        self._pools: dict[asyncio.AbstractEventLoop, tuple[Pool | Nodes, _Ending]] = {}
        self._way = Way(self.server)
        slots = self._slots = Slots(self.server) if self.server.nodes else None
        self._threads = self._open_threads(slots)
        self._urgent = self._open_threads(slots)
        self._pid = os.getpid()

    # --- traffic ---

    async def send(self, *commands: Command) -> list[Any]:
        """Say commands from the running loop, in one write. Cancelled in the middle: they may have been executed."""
        pool = self._pool()
        return await (pool.send(commands) if isinstance(pool, Nodes) else pool.exchange(Packed(commands)))

    def send_sync(self, *commands: Command, urgent: bool = False) -> list[Any]:
        """The same from any thread, blocking it. `urgent` ones have connections of their own."""
        self._same_process()
        threads = self._urgent if urgent else self._threads
        return threads.send(commands) if isinstance(threads, ThreadNodes) else threads.exchange(Packed(commands))

    async def each(self, *commands: Command) -> list[list[Any]]:
        """Say the same to every server that jobs may be on: the replies of each."""
        pool = self._pool()
        return await pool.each(commands) if isinstance(pool, Nodes) else [await pool.exchange(Packed(commands))]

    def each_sync(self, *commands: Command, urgent: bool = False) -> list[list[Any]]:
        """The same from any thread, blocking it."""
        self._same_process()
        threads = self._urgent if urgent else self._threads
        return threads.each(commands) if isinstance(threads, ThreadNodes) else [threads.exchange(Packed(commands))]

    async def apart(self, key: str | None = None) -> Apart:
        """A new connection of the running loop for its caller alone, who closes it. In a cluster: with a key's node."""
        pool = self._pool()
        return await (pool.apart(key) if isinstance(pool, Nodes) else pool.apart())

    def _pool(self) -> Pool | Nodes:
        self._same_process()
        loop = asyncio.get_running_loop()
        found = self._pools.get(loop)
        return self._open_pool(loop) if found is None else found[0]

    def _open_pool(self, loop: asyncio.AbstractEventLoop) -> Pool | Nodes:
        slots = self._slots
        pool = Pool(self.server, self._greeting, self._way) if slots is None else Nodes(slots, self._greeting)
        ending = self._ending(loop, pool)
        # As far as its yield. A loop that ends closes the generators that were begun on it, and so our connections.
        with contextlib.suppress(StopIteration):
            ending.__anext__().send(None)
        with self._lock:
            for gone in [loop for loop in self._pools if loop.is_closed()]:
                del self._pools[gone]
            self._pools[loop] = (pool, ending)
        return pool

    def _open_threads(self, slots: Slots | None) -> Threads | ThreadNodes:
        return Threads(self._greeting, self._way) if slots is None else ThreadNodes(slots, self._greeting)

    @property
    def generation(self) -> int:
        """Grows when other nodes of a cluster serve than before."""
        return 0 if self._slots is None else self._slots.generation

    def renew(self) -> None:
        """The server may not be the right one any more: what is said from now on goes out on new connections."""
        self._way.age += 1
        if self._slots is not None:
            self._slots.renew()

    # --- closing ---

    def before_close(self, parting: Callable[[], Awaitable[None]]) -> None:
        """Have this called on each loop before its connections are closed."""
        self._partings.append(parting)

    async def close(self) -> None:
        """Close the connections of the running loop; the next call opens new ones."""
        self._same_process()
        found = self._pools.get(asyncio.get_running_loop())
        if found is not None:
            await _end(found[1])

    def close_sync(self) -> None:
        """Close the connections of threads, and have each loop that lives close its own."""
        self._same_process()
        with self._lock:
            pools = list(self._pools.items())
        for loop, (_, ending) in pools:
            call_into(loop, _begin_to_end, ending)
        self._threads.close()
        self._urgent.close()

    async def _ending(self, loop: asyncio.AbstractEventLoop, pool: Pool | Nodes) -> _Ending:
        """Waits for the end of a pool, whether we close it or its loop ends."""
        try:
            yield
        finally:
            with self._lock:
                if loop in self._pools and self._pools[loop][0] is pool:
                    del self._pools[loop]
            try:
                for parting in self._partings:
                    await parting()
            finally:
                await pool.close()

    # --- forks ---

    def _same_process(self) -> None:
        if self._pid != os.getpid():
            with _forked:
                if self._pid != os.getpid():
                    self.abandon()

    def abandon(self) -> None:
        """In a forked child: forget the parent's connections without closing them, and start afresh."""
        # They are kept for ever: a finaliser would take them out of the epoll that the child shares with its parent.
        _parents.append((self._pools, self._threads, self._urgent))
        self._fresh()


_forked: Final = threading.Lock()
_parents: Final[list[object]] = []
_closing: Final[set[asyncio.Task[None]]] = set()


def _begin_to_end(ending: _Ending) -> None:
    """On the loop that is to close its connections."""
    task = asyncio.get_running_loop().create_task(_end(ending))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


async def _end(ending: _Ending) -> None:
    with contextlib.suppress(RuntimeError):  # somebody else has begun with it
        await ending.aclose()
