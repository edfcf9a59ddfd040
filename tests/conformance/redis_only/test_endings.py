"""Hints that jobs ended: one subscription a loop, early rather than never, and never an error."""

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvloop
from tests.conformance.redis_only.stage import LONG, Make, at, eventually, ours
from tests.servers import Server as Running
from tests.servers import start

from surefoot.brokers.bells import Bells
from surefoot.brokers.redis import endings as endings_module
from surefoot.brokers.redis.connection import Connections
from surefoot.brokers.redis.endings import Endings
from surefoot.core.errors import StoreUnsuitable

MAIL, IMAGES = "shop:mail", "shop:images"
SHORT = 0.1


class Watcher:
    """Waits for ends, as a client does."""

    def __init__(self, connections: Connections, **words: float) -> None:
        self.connections = connections
        self.endings = Endings(connections, Bells(), **words)

    async def ended(self, id: str, queue: str = MAIL, seconds: float = 2 * LONG) -> None:
        with anyio.fail_after(LONG):
            await self.endings.ended(queue, id, seconds)

    def begins(self, id: str, queue: str = MAIL, seconds: float = 2 * LONG) -> "asyncio.Task[None]":
        return asyncio.create_task(self.ended(id, queue, seconds))


@pytest.fixture
def watcher(opened: Make, running: Running) -> Watcher:
    return Watcher(opened(at(running.port)))


def publish(running: Running, *ids: str, queue: str = MAIL) -> None:
    heard = running.say("PUBLISH", f"{{{queue}}}:done", "\n".join(ids))
    assert heard >= 1, "nobody is subscribed"


def subscribers(running: Running, queue: str = MAIL) -> Any:
    return running.say("PUBSUB", "NUMSUB", f"{{{queue}}}:done")[1]


async def goes_on(*tasks: "asyncio.Task[None]") -> bool:
    """Whether all of them wait still, a little later."""
    done, _ = await asyncio.wait(tasks, timeout=SHORT)
    return not done


async def test_the_first_who_asks_is_answered_as_soon_as_the_channel_is_heard(
    watcher: Watcher, running: Running
) -> None:
    await watcher.ended("a")
    assert subscribers(running) == 1


async def test_whoever_waits_is_told_and_nobody_else(watcher: Watcher, running: Running) -> None:
    await watcher.ended("a")
    a, b, again, c = [watcher.begins(id) for id in ("a", "b with spaces", "a", "c")]
    other_queue = watcher.begins("a", IMAGES)
    await other_queue  # its first: at once
    other_queue = watcher.begins("a", IMAGES)
    assert await goes_on(a, b, again, c, other_queue)
    publish(running, "x", "a", "b with spaces")
    await asyncio.gather(a, b, again)
    assert await goes_on(c, other_queue)
    publish(running, "c", queue=IMAGES)
    assert await goes_on(c, other_queue)
    publish(running, "c")
    publish(running, "a", queue=IMAGES)
    await asyncio.gather(c, other_queue)


async def test_an_end_between_two_questions_is_heard(watcher: Watcher, running: Running) -> None:
    await watcher.ended("a")
    for _ in range(20):
        waits = watcher.begins("a")
        await asyncio.sleep(0)
        publish(running, "a")
        await waits


async def test_it_stops_after_its_time(watcher: Watcher) -> None:
    for seconds in (SHORT, 0, SHORT):
        await watcher.ended("a", seconds=seconds)


async def test_a_loop_has_one_subscription_for_all(watcher: Watcher, running: Running) -> None:
    await asyncio.gather(*[watcher.ended(str(n), queue) for n in range(50) for queue in (MAIL, IMAGES)])
    waits = [watcher.begins(str(n), queue) for n in range(50) for queue in (MAIL, IMAGES)]
    assert await goes_on(*waits)
    assert (subscribers(running), subscribers(running, IMAGES), len(ours(running))) == (1, 1, 1)
    for queue in (MAIL, IMAGES):
        publish(running, *map(str, range(50)), queue=queue)
    await asyncio.gather(*waits)


async def test_a_channel_that_is_not_used_is_left_and_the_last_one_closes(opened: Make, running: Running) -> None:
    before = asyncio.all_tasks()
    watcher = Watcher(opened(at(running.port)), quiet_s=0.05, unused_s=0.2)
    await watcher.ended("a")
    await watcher.ended("a", IMAGES)
    waits = watcher.begins("a")
    await eventually(lambda: subscribers(running, IMAGES) == 0)
    assert subscribers(running) == 1 and not waits.done(), "somebody waits for it"
    await watcher.ended("a", IMAGES)
    assert subscribers(running, IMAGES) == 1
    waits.cancel()
    await eventually(lambda: not ours(running) and asyncio.all_tasks() <= before)
    await watcher.ended("a")
    waits = watcher.begins("a")
    assert await goes_on(waits)
    publish(running, "a")
    await waits


async def test_a_quiet_subscription_is_kept_alive(opened: Make, running: Running) -> None:
    watcher = Watcher(opened(at(running.port, timeout=1)), quiet_s=0.03)
    await watcher.ended("a")
    [before] = ours(running)
    waits = watcher.begins("a")
    await eventually(lambda: ours(running)[0]["cmd"] == "ping")
    await asyncio.sleep(0.3)  # many times as long as it may be quiet
    [after] = ours(running)
    assert after["id"] == before["id"]
    assert not waits.done()
    publish(running, "a")
    await waits


async def test_a_lost_connection_is_a_hint_and_the_next_call_subscribes_anew(
    watcher: Watcher, running: Running
) -> None:
    await watcher.ended("a")
    for _ in range(3):
        waits = [watcher.begins(id) for id in "abc"]
        assert await goes_on(*waits)
        assert running.say("CLIENT", "KILL", "TYPE", "pubsub") == 1
        await asyncio.gather(*waits)
        await watcher.ended("a")
        assert subscribers(running) == 1


async def test_a_server_that_is_away_holds_the_caller_and_tells_nothing(opened: Make, tmp_path: Path) -> None:
    with start(tmp_path) as running:
        watcher = Watcher(opened(at(running.port)))
        await watcher.ended("a")
        waits = watcher.begins("a")
        assert await goes_on(waits)
        await asyncio.to_thread(running.kill)
        await waits
        for _ in range(2):
            waits = watcher.begins("a")
            assert await goes_on(waits), "or the caller would ask without a pause"
            await waits
            await watcher.ended("a", seconds=SHORT)
            await watcher.ended("a", seconds=0)
        await asyncio.to_thread(running.again)
        await eventually_heard(watcher, running)


async def eventually_heard(watcher: Watcher, running: Running) -> None:
    with anyio.fail_after(LONG):
        while True:
            waits = watcher.begins("a")
            if await goes_on(waits):
                publish(running, "a")
                await waits
                return


async def test_a_connection_that_is_only_half_open_is_noticed(opened: Make, running: Running) -> None:
    watcher = Watcher(opened(at(running.port, timeout=0.3)), quiet_s=0.1)
    await watcher.ended("a")
    waits = watcher.begins("a")
    running.freeze()
    try:
        await waits
        await watcher.ended("a")
    finally:
        running.thaw()
    await eventually_heard(watcher, running)


async def test_a_user_who_may_not_subscribe_asks_the_store(opened: Make, running: Running) -> None:
    running.say("ACL", "SETUSER", "deaf", "on", ">pw", "~*", "+@all", "resetchannels")
    watcher = Watcher(opened(at(running.port, username="deaf", password="pw")))
    for _ in range(2):
        waits = watcher.begins("a")
        assert await goes_on(waits)
        await waits
    running.say("ACL", "SETUSER", "deaf", "allchannels")
    await eventually_heard(watcher, running)


async def test_a_gate_that_refuses_raises_nothing_here(opened: Make, running: Running) -> None:
    def gate(_: list[Any]) -> None:
        raise StoreUnsuitable("too old.")

    watcher = Watcher(opened(at(running.port), greet=[("PING",)], met=gate))
    waits = watcher.begins("a", seconds=3 * SHORT)
    assert await goes_on(waits)
    await waits


async def test_cancelling_leaves_the_others_alone(watcher: Watcher, running: Running) -> None:
    first = watcher.begins("a")
    await asyncio.sleep(0)
    first.cancel()
    await watcher.ended("b")
    a, b = watcher.begins("a"), watcher.begins("b")
    assert await goes_on(a, b)
    a.cancel()
    assert await goes_on(b)
    publish(running, "a", "b")
    await b


async def test_closing_lets_everybody_go_and_leaves_no_task(watcher: Watcher, running: Running) -> None:
    before = asyncio.all_tasks()
    await watcher.ended("a")
    waits = watcher.begins("a")
    assert await goes_on(waits)
    await watcher.connections.close()
    await waits
    await eventually(lambda: asyncio.all_tasks() <= before)
    await eventually(lambda: not ours(running))
    await watcher.ended("a")
    await asyncio.to_thread(watcher.connections.close_sync)
    await eventually(lambda: not ours(running) and asyncio.all_tasks() <= before)


async def test_closing_lets_those_go_who_are_not_yet_subscribed(
    opened: Make, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings_module, "_AWAY_S", 3 * LONG)
    watcher = Watcher(opened(at(running.port)))
    running.freeze()
    try:
        waits = watcher.begins("a")
        await asyncio.sleep(0.01)
        await watcher.connections.close()
        await waits
    finally:
        running.thaw()


def test_loops_have_subscriptions_of_their_own_and_leave_nothing(running: Running) -> None:
    watcher = Watcher(Connections(at(running.port)))

    async def watch() -> None:
        await watcher.ended("a")
        waits = watcher.begins("a")
        assert await goes_on(waits)
        publish(running, "a")
        await waits

    async def leaves() -> None:
        await watcher.ended("a")
        tasks.append(watcher.begins("a"))
        await asyncio.sleep(0)

    for run in (asyncio.run, uvloop.run):
        tasks: list[asyncio.Task[None]] = []
        run(watch())
        run(leaves())
        assert tasks[0].cancelled()
        asyncio.run(eventually(lambda: not ours(running)))
        assert not watcher.endings._subscriptions
