"""What a task's on_dead is told, whatever killed the job, and when it is not called."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from tests.engine.stage import PATIENCE_S, Stage, Thief, burst, known, serving

from surefoot import Job, Queue, Reject, Retry, current_job
from surefoot.core.job import NewJob

ONCE = Retry(max_attempts=1)


class Mourner:
    """An on_dead that remembers, in a coroutine or in a thread."""

    def __init__(self) -> None:
        self.told: list[Job] = []
        self.inside: list[str] = []
        self.threads: list[int] = []

    def plain(self, job: Job) -> None:
        self.told.append(job)
        self.inside.append(current_job().task)
        self.threads.append(threading.get_ident())

    async def coroutine(self, job: Job) -> None:
        self.plain(job)


@pytest.fixture
def mourner() -> Mourner:
    return Mourner()


def epitaph(dead: str, run: int) -> NewJob:
    """The job that calls on_dead, as the engine puts it beside a death."""
    body = b'{"version":1,"id":"told-%s","task":"dying:on_dead","payload":{"id":"%s","run":%d}}'
    return NewJob(f"told-{dead}", body % (dead.encode(), dead.encode(), run))


async def mourned(jobs: Queue, mourner: Mourner, count: int, **options: Any) -> None:
    """Serve until so many deaths were told of and nothing waits any more."""
    async with serving(jobs, concurrency=1, **options), asyncio.timeout(PATIENCE_S):
        while True:
            stats = await jobs.stats()
            if len(mourner.told) >= count and stats.pending + stats.processing == 0:
                return
            await asyncio.sleep(0.005)


def dying(jobs: Queue, on_dead: Any, **options: Any) -> Any:
    @jobs.task(name="dying", on_dead=on_dead, **{"retry": ONCE, **options})
    async def dying(how: str) -> None:
        if how == "reject":
            raise Reject("no")
        if how == "timeout":
            await asyncio.sleep(3600)
        raise ValueError(how)

    return dying


@pytest.mark.parametrize(("how", "reason"), [("raise", "exhausted"), ("reject", "rejected"), ("timeout", "exhausted")])
@pytest.mark.parametrize("lane", ["loop", "thread"])
async def test_it_is_called_once_with_the_dead_job_in_a_job_of_its_own(
    jobs: Queue, mourner: Mourner, how: str, reason: str, lane: str
) -> None:
    task = dying(jobs, mourner.plain if lane == "thread" else mourner.coroutine)
    job = await task.options(timeout=0.05 if how == "timeout" else 60).enqueue(how)
    await mourned(jobs, mourner, 1)
    [told] = mourner.told
    assert (told.id, told.state, told.reason, told.arguments) == (job.id, "dead", reason, {"how": how})
    assert told.error is not None
    assert mourner.inside == ["dying:on_dead"]
    assert (mourner.threads == [threading.get_ident()]) == (lane == "loop")
    assert await jobs.dead.count() == 1, "the job of on_dead itself has left nothing"
    stats = await jobs.stats()
    assert (stats.pending, stats.scheduled, stats.processing) == (0, 0, 0)


async def test_D4_a_bad_payload_is_told_too_although_nothing_ran(stage: Stage, jobs: Queue, mourner: Mourner) -> None:
    dying(jobs, mourner.coroutine)
    await stage.put(jobs, NewJob("bad", b'{"version":1,"id":"bad","task":"dying","payload":{"how":5}}'))
    await mourned(jobs, mourner, 1)
    [told] = mourner.told
    assert (told.id, told.reason, told.runs) == ("bad", "invalid", 0)


async def test_a_crash_loop_is_told_too(stage: Stage, jobs: Queue, mourner: Mourner) -> None:
    task = dying(jobs, mourner.coroutine, retry=Retry(max_crashes=1))
    job = await task.enqueue("raise")
    await Thief(stage).claim(jobs, lease_ms=1)
    await mourned(jobs, mourner, 1, lease=0.1)
    [told] = mourner.told
    assert (told.id, told.reason, told.crashes) == (job.id, "crash_loop", 1)


async def test_it_is_called_only_for_a_job_that_is_still_dead_since_that_run(
    stage: Stage, jobs: Queue, mourner: Mourner
) -> None:
    task = dying(jobs, mourner.coroutine)
    dead, again, deleted, cancelled = [await task.enqueue("raise") for _ in range(4)]
    await burst(jobs)
    await mourned(jobs, mourner, 4)
    await jobs.dead.requeue(again.id, cancelled.id)
    await jobs.cancel(cancelled.id)
    await jobs.dead.delete(deleted.id)
    await mourned(jobs, mourner, 5)
    mourner.told.clear()
    await stage.put(jobs, *[epitaph(job.id, 1) for job in (again, deleted, cancelled, dead)])
    await mourned(jobs, mourner, 1)
    assert [(told.id, told.runs) for told in mourner.told] == [(dead.id, 1)]


async def test_a_second_death_is_told_again(jobs: Queue, mourner: Mourner) -> None:
    job = await dying(jobs, mourner.coroutine).enqueue("raise")
    await mourned(jobs, mourner, 1)
    assert await jobs.dead.requeue(job.id) == 1
    await mourned(jobs, mourner, 2)
    assert [(told.id, told.runs) for told in mourner.told] == [(job.id, 1), (job.id, 2)]


async def test_an_on_dead_that_fails_is_retried_and_has_no_on_dead_of_its_own(stage: Stage, jobs: Queue) -> None:
    calls: list[int] = []

    async def fails(job: Job) -> None:
        calls.append(current_job().attempt)
        raise RuntimeError("on_dead itself")

    await dying(jobs, fails).enqueue("raise")
    for _ in range(5):
        await burst(jobs)
        stage.wall.forward(600)
    assert calls == [1, 2, 3]
    letters = await jobs.dead.find()
    assert sorted(letter.task for letter in letters) == ["dying", "dying:on_dead"]


async def test_a_retry_is_no_death(jobs: Queue, mourner: Mourner) -> None:
    job = await dying(jobs, mourner.coroutine, retry=Retry(max_attempts=2)).enqueue("raise")
    await burst(jobs)
    assert (await known(job)).state == "scheduled"
    assert mourner.told == []


async def test_it_waits_for_a_worker_that_has_the_task(stage: Stage, jobs: Queue, mourner: Mourner) -> None:
    job = await dying(jobs, mourner.coroutine).enqueue("raise")
    older = stage.queue()

    @older.task(name="dying", retry=ONCE)
    async def without(how: str) -> None:
        raise ValueError(how)

    await burst(older)
    await stage.put(jobs, epitaph(job.id, 1))
    await burst(older)
    assert await jobs.handle(f"told-{job.id}").status() == "parked"
    await mourned(jobs, mourner, 1)
    assert [told.id for told in mourner.told] == [job.id]


async def test_a_burst_also_does_what_its_last_death_brought(jobs: Queue, mourner: Mourner) -> None:
    await dying(jobs, mourner.coroutine).enqueue("raise")
    await burst(jobs)
    assert len(mourner.told) == 1
