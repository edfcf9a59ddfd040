"""A server that is emptied under its workers: said once, what ran is dropped, and they go on with what comes next."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import pytest
from tests.client.kinds import SERVER
from tests.conformance.stores import server_of
from tests.engine.stage import PATIENCE_S, SHORT, Stage, Witness, happens, serving

from surefoot import Queue, Worker, current_job
from surefoot.engine import keeper

pytestmark = pytest.mark.parametrize("kind", ["redis"], indirect=True)

SAID = "the store was emptied or replaced"


class Shop:
    """A queue with a job that runs until it is stopped, a short one, and a cron entry."""

    def __init__(self, jobs: Queue) -> None:
        self.jobs = jobs
        self.ran = Counter[str]()
        self.begun = asyncio.Event()
        self.dropped = asyncio.Event()
        self.ticked = asyncio.Event()

        @jobs.task(name="endless")
        async def endless() -> None:
            self.ran[current_job().id] += 1
            self.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.dropped.set()

        @jobs.task(name="short", keep_result=60)
        async def short() -> str:
            return "done"

        self.endless, self.short = endless, short

    def with_cron(self) -> None:
        @self.jobs.every(0.1, name="ticks")
        async def ticks() -> None:
            self.ticked.set()

    async def ticks_again(self, times: int = 3) -> None:
        for _ in range(times):
            self.ticked.clear()
            await happens(self.ticked)


@pytest.fixture
async def shop(jobs: Queue, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(keeper, "BEAT_S", 0.2)  # how soon an idle worker learns it
    return Shop(jobs)


async def said(caplog: pytest.LogCaptureFixture, times: int = 1) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while lines(caplog) < times:
            await asyncio.sleep(0.02)


def lines(caplog: pytest.LogCaptureFixture) -> int:
    return sum(SAID in line.getMessage() and line.levelno == logging.ERROR for line in caplog.records)


def empty() -> None:
    server_of(SERVER).say("FLUSHALL")


async def test_R6_a_busy_worker_says_so_once_drops_what_ran_and_goes_on(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.with_cron()
    witness = Witness()
    job = await shop.endless.enqueue()
    async with serving(shop.jobs, lease=SHORT, on_event=witness):
        await happens(shop.begun)
        await shop.ticks_again()
        empty()
        await witness.sees("lease_lost", job.id)
        await happens(shop.dropped)
        await said(caplog)
        await shop.ticks_again()
        for _ in range(3):
            assert await (await shop.short.enqueue()).result(timeout=PATIENCE_S) == "done"
        [alive] = await shop.jobs.workers()
        assert [info.name for info in await shop.jobs.crons()] == ["ticks"], "the entries are written again"
        assert alive.running == 0
        await shop.ticks_again()
    assert lines(caplog) == 1
    assert shop.ran == {job.id: 1}
    assert witness.of("crashed") == [] and await job.status() is None


async def test_R6_idle_workers_say_so_once_each_and_are_woken_by_the_next_job(
    stage: Stage, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.queue().by_name("short").enqueue()  # another producer than the one that comes after
    witness = Witness()
    workers = [Worker(shop.jobs, concurrency=1, on_event=witness) for _ in range(2)]
    async with asyncio.timeout(3 * PATIENCE_S), workers[0], workers[1]:
        await witness.sees("completed")
        async with asyncio.timeout(PATIENCE_S):
            while len(await shop.jobs.workers()) < 2:  # each knows the store that is about to be emptied
                await asyncio.sleep(0.01)
        empty()
        assert await (await shop.short.enqueue()).result(timeout=PATIENCE_S) == "done"
        await said(caplog, times=2)
        assert await (await shop.short.enqueue()).result(timeout=PATIENCE_S) == "done"
    assert lines(caplog) == 2
    assert witness.of("crashed") == []


async def test_R6_a_job_that_ends_after_its_server_was_emptied_leaves_nothing(jobs: Queue) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    @jobs.task(name="work", keep_result=60)
    async def work() -> str:
        begun.set()
        await gate.wait()
        return "done"

    witness = Witness()
    job = await work.enqueue()
    async with serving(jobs, on_event=witness):  # its lease is long: it ends before the keeper tells of the loss
        await happens(begun)
        empty()
        gate.set()
        await witness.sees("lease_lost", job.id)
        assert await job.status() is None
        later = await work.enqueue()
        assert await later.result(timeout=PATIENCE_S) == "done"
    assert witness.of("completed", job.id) == []
