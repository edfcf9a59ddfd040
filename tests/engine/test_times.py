"""How long jobs waited and ran, as a worker tells the store: each run once, the wait of each first start once."""

from __future__ import annotations

import asyncio
import time

from tests.engine.stage import burst

from surefoot import Queue, Retry


async def test_every_run_is_timed_and_every_first_start(jobs: Queue) -> None:
    failed: set[int] = set()

    @jobs.task(name="slow", retry=Retry(base=0, max_attempts=3))
    async def slow(n: int) -> None:
        await asyncio.sleep(0.03)
        if n < 2 and n not in failed:
            failed.add(n)
            raise ValueError(n)

    @jobs.task(name="threaded")
    def threaded() -> None:
        time.sleep(0.03)

    await jobs.enqueue_many([slow.draft(n) for n in range(5)] + [threaded.draft() for _ in range(3)])
    await asyncio.sleep(0.02)
    await burst(jobs)
    for rows in (await jobs.history(minutes=5), await jobs.history(hours=2)):
        waited = [row.waiting for row in rows if row.waiting]
        ran = [row.running for row in rows if row.running]
        assert sum(one.count for one in waited) == 8, "a retry waited for its backoff, which is no delay"
        assert sum(one.count for one in ran) == 10
        assert all(one.p50 >= 0.019 for one in waited)
        assert all(0.028 <= one.p50 <= one.p95 <= one.p99 for one in ran)
        assert sum(row.retried for row in rows) == 2


async def test_a_job_that_was_never_begun_is_not_timed(jobs: Queue) -> None:
    @jobs.task(name="late", expires=0.001)
    async def late() -> None: ...

    await late.enqueue()
    await asyncio.sleep(0.02)
    await burst(jobs)
    (row,) = [row for row in await jobs.history(hours=2) if row.expired]
    assert (row.expired, row.waiting, row.running) == (1, None, None)
