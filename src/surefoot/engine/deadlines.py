"""One sweep for all timeouts: a dictionary of runs and one timer, instead of a timer a job."""

import asyncio
from collections.abc import Callable

from surefoot import clock
from surefoot.execution.context import Running

_AGAIN_S = 1.0


class Deadlines:
    """Tells which runs are out of time. A run that does not end although it was told to is told again every second."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[Running], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._due: dict[Running, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = float("inf")

    def watch(self, running: Running) -> None:
        """Watch a run that has begun, or whose deadline moved."""
        if running.deadline is not None:
            self._due[running] = running.deadline
            if running.deadline < self._next:
                self._arm(running.deadline)

    def forget(self, running: Running) -> None:
        """The run has ended."""
        self._due.pop(running, None)

    def close(self) -> None:
        """Stop sweeping."""
        if self._timer is not None:
            self._timer.cancel()
        self._due.clear()

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = clock.call_later(self._loop, max(0.0, when - clock.monotonic()), self._sweep)

    def _sweep(self) -> None:
        now = clock.monotonic()
        self._timer, self._next = None, float("inf")
        for running, due in list(self._due.items()):
            if due <= now and running in self._due:
                self._due[running] = now + _AGAIN_S
                self._expired(running)
        if self._due:
            self._arm(min(self._due.values()))
