"""A slow line with jitter and loss (R9), and connections that are half open (R11)."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from tests.faults.processes import Fleet, eventually
from tests.faults.proxy import Proxy
from tests.faults.redis.life import contents, lived
from tests.faults.redis.stage import QUEUE, Talker, at, broker_at, meanwhile
from tests.servers import Server

from surefoot import Queue, StoreUnavailable
from surefoot.brokers.redis.broker import RedisBroker

TIMEOUT_S = 0.5
LONG_S = 30.0


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def fleet(server: Server, proxy: Proxy, tmp_path: Path) -> Iterator[Fleet]:
    """Processes behind the proxy."""
    one = Fleet(tmp_path, f"{proxy.url()}/0", server)
    try:
        yield one
    finally:
        one.close()
        print(one.logs())


# R9


@pytest.mark.parametrize("looped", [False, True], ids=["thread", "loop"])
def test_R9_a_slow_line_changes_nothing(server: Server, proxy: Proxy, dice: random.Random, *, looped: bool) -> None:
    answers, caller = lived(server.port, looped=looped)
    calm = answers, contents(server, caller)
    server.say("FLUSHALL")
    proxy.latency(0.02, 0.03, loss=0.01, rng=dice)
    answers, caller = lived(proxy.port, looped=looped)
    assert (answers, contents(server, caller)) == calm


def test_R9_workers_on_a_slow_line(fleet: Fleet, proxy: Proxy, dice: random.Random) -> None:
    """Slower, no error; a job of several leases is renewed in time."""
    proxy.latency(0.2, 0.1, loss=0.01, rng=dice)
    workers = [fleet.start("--lease", "2") for _ in range(2)]
    fleet.ready(*workers)
    fleet.enqueue("work", seconds=6)
    fleet.enqueue("reporting", seconds=4)
    fleet.enqueue("work", 30, seconds=0)
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.doubled == {}
    assert fleet.ledger.count("event:lease_lost") == 0
    fleet.stop(*workers)
    assert "WARN" not in fleet.logs() and "could not" not in fleet.logs() and "not answer" not in fleet.logs()


# R11


def is_script(words: list[bytes]) -> bool:
    return words[0].startswith(b"EVAL")


@pytest.mark.parametrize("way", ["both ways", "back"])
def test_R11_a_call_notices_a_half_open_connection(server: Server, proxy: Proxy, way: str) -> None:
    """It says the same again on a new one: a job that was handed to a dead socket is handed out again."""
    with broker_at(proxy.port, timeout=TIMEOUT_S) as broker:
        producer, worker = Talker(broker), Talker(broker)
        producer.put("a")
        [a] = worker.claim(1)
        before = proxy.connections
        if way == "back":
            swallowed = [proxy.swallow_reply(is_script), proxy.swallow_reply(is_script, nth=2)]
        else:
            swallowed = []
            proxy.freeze()
        put, put_answers = meanwhile(lambda: producer.put("b"))
        settle, verdicts = meanwhile(lambda: worker.complete([a]))
        eventually("both have connected anew", lambda: proxy.connections >= before + 2)
        proxy.thaw()
        put.join()
        settle.join()
        assert (put_answers, verdicts) == ([["created"]], [["applied"]])
        assert all(fault.struck for fault in swallowed)
        if way == "back":
            proxy.swallow_reply(is_script)
        else:
            proxy.freeze()
        claim, jobs = meanwhile(lambda: [one.id for one in worker.claim()])
        before = proxy.connections
        eventually("it has connected anew", lambda: proxy.connections > before)
        proxy.thaw()
        claim.join()
        assert jobs == [["b"]]
        assert producer.stats().totals["enqueued"] == 2


async def test_R11_a_wait_notices_a_half_open_connection(server: Server, proxy: Proxy) -> None:
    broker = RedisBroker(at(proxy.port, timeout=TIMEOUT_S))
    try:
        waiting = asyncio.create_task(broker.wait([QUEUE], 1.0))
        await asyncio.to_thread(eventually, "it waits", lambda: server.info()["blocked_clients"] == "1")
        proxy.freeze()
        with anyio.fail_after(LONG_S), pytest.raises(StoreUnavailable):
            while not await waiting:
                waiting = asyncio.create_task(broker.wait([QUEUE], 1.0))
        proxy.thaw()
        waiting = asyncio.create_task(broker.wait([QUEUE], LONG_S))
        with broker_at(server.port) as other:
            await asyncio.to_thread(Talker(other).put, "a")
        assert await waiting
    finally:
        await broker.close()


def test_R11_no_job_stays_in_a_dead_socket(fleet: Fleet, server: Server, proxy: Proxy, dice: random.Random) -> None:
    """Replies to workers are swallowed, and then the whole line is frozen."""
    fleet.url += "?timeout=1"
    workers = [fleet.start("--lease", "4") for _ in range(2)]
    fleet.ready(*workers)
    direct = Queue(server.url, name="jobs")
    drafts = [fleet.task("work").draft(seconds=0) for _ in range(200)]
    swallowed = proxy.swallow_reply(is_script, nth=dice.randint(1, 10), times=2)
    fleet.accepted = [handle.id for handle in direct.enqueue_many_sync(drafts[:100])]
    assert swallowed.wait()
    before = proxy.connections
    proxy.freeze()
    fleet.accepted += [handle.id for handle in direct.enqueue_many_sync(drafts[100:])]
    direct.close_sync()
    eventually("they have noticed", lambda: proxy.connections > before)
    proxy.thaw()
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.doubled == {}
    fleet.stop(*workers)


def test_R11_a_producer_gets_over_a_half_open_connection(fleet: Fleet, proxy: Proxy) -> None:
    """With the settings that everybody has."""
    fleet.enqueue("work", seconds=0)
    proxy.swallow_reply(is_script)
    fleet.enqueue("work", seconds=0)
    assert [record is not None for record in fleet.records()] == [True, True]
