"""Runs calls inside one transaction: their verbs in order, then what the whole transaction owes to others.

Does not begin or end the transaction, and knows no thread.
"""

from typing import Any, Final

from surefoot import clock
from surefoot.brokers.broker import Call
from surefoot.brokers.sqlite import faults
from surefoot.brokers.sqlite.history import write_counts
from surefoot.brokers.sqlite.store import Store
from surefoot.brokers.sqlite.tx import House, News, Tx
from surefoot.brokers.sqlite.verbs import answer

WAKE: Final = "wake"
"""The word of a queue that counts its wake-ups, for the other processes."""


class Work:
    """The calls of one transaction. `careful` puts each verb into a savepoint, so that one can fail alone.

    Without it a verb that fails spoils the transaction, and the calls are run again carefully: a savepoint copies every
    page that is changed after it, which is too dear for what almost never happens.
    """

    def __init__(self, store: Store, understands: int, houses: dict[str, House], *, careful: bool) -> None:
        self._store = store
        self._understands = understands
        self._careful = careful
        self._now_ms = store.now_ms()
        self._stamped = False
        self.news: News = News()
        self._houses = houses
        self.counters: dict[str, int] = {}
        self.began: Final = clock.monotonic()

    def run(self, call: Call) -> list[Any]:
        """The answers of one call. A test's `now` holds for its call alone and does not move the store's clock."""
        if call.now is None:
            self._stamped = True
        tx = self._tx(self._now_ms if call.now is None else call.now, call)
        run = self._saved if self._careful else answer
        return [run(tx, verb) for verb in call.verbs]

    def _saved(self, tx: Tx, verb: Any) -> Any:
        connection = self._store.connection
        connection.execute("SAVEPOINT verb")
        tx.news = News()
        try:
            got = answer(tx, verb)
        except Exception as error:
            if faults.hits_all(error) or not connection.in_transaction:
                raise
            connection.execute("ROLLBACK TO verb")
            connection.execute("RELEASE verb")
            self._houses.clear()
            return faults.told(error, self._store.path)
        connection.execute("RELEASE verb")
        self.news.take_in(tx.news)
        return got

    def close(self) -> None:
        """Write what the transaction owes: numbers, wake-ups for other processes, the time."""
        tx = self._tx(self._now_ms, None)
        write_counts(tx, self.news)
        if not self._store.in_memory:
            for queue in self.news.woken:
                self.counters[queue] = tx.advance(queue, WAKE, 1)
        if self._stamped:
            self._store.set_last(self._now_ms)

    def _tx(self, now_ms: int, call: Call | None) -> Tx:
        return Tx(self._store.connection, self._houses, self.news, now_ms, self._understands, call)
