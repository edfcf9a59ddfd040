"""How many connections the Redis broker has, who shares them, what they are greeted with, and when they are closed."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest
import uvloop
from redis import exceptions as told
from tests.conformance.redis_only.stage import (
    DOORS,
    LONG,
    Door,
    Make,
    at,
    client_id,
    eventually,
    in_thread,
    ours,
    urgent,
)
from tests.conformance.redis_only.trickster import Trickster
from tests.servers import Server as Running

from surefoot.brokers.broker import NoAnswer
from surefoot.brokers.redis.connection import Connections
from surefoot.core.errors import StoreUnavailable, StoreUnsuitable


@pytest.fixture(params=DOORS, ids=lambda door: door.__name__)
def door(request: pytest.FixtureRequest) -> Door:
    chosen: Door = request.param
    return chosen


@pytest.fixture
def connections(opened: Make, running: Running) -> Connections:
    return opened(at(running.port))


# How many


async def test_200_calls_at_once_use_32_connections(connections: Connections, running: Running) -> None:
    most = 0

    async def call(n: int) -> None:
        nonlocal most
        await connections.send(("BLPOP", f"nothing:{n}", "0.05"))
        most = max(most, len(ours(running)))

    await asyncio.gather(*[call(n) for n in range(200)])
    assert most == 32
    await eventually(lambda: len(ours(running)) == 8)  # the others are closed


async def test_whoever_waits_in_line_keeps_the_place(connections: Connections, running: Running) -> None:
    running.say("FLUSHALL")
    holding = [asyncio.create_task(connections.send(("BLPOP", f"hold:{n}", LONG))) for n in range(32)]
    await eventually(lambda: running.info()["blocked_clients"] == "32")
    waiting = [asyncio.create_task(connections.send(("RPUSH", "line", n))) for n in range(5)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    running.say("LPUSH", "hold:7", "go")
    with anyio.fail_after(LONG):
        await asyncio.wait(waiting)
    assert running.say("LRANGE", "line", 0, -1) == [b"0", b"2", b"3", b"4"]
    for task in holding:
        task.cancel()
    await asyncio.wait(holding)
    assert await connections.send(("ECHO", "on")) == [b"on"]


async def test_nobody_waits_in_line_for_ever(opened: Make) -> None:
    with Trickster(lambda _: b"") as silent:
        connections = opened(at(silent.port, timeout=0.5))
        with anyio.fail_after(LONG):
            calls = [connections.send(("PING",)) for _ in range(100)]
            ended = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in ended} == {StoreUnavailable}
    assert {"all 32 connections of this loop are in use" in str(error) for error in ended} == {True, False}


async def test_threads_share_connections_and_never_replies(connections: Connections, running: Running) -> None:
    def talk(n: int) -> None:
        for k in range(60):
            assert connections.send_sync(("ECHO", n), ("ECHO", k)) == [str(n).encode(), str(k).encode()]

    with ThreadPoolExecutor(12) as threads:
        await asyncio.gather(*[asyncio.get_running_loop().run_in_executor(threads, talk, n) for n in range(12)])
    await eventually(lambda: 1 <= len(ours(running)) <= 8)


async def test_what_is_urgent_has_a_connection_of_its_own(connections: Connections, running: Running) -> None:
    keeper = await client_id(urgent(connections))
    calm = await client_id(in_thread(connections))
    assert keeper != calm
    holding = [asyncio.create_task(in_thread(connections)(("BLPOP", f"hold:{n}", LONG))) for n in range(4)]
    await eventually(lambda: running.info()["blocked_clients"] == "4")
    with anyio.fail_after(LONG):
        assert await client_id(urgent(connections)) == keeper
    running.say("EVAL", "for n = 0, 3 do redis.call('LPUSH', 'hold:' .. n, 1) end", 0)
    await asyncio.gather(*holding)
    assert await client_id(in_thread(connections)) != keeper


async def test_a_connection_apart_is_nobody_elses(connections: Connections, running: Running) -> None:
    apart = await connections.apart()
    [mine] = await apart.send(("CLIENT", "ID"))
    reading = asyncio.create_task(apart.send(("BLPOP", "nothing", LONG), seconds=2 * LONG))
    await eventually(lambda: running.info()["blocked_clients"] == "1")
    ids = {await client_id(connections.send) for _ in range(3)}
    assert len(ids) == 1 and mine not in ids
    await apart.close()
    with anyio.fail_after(LONG), pytest.raises(NoAnswer):
        await reading
    await eventually(lambda: len(ours(running)) == 1)


# Greeting


async def test_every_connection_is_greeted_and_the_first_replies_are_heard(
    opened: Make, running: Running, door: Door
) -> None:
    running.say("FLUSHALL")
    heard: list[list[Any]] = []
    connections = opened(at(running.port), greet=[("INCR", "greeted"), ("NONSENSE",)], met=heard.append)
    said = door(connections)
    assert await said(("GET", "greeted")) == [b"1"]
    await asyncio.gather(*[said(("BLPOP", "nothing", "0.1")) for _ in range(3)])
    await connections.apart()
    assert running.say("GET", "greeted") == b"4"
    assert [(replies[0], type(replies[1])) for replies in heard] == [(1, told.ResponseError)]


async def test_a_gate_that_refuses_is_asked_again(opened: Make, running: Running, door: Door) -> None:
    before = len(ours(running))
    asked: list[str] = []

    def gate(_: list[Any]) -> None:
        asked.append("")
        if len(asked) < 3:
            raise StoreUnsuitable("too old.")

    said = door(opened(at(running.port), greet=[("PING",)], met=gate))
    for _ in range(2):
        with pytest.raises(StoreUnsuitable, match="too old"):
            await said(("SET", "passed", 1))
        await eventually(lambda: len(ours(running)) == before)
    assert await said(("ECHO", "on"), ("EXISTS", "passed")) == [b"on", 0]
    assert len(asked) == 3


# Closing, loops, forks


async def test_after_a_close_the_next_call_opens_again(connections: Connections, running: Running) -> None:
    for _ in range(2):
        await connections.send(("PING",))
        await connections.apart()
        await in_thread(connections)(("PING",))
        await urgent(connections)(("PING",))
        assert len(ours(running)) == 4
        await connections.close()
        await eventually(lambda: len(ours(running)) == 2)  # those of threads stay
        connections.close_sync()
        await eventually(lambda: not ours(running))


async def test_what_is_in_use_is_closed_when_it_comes_back(connections: Connections, running: Running) -> None:
    calls = [asyncio.create_task(said(("BLPOP", "hold", LONG))) for said in (connections.send, in_thread(connections))]
    await eventually(lambda: running.info()["blocked_clients"] == "2")
    await connections.close()
    connections.close_sync()
    running.say("RPUSH", "hold", 1, 2)
    with anyio.fail_after(LONG):
        assert sorted(await asyncio.gather(*calls)) == [[[b"hold", b"1"]], [[b"hold", b"2"]]]
    await eventually(lambda: not ours(running))


Run: TypeAlias = Callable[..., Any]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a loop of its own. The cases that ask for it are no coroutines."""
    chosen: Run = request.param
    return chosen


def no_more(running: Running) -> bool:
    """Whether our last connection ends soon."""
    asyncio.run(eventually(lambda: not ours(running)))
    return True


def test_loops_one_after_another_leave_nothing_behind(run: Run, running: Running) -> None:
    connections = Connections(at(running.port))

    async def talk() -> int:
        await asyncio.gather(*[connections.send(("BLPOP", "nothing", "0.05")) for _ in range(3)])
        await connections.apart()
        assert len(ours(running)) == 4
        return await client_id(connections.send)

    first = run(talk())
    assert no_more(running), "nobody closed anything: the loop did"
    assert run(talk()) != first
    assert no_more(running)
    assert not connections._pools


def test_a_loop_that_was_closed_by_hand_is_forgotten(running: Running) -> None:
    connections = Connections(at(running.port))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(connections.send(("PING",)))
    loop.run_until_complete(connections.close())
    loop.close()
    rude = asyncio.new_event_loop()
    rude.run_until_complete(connections.send(("PING",)))
    [(pool, _)] = connections._pools.values()
    rude.run_until_complete(pool.close())  # only so that the interpreter has nothing to complain of
    rude.close()
    asyncio.run(connections.send(("PING",)))
    assert not connections._pools


def test_two_loops_at_once_have_connections_of_their_own(run: Run, running: Running) -> None:
    connections = Connections(at(running.port))
    together = threading.Barrier(2)

    async def talk(n: int) -> set[int]:
        await asyncio.to_thread(together.wait, LONG)
        for k in range(200):
            assert await connections.send(("ECHO", n), ("ECHO", k)) == [str(n).encode(), str(k).encode()]
        ids = {await client_id(connections.send)}
        await asyncio.to_thread(together.wait, LONG)
        return ids

    with ThreadPoolExecutor(2) as threads:
        one, other = [threads.submit(run, talk(n)) for n in range(2)]
        assert not one.result(LONG) & other.result(LONG)
    assert no_more(running)


def test_close_sync_reaches_the_loops_of_other_threads(run: Run, running: Running) -> None:
    connections = Connections(at(running.port))
    ready, go_on = threading.Event(), threading.Event()

    async def talk() -> None:
        await connections.send(("PING",))
        await connections.apart()
        ready.set()
        await asyncio.to_thread(go_on.wait, LONG)
        await connections.send(("PING",))

    with ThreadPoolExecutor(1) as threads:
        talking = threads.submit(run, talk())
        assert ready.wait(LONG)
        connections.send_sync(("PING",))
        assert len(ours(running)) == 3
        connections.close_sync()
        assert no_more(running)
        go_on.set()
        talking.result(LONG)
    assert no_more(running)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("leaves", ["at_once", "in_order"])
def test_a_forked_child_has_connections_of_its_own(running: Running, loop: str, leaves: str) -> None:
    script = Path(__file__).with_name("forking.py")
    forking = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", script, str(running.port), loop, leaves],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (forking.returncode, forking.stdout, forking.stderr) == (0, "the child is done\nthe parent goes on\n", "")
