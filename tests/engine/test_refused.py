"""A queue that the store refuses stops no other queue of its worker, and goes on when it is whole again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator

import pytest
from tests.client.kinds import SERVER
from tests.conformance.stores import server_of
from tests.engine.stage import PATIENCE_S, burst, happens, known, serving

from surefoot import Queue

MANY = 40
"""More jobs than seconds of patience: with one slot, and one claim a second, they would take too long."""


@pytest.fixture
async def queues(url: str) -> AsyncIterator[tuple[Queue, Queue]]:
    good, bad = Queue(url, name="good"), Queue(url, name="bad")
    async with good, bad:
        yield good, bad


def layout(url: str, number: int) -> None:
    """Mark the bad queue as written by another release: every verb on it is refused."""
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as by_hand:
            by_hand.execute("UPDATE meta SET value = ? WHERE queue = 'surefoot:bad' AND name = 'layout'", (number,))
        by_hand.close()
    else:
        server_of(SERVER).say("HSET", "{surefoot:bad}:meta", "layout", number)


async def test_the_other_queues_of_a_worker_go_on_at_full_speed(queues: tuple[Queue, Queue], url: str) -> None:
    good, bad = queues
    done, more, late = asyncio.Event(), asyncio.Event(), asyncio.Event()
    ran = list[int]()

    @good.task(name="work")
    async def work(number: int) -> None:
        ran.append(number)
        if len(ran) == MANY:
            done.set()

    @bad.task(name="wait")
    async def wait() -> None:
        more.set()

    @bad.every(1, name="often")
    async def often() -> None:
        late.set()

    await wait.enqueue()
    layout(url, 7)
    async with serving(good, bad, concurrency=1, lease=1):
        await good.enqueue_many([work.draft(number) for number in range(MANY)])
        await happens(done)
        assert ran == list(range(MANY))
        layout(url, 1)
        await happens(more)
        await happens(late)


async def test_what_finished_while_its_queue_is_refused_is_settled_later(queues: tuple[Queue, Queue], url: str) -> None:
    _, bad = queues
    began, go = asyncio.Event(), asyncio.Event()

    @bad.task(name="slow")
    async def slow() -> str:
        began.set()
        await go.wait()
        return "done"

    job = await slow.enqueue()
    async with serving(bad, lease=60):
        await happens(began)
        layout(url, 7)
        go.set()
        await asyncio.sleep(1.5)  # at least one settle is refused
        layout(url, 1)
        assert await job.result(timeout=PATIENCE_S) == "done"
    assert (await known(job)).runs == 1


async def test_a_key_of_the_wrong_type_stops_its_queue_only(queues: tuple[Queue, Queue], url: str) -> None:
    if url.startswith("sqlite"):
        pytest.skip("SQLite has no keys")
    good, bad = queues
    done, more, server = asyncio.Event(), asyncio.Event(), server_of(SERVER)
    ran = list[int]()

    @good.task(name="work")
    async def work(number: int) -> None:
        ran.append(number)
        if len(ran) == MANY:
            done.set()

    @bad.task(name="wait")
    async def wait() -> None:
        more.set()

    await wait.enqueue()
    server.say("SET", "{surefoot:bad}:notes", "x")
    async with serving(good, bad, concurrency=1, lease=1):
        await good.enqueue_many([work.draft(number) for number in range(MANY)])
        await happens(done)
        assert not more.is_set()
        server.say("DEL", "{surefoot:bad}:notes")
        await happens(more)
    await burst(good, bad)
