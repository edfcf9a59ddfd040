"""Notices what other processes did to the file: a change number, then the counters of wake-ups, then ends of jobs.

The change number moves with every commit of another connection; only `wake()` raises a counter. Looking at the number
alone would let two idle workers wake each other for ever with their empty claims.
"""

from collections.abc import Mapping
from typing import Final

from surefoot.brokers.bells import Bells
from surefoot.brokers.sqlite.pieces import json_text
from surefoot.brokers.sqlite.statements import script
from surefoot.brokers.sqlite.store import Store

_SHORTEST_S: Final = 0.005
_LONGEST_S: Final = 0.05
_QUIET_SHARE: Final = 20

_COUNTERS: Final = script("others")["counters"]
_UNENDED: Final = script("others")["unended"]


class Others:
    """What this process has seen of the others. Number and counters are moved by a look and by own wake-ups only."""

    def __init__(self, store: Store, bells: Bells) -> None:
        self._store = store
        self._bells = bells
        self._number: int | None = None
        self._counters: dict[str, int] = {}
        self._changed_at = 0.0
        self._looked_at = 0.0
        self._at_once = False

    def interval(self) -> float | None:
        """Seconds between two looks, longer the longer nothing happened; None while there is nothing to look for."""
        if not self._bells.anybody():
            return None
        if self._at_once:
            return 0
        if self._store.in_memory:
            return None
        return min(_LONGEST_S, max(_SHORTEST_S, (self._looked_at - self._changed_at) / _QUIET_SHARE))

    def look_now(self) -> None:
        """Somebody began to wait; what they wait for may have happened already."""
        self._at_once = True

    def due(self, now: float) -> bool:
        """Whether it is time to look."""
        interval = self.interval()
        return interval is not None and now - self._looked_at >= interval

    def note(self, met: Mapping[str, int], raised: Mapping[str, int]) -> None:
        """After an own commit: a queue met for the first time is known from now on, an own wake-up is not news."""
        for queue, wakes in met.items():
            self._counters.setdefault(queue, wakes)
        self._counters.update(raised)

    def look(self, now: float) -> None:
        """Ring for what happened elsewhere."""
        self._looked_at = now
        connection = self._store.connection
        number = self._store.change_number()
        if number == self._number and not self._at_once:
            return
        if number != self._number:
            self._changed_at = now
        # Before the counters are read: what moves between is seen next time.
        self._number, self._at_once = number, False
        queues = self._bells.queues()
        if queues:
            found = dict(connection.execute(_COUNTERS.text, _COUNTERS.row((json_text(queues),))).fetchall())
            moved = [queue for queue in queues if found.get(queue, 0) != self._counters.get(queue, 0)]
            self._counters.update(found)
            self._bells.ring(moved)
        for queue, ids in self._bells.jobs().items():
            rows = connection.execute(_UNENDED.text, _UNENDED.row((queue, json_text(ids)))).fetchall()
            unended = {row[0] for row in rows}
            self._bells.end([(queue, [id for id in ids if id not in unended])])
