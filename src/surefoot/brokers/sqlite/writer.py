"""The one thread of a process that writes to a store: joins waiting calls into a transaction, answers after COMMIT.

While somebody waits for a wake-up it also looks for the work of other processes.
"""

import contextlib
import logging
import queue
import threading
from collections import deque
from typing import Final

from surefoot import clock
from surefoot.brokers.bells import Bells
from surefoot.brokers.broker import NoAnswer
from surefoot.brokers.sqlite import faults
from surefoot.brokers.sqlite.others import Others
from surefoot.brokers.sqlite.store import Store
from surefoot.brokers.sqlite.ticket import Outcome, Ticket, deliver
from surefoot.brokers.sqlite.tx import House
from surefoot.brokers.sqlite.work import Work

log: Final = logging.getLogger("surefoot")

_ROWS_AT_ONCE: Final = 1_000
_SECONDS_AT_ONCE: Final = 0.005


class Writer:
    """Owns the write connection. Urgent calls go before all that waits; a call that fails spoils no other."""

    def __init__(self, store: Store, bells: Bells, understands: int) -> None:
        self.store: Final = store
        self._bells = bells
        self._understands = understands
        self._others = Others(store, bells)
        self._houses: dict[str, House] = {}
        self._number: int | None = None
        # A ticket, or None: look whether there is something else to do.
        self._line: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._urgent: deque[Ticket] = deque()
        self._waiting: deque[Ticket] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="surefoot-writer", daemon=True)
        self._thread.start()

    def submit(self, ticket: Ticket) -> None:
        """Take a call in."""
        self._line.put(ticket)

    def nudge(self) -> None:
        """Somebody began to wait: look for it."""
        self._line.put(None)

    def stop(self) -> None:
        """End after everything that was taken in before."""
        self._stopping = True
        self._line.put(None)

    def join(self, seconds: float) -> bool:
        """Wait for the end; False if it did not come in time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # --- the thread ---

    def _serve(self) -> None:
        while not (self._stopping and self._line.empty() and not self._has_work()):
            self._receive()
            try:
                with self.store.in_use:
                    self._turn()
            except Exception:
                log.exception("the writer of %s met an error of its own; it goes on", self.store.path)
        with self.store.in_use:
            self.store.close_logged()

    def _turn(self) -> None:
        if self._has_work():
            self._work()
        if self._others.due(clock.monotonic()):
            self._look()

    def _receive(self) -> None:
        """Take in what came; block until something does, or until it is time to look."""
        with contextlib.suppress(queue.Empty):
            if not self._has_work():
                self._sort(self._line.get(timeout=self._others.interval()))
        self._take_in()

    def _has_work(self) -> bool:
        return bool(self._urgent or self._waiting)

    def _take_in(self) -> None:
        for _ in range(self._line.qsize()):
            self._sort(self._line.get_nowait())

    def _sort(self, ticket: Ticket | None) -> None:
        if ticket is None:
            self._others.look_now()
        elif ticket.urgent:
            self._urgent.append(ticket)
        else:
            self._waiting.append(ticket)

    def _next(self) -> Ticket | None:
        if self._urgent:
            return self._urgent.popleft()
        return self._waiting.popleft() if self._waiting else None

    def _work(self) -> None:
        """One transaction; if it fails, each of its calls once more alone."""
        begun: list[Ticket] = []
        try:
            told = self._together(begun)
        except Exception as error:
            self._others.look_now()  # the connection may be a new one, and its change number another one
            if begun:
                told = [(ticket, self._alone(ticket)) for ticket in begun]
            else:
                refusal = faults.told(error, self.store.path)
                told = [(ticket, refusal) for ticket in self._drain() if ticket.begin()]
        deliver(told)

    def _drain(self) -> list[Ticket]:
        tickets = [*self._urgent, *self._waiting]
        self._urgent.clear()
        self._waiting.clear()
        return tickets

    def _together(self, begun: list[Ticket]) -> list[tuple[Ticket, Outcome]]:
        store = self.store
        store.open()
        store.begin()
        self._take_in()  # the lock may have been long in coming
        told: list[tuple[Ticket, Outcome]] = []
        try:
            work = Work(store, self._understands, self._words(), careful=False)
            rows = 0
            while rows < _ROWS_AT_ONCE and (not rows or clock.monotonic() - work.began < _SECONDS_AT_ONCE):
                ticket = self._next()
                if ticket is None:
                    break
                if ticket.begin():
                    begun.append(ticket)
                    rows += ticket.weight
                    told.append((ticket, work.run(ticket.call)))
            work.close()
        except BaseException as error:
            self._houses.clear()
            store.rollback(error)
            raise
        self._commit()
        self._tell(work)
        return told

    def _words(self) -> dict[str, House]:
        """What is set on the queues, kept from one transaction to the next as long as nobody else has written."""
        number = self.store.change_number()
        if number != self._number:
            self._number = number
            self._houses.clear()
        return self._houses

    def _commit(self) -> None:
        try:
            self.store.commit()
        except BaseException:
            self._houses.clear()
            raise

    def _alone(self, ticket: Ticket) -> Outcome:
        """The answers of one call in a transaction of its own, each verb in a savepoint."""
        store, committing = self.store, False
        try:
            store.open()
            store.begin()
            try:
                work = Work(store, self._understands, self._words(), careful=True)
                answers = work.run(ticket.call)
                work.close()
            except BaseException as error:
                self._houses.clear()
                store.rollback(error)
                raise
            committing = True
            self._commit()
        except Exception as error:
            if committing and faults.is_doubtful(error):
                return NoAnswer(faults.unwritten(error, store.path))
            told = faults.told(error, store.path)
            return [told] * len(ticket.call.verbs) if faults.is_full(told) else told
        self._tell(work)
        return answers

    def _tell(self, work: Work) -> None:
        """After COMMIT, never before: what others may know."""
        self._others.note(work.news.met, work.counters)
        if work.news.woken:
            self._bells.ring(work.news.woken)
        if work.news.ended:
            self._bells.end(work.news.ended)

    def _look(self) -> None:
        try:
            self.store.open()
            self._others.look(clock.monotonic())
        except Exception as error:
            # Whoever waits claims again at the floor, and is told then.
            log.debug("%s: cannot look for other processes' work: %s", self.store.path, error)
