"""Keys, ids and expiry as a worker meets them: one job of a key at a time, and when a job comes too late."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engine.stage import PATIENCE_S, Stage, Thief, burst, known, serving

from surefoot import DuplicateJob, JobExpired, Key, Queue, Retry
from surefoot.core.job import NewJob
from surefoot.core.transition import Return, Transition


def working(jobs: Queue) -> tuple[Any, list[int]]:
    ran: list[int] = []

    @jobs.task(name="work", keep_result=60)
    async def work(number: int) -> None:
        ran.append(number)

    return work, ran


async def test_D9_a_key_holds_one_job_until_it_has_finished(jobs: Queue) -> None:
    work, ran = working(jobs)
    first = await work.options(key="k").enqueue(1)
    second = await work.options(key="k").enqueue(2)
    assert (second.id, second.duplicate) == (first.id, True)
    with pytest.raises(DuplicateJob):
        await work.options(key=Key("k", duplicate="raise")).enqueue(3)
    replaced = await work.options(key=Key("k", duplicate="replace")).enqueue(4)
    assert await first.status() == "cancelled"
    await burst(jobs)
    assert ran == [4]
    assert await replaced.status() == "completed"
    assert not (await work.options(key="k").enqueue(5)).duplicate


async def test_D9_a_key_until_started_lets_one_more_wait_behind_the_running_one(jobs: Queue) -> None:
    key, ran, duplicates = Key("k", until="started"), [], []

    @jobs.task(name="work")
    async def work(number: int) -> None:
        ran.append(number)
        if number == 1:
            duplicates.extend([(await work.options(key=key).enqueue(more)).duplicate for more in (2, 3)])

    await work.options(key=key).enqueue(1)
    async with serving(jobs, concurrency=1), asyncio.timeout(PATIENCE_S):  # the second starts only after the first
        while len(ran) < 2:
            await asyncio.sleep(0.005)
    await burst(jobs)
    assert (ran, duplicates) == ([1, 2], [False, True])


async def test_D9_the_same_id_is_one_job(jobs: Queue) -> None:
    work, ran = working(jobs)
    await work.options(id="one").enqueue(1)
    assert (await work.options(id="one").enqueue(2)).duplicate
    await burst(jobs)
    assert ran == [1]


async def test_D11_expires_counts_from_the_due_time(stage: Stage, jobs: Queue) -> None:
    work, ran = working(jobs)
    job = await work.options(delay=1000, expires=10).enqueue(1)
    late = await work.options(delay=1000, expires=10).enqueue(2)
    stage.wall.forward(1009)
    await burst(jobs, concurrency=1)
    assert ran == [1, 2]
    too_late = await work.options(expires=10).enqueue(3)
    stage.wall.forward(11)
    await burst(jobs)
    assert ran == [1, 2]
    with pytest.raises(JobExpired):
        await jobs.handle(too_late.id).result(timeout=0)
    assert [await one.status() for one in (job, late)] == ["completed", "completed"]


async def test_D11_a_job_that_has_started_once_does_not_expire(stage: Stage, jobs: Queue) -> None:
    runs: list[int] = []

    @jobs.task(name="work", retry=Retry(base=100, jitter=0), keep_result=60)
    async def work() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("again")

    job = await work.options(expires=10).enqueue()
    await burst(jobs)
    stage.wall.forward(101)
    await burst(jobs)
    assert await job.status() == "completed"


async def test_D11_a_requeue_starts_the_time_anew(stage: Stage, jobs: Queue) -> None:
    _, ran = working(jobs)
    await stage.put(
        jobs,
        NewJob("x", b'{"version":1,"id":"x","task":"work","payload":{},"options":{"expires_after_ms":10000}}'),
    )
    await burst(jobs)
    assert (await known(jobs.handle("x"))).reason == "invalid"
    await jobs.dead.edit("x", number=9)
    stage.wall.forward(1000)
    assert await jobs.dead.requeue("x") == 1
    await burst(jobs)
    assert ran == [9]
    assert await jobs.handle("x").status() == "completed"


async def test_D11_a_lost_lease_counts_as_a_start(stage: Stage, jobs: Queue) -> None:
    work, ran = working(jobs)
    job = await work.options(expires=10).enqueue(1)
    thief = Thief(stage)
    [leased] = await thief.claim(jobs, lease_ms=1_000)
    stage.wall.forward(1000)
    [again] = await thief.claim(jobs, lease_ms=1_000)
    assert again.id == leased.id
    assert await thief.settle(jobs, Transition(again.id, again.token, Return())) == ["applied"]
    await burst(jobs)
    assert ran == [1]
    assert await job.status() == "completed"
