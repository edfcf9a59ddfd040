"""Blocked reads of wake-up tokens: one a queue and loop, open only while somebody waits, and no token lost."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvloop
from tests.conformance.redis_only.stage import LONG, Make, at, eventually, ours
from tests.servers import Server as Running
from tests.servers import start

from surefoot.brokers.bells import Bells
from surefoot.brokers.redis import waiting as waiting_module
from surefoot.brokers.redis.connection import Connections, Server
from surefoot.brokers.redis.waiting import Waiting
from surefoot.core.errors import StoreUnavailable, StoreUnsuitable

MAIL, IMAGES = "shop:mail", "shop:images"


class Listener:
    """Whoever hears the wake-ups of a queue for itself."""


@pytest.fixture
def fresh(running: Running) -> Running:
    """The server, empty, and as if nothing had been said to it."""
    running.say("FLUSHALL")
    running.say("CONFIG", "RESETSTAT")
    return running


class Worker:
    """Waits on a queue, as a worker does."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.waiting = Waiting(connections, Bells())

    async def waits(self, *queues: str, seconds: float = 2 * LONG, listener: object = None) -> bool:
        with anyio.fail_after(LONG):
            return await self.waiting.wait(queues or (MAIL,), seconds, listener or self)

    def begins(self, *queues: str, seconds: float = 2 * LONG, listener: object = None) -> "asyncio.Task[bool]":
        return asyncio.create_task(self.waits(*queues, seconds=seconds, listener=listener))


@pytest.fixture
def worker(opened: Make, fresh: Running) -> Worker:
    return Worker(opened(at(fresh.port)))


def ring(running: Running, queue: str = MAIL) -> None:
    running.say("LPUSH", f"{{{queue}}}:wake", 1)


def tokens(running: Running, queue: str = MAIL) -> Any:
    return running.say("LLEN", f"{{{queue}}}:wake")


def blocked(running: Running) -> int:
    return int(running.info()["blocked_clients"])


def said(running: Running) -> dict[str, int]:
    """How often each command was said, but those of the tests themselves."""
    lines = running.say("INFO", "commandstats").decode().split()[2:]
    counts = {line.split(":")[0].removeprefix("cmdstat_"): int(line.split("calls=")[1].split(",")[0]) for line in lines}
    return {name: count for name, count in counts.items() if name not in ("info", "flushall", "config|resetstat")}


async def ended(task: "asyncio.Task[bool]") -> bool | None:
    """What a wait that was cancelled had heard; None if it was cancelled indeed."""
    task.cancel()
    await asyncio.wait({task}, timeout=LONG)
    return None if task.cancelled() else task.result()


# One read a queue


async def test_a_token_is_heard_by_whoever_waits_and_by_whoever_comes_later(worker: Worker, fresh: Running) -> None:
    one = worker.begins()
    await eventually(lambda: blocked(fresh) == 1)
    ring(fresh)
    assert await one
    ring(fresh)
    assert await worker.waits()
    assert not await worker.waits(seconds=0.1)
    assert tokens(fresh) == 0


async def test_however_many_wait_there_is_one_read(worker: Worker, fresh: Running) -> None:
    waits = [worker.begins(listener=Listener()) for _ in range(7)]
    await eventually(lambda: blocked(fresh) == 1)
    waits.append(worker.begins(listener=Listener()))
    await asyncio.sleep(0.05)
    assert blocked(fresh) == 1
    ring(fresh)
    assert await asyncio.gather(*waits) == [True] * 8
    assert said(fresh)["blpop"] == 1


async def test_a_listener_that_did_not_wait_hears_it_too_and_once(worker: Worker, fresh: Running) -> None:
    other = Listener()
    ring(fresh)
    assert await worker.waits()
    assert await worker.waits(listener=other)
    assert not await worker.waits(listener=other, seconds=0)


async def test_each_queue_has_a_read_and_any_of_them_wakes(worker: Worker, fresh: Running) -> None:
    both, images = worker.begins(MAIL, IMAGES), worker.begins(IMAGES, listener=Listener())
    await eventually(lambda: blocked(fresh) == 2)
    ring(fresh)
    assert await both
    assert blocked(fresh) == 1, "somebody waits on the other one"
    ring(fresh, IMAGES)
    assert await images
    assert await worker.waits(MAIL, IMAGES), "heard by another listener, not by this one"


async def test_the_read_that_did_not_wake_is_ended(worker: Worker, fresh: Running) -> None:
    both = worker.begins(MAIL, IMAGES)
    await eventually(lambda: blocked(fresh) == 2)
    ring(fresh, IMAGES)
    assert await both
    assert blocked(fresh) == 0
    assert len(ours(fresh)) == 3, "and both connections are kept"


async def test_loops_have_reads_of_their_own_and_share_what_they_hear(fresh: Running) -> None:
    worker = Worker(Connections(at(fresh.port)))

    async def waits() -> bool:
        return await worker.waits(listener=Listener())

    with ThreadPoolExecutor(2) as threads:
        loop = asyncio.get_running_loop()
        waits_of_loops = [loop.run_in_executor(threads, run, waits()) for run in (asyncio.run, uvloop.run)]
        await eventually(lambda: blocked(fresh) == 2)
        ring(fresh)
        with anyio.fail_after(LONG):
            assert await asyncio.gather(*waits_of_loops) == [True, True]
    await eventually(lambda: not ours(fresh))


# The time


async def test_an_idle_worker_costs_one_read_a_wait_and_nothing_else(worker: Worker, fresh: Running) -> None:
    assert not await worker.waits(seconds=0.1)
    assert blocked(fresh) == 0
    first = said(fresh)
    for _ in range(4):
        assert not await worker.waits(seconds=0.1)
        assert blocked(fresh) == 0
    assert said(fresh) == first | {"blpop": 5}
    assert "client|unblock" not in first and first["client|id"] == 1


async def test_whoever_waits_for_longer_gets_another_read(worker: Worker, fresh: Running) -> None:
    short = worker.begins(seconds=0.3, listener=Listener())
    await eventually(lambda: blocked(fresh) == 1)
    long = worker.begins()
    assert not await short
    # A read is counted when it ends.
    await eventually(lambda: said(fresh).get("blpop") == 1 and blocked(fresh) == 1)
    assert not long.done()
    ring(fresh)
    assert await long


async def test_whoever_waits_for_shorter_leaves_the_read_to_the_others(worker: Worker, fresh: Running) -> None:
    long = worker.begins()
    await eventually(lambda: blocked(fresh) == 1)
    assert not await worker.waits(seconds=0.1, listener=Listener())
    assert (blocked(fresh), said(fresh).get("blpop"), long.done()) == (1, None, False)
    ring(fresh)
    assert await long


async def test_the_last_one_who_waited_for_shorter_ends_the_read(worker: Worker, fresh: Running) -> None:
    long = worker.begins()
    await eventually(lambda: blocked(fresh) == 1)
    short = worker.begins(seconds=0.3, listener=Listener())
    await asyncio.sleep(0)
    assert await ended(long) is None
    assert (blocked(fresh), short.done()) == (1, False)
    assert not await short
    assert (blocked(fresh), said(fresh)["client|unblock"]) == (0, 1)


@pytest.mark.parametrize("seconds", [0, 0.0004, -1])
async def test_a_wait_without_time_takes_what_is_there(worker: Worker, fresh: Running, seconds: float) -> None:
    assert not await worker.waits(seconds=seconds)
    ring(fresh)
    assert await worker.waits(IMAGES, MAIL, seconds=seconds)
    assert not await worker.waits(seconds=seconds)
    assert "blpop" not in said(fresh)


async def test_the_shortest_read_ends(worker: Worker, fresh: Running) -> None:
    for _ in range(5):
        assert not await worker.waits(seconds=0.0011)
    assert blocked(fresh) == 0 and "client|unblock" not in said(fresh), "by itself"


# Cancelling


async def test_a_cancelled_wait_leaves_no_read_open(worker: Worker, fresh: Running) -> None:
    for n in range(1, 4):
        waits = worker.begins()
        await eventually(lambda: blocked(fresh) == 1)
        assert await ended(waits) is None
        assert blocked(fresh) == 0
        assert said(fresh)["client|unblock"] == n
    assert said(fresh)["client|id"] == 1, "always the same connection"
    ring(fresh)
    assert await worker.waits()


async def test_a_wait_that_is_cancelled_twice_leaves_no_read_open(worker: Worker, fresh: Running) -> None:
    for n in range(8):
        waits = worker.begins()
        await eventually(lambda: blocked(fresh) == 1)
        waits.cancel()
        for _ in range(n):
            await asyncio.sleep(0)
        assert await ended(waits) is None
        await eventually(lambda: blocked(fresh) == 0)
    assert said(fresh)["client|id"] == 1


async def test_a_cancelled_wait_leaves_the_others_their_read(worker: Worker, fresh: Running) -> None:
    one, other = worker.begins(listener=Listener()), worker.begins()
    await eventually(lambda: blocked(fresh) == 1)
    assert await ended(one) is None
    assert blocked(fresh) == 1 and "client|unblock" not in said(fresh)
    ring(fresh)
    assert await other


async def test_cancelling_at_any_moment_loses_no_token_and_leaves_no_read(worker: Worker, fresh: Running) -> None:
    with fresh.conversation() as talk:
        for n in range(80):
            waits = worker.begins()
            for _ in range(n % 16):
                await asyncio.sleep(0)
            talk.say("LPUSH", f"{{{MAIL}}}:wake", 1)
            for _ in range(n // 16):
                await asyncio.sleep(0)
            heard = await ended(waits)
            assert talk.say("CLIENT", "LIST").count(b"cmd=blpop") == 0 or blocked(fresh) == 0
            assert heard or await worker.waits(), f"lost in round {n}"


async def test_a_server_that_hears_the_end_before_the_beginning_is_told_again(worker: Worker, fresh: Running) -> None:
    """The two go over two connections: nothing says in which order the server reads them."""
    assert not await worker.waits(seconds=0.01)
    [read] = worker.waiting._reads[asyncio.get_running_loop()].values()
    apart = read._apart
    assert apart is not None
    send, held = apart.send, asyncio.Event()

    async def late(*commands: Any, **words: Any) -> list[Any]:
        if commands[0][0] == "BLPOP":
            await held.wait()
        return await send(*commands, **words)

    apart.send = late  # type: ignore[method-assign]
    waits = worker.begins()
    await asyncio.sleep(0.01)
    ending = asyncio.create_task(ended(waits))
    await eventually(lambda: said(fresh).get("client|unblock", 0) >= 1)
    held.set()
    with anyio.fail_after(LONG):
        assert await ending is None
    assert blocked(fresh) == 0
    apart.send = send  # type: ignore[method-assign]
    ring(fresh)
    assert await worker.waits()
    assert said(fresh)["client|id"] == 1, "it was told again, and the connection kept"


async def test_a_user_who_may_not_unblock_gives_up_the_connection(opened: Make, fresh: Running) -> None:
    fresh.say("ACL", "SETUSER", "humble", "on", ">pw", "~*", "&*", "+@all", "-client|unblock")
    worker = Worker(opened(at(fresh.port, username="humble", password="pw")))
    waits = worker.begins()
    await eventually(lambda: blocked(fresh) == 1)
    assert await ended(waits) is None
    await eventually(lambda: blocked(fresh) == 0 and len(ours(fresh)) == 1)
    ring(fresh)
    assert await worker.waits()


async def test_a_wait_cancelled_while_it_connects_opens_no_read(opened: Make, fresh: Running) -> None:
    worker = Worker(opened(at(fresh.port)))
    for n in range(12):
        waits = worker.begins()
        for _ in range(n):
            await asyncio.sleep(0)
        assert await ended(waits) is None
        await worker.connections.close()
    assert blocked(fresh) == 0
    await eventually(lambda: not ours(fresh))


async def test_whoever_joins_while_a_read_is_being_ended_is_woken(worker: Worker, fresh: Running) -> None:
    for n in range(20):
        waits = worker.begins()
        await eventually(lambda: blocked(fresh) == 1)
        waits.cancel()
        for _ in range(n):
            await asyncio.sleep(0)
        joined = worker.begins(listener=Listener())
        await asyncio.wait({waits})
        ring(fresh)
        assert await joined
        assert await worker.waits(), "and the first one hears it later"


# The server is away


async def test_a_server_that_cannot_be_reached(opened: Make, fresh: Running, tmp_path: Path) -> None:
    with start(tmp_path) as gone:
        server = at(gone.port)
    worker = Worker(opened(server))
    for seconds in (0, 2 * LONG):
        waits = [worker.begins(seconds=seconds, listener=Listener()) for _ in range(3)]
        with anyio.fail_after(LONG):
            told = await asyncio.gather(*waits, return_exceptions=True)
        assert {(type(error), str(error)) for error in told} == {
            (StoreUnavailable, f"cannot reach redis://127.0.0.1:{server.port}/0 (connection refused)")
        }


async def test_a_server_that_goes_away_and_comes_back(opened: Make, tmp_path: Path) -> None:
    with start(tmp_path) as running:
        worker, listeners = Worker(opened(at(running.port))), [Listener(), Listener(), Listener()]
        for _ in range(2):
            waits = [worker.begins(listener=listener) for listener in listeners]
            await eventually(lambda: blocked(running) == 1)
            await asyncio.to_thread(running.kill)
            with anyio.fail_after(LONG):
                told = await asyncio.gather(*waits, return_exceptions=True)
            assert {type(error) for error in told} == {StoreUnavailable}
            assert all("lost the connection to redis://127.0.0.1:" in str(error) for error in told)
            await asyncio.to_thread(running.again)
            ring(running)
            for listener in (*listeners, worker):
                assert await worker.waits(listener=listener)
            assert not await worker.waits(seconds=0.05)
            await asyncio.to_thread(running.kill)  # nobody waits
            await asyncio.to_thread(running.again)
            assert not await worker.waits(seconds=0.05)


async def test_a_connection_that_is_only_half_open_is_noticed(
    opened: Make, fresh: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "_SPARE_S", 0.2)
    monkeypatch.setattr(waiting_module, "_LATE_S", 0.1)
    worker = Worker(opened(at(fresh.port, timeout=0.3)))
    short = worker.begins(seconds=0.3, listener=Listener())
    await eventually(lambda: blocked(fresh) == 1)
    long = worker.begins()
    fresh.freeze()
    try:
        assert not await short
        with pytest.raises(StoreUnavailable, match="no answer from redis://"):
            await long
        last = worker.begins()
        with anyio.fail_after(LONG), pytest.raises(StoreUnavailable):
            await last
    finally:
        fresh.thaw()
    ring(fresh)
    await eventually(lambda: blocked(fresh) == 0)
    assert await worker.waits() or tokens(fresh) == 0


async def test_a_server_that_freezes_keeps_nobody_who_leaves(opened: Make, fresh: Running) -> None:
    worker = Worker(opened(at(fresh.port, timeout=3 * LONG)))
    waits = worker.begins()
    await eventually(lambda: blocked(fresh) == 1)
    fresh.freeze()
    try:
        assert await ended(waits) is None
        assert not worker.waiting._reads[asyncio.get_running_loop()][MAIL]._task
    finally:
        fresh.thaw()
    await eventually(lambda: blocked(fresh) == 0)


async def test_a_key_of_the_wrong_type_is_told_and_is_no_outage(worker: Worker, fresh: Running) -> None:
    fresh.say("SET", f"{{{MAIL}}}:wake", "no list")
    for seconds in (0, LONG):
        with pytest.raises(StoreUnsuitable, match=r"cannot wait at redis://.* \(WRONGTYPE"):
            await worker.waits(seconds=seconds)
    fresh.say("FLUSHALL")
    ring(fresh)
    assert await worker.waits()


async def test_what_a_gate_raises_is_told_to_all(opened: Make, fresh: Running) -> None:
    def gate(_: Sequence[Any]) -> None:
        raise StoreUnsuitable("too old.")

    worker = Worker(opened(at(fresh.port), greet=[("PING",)], met=gate))
    waits = [worker.begins(listener=Listener()) for _ in range(2)]
    with anyio.fail_after(LONG):
        assert [str(error) for error in await asyncio.gather(*waits, return_exceptions=True)] == ["too old."] * 2


# Closing


async def test_closing_lets_everybody_go_and_leaves_no_task(worker: Worker, fresh: Running) -> None:
    waits = [worker.begins(listener=Listener()) for _ in range(3)]
    images = worker.begins(IMAGES)
    await eventually(lambda: blocked(fresh) == 2)
    mine = {*waits, images, *asyncio.all_tasks()}
    await worker.connections.close()
    assert await asyncio.gather(*waits, images) == [False] * 4
    assert asyncio.all_tasks() <= mine
    await eventually(lambda: not ours(fresh))
    ring(fresh)
    assert await worker.waits()


async def test_closing_before_a_read_has_begun(worker: Worker, fresh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "_LATE_S", 3 * LONG)
    for steps in range(6):
        assert not await worker.waits(seconds=0)
        before = asyncio.all_tasks()
        waits = worker.begins()
        for _ in range(steps):
            await asyncio.sleep(0)
        await worker.connections.close()
        if steps:
            assert not await waits
        else:  # it began after the close
            await ended(waits)
        assert asyncio.all_tasks() <= before
        await worker.connections.close()
    await eventually(lambda: not ours(fresh))


async def test_closing_from_another_thread_lets_everybody_go(worker: Worker, fresh: Running) -> None:
    waits = worker.begins()
    await eventually(lambda: blocked(fresh) == 1)
    await asyncio.to_thread(worker.connections.close_sync)
    assert not await waits
    await eventually(lambda: not ours(fresh))


def test_a_loop_that_ends_leaves_nothing(running: Running) -> None:
    worker = Worker(Connections(Server(host="127.0.0.1", port=running.port, shown="redis://")))
    ready = threading.Event()

    async def leaves() -> None:
        tasks.append(worker.begins())
        await eventually(lambda: blocked(running) == 1)
        ready.set()

    for run in (asyncio.run, uvloop.run):
        tasks: list[asyncio.Task[bool]] = []
        run(leaves())
        assert tasks[0].cancelled()
        asyncio.run(eventually(lambda: not ours(running)))
        assert not worker.waiting._reads
