"""Waits for wake-ups while slots are free: one open wait a queue, never cancelled while the worker serves."""

import asyncio
from collections.abc import Callable
from typing import Final

from surefoot import clock
from surefoot.brokers.broker import Broker
from surefoot.core.errors import StoreError, StoreUnavailable
from surefoot.engine.outage import Outage

_STORE_AWAY_S: Final = 0.2


class Waiter:
    """Keeps the flag "a wake-up came" a queue. It is cleared before a claim is sent, never after: `rung` then
    `clear` then claim.
    """

    def __init__(self, broker: Broker, bell: Callable[[], None], away: Callable[[], None]) -> None:
        self._broker = broker
        self._bell = bell
        self._away = away
        self._outage = Outage("wake-ups cannot be waited for; jobs may start late")
        self._open: dict[str, asyncio.Task[None]] = {}
        self._rung: set[str] = set()

    def listen(self, queue: str, seconds: float) -> None:
        """Have a wait open for this queue; an open one goes on."""
        if queue not in self._open:
            self._open[queue] = asyncio.get_running_loop().create_task(self._wait(queue, seconds))

    def rung(self, queue: str) -> bool:
        """Whether a wake-up came that no claim has answered."""
        return queue in self._rung

    def clear(self, queue: str) -> None:
        """A claim is about to be sent: it sees whatever the wake-up told of."""
        self._rung.discard(queue)

    async def close(self) -> None:
        """A worker that leaves closes its waits first (rule 7)."""
        waits = list(self._open.values())
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    async def _wait(self, queue: str, seconds: float) -> None:
        came = False
        try:
            came = await self._broker.wait([queue], seconds, listener=self)
            self._outage.over()
        except StoreError as trouble:
            if isinstance(trouble, StoreUnavailable):
                self._away()
            self._outage.met(trouble, clock.monotonic())
            await clock.sleep(_STORE_AWAY_S)  # the next claim meets the same trouble, and waits it out
        finally:
            del self._open[queue]
        if came:
            self._rung.add(queue)
        self._bell()  # also when the time is over: a worker that rests must open another wait
