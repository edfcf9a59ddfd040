"""The server's memory is full and nothing may be evicted (R13): enqueue is refused whole, all else goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.stores import envelope
from tests.faults.processes import Fleet, eventually
from tests.faults.redis.conftest import check
from tests.faults.redis.stage import LEASE_MS, QUEUE, Talker, all_of, broker_at
from tests.servers import Server, start, why_not

from surefoot import StoreError
from surefoot.brokers.answers import Lease
from surefoot.brokers.broker import (
    Amend,
    Beat,
    Cancel,
    Configure,
    Delete,
    Extend,
    Move,
    NoRoom,
    Prune,
    Put,
    Requeue,
    Settle,
    Tick,
)
from surefoot.core.job import After, Leased, NewJob
from surefoot.core.transition import Bury, Delay, Finish, Park, Return, Transition

ROOM_BYTES = 3 << 20
SPARE_BYTES = 1 << 19
"""So far beyond its limit a full server is kept: what it needs for its clients goes up and down."""
LARGE = b'{"address":"%s"}' % (b"x" * 8_000)
TEXT = b'{"kind":"OSError","message":"%s"}' % (b"y" * 8_000)

FLOOR = pytest.param("redis-6.2", marks=pytest.mark.faults_full)


@pytest.fixture(params=["valkey-9", FLOOR, pytest.param("redis-8", marks=pytest.mark.faults_full)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server with little memory; checked for leaks at the end."""
    if reason := why_not(request.param):
        pytest.skip(reason)
    with start(tmp_path / "server", request.param, options={"maxmemory-policy": "noeviction"}) as server:
        server.say("CONFIG", "SET", "maxmemory", int(server.info()["used_memory"]) + ROOM_BYTES)
        yield server
        check(server)


def large(id: str) -> NewJob:
    return NewJob(id, envelope(id, LARGE))


def fill(server: Server, talker: Talker) -> list[str]:
    """Put until there is no room; the ids that were accepted."""
    accepted: list[str] = []
    with pytest.raises(NoRoom, match=r"is full \(maxmemory reached\); nothing was stored"):
        for _ in range(ROOM_BYTES // len(LARGE)):
            ids = [f"j{len(accepted) + n:05}" for n in range(20)]
            talker.say(Put(QUEUE, tuple([large(id) for id in ids])))
            accepted += ids
    overfull(server)
    return accepted


def overfull(server: Server) -> None:
    server.say("CONFIG", "SET", "maxmemory", int(server.info()["used_memory"]) - SPARE_BYTES)


def test_R13_an_enqueue_that_is_refused_leaves_nothing_behind(server: Server) -> None:
    with broker_at(server.port) as broker:
        producer = Talker(broker)
        fill(server, producer)
        full = all_of(server)
        many = tuple([NewJob(f"new{n}", envelope("new"), After(n), priority=n % 10) for n in range(100)])
        for refused in (
            Put(QUEUE, (large("new"),)),
            Put(QUEUE, many),
            Put("shop:other", many),
            Tick(QUEUE, "nightly", 1_750_000_000_000, large("tick")),
        ):
            with pytest.raises(NoRoom, match="is full"):
                producer.say(refused)
            assert all_of(server) == full, f"{type(refused).__name__} left something behind"


def test_R13_a_full_server_is_drained(server: Server) -> None:
    """Everything but an enqueue is possible, also what grows: error texts, notes, retries, results that are kept."""
    with broker_at(server.port) as broker:
        producer, worker = Talker(broker), Talker(broker)
        *_, cancelled, moved, deleted = fill(server, producer)
        held = worker.claim(60)
        notes = tuple([Lease(one.id, one.token, TEXT) for one in held])
        assert all(hold.held for hold in worker.say(Extend(QUEUE, notes, LEASE_MS)))
        steps = [END[place % len(END)](one) for place, one in enumerate(held)]
        assert worker.say(Settle(QUEUE, tuple(steps))) == ["applied"] * 60
        still_refused(producer)
        dead = held[END.index(exhausted)].id
        assert worker.say(Cancel(QUEUE, (cancelled,), "not wanted")) == ["cancelled"]
        assert worker.say(Move(QUEUE, (moved,), After(60_000))) == [True]
        assert worker.say(Delete(QUEUE, (deleted,))) == [True]
        with pytest.raises(NoRoom):
            worker.say(Amend(QUEUE, dead, envelope(dead, LARGE)))
        assert worker.say(Requeue(QUEUE, (dead,)))[0].word == "requeued"
        worker.say(Configure(QUEUE, paused="night"))
        worker.say(Configure(QUEUE, paused=None))
        worker.say(Beat(QUEUE, "worker", TEXT))
        worker.say(Prune(QUEUE))
        still_refused(producer)
        while held := worker.claim(50, LEASE_MS, "task:gone"):
            assert worker.complete(held, keep_ms=0) == ["applied"] * len(held)
        assert producer.put("after") == ["created"]
        assert [one.id for one in worker.claim()] == ["after"]
        numbers = producer.stats()
        assert (numbers.pending, numbers.scheduled, numbers.parked, numbers.processing) == (0, 11, 0, 1)


def retried(one: Leased) -> Transition:
    return Transition(one.id, one.token, Delay(3_600_000, "retry"), "failures", TEXT)


def completed(one: Leased) -> Transition:
    effects = (large(f"{one.id}:effect"),)
    return Transition(one.id, one.token, Finish("completed", LARGE), "runs", effects=effects)


def exhausted(one: Leased) -> Transition:
    return Transition(one.id, one.token, Bury("exhausted"), "failures", TEXT)


def parked(one: Leased) -> Transition:
    return Transition(one.id, one.token, Park("task:gone"), "runs", TEXT)


def interrupted(one: Leased) -> Transition:
    return Transition(one.id, one.token, Return(), "interruptions", TEXT)


def forgotten(one: Leased) -> Transition:
    return Transition(one.id, one.token, Finish("completed"), "runs", keep_ms=0)


END = (retried, completed, exhausted, parked, interrupted, forgotten)
"""What may become of a job that ran; with texts that make the store grow, but for the last."""


def still_refused(producer: Talker) -> None:
    with pytest.raises(NoRoom):
        producer.say(Put(QUEUE, (large("refused"),)))
    assert producer.states("refused") == ["unknown"]


def test_R13_workers_drain_a_full_server(server: Server, tmp_path: Path) -> None:
    """A producer is refused in a sentence; workers run all that was accepted, and then there is room again."""
    fleet = Fleet(tmp_path, server.url, server)
    try:
        with pytest.raises(StoreError, match=r"is full \(maxmemory reached\); nothing was stored"):
            for _ in range(ROOM_BYTES // len(LARGE)):
                enqueue(fleet, "work", seconds=0)
        overfull(server)
        accepted = list(fleet.accepted)
        with pytest.raises(StoreError, match="is full"):
            enqueue(fleet, "work", seconds=0)
        worker = fleet.start()
        eventually("all that was accepted is over", lambda: fleet.over() and fleet.ledger.count("ended"))
        assert sorted(line["job"] for line in fleet.ledger.of("ended")) == sorted(accepted)
        enqueue(fleet, "work", seconds=0)
        fleet.told("ended", len(accepted) + 1)
        fleet.stop(worker)
    finally:
        fleet.close()
        print(fleet.logs())


def enqueue(fleet: Fleet, task: str, **arguments: object) -> None:
    """Ten large jobs, of which nothing is kept."""
    with_nothing_kept = fleet.task(task).options(keep_result=0)
    fleet.took([with_nothing_kept.draft(**arguments).with_headers(padding="x" * 8_000) for _ in range(10)])
