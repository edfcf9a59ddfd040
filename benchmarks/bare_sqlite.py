"""The bare loop on one SQLite file: the least work that still claims atomically, fences by token and validates
arguments.

No keeper, no deadlines, no errors, no statistics. A measuring stick for the product, not a draft of it.
"""

import asyncio
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable
from typing import Any

from benchmarks import bare_jobs
from benchmarks.bare_jobs import Runner, envelope

LEASE_MS = 10_000
SCHEMA = """
CREATE TABLE envelopes(id INTEGER PRIMARY KEY, envelope BLOB NOT NULL);
CREATE TABLE jobs(id INTEGER PRIMARY KEY, state INT NOT NULL, due_ms INT, expires_ms INT, token TEXT);
CREATE INDEX by_turn ON jobs(id) WHERE state = 0;
CREATE INDEX by_expiry ON jobs(expires_ms) WHERE state = 1;
CREATE INDEX by_due ON jobs(due_ms) WHERE state = 2;
"""
DUE = "UPDATE jobs SET state = 0 WHERE state = 2 AND due_ms <= ?"
LOST = "UPDATE jobs SET state = 0, token = NULL WHERE state = 1 AND expires_ms <= ?"
CLAIM = """
UPDATE jobs SET state = 1, token = ?, expires_ms = ?
WHERE id IN (SELECT id FROM jobs WHERE state = 0 ORDER BY id LIMIT ?)
RETURNING id, (SELECT envelope FROM envelopes e WHERE e.id = jobs.id)
"""


def envelopes(numbers: Iterable[int]) -> list[tuple[int, bytes]]:
    """Jobs as rows."""
    return [(n, envelope(n, n)) for n in numbers]


class Writer(threading.Thread):
    """One thread owns the connection; what waits together is one transaction."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.loop = loop
        self.asked: queue.SimpleQueue[tuple[Any, tuple[Any, ...], asyncio.Future[Any]]] = queue.SimpleQueue()

    def run(self) -> None:
        """Serve for ever."""
        connection = open_file(self.path)
        while True:
            work = [self.asked.get()]
            while not self.asked.empty():
                work.append(self.asked.get())
            connection.execute("BEGIN IMMEDIATE")
            answers = [call(connection, *arguments) for call, arguments, _ in work]
            connection.execute("COMMIT")
            self.loop.call_soon_threadsafe(self.deliver, work, answers)

    @staticmethod
    def deliver(work: list[Any], answers: list[Any]) -> None:
        """On the loop: hand the answers out."""
        for (_, _, future), answer in zip(work, answers, strict=True):
            future.set_result(answer)

    def ask(self, call: Any, *arguments: Any) -> "asyncio.Future[Any]":
        """One request."""
        future = self.loop.create_future()
        self.asked.put((call, arguments, future))
        return future


def open_file(path: str) -> sqlite3.Connection:
    """The connection, as durable as the product's."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def put(connection: sqlite3.Connection, jobs: list[tuple[int, bytes]]) -> None:
    """Store jobs."""
    connection.executemany("INSERT INTO envelopes VALUES (?, ?)", jobs)
    connection.executemany("INSERT INTO jobs(id, state) VALUES (?, 0)", [(id,) for id, _ in jobs])


def turn(connection: sqlite3.Connection, done: list[tuple[int, str]], free: int, token: str) -> list[tuple[int, bytes]]:
    """Settle what finished, claim what is free."""
    now = time.time_ns() // 1_000_000
    if done:
        settled = connection.executemany("DELETE FROM jobs WHERE id = ? AND token = ?", done).rowcount
        assert settled == len(done)
        connection.executemany("DELETE FROM envelopes WHERE id = ?", [(id,) for id, _ in done])
    connection.execute(DUE, (now,))
    connection.execute(LOST, (now,))
    return connection.execute(CLAIM, (token, now + LEASE_MS, free)).fetchall()


async def drain(path: str, jobs: int, at_once: int) -> float:
    """Seconds from the first handler's start to the last one's end, with `jobs` no-op jobs already stored."""
    setup = open_file(path)
    setup.executescript(SCHEMA)
    for start in range(0, jobs, 500):
        setup.execute("BEGIN IMMEDIATE")
        put(setup, envelopes(range(start, min(start + 500, jobs))))
        setup.execute("COMMIT")
    setup.close()
    writer = Writer(path, asyncio.get_running_loop())
    writer.start()
    runner: Runner[int] = Runner()
    finished = 0
    while finished < jobs:
        runner.bell.clear()
        batch, runner.done = runner.done, []
        token = os.urandom(8).hex()
        claimed = await writer.ask(turn, batch, at_once - runner.running, token)
        finished += len(batch)
        runner.running += len(claimed)
        for id, body in claimed:
            runner.start(id, body, token)
        if not runner.done and finished < jobs:
            await runner.bell.wait()
    return time.perf_counter() - runner.begun


async def enqueue(path: str, jobs: int, how: str) -> float:
    """Seconds to store jobs."""
    setup = open_file(path)
    setup.executescript(SCHEMA)
    setup.close()
    writer = Writer(path, asyncio.get_running_loop())
    writer.start()
    return await bare_jobs.enqueue(jobs, how, lambda numbers: writer.ask(put, envelopes(numbers)))
