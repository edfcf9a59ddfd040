"""The store of a life as SQLite keeps it: the real statements on a database in memory, without the threads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from msgspec.structs import replace
from tests.simulation.kernel import Kernel
from tests.simulation.life import Life
from tests.simulation.server import GROWS, Server, Watcher

from surefoot.brokers import broker as b
from surefoot.brokers.sqlite.store import MEMORY, Store
from surefoot.brokers.sqlite.tx import House
from surefoot.brokers.sqlite.work import Work
from surefoot.core.job import Counts, NewJob, Unique
from surefoot.core.names import State

_JOBS: Final = (
    "SELECT id, state, token, runs, failures, crashes, interruptions, snoozes, due_set,"
    " CASE state WHEN 'processing' THEN at END, unique_key, traits FROM job WHERE queue = ?"
)
_LOOK_S: Final = 0.05
"""How soon another process sees that there is something new."""


@dataclass
class Row:
    """One row, as the judge looks at it."""

    state: State
    token: str | None
    counts: Counts
    lease_ms: int | None
    new: NewJob


class SqliteServer(Server):
    """Each verb is a transaction. A wake-up is heard by everybody who waits: each process looks for itself."""

    def __init__(self, kernel: Kernel, watcher: Watcher) -> None:
        super().__init__(kernel, watcher)
        self._store = Store(MEMORY, synchronous="normal", busy_timeout=1, wall_ms=self.now_ms)
        self._store.open()
        self._houses: dict[str, House] = {}
        self._asked: dict[tuple[str, str, str], int] = {}
        self._paused: dict[str, str] = {}

    def run(self, call: b.Call, answers: list[Any]) -> None:
        b.counted(call)
        for verb in call.verbs:
            self._run(call, verb, answers)

    def _run(self, call: b.Call, verb: b.Verb[Any], answers: list[Any]) -> None:
        lane = (verb.queue, type(verb).__name__, call.caller)
        again = isinstance(verb, b.NUMBERED) and self._asked.get(lane) == call.number
        if self.full and not again and isinstance(verb, GROWS):
            answers.append(b.NoRoom("the store is full"))
            return
        store = self._store
        store.begin()
        work = Work(store, 1, self._houses, careful=False)
        now_ms = store.now_ms()
        try:
            [answer] = work.run(replace(call, verbs=(verb,)))
            work.close()
        except b.Refused as refused:
            store.rollback(refused)
            self._houses.clear()
            answers.append(refused)
            return
        store.commit()
        answers.append(answer)
        if isinstance(answer, Exception):
            return
        self._asked[lane] = call.number
        if not isinstance(verb, b.READS):
            self._watcher.saw(verb.queue, self._rows(verb.queue), replace(call, now=now_ms), verb, answer, again=again)
        for queue in sorted(work.news.woken):
            self.kernel.after(_LOOK_S * self.kernel.draw.random(), partial(self.push, queue))

    def _rows(self, queue: str) -> dict[str, Row]:
        return {
            id: Row(state, token, Counts(*counts), lease, NewJob(id, b"", unique=_unique(key, traits)))
            for id, state, token, *counts, lease, key, traits in self._store.connection.execute(_JOBS, (queue,))
        }

    def push(self, queue: str) -> None:
        readers, self.readers[queue] = self.readers.get(queue, []), []
        for reader in readers:
            reader.take()

    def resume(self) -> None:
        call = b.Call(
            "nobody", 1, "once", (b.Configure("sim:alpha", paused=None), b.Configure("sim:beta", paused=None))
        )
        for verb in call.verbs:
            self._run(call, verb, [])

    def close(self) -> None:
        self._store.close()


def _unique(key: str | None, traits: str | None) -> Unique | None:
    """A key that is held until the job is done; others may be held by a job that waits beside a newer holder."""
    return Unique(key) if key is not None and traits is not None and "unique_until" not in traits else None


class SqliteLife(Life):
    """A life on SQLite."""

    server = SqliteServer
