"""The one thread of a process that answers calls which only look; they never wait behind writers."""

import queue
import threading
from typing import Final

from surefoot.brokers.sqlite import faults
from surefoot.brokers.sqlite.store import Store
from surefoot.brokers.sqlite.ticket import Outcome, Ticket, deliver
from surefoot.brokers.sqlite.work import Work


class Reader:
    """Owns a second connection. Each call is one short snapshot."""

    def __init__(self, store: Store, understands: int) -> None:
        self.store: Final = store
        self._understands = understands
        self._line: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="surefoot-reader", daemon=True)
        self._thread.start()

    def submit(self, ticket: Ticket) -> None:
        """Take a call in."""
        self._line.put(ticket)

    def stop(self) -> None:
        """End after everything that was taken in before."""
        self._line.put(None)

    def join(self, seconds: float) -> bool:
        """Wait for the end; False if it did not come in time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        while (ticket := self._line.get()) is not None:
            with self.store.in_use:
                told = self._answer(ticket)
            deliver(told)
            del ticket, told
        with self.store.in_use:
            self.store.close_logged()

    def _answer(self, ticket: Ticket) -> list[tuple[Ticket, Outcome]]:
        store = self.store
        outcome: Outcome
        try:
            store.open()
            if not ticket.begin():
                return []
            outcome = store.patiently(lambda: self._read(ticket))
        except Exception as error:
            ticket.begin()
            outcome = faults.told(error, store.path)
        return [(ticket, outcome)]

    def _read(self, ticket: Ticket) -> list[object]:
        self.store.begin_reading()
        try:
            return Work(self.store, self._understands, {}, careful=True).run(ticket.call)
        finally:
            self.store.end_reading()
