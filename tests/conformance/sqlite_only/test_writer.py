"""The writer of a SQLite store: the lock file, group commit, savepoints, the clock in the file, the statements."""

import asyncio
import contextlib
import fcntl
import logging
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.sqlite_only.sender import Sender
from tests.conformance.stores import LEASE_MS, QUEUE, new

from surefoot.brokers.answers import PutAnswer
from surefoot.brokers.broker import Call, Claim, Put, Queues, Settle, Stats
from surefoot.brokers.sqlite import SqliteBroker
from surefoot.brokers.sqlite.statements import BY_NAME, Statement, script
from surefoot.core.errors import StoreError, StoreUnavailable
from surefoot.core.job import NewJob
from surefoot.core.transition import Finish, Transition

CREATED = PutAnswer("created")
PATIENCE = 20
SHORT = 0.2


@contextlib.contextmanager
def lock_held(path: Path) -> Iterator[None]:
    """As if another process were in the middle of a transaction."""
    handle = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


class Background:
    """A blocking call in a thread of its own."""

    def __init__(self, broker: SqliteBroker, call: Call, *, urgent: bool = False) -> None:
        self.answers: list[Any] = []
        self._broker = broker
        self._call = call
        self._urgent = urgent
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.answers = self._broker.run_sync(self._call, urgent=self._urgent)

    def result(self) -> list[Any]:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.answers


def until(true: Callable[[], bool]) -> None:
    """Wait for a condition that a thread brings about."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.005)):
        if true():
            return
        pause.wait(0.005)
    raise AssertionError("it did not happen")


def in_line(broker: SqliteBroker) -> int:
    """How many calls the writer has not begun."""
    writer = broker._writer
    assert writer is not None
    return writer._line.qsize() + len(writer._waiting) + len(writer._urgent)


# The lock file and the line before it


def test_a_call_that_waits_too_long_for_its_turn_is_withdrawn_and_never_executed(
    path: Path, open_store: Callable[..., SqliteBroker]
) -> None:
    sender = Sender(open_store(timeout=SHORT))
    sender.put(new("before"))
    with (
        lock_held(path),
        pytest.raises(StoreUnavailable, match=r"did not take the call within 0\.2 s.*Nothing was stored"),
    ):
        sender.put(new("withdrawn"))
    sender.put(new("after"))
    assert sender.known("before", "withdrawn", "after") == [True, False, True]


async def test_a_call_on_a_loop_that_waits_too_long_is_withdrawn_too(
    path: Path, open_store: Callable[..., SqliteBroker]
) -> None:
    sender = Sender(open_store(timeout=SHORT))
    sender.put(new("before"))
    with lock_held(path), pytest.raises(StoreUnavailable):
        await sender.broker.run(sender.call(Put(QUEUE, (new("withdrawn"),))))
    assert sender.known("withdrawn") == [False]


async def test_a_cancelled_call_that_has_not_begun_is_never_executed(
    path: Path, open_store: Callable[..., SqliteBroker]
) -> None:
    sender = Sender(open_store())
    sender.put(new("before"))
    with lock_held(path):
        run = asyncio.ensure_future(sender.broker.run(sender.call(Put(QUEUE, (new("cancelled"),)))))
        await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    sender.put(new("after"))
    assert sender.known("cancelled", "after") == [False, True]


def test_calls_that_wait_together_share_a_transaction(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    broker = open_store()
    Sender(broker).put(new("first"))
    assert broker._writer is not None
    with lock_held(path):
        commits = broker._writer.store.commits
        calls = [Background(broker, Sender(broker, f"c{n}").call(Put(QUEUE, (new(f"j{n}"),)))) for n in range(20)]
        until(lambda: in_line(broker) == 20)
    assert [call.result() for call in calls] == [[[CREATED]]] * 20
    assert broker._writer.store.commits - commits <= 2, "one for the call that was on its way, one for all others"


def test_a_call_that_fails_spoils_no_call_beside_it(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    broker = open_store()
    Sender(broker).put(new("first"))
    with lock_held(path):
        jobs = [NewJob(f"j{n}", b"{}", priority=10**30 if n == 3 else 5) for n in range(6)]
        calls = [Background(broker, Sender(broker, f"c{n}").call(Put(QUEUE, (job,)))) for n, job in enumerate(jobs)]
        until(lambda: in_line(broker) == 6)
    answers = [call.result()[0] for call in calls]
    assert isinstance(answers.pop(3), StoreError)
    assert answers == [[CREATED]] * 5
    assert Sender(broker, "reader").known(*[f"j{n}" for n in range(6)]) == [True, True, True, False, True, True]


def test_a_verb_that_fails_alone_leaves_the_others_of_its_call(open_store: Callable[..., SqliteBroker]) -> None:
    sender = Sender(open_store())
    sender.put(new("a"), new("b"))
    (claimed,) = sender.say(Claim(QUEUE, 1, LEASE_MS, 0))
    bad = NewJob("bad", b"{}", priority=10**30)
    settle = Settle(QUEUE, (Transition("a", claimed.jobs[0].token, Finish("completed"), "runs"),))
    verdicts, put, claimed = sender.say(settle, Put(QUEUE, (new("good"), bad)), Claim(QUEUE, 5, LEASE_MS, 0))
    assert verdicts == ["applied"]
    assert isinstance(put, StoreError) and "nothing was stored" in str(put)
    assert [job.id for job in claimed.jobs] == ["b"], (
        "of a put that fails nothing is stored, what stood before it neither"
    )
    (stats,) = sender.say(Stats(QUEUE, 5))
    assert (stats.totals["enqueued"], stats.totals["completed"]) == (2, 1), "what was rolled back is not counted"


def test_an_urgent_call_goes_before_all_that_waits(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    broker = open_store()
    Sender(broker).put(new("only"))
    with lock_held(path):
        on_its_way = Background(broker, Sender(broker, "w0").call(Claim(QUEUE, 0, LEASE_MS, 0)))
        until(lambda: in_line(broker) == 1)
        patient = Background(broker, Sender(broker, "w1").call(Claim(QUEUE, 1, LEASE_MS, 0)))
        until(lambda: in_line(broker) == 2)
        urgent = Background(broker, Sender(broker, "w2").call(Claim(QUEUE, 1, LEASE_MS, 0)), urgent=True)
        until(lambda: in_line(broker) == 3)
    on_its_way.result()
    assert [len(call.result()[0].jobs) for call in (patient, urgent)] == [0, 1]


def test_a_lock_file_that_was_deleted_is_made_again(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    sender = Sender(open_store(timeout=SHORT))
    sender.put(new("a"))
    os.unlink(f"{path}.lock")
    sender.put(new("b"))
    with lock_held(path), pytest.raises(StoreUnavailable):
        sender.put(new("c"))


def test_reads_wait_behind_no_writer(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    sender = Sender(open_store(timeout=SHORT))
    sender.put(new("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with lock_held(path):
        assert sender.known("a") == [True]
        assert sender.say(Stats(QUEUE), Queues("shop:"))[1] == ["mail"]
    other.close()


def test_a_store_that_was_closed_opens_again(open_store: Callable[..., SqliteBroker]) -> None:
    sender = Sender(open_store())
    sender.put(new("a"))
    sender.broker.close_sync()
    sender.put(new("b"))
    assert sender.known("a", "b") == [True, True]


def test_a_close_never_waits_for_more_than_what_was_taken_in(open_store: Callable[..., SqliteBroker]) -> None:
    broker = open_store()
    for n in range(30):
        call = Background(broker, Sender(broker, f"c{n}").call(Put(QUEUE, (new(f"j{n}"),))))
        until(lambda: broker._writer is not None)
        writer = broker._writer
        broker.close_sync()
        assert writer is not None and writer.join(0)
        assert call.result() == [[CREATED]]


async def test_memory_outlives_the_loop_that_used_it() -> None:
    sender = Sender(SqliteBroker(":memory:"))
    sender.put(new("a"))
    await sender.broker.close()
    assert sender.known("a") == [True]
    sender.broker.close_sync()
    assert sender.known("a") == [False]


# The clock in the file


def test_Q13_a_small_step_back_stops_the_clock_and_a_large_one_is_followed(
    path: Path, open_store: Callable[..., SqliteBroker], caplog: pytest.LogCaptureFixture
) -> None:
    wall = [1_000_000]
    sender = Sender(open_store(wall_ms=lambda: wall[0]))

    def now_ms() -> int:
        return int(sender.say(Claim(QUEUE, 0, LEASE_MS, 0))[0].now_ms)

    assert now_ms() == 1_000_000
    wall[0] -= 59_999
    assert now_ms() == 1_000_000
    sender.broker.close_sync()
    assert now_ms() == 1_000_000, "it is kept in the file"
    assert sender.say(Stats(QUEUE))[0].now_ms == 1_000_000
    wall[0] = 1_000_000 - 60_000
    with caplog.at_level(logging.WARNING, logger="surefoot"):
        assert now_ms() == 940_000
        wall[0] += 5
        assert now_ms() == 940_005
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_now_given_by_a_test_does_not_move_the_clock(open_store: Callable[..., SqliteBroker]) -> None:
    sender = Sender(open_store(wall_ms=lambda: 5_000))
    assert sender.broker.run_sync(Call("c", 1, "tag1", (Claim(QUEUE, 0, LEASE_MS, 0),), now=9_000))[0].now_ms == 9_000
    assert sender.say(Claim(QUEUE, 0, LEASE_MS, 0))[0].now_ms == 5_000


# The statements


def test_parameters_are_bound_by_place_and_texts_are_left_alone() -> None:
    statement = Statement("SELECT :b, ':a', :a -- :c\n, :b", ("a", "b", "c"))
    assert statement.slots == ("a", "b")
    connection = sqlite3.connect(":memory:")
    assert connection.execute(statement.text, statement.bind({"b": 2, "a": 1})).fetchall() == [(2, ":a", 1, 2)]
    assert connection.execute(statement.text, statement.row((1, 2))).fetchall() == [(2, ":a", 1, 2)]
    connection.close()
    if not BY_NAME:
        assert statement.text == "SELECT ?2, ':a', ?1 -- :c\n, ?2"


def test_no_statement_reads_the_whole_of_a_table_of_jobs(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    Sender(open_store()).put(new("a"))
    connection = sqlite3.connect(path)
    folder = Path(sys.modules[SqliteBroker.__module__].__file__ or "").parent / "sql"
    names = sorted(file.stem for file in folder.glob("*.sql"))
    assert "claim" in names
    for name in names:
        for title, statement in script(name).items():
            if name in ("schema", "orphans"):  # orphans: somebody at the machine asked for a look at all of it
                continue
            plan = connection.execute(
                f"EXPLAIN QUERY PLAN {statement.text}", statement.row([None] * len(statement.slots))
            ).fetchall()
            scans = [step for *_, step in plan if step.startswith(("SCAN job", "SCAN j", "SCAN body", "SCAN b"))]
            assert not [step for step in scans if "json_each" not in step], f"{name}.{title}: {scans}"
    connection.close()
