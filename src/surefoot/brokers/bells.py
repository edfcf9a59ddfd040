"""Who waits in this process, and for what: a wake-up of a queue, or the end of one job. Never claims anything."""

import asyncio
import threading
import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from surefoot import clock

K = TypeVar("K")
_Wait: TypeAlias = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Bells:
    """Counts the wake-ups of each queue; a listener that has heard fewer has a token. A wake-up reaches every listener.

    One token for all would be lost on a worker that the next job fills: the others would not know the next timer.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rings: dict[str, int] = {}
        self._heard: weakref.WeakKeyDictionary[object, dict[str, int]] = weakref.WeakKeyDictionary()
        self._waits: dict[str, set[_Wait]] = {}
        self._ends: dict[tuple[str, str], set[_Wait]] = {}

    # --- wake-ups ---

    async def wait(self, queues: Sequence[str], seconds: float, listener: object) -> bool:
        """Wait for a wake-up of any of these queues that `listener` has not heard. Cancelling it leaves the token."""
        if self.take(queues, listener):
            return True
        await self.sleep(queues, seconds, listener, asyncio.get_running_loop().create_future())
        return self.take(queues, listener)

    async def sleep(
        self, queues: Sequence[str], seconds: float, listener: object, waker: "asyncio.Future[None]"
    ) -> None:
        """Sleep until there is something for `listener` to take, or `waker`, of the running loop, is done."""
        loop = asyncio.get_running_loop()
        one: _Wait = (loop, waker)
        with self._lock:
            for queue in queues:
                self._waits.setdefault(queue, set()).add(one)
            missed = self._rung(queues, listener)
        timer = clock.call_later(loop, 0 if missed else seconds, lambda: _set([one[1]]))
        try:
            await one[1]
        finally:
            timer.cancel()
            with self._lock:
                for queue in queues:
                    _drop(self._waits, queue, one)

    def ring(self, queues: Iterable[str]) -> None:
        """A wake-up of each of these queues was committed."""
        woken: set[_Wait] = set()
        with self._lock:
            for queue in queues:
                self._rings[queue] = self._rings.get(queue, 0) + 1
                woken |= self._waits.get(queue, set())
        _wake(woken)

    def _rung(self, queues: Sequence[str], listener: object) -> bool:
        heard = self._heard.get(listener, {})
        return any(self._rings.get(queue, 0) > heard.get(queue, 0) for queue in queues)

    def take(self, queues: Sequence[str], listener: object) -> bool:
        """Whether there was a wake-up of any of these queues that `listener` has not heard; it has heard it now."""
        with self._lock:
            if not self._rung(queues, listener):
                return False
            heard = self._heard.setdefault(listener, {})
            heard.update((queue, self._rings.get(queue, 0)) for queue in queues)
            return True

    # --- ends ---

    async def ended(self, queue: str, id: str, seconds: float, waker: "asyncio.Future[None] | None" = None) -> None:
        """Wait until `end` says that this job is over, or `waker`, of the running loop, is done."""
        loop = asyncio.get_running_loop()
        one: _Wait = (loop, waker or loop.create_future())
        with self._lock:
            self._ends.setdefault((queue, id), set()).add(one)
        timer = clock.call_later(loop, seconds, lambda: _set([one[1]]))
        try:
            await one[1]
        finally:
            timer.cancel()
            with self._lock:
                _drop(self._ends, (queue, id), one)

    def end(self, jobs: Iterable[tuple[str, Sequence[str]]]) -> None:
        """These jobs are over: queues, and ids in each."""
        if not self._ends:
            return
        woken: set[_Wait] = set()
        with self._lock:
            for queue, ids in jobs:
                for id in ids:
                    woken |= self._ends.get((queue, id), set())
        _wake(woken)

    # --- for the thread that looks at other processes' work ---

    def anybody(self) -> bool:
        """Whether anybody waits for anything."""
        return bool(self._waits or self._ends)

    def queues(self) -> Collection[str]:
        """The queues that somebody waits for."""
        with self._lock:
            return list(self._waits)

    def jobs(self) -> Mapping[str, list[str]]:
        """The ids, by queue, of the jobs whose end somebody waits for."""
        found: dict[str, list[str]] = {}
        with self._lock:
            for queue, id in self._ends:
                found.setdefault(queue, []).append(id)
        return found

    def release_all(self) -> None:
        """The store is being closed: nobody hears anything until it is opened again, so nobody waits."""
        with self._lock:
            waits = [one for some in (*self._waits.values(), *self._ends.values()) for one in some]
        _wake(set(waits))


def _drop(table: "dict[K, set[_Wait]]", key: K, one: _Wait) -> None:
    waits = table.get(key)
    if waits is not None:
        waits.discard(one)
        if not waits:
            del table[key]


def _wake(waits: "set[_Wait]") -> None:
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for loop, future in waits:
        loops.setdefault(loop, []).append(future)
    for loop, futures in loops.items():
        call_into(loop, _set, futures)


def _set(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def call_into(loop: asyncio.AbstractEventLoop, function: Any, argument: Any) -> None:
    """Call on a loop's thread; nothing if the loop is closed, for then nobody waits."""
    try:
        loop.call_soon_threadsafe(function, argument)
    except RuntimeError:
        if not loop.is_closed():
            raise
