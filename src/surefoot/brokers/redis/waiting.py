"""Blocked reads of the queues' wake-up tokens: one a queue and loop, however many wait. Claims nothing."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import AskError, MovedError, NoPermissionError

from surefoot import clock
from surefoot.brokers.bells import Bells
from surefoot.brokers.broker import NoAnswer
from surefoot.brokers.redis.connection import Apart, Connections
from surefoot.brokers.redis.names import key
from surefoot.brokers.redis.spoiled import is_wrong_kind
from surefoot.core.errors import StoreError, StoreUnavailable, StoreUnsuitable

_LEAST_S: Final = 0.001
"""The shortest blocked read: the server takes less for 0, and that for ever."""
_SPARE_S: Final = 5.0
"""How much later than the server the connection gives up a blocked read."""
_LONGEST_S: Final = 2.0
"""The longest read where another server may take over: one that is silent for longer is not the primary any more."""
_SOON_S: Final = 0.05
"""A read that ends by itself so soon is not ended by us."""
_LATE_S: Final = 1.0
"""How long the end of a read is waited for; a quiet server ends it 40 to 100 ms late."""
_ASK_AGAIN_S: Final = 0.01
_MOVING_S: Final = 0.2
"""Between two looks for a token while its queue moves to another node of a cluster."""


class Waiting:
    """Waits for wake-ups. What a read brings rings the bells, which every listener hears once."""

    def __init__(self, connections: Connections, bells: Bells) -> None:
        self._connections = connections
        self._bells = bells
        self._reads: dict[asyncio.AbstractEventLoop, dict[str, _Read]] = {}
        connections.before_close(self._close)

    async def wait(self, queues: Sequence[str], seconds: float, listener: object) -> bool:
        """Wait for a wake-up of any of these queues: True if one came, False after the time, StoreUnavailable if the
        server is away. Cancelling loses no wake-up, and leaves no read open that nobody else waits on.
        """
        if self._bells.take(queues, listener):
            return True
        if seconds < _LEAST_S:
            await self._look(queues)
            return self._bells.take(queues, listener)
        waiter = _Waiter(clock.monotonic() + seconds)
        reads = [self._read(queue) for queue in queues]
        for read in reads:
            read.join(waiter)
        try:
            await self._bells.sleep(queues, seconds, listener, waiter.waker)
        finally:
            # They go on whatever becomes of this wait: it may be cancelled a second time.
            endings = {ending for read in reads if (ending := read.leave(waiter)) is not None}
            if endings:
                await asyncio.wait(endings)
        if self._bells.take(queues, listener):  # the last step, so that no cancellation comes between it and the answer
            return True
        if waiter.trouble is not None:
            raise waiter.trouble
        return False

    async def _look(self, queues: Sequence[str]) -> None:
        """Take the tokens that are there, without waiting."""
        try:
            tokens = await self._connections.send(*[("LPOP", key(queue, "wake")) for queue in queues])
        except NoAnswer as error:
            raise StoreUnavailable(str(error)) from error
        for queue, token in zip(queues, tokens, strict=True):
            if isinstance(token, Exception):
                raise _refused(self._connections, token)
            if token is not None:
                self._bells.ring([queue])

    def _read(self, queue: str) -> "_Read":
        loop = asyncio.get_running_loop()
        reads = self._reads.get(loop)
        if reads is None:
            for gone in [other for other in self._reads if other.is_closed()]:
                del self._reads[gone]
            reads = self._reads[loop] = {}
        if queue not in reads:
            reads[queue] = _Read(self._connections, self._bells, queue)
        return reads[queue]

    async def _close(self) -> None:
        """The connections of the running loop are about to be closed: whoever waits on it returns."""
        for read in self._reads.pop(asyncio.get_running_loop(), {}).values():
            await read.close()


class _Waiter:
    """Somebody who waits on a loop, until when, and what went wrong."""

    def __init__(self, until: float) -> None:
        self.until: Final = until
        self.waker: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        self.trouble: Exception | None = None

    def wake(self, trouble: Exception | None = None) -> None:
        self.trouble = trouble
        if not self.waker.done():
            self.waker.set_result(None)


class _Read:
    """The blocked read of one queue on one loop: a task each time, and a connection that outlives it."""

    def __init__(self, connections: Connections, bells: Bells, queue: str) -> None:
        self._connections = connections
        self._bells = bells
        self._queue = queue
        self._waiters: set[_Waiter] = set()
        self._task: asyncio.Task[None] | None = None
        self._apart: Apart | None = None
        self._client = 0
        self._blocked_until: float | None = None
        self._ending: asyncio.Task[None] | None = None

    def join(self, waiter: _Waiter) -> None:
        """Somebody waits: have a read open."""
        self._waiters.add(waiter)
        if self._task is None or self._task.done():
            self._open()

    def leave(self, waiter: _Waiter) -> "asyncio.Task[None] | None":
        """Somebody no longer waits. If it was the last one: what ends the read that is still open."""
        self._waiters.discard(waiter)
        if self._unwanted() is None:
            return None
        if self._ending is None or self._ending.done():
            self._ending = asyncio.get_running_loop().create_task(self._end())
        return self._ending

    def _unwanted(self) -> "asyncio.Task[None] | None":
        """The open read, if nobody waits on it. A task that was cancelled before its first step is not open."""
        return None if self._waiters or self._task is None or self._task.done() else self._task

    async def close(self) -> None:
        """End the read, let everybody go, close the connection."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            waiter.wake()
        tasks = {task for task in (self._task, self._ending) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._drop()

    # --- the task ---

    def _open(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        """One blocked read, and another one if somebody waits for longer than it lasted."""
        try:
            token = await self._token()
        except Exception as error:
            self._task = None
            await self._fail(error)
        except asyncio.CancelledError:
            self._task = None
            await self._fail(None)
            raise
        else:
            self._task = None
            if token:
                self._bells.ring([self._queue])
            elif self._left() >= _LEAST_S:
                self._open()

    async def _token(self) -> bool:
        apart = self._apart
        if apart is not None and await apart.is_stale():
            await self._drop()
            apart = None
        if apart is None:
            apart = self._apart = await self._connections.apart(key(self._queue, "wake"))
            [self._client] = self._checked(await apart.send(("CLIENT", "ID")))
        seconds, spare = self._left(), _SPARE_S
        if self._connections.server.sentinels or self._connections.server.nodes:
            seconds, spare = min(seconds, _LONGEST_S), self._connections.server.timeout
        if seconds < _LEAST_S:
            return False
        self._blocked_until = clock.monotonic() + seconds
        try:
            command = ("BLPOP", key(self._queue, "wake"), f"{seconds:.3f}")
            [found] = await apart.send(command, seconds=seconds + spare)
        finally:
            self._blocked_until = None
        if isinstance(found, AskError):
            return await self._elsewhere(moved=isinstance(found, MovedError))
        self._checked([found])
        return found is not None

    async def _elsewhere(self, *, moved: bool) -> bool:
        """The queue has moved to another node: the token is looked for there, and the next read waits there.

        As long as the move lasts no node lets a read block: then there is a look now and again.
        """
        [token] = self._checked(await self._connections.send(("LPOP", key(self._queue, "wake"))))
        if token is not None:
            return True
        if moved:
            await self._drop()
        else:
            await clock.sleep(min(_MOVING_S, max(0.0, self._left())))
        return False

    def _checked(self, replies: list[Any]) -> list[Any]:
        for reply in replies:
            if isinstance(reply, Exception):
                self._connections.renew()
                raise _refused(self._connections, reply)
        return replies

    def _left(self) -> float:
        """How long somebody still waits; less than nothing if nobody does."""
        if not self._waiters:
            return -1
        return max(waiter.until for waiter in self._waiters) - clock.monotonic()

    async def _fail(self, error: Exception | None) -> None:
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            waiter.wake(None if error is None else _told(error))
        await self._drop()

    async def _drop(self) -> None:
        apart, self._apart = self._apart, None
        if apart is not None:
            await apart.close()

    async def _end(self) -> None:
        """End a read that nobody waits on. If its connection were closed instead, the server might hand a token to it.

        One that ends by itself in a moment is waited for. The server may hear of a read after it was asked to end it;
        then it is asked again. A read that is not yet sent will not be.
        """
        task, until = self._unwanted(), self._blocked_until
        if task is not None and until is not None and until - clock.monotonic() <= _SOON_S:
            await asyncio.wait({task}, timeout=_LATE_S)
        with contextlib.suppress(TimeoutError, StoreError, NoAnswer):
            async with asyncio.timeout(_LATE_S):
                while (task := self._unwanted()) is not None:
                    if self._blocked_until is not None and self._apart is not None:
                        self._checked(await self._apart.beside(("CLIENT", "UNBLOCK", self._client)))
                    await asyncio.wait({task}, timeout=_ASK_AGAIN_S)
        task = self._unwanted()
        if task is not None and self._blocked_until is not None:
            task.cancel()
            await asyncio.wait({task})


def _refused(connections: Connections, error: Exception) -> StoreError:
    lasting = isinstance(error, NoPermissionError) or is_wrong_kind(error)
    kind = StoreUnsuitable if lasting else StoreUnavailable
    return kind(f"cannot wait at {connections.server.shown} ({str(error).rstrip('.')}).")


def _told(error: Exception) -> Exception:
    """An error of a read for one of those who wait on it."""
    return StoreUnavailable(str(error)) if isinstance(error, StoreUnavailable | NoAnswer) else error
