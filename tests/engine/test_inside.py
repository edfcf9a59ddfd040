"""What a handler sees of its own job, and how it is told to end: current_job() in both lanes, progress, cancel."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.engine.stage import PATIENCE_S, SHORT, Stage, Thief, Witness, burst, happens, known, serving

from surefoot import (
    Cancel,
    JobCancelled,
    JobContext,
    LeaseLost,
    NotInJob,
    Progress,
    Queue,
    Retry,
    current_job,
    in_job,
)

LANES = pytest.mark.parametrize("lane", ["loop", "thread"])


def facts(job: JobContext) -> dict[str, Any]:
    return {
        "id": job.id, "queue": job.queue, "task": job.task, "attempt": job.attempt, "failures": job.failures,
        "crashes": job.crashes, "last": job.last_attempt, "key": job.key, "group": job.group,
        "headers": dict(job.headers), "cancelled": job.cancelled, "stopping": job.stopping, "token": job.token,
        "worker": job.worker, "enqueued": job.enqueued_at, "started": job.started_at, "deadline": job.deadline,
    }  # fmt: skip


@LANES
async def test_current_job_tells_all_of_its_job(jobs: Queue, lane: str) -> None:
    seen: list[dict[str, Any]] = []
    policy = Retry(max_attempts=2, base=0.01)

    def look() -> None:
        seen.append(facts(current_job()))
        if len(seen) == 1:
            raise ValueError("the first time")

    @jobs.task(name="plain", retry=policy, timeout=30)
    def plain() -> None:
        look()

    @jobs.task(name="coroutine", retry=policy, timeout=30)
    async def coroutine() -> None:
        look()

    task: Any = plain if lane == "thread" else coroutine
    handle = await task.options(key="k", headers={"tenant": "blue"}, keep_result=60).enqueue()
    async with serving(jobs) as worker:
        await handle.result(timeout=PATIENCE_S)
        first, second = seen
        same = {"id": handle.id, "queue": "jobs", "task": task.name, "key": "k", "group": None, "crashes": 0}
        same |= {"headers": {"tenant": "blue"}, "cancelled": False, "stopping": False, "worker": worker.id}
    assert first == first | same | {"attempt": 1, "failures": 0, "last": False}
    assert second == second | same | {"attempt": 2, "failures": 1, "last": True}
    assert first["token"] != second["token"]
    for one in seen:
        assert one["token"].startswith(one["worker"] + ".")
        assert one["enqueued"] <= one["started"] <= datetime.now(UTC) + timedelta(seconds=1)
        assert timedelta(seconds=29.9) < one["deadline"] - one["started"] <= timedelta(seconds=30)


def test_outside_a_job_there_is_none() -> None:
    assert not in_job()
    with pytest.raises(NotInJob, match="outside a job"):
        current_job()


@LANES
async def test_a_job_without_a_limit_has_no_deadline(jobs: Queue, lane: str) -> None:
    @jobs.task(name="plain", timeout=float("inf"), keep_result=60)
    def plain() -> bool:
        current_job().extend(5)
        return current_job().deadline is None and in_job()

    @jobs.task(name="coroutine", timeout=float("inf"), keep_result=60)
    async def coroutine() -> bool:
        current_job().extend(5)
        return current_job().deadline is None and in_job()

    job = await (plain if lane == "thread" else coroutine).enqueue()
    await burst(jobs)
    assert await job.result(timeout=0) is True


async def test_two_plain_functions_of_one_thread_share_no_context(jobs: Queue) -> None:
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")

    @jobs.task(name="work")
    def work() -> str:
        before = tenant.get()
        tenant.set(current_job().id)
        return before

    handles = await jobs.enqueue_many([work.draft() for _ in range(4)])
    await burst(jobs, threads=1)
    assert [await handle.result(timeout=0) for handle in handles] == ["nobody"] * 4


@LANES
async def test_progress_travels_with_a_renewal_and_is_seen_from_outside(jobs: Queue, lane: str) -> None:
    told, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        current_job().progress(1, 10)
        current_job().progress(3, 10, note="three")
        loop.call_soon_threadsafe(told.set)

    @jobs.task(name="plain")
    def plain() -> None:
        tell()
        gate.wait(PATIENCE_S)

    @jobs.task(name="coroutine")
    async def coroutine() -> None:
        tell()
        await asyncio.to_thread(gate.wait, PATIENCE_S)

    job = await (plain if lane == "thread" else coroutine).enqueue()
    async with serving(jobs, lease=SHORT):
        await happens(told)
        progress = None
        async with asyncio.timeout(PATIENCE_S):
            while progress is None:
                await asyncio.sleep(0.02)
                progress = (await known(job)).progress
        gate.set()
    assert isinstance(progress, Progress)
    assert (progress.done, progress.total, progress.note) == (3, 10, "three")


@LANES
async def test_extend_moves_the_deadline_and_without_it_the_run_is_over(jobs: Queue, lane: str) -> None:
    gate = threading.Event()

    @jobs.task(name="plain", timeout=0.2, retry=Retry(max_attempts=1), keep_result=60)
    def plain(more: bool) -> None:
        if more:
            current_job().extend(3600)
            gate.wait(0.5)
        else:
            gate.wait(PATIENCE_S)

    @jobs.task(name="coroutine", timeout=0.2, retry=Retry(max_attempts=1), keep_result=60)
    async def coroutine(more: bool) -> None:
        if more:
            current_job().extend(3600)
            await asyncio.sleep(0.5)
        else:
            await asyncio.sleep(3600)

    task: Any = plain if lane == "thread" else coroutine
    moved, over = await task.enqueue(True), await task.enqueue(False)
    witness = Witness()
    async with serving(jobs, on_event=witness):
        await witness.sees("completed", moved.id)
        await witness.sees("timed_out", over.id)
        gate.set()
    assert witness.kinds(moved.id) == ["started", "completed"]
    assert (await known(over)).state == "dead"


async def test_a_running_coroutine_is_cancelled_by_request(jobs: Queue) -> None:
    running, ended = asyncio.Event(), asyncio.Event()

    @jobs.task(name="endless")
    async def endless() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert current_job().cancelled
            ended.set()
            raise

    job = await endless.enqueue()
    witness = Witness()
    async with serving(jobs, lease=SHORT, on_event=witness):
        await happens(running)
        assert await job.cancel("not needed") == "requested"
        await witness.sees("cancelled", job.id)
    assert ended.is_set()
    with pytest.raises(JobCancelled) as caught:
        await jobs.handle(job.id).result(timeout=0)
    assert caught.value.reason == "not needed"
    assert witness.kinds(job.id) == ["started", "cancelled"]


async def test_a_running_thread_learns_of_a_cancel_by_check(jobs: Queue) -> None:
    running = asyncio.Event()
    loop, never = asyncio.get_running_loop(), threading.Event()

    @jobs.task(name="plain")
    def plain() -> None:
        loop.call_soon_threadsafe(running.set)
        while not never.wait(0.01):
            current_job().check()

    job = await plain.enqueue()
    witness = Witness()
    async with serving(jobs, lease=SHORT, on_event=witness):
        await happens(running)
        assert await job.cancel("enough") == "requested"
        await witness.sees("cancelled", job.id)
    assert await job.status() == "cancelled"


async def test_a_thread_that_does_not_look_may_finish_although_cancelled(jobs: Queue) -> None:
    running, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @jobs.task(name="plain", keep_result=60)
    def plain() -> str:
        loop.call_soon_threadsafe(running.set)
        gate.wait(PATIENCE_S)
        return "all the same"

    job = await plain.enqueue()
    async with serving(jobs):
        await happens(running)
        await job.cancel()
        gate.set()
        assert await job.result(timeout=PATIENCE_S) == "all the same"


async def test_check_raises_when_the_time_is_over(jobs: Queue) -> None:
    said: list[str] = []
    never = threading.Event()

    @jobs.task(name="plain", timeout=0.1, retry=Retry(max_attempts=1))
    def plain() -> None:
        try:
            while not never.wait(0.01):
                current_job().check()
        except TimeoutError as over:
            said.append(str(over))
            raise

    job = await plain.enqueue()
    witness = Witness()
    async with serving(jobs, on_event=witness):
        await witness.sees("dead", job.id)
        async with asyncio.timeout(PATIENCE_S):
            while not said:
                await asyncio.sleep(0.01)
    assert said == ["plain is out of time"]


@pytest.mark.parametrize("state", ["pending", "scheduled", "parked"])
async def test_a_waiting_job_is_cancelled_at_once_and_never_runs(jobs: Queue, state: str) -> None:
    ran: list[str] = []

    @jobs.task(name="work")
    async def work() -> None:
        ran.append(current_job().id)

    if state == "parked":
        job = await jobs.by_name("elsewhere").enqueue()
        await burst(jobs)
    else:
        job = await work.options(delay=60 if state == "scheduled" else 0).enqueue()
    assert await job.status() == state
    assert await job.cancel("no") == "cancelled"
    await burst(jobs)
    assert ran == []
    with pytest.raises(JobCancelled):
        await jobs.handle(job.id).result(timeout=0)


@LANES
async def test_W10_a_lost_lease_ends_the_run_and_nothing_of_it_counts(stage: Stage, jobs: Queue, lane: str) -> None:
    running, ended = asyncio.Event(), asyncio.Event()
    loop, never = asyncio.get_running_loop(), threading.Event()
    raised: list[str] = []

    @jobs.task(name="plain")
    def plain() -> None:
        loop.call_soon_threadsafe(running.set)
        try:
            while not never.wait(0.01):
                current_job().check()
        except LeaseLost as lost:
            raised.append(str(lost))
            loop.call_soon_threadsafe(ended.set)
            raise

    @jobs.task(name="coroutine")
    async def coroutine() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    job = await (plain if lane == "thread" else coroutine).enqueue()
    witness = Witness()
    async with serving(jobs, lease=SHORT, on_event=witness):
        await happens(running)
        stolen = await Thief(stage).steal(jobs)
        assert (stolen.id, stolen.counts.crashes) == (job.id, 1)
        await happens(ended)
        await witness.sees("lease_lost", job.id)
    assert witness.kinds(job.id) == ["started", "lease_lost"], "once, and nothing else"
    stored = await known(job)
    assert (stored.state, stored.runs, stored.crashes, stored.failures) == ("processing", 1, 1, 0)
    assert len(raised) == (lane == "thread")


async def test_a_result_that_comes_after_the_lease_was_taken_is_refused(stage: Stage, jobs: Queue) -> None:
    running, gate = asyncio.Event(), asyncio.Event()

    @jobs.task(name="work", keep_result=60)
    async def work() -> str:
        running.set()
        await gate.wait()
        return "zombie"

    job = await work.enqueue()
    witness = Witness()
    async with serving(jobs, lease=60, on_event=witness):  # its keeper does not ask again before the end
        await happens(running)
        assert (await Thief(stage).steal(jobs)).id == job.id
        gate.set()
        await witness.sees("lease_lost", job.id)
    assert await job.status() == "processing"
    assert witness.kinds(job.id) == ["started", "lease_lost"]


async def test_cancel_of_a_job_that_would_wait_again_ends_it(jobs: Queue) -> None:
    running, gate = asyncio.Event(), asyncio.Event()

    @jobs.task(name="fails", retry=Retry(base=60))
    async def fails() -> None:
        running.set()
        await gate.wait()
        raise ValueError("again, please")

    job = await fails.enqueue()
    witness = Witness()
    async with serving(jobs, lease=60, on_event=witness):  # the request does not reach the run in time
        await happens(running)
        await job.cancel("enough")
        gate.set()
        await witness.sees("cancelled", job.id)
    assert await job.status() == "cancelled"


async def test_the_handlers_own_cancel_is_a_cancel(jobs: Queue) -> None:
    @jobs.task(name="work")
    def work() -> None:
        raise Cancel("the order is gone")

    job = await work.enqueue()
    await burst(jobs)
    with pytest.raises(JobCancelled) as caught:
        await jobs.handle(job.id).result(timeout=0)
    assert caught.value.reason == "the order is gone"
