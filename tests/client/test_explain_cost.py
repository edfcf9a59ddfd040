"""What looking costs a store: the same with a thousand and with a hundred thousand jobs. Counted, not timed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import servers
from tests.client.kinds import SERVER, broker_of
from tests.client.shop import Hand, queue_on
from tests.conformance.stores import server_of

from surefoot import Queue
from surefoot.brokers.answers import BEHIND_MOST
from surefoot.brokers.broker import PUT_LIMIT, Broker, Put
from surefoot.brokers.sqlite.broker import SqliteBroker
from surefoot.client.session import SyncSession
from surefoot.core.job import NewJob

FEW, MANY = 1_000, 100_000
LAST = "last"


async def welcome(address: str) -> None: ...


def filled(broker: Broker, jobs: int) -> Queue:
    """A queue with so many pending jobs and a worker that knows their task."""
    queue = queue_on(broker, timeout=60)
    queue.task(welcome)
    session = SyncSession(broker, 60)
    body = b'{"version":1,"id":"x","task":"welcome","payload":{"address":"a"}}'
    for first in range(0, jobs, PUT_LIMIT):
        session.ask([Put(queue.full_name, tuple([NewJob(f"{n}", body) for n in range(first, first + PUT_LIMIT)]))])
    session.ask([Put(queue.full_name, (NewJob(LAST, body),))])
    Hand(queue).beat(tasks=("welcome",))
    return queue


def told(queue: Queue, jobs: int) -> None:
    many = "more than 1,000 jobs come" if jobs > BEHIND_MOST else f"{jobs:,} jobs come"
    for said in (queue.explain_sync(LAST), queue.handle(LAST).explain_sync()):
        assert said.sentence.endswith(f": {many} before it.")


def sqlite_steps(path: Path, jobs: int) -> int:
    """How many steps SQLite's machine takes for one explanation."""
    broker = SqliteBroker(str(path), synchronous="normal")
    try:
        queue = filled(broker, jobs)
        told(queue, jobs)
        assert broker._reader is not None
        steps = [0]

        def step() -> int:
            steps[0] += 1
            return 0

        with broker._reader.store.in_use:
            broker._reader.store.connection.set_progress_handler(step, 1)
        told(queue, jobs)
        return steps[0]
    finally:
        broker.close_sync()


def test_sqlite_takes_as_many_steps_whatever_the_length_of_the_queue(tmp_path: Path) -> None:
    few, many = (sqlite_steps(tmp_path / f"{jobs}.db", jobs) for jobs in (FEW, MANY))
    assert 0 < few < 20 * FEW
    assert many < few * 1.1


@pytest.fixture
def server() -> Iterator[servers.Server]:
    if reason := servers.why_not(SERVER):
        pytest.skip(reason)
    found = server_of(SERVER)
    found.say("FLUSHALL")
    yield found
    found.say("FLUSHALL")


def test_a_server_is_asked_nothing_that_grows_with_the_queue(server: servers.Server) -> None:
    broker = broker_of(server)
    try:
        queue = filled(broker, FEW + PUT_LIMIT)
        told(queue, FEW + PUT_LIMIT)
        server.say("CONFIG", "RESETSTAT")
        told(queue, FEW + PUT_LIMIT)
        used = set(re.findall(r"cmdstat_(\w+)", server.say("INFO", "commandstats").decode()))
    finally:
        broker.close_sync()
    # zrank: the logarithm of the queue's length. hgetall: the workers, which prune forgets after ten minutes.
    assert used - {"config", "info"} <= {"hget", "hmget", "zmscore", "zrank", "hgetall", "time", "zrange"}


def test_stats_do_not_read_large_bodies_for_the_age_of_the_oldest(server: servers.Server) -> None:
    broker = broker_of(server)
    large = b'{"version":1,"id":"x","task":"welcome","payload":{"address":"%s"}}' % (b"a" * 500_000)
    try:
        queue = queue_on(broker)
        for n in range(20):
            SyncSession(broker).ask([Put(queue.full_name, (NewJob(f"{n}", large),))])
        before = sent(server)
        stats = queue.stats_sync()
        assert stats.oldest_pending is not None and stats.oldest_pending >= 0
        assert 500_000 < sent(server) - before < 600_000, "the first one, and no other"
    finally:
        broker.close_sync()


def sent(server: servers.Server) -> int:
    """How many bytes the server has sent."""
    found = re.search(r"total_net_output_bytes:(\d+)", server.say("INFO", "stats").decode())
    assert found is not None
    return int(found[1])
