"""A call on its way through the writer or the reader thread, and how its caller waits for the outcome."""

import asyncio
import threading
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from surefoot import clock
from surefoot.brokers.bells import call_into
from surefoot.brokers.broker import Call, NoAnswer
from surefoot.brokers.sqlite.verbs import weight
from surefoot.core.errors import StoreUnavailable

Outcome: TypeAlias = list[Any] | Exception
"""The answers of a call, or what its caller is told instead."""


class Ticket:
    """One call and whoever waits for it. Either its thread begins it or its caller withdraws it, never both."""

    __slots__ = ("_gate", "_open", "_outcome", "call", "future", "loop", "urgent", "weight")

    def __init__(self, call: Call, *, urgent: bool = False, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.call: Final = call
        self.urgent: Final = urgent
        self.weight: Final = weight(call)
        self._open = [True]
        self._outcome: Outcome | None = None
        self.loop: Final = loop
        self.future: Final[asyncio.Future[list[Any]] | None] = None if loop is None else loop.create_future()
        self._gate: Final = threading.Lock() if loop is None else None
        if self._gate is not None:
            self._gate.acquire()

    def begin(self) -> bool:
        """Called by the thread once nothing but the work itself can fail; False if the caller withdrew it."""
        try:
            return self._open.pop()
        except IndexError:
            return False

    withdraw = begin
    """Called by the caller; True if the thread had not begun, and never will."""

    def tell(self, outcome: Outcome) -> None:
        """Give a blocked caller its outcome."""
        assert self._gate is not None
        self._outcome = outcome
        self._gate.release()

    def wait(self, path: str, timeout: float, patience: float) -> list[Any]:
        """Block until there is an outcome: `timeout` seconds for the call to begin, then `patience` for it to end."""
        assert self._gate is not None
        if not self._gate.acquire(timeout=timeout):
            if self.withdraw():
                raise too_late(path, timeout)
            if not self._gate.acquire(timeout=patience):
                raise NoAnswer
        if isinstance(self._outcome, Exception):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome

    async def result(self, path: str, timeout: float, patience: float) -> list[Any]:
        """The same on an event loop. Cancelling it withdraws a call that has not begun."""
        assert self.loop is not None and self.future is not None
        loop, future = self.loop, self.future

        def give_up() -> None:
            if not future.done():
                future.set_exception(NoAnswer())

        def late() -> None:
            if not self.withdraw():
                timers.append(clock.call_later(loop, patience, give_up))
            elif not future.done():
                future.set_exception(too_late(path, timeout))

        timers = [clock.call_later(loop, timeout, late)]
        try:
            return await future
        except asyncio.CancelledError:
            self.withdraw()
            raise
        finally:
            for timer in timers:
                timer.cancel()


def too_late(path: str, timeout: float) -> StoreUnavailable:
    """What a caller is told whose call was not begun in time."""
    return StoreUnavailable(
        f"{path} did not take the call within {timeout:g} s: another program holds the file, or the disk is slow. "
        "Nothing was stored."
    )


def deliver(told: Iterable[tuple[Ticket, Outcome]]) -> None:
    """Tell everybody: one call into each event loop, however many of its tickets are done."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[list[Any]], Outcome]]] = {}
    for ticket, outcome in told:
        if ticket.loop is None:
            ticket.tell(outcome)
        else:
            assert ticket.future is not None
            loops.setdefault(ticket.loop, []).append((ticket.future, outcome))
    for loop, outcomes in loops.items():
        call_into(loop, _resolve, outcomes)


def _resolve(outcomes: list[tuple[asyncio.Future[list[Any]], Outcome]]) -> None:
    for future, outcome in outcomes:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
