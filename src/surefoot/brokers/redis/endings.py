"""Hints that jobs ended: one subscription a loop, open while somebody waits and a while longer. Asks for no job."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Final

from surefoot import clock
from surefoot.brokers.bells import Bells
from surefoot.brokers.broker import NoAnswer
from surefoot.brokers.redis.connection import Apart, Connections
from surefoot.brokers.redis.names import key

log: Final = logging.getLogger("surefoot")

_AWAY_S: Final = 1.0
"""How long a caller is held, at most, that finds no subscription."""
_AGAIN_S: Final = 0.2
"""Between two attempts to subscribe."""
_QUIET_S: Final = 15.0
"""After such a silence of the server it is asked whether it is there."""
_UNUSED_S: Final = 30.0
"""How long a channel stays subscribed that nobody waits for."""


class Endings:
    """Waits for the end of jobs. What is published while nobody is subscribed is lost, so a hint may come early."""

    def __init__(
        self, connections: Connections, bells: Bells, *, quiet_s: float = _QUIET_S, unused_s: float = _UNUSED_S
    ) -> None:
        self._connections = connections
        self._bells = bells
        self._quiet_s = quiet_s
        self._unused_s = unused_s
        self._subscriptions: dict[asyncio.AbstractEventLoop, _Subscription] = {}
        connections.before_close(self._close)

    async def ended(self, queue: str, id: str, seconds: float) -> None:
        """Return soon after this job ended, after the time, or when there is reason to ask. Raises no StoreError."""
        subscription = self._subscription()
        channel = subscription.channels.get(_name(queue))
        if channel is None or not channel.confirmed.done():
            await subscription.subscribe(queue, min(seconds, _AWAY_S))
            return
        with channel.used() as waker:
            await self._bells.ended(queue, id, seconds, waker)

    def _subscription(self) -> "_Subscription":
        loop = asyncio.get_running_loop()
        found = self._subscriptions.get(loop)
        if found is None:
            for gone in [other for other in self._subscriptions if other.is_closed()]:
                del self._subscriptions[gone]
            found = _Subscription(self._connections, self._bells, self._quiet_s, self._unused_s)
            self._subscriptions[loop] = found
        return found

    async def _close(self) -> None:
        """The connections of the running loop are about to be closed: whoever waits on it returns."""
        found = self._subscriptions.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found.close()


class _Channel:
    """The ends of one queue's jobs, as far as this loop hears of them."""

    def __init__(self, queue: str) -> None:
        self.queue: Final = queue
        self.confirmed: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        self.used_at = clock.monotonic()
        self.wakers: Final[set[asyncio.Future[None]]] = set()

    @contextlib.contextmanager
    def used(self) -> "Iterator[asyncio.Future[None]]":
        """Somebody waits; what is given ends the wait early."""
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wakers.add(waker)
        try:
            yield waker
        finally:
            self.wakers.discard(waker)
            self.used_at = clock.monotonic()

    def confirm(self) -> None:
        if not self.confirmed.done():
            self.confirmed.set_result(None)

    def wake(self) -> None:
        for waker in self.wakers:
            if not waker.done():
                waker.set_result(None)


class _Subscription:
    """The subscription of one loop: a task and a connection, as long as there are channels."""

    def __init__(self, connections: Connections, bells: Bells, quiet_s: float, unused_s: float) -> None:
        self.channels: dict[bytes, _Channel] = {}
        self._connections = connections
        self._bells = bells
        self._quiet_s = quiet_s
        self._unused_s = unused_s
        self._apart: Apart | None = None
        self._task: asyncio.Task[None] | None = None

    async def subscribe(self, queue: str, seconds: float) -> None:
        """Return when the server has confirmed the channel, or after the time."""
        name = _name(queue)
        channel = self.channels.get(name)
        if channel is None:
            channel = self.channels[name] = _Channel(queue)
            if self._apart is not None:
                with contextlib.suppress(NoAnswer):  # the task meets the same trouble
                    await self._apart.say(("SUBSCRIBE", name))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._serve())
        await asyncio.wait({channel.confirmed}, timeout=seconds)

    async def close(self) -> None:
        """End the task; everybody returns."""
        channels = list(self.channels.values())
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        for channel in channels:
            channel.confirm()

    # --- the task ---

    async def _serve(self) -> None:
        try:
            while self.channels:
                try:
                    await self._listen()
                except Exception as error:
                    log.debug("nobody hears of ended jobs at %s: %s", self._connections.server.shown, error)
                    self._release()
                    await clock.sleep(_AGAIN_S)
        finally:
            self._release()
            self._task = None

    def _release(self) -> None:
        """What happens from here on is not heard: whoever waits asks the store, and subscribes anew."""
        channels = list(self.channels.values())
        self.channels.clear()
        for channel in channels:
            channel.wake()

    async def _listen(self) -> None:
        """Subscribe and hear, until no channel is left."""
        apart = await self._connections.apart()
        try:
            names = list(self.channels)
            self._apart = apart
            await apart.say(("SUBSCRIBE", *names))
            asked, tidy_at = False, clock.monotonic() + self._quiet_s
            while self.channels:
                message = await apart.message(self._connections.server.timeout if asked else self._quiet_s)
                if message is not None:
                    asked = False
                    self._hear(message)
                elif asked:
                    raise NoAnswer(f"no answer from {self._connections.server.shown}.")
                else:
                    asked = True
                    await apart.say(("PING",))
                if clock.monotonic() >= tidy_at:
                    tidy_at = clock.monotonic() + self._quiet_s
                    await self._tidy(apart)
        finally:
            self._apart = None
            await apart.close()

    def _hear(self, message: Any) -> None:
        match message:
            case [b"message", name, ids] if name in self.channels:
                self._bells.end([(self.channels[name].queue, ids.decode(errors="replace").split("\n"))])
            case [b"subscribe", name, _] if name in self.channels:
                self.channels[name].confirm()
            case Exception():
                raise message

    async def _tidy(self, apart: Apart) -> None:
        """Leave the channels that nobody has used for long."""
        since = clock.monotonic() - self._unused_s
        unused = [name for name, channel in self.channels.items() if not channel.wakers and channel.used_at < since]
        for name in unused:
            del self.channels[name]
        if unused and self.channels:
            await apart.say(("UNSUBSCRIBE", *unused))


def _name(queue: str) -> bytes:
    return key(queue, "done").encode()
