"""What a verb works with in a transaction: statements, the store's time, who calls, what to tell after COMMIT.

Nothing here begins or ends a transaction; writer.py does.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from surefoot.brokers.broker import Call
from surefoot.brokers.sqlite.spoiled import moment
from surefoot.brokers.sqlite.statements import Statement, script
from surefoot.core import sketch
from surefoot.core.errors import StoreUnsuitable
from surefoot.core.names import LAYOUT

_SHARED: Final = script("shared")
_HOUSE: Final = _SHARED["house"]
_SET_WORD: Final = _SHARED["set_word"]
_DROP_WORD: Final = _SHARED["drop_word"]
_ADVANCE: Final = _SHARED["advance"]


class House:
    """What is set on one queue, as this transaction knows it."""

    __slots__ = ("epoch", "layout", "max_length", "paused", "pruned", "wakes")

    def __init__(self, words: dict[str, Any]) -> None:
        self.layout: int | None = words.get("layout")
        self.epoch: str = words.get("epoch", "")
        self.paused: str | None = words.get("paused")
        length = words.get("max_length")
        self.max_length: int | None = length if type(length) is int else None
        self.pruned: int = moment(words.get("pruned")) or 0
        self.wakes: int = words.get("wake", 0)


class News:
    """What a verb made true for others: told only after COMMIT, and forgotten if the verb is rolled back.

    `met`: queues whose words were read, with their counters of wake-ups at that time.
    """

    __slots__ = ("counts", "ended", "met", "times", "woken")

    def __init__(self) -> None:
        self.met: dict[str, int] = {}
        self.woken: set[str] = set()
        self.ended: list[tuple[str, Sequence[str]]] = []
        self.counts: dict[tuple[str, int], dict[str, int]] = {}
        self.times: dict[tuple[str, int], sketch.Times] = {}

    def take_in(self, other: "News") -> None:
        """Add what another one says."""
        self.met |= other.met
        self.woken |= other.woken
        self.ended += other.ended
        for where, events in other.counts.items():
            mine = self.counts.setdefault(where, {})
            for event, count in events.items():
                mine[event] = mine.get(event, 0) + count
        for where, times in other.times.items():
            sketch.merge(self.times.setdefault(where, {}), times)


class Tx:
    """One call inside a transaction. `now_ms` is the store's time, `token` names what this call claims.

    Without a call it is the transaction's own, for what it owes at its end.
    """

    __slots__ = ("caller", "connection", "houses", "news", "now_ms", "number", "tag", "token", "understands")

    def __init__(
        self,
        connection: sqlite3.Connection,
        houses: dict[str, House],
        news: News,
        now_ms: int,
        understands: int,
        call: Call | None,
    ) -> None:
        self.connection: sqlite3.Connection = connection
        self.houses: dict[str, House] = houses
        self.news: News = news
        self.now_ms: int = now_ms
        self.understands: int = understands
        self.caller: str = "" if call is None else call.caller
        self.number: int = 0 if call is None else call.number
        self.tag: str = "" if call is None else call.tag
        self.token: str = f"{self.caller}.{self.number}"

    # --- statements ---

    def rows(self, statement: Statement, **values: object) -> list[Any]:
        """All rows of a statement, as tuples."""
        return self.connection.execute(statement.text, statement.bind(values)).fetchall()

    def row(self, statement: Statement, **values: object) -> Any:
        """The first row of a statement that changes nothing, or None."""
        return self.connection.execute(statement.text, statement.bind(values)).fetchone()

    def value(self, statement: Statement, **values: object) -> Any:
        """The first column of the first row, or None."""
        found = self.connection.execute(statement.text, statement.bind(values)).fetchall()
        return found[0][0] if found else None

    def do(self, statement: Statement, **values: object) -> int:
        """Run a statement; answers how many rows it changed."""
        return self.connection.execute(statement.text, statement.bind(values)).rowcount

    def many(self, statement: Statement, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement once a row; the values of a row stand in the order of the statement's slots."""
        if rows:
            self.connection.executemany(statement.text, statement.rows(rows))

    # --- the queue's words ---

    def house(self, queue: str) -> House:
        """What is set on the queue. StoreUnsuitable if another layout is written there."""
        house = self.houses.get(queue)
        if house is None:
            house = House(dict(self.rows(_HOUSE, queue=queue)))
            if house.layout is not None and house.layout != LAYOUT:
                raise StoreUnsuitable(
                    f"queue '{queue}' is written in layout {house.layout} and this release reads layout {LAYOUT}: "
                    "use the release that wrote it."
                )
            self.houses[queue] = house
            self.news.met[queue] = house.wakes
        return house

    def found(self, queue: str) -> House:
        """The same for a verb that writes: the first one marks the queue as ours and as begun by this caller now."""
        house = self.house(queue)
        if house.layout is None:
            self.set_word(queue, "layout", LAYOUT)
            house.layout, house.epoch = LAYOUT, f"{self.caller}.{self.now_ms}"
            self.set_word(queue, "epoch", house.epoch)
        return house

    def set_word(self, queue: str, name: str, value: int | str | None) -> None:
        """Set one word of the queue; None takes it away."""
        if value is None:
            self.do(_DROP_WORD, queue=queue, name=name)
        else:
            self.do(_SET_WORD, queue=queue, name=name, value=value)

    def advance(self, queue: str, name: str, steps: int) -> int:
        """Move a counter of the queue; answers where it stands now."""
        moved: int = self.value(_ADVANCE, queue=queue, name=name, steps=steps)
        return moved

    # --- what to tell ---

    def wake(self, queue: str) -> None:
        """Something became claimable, or the next timer is another one: whoever waits must look."""
        self.news.woken.add(queue)

    def ended(self, queue: str, ids: Sequence[str]) -> None:
        """These jobs are over, by whatever verb."""
        if ids:
            self.news.ended.append((queue, ids))

    def count(self, queue: str, event: str, many: int = 1) -> None:
        """Add to the numbers of this minute, and to those of all time."""
        if many:
            events = self.news.counts.setdefault((queue, self.now_ms // 60_000), {})
            events[event] = events.get(event, 0) + many

    def timed(self, queue: str, times: bytes) -> None:
        """Add to how long jobs waited and ran in this minute. It counts as a minute in which something happened."""
        if more := sketch.decode(times):
            where = (queue, self.now_ms // 60_000)
            self.news.counts.setdefault(where, {})
            sketch.merge(self.news.times.setdefault(where, {}), more)
