"""How runs end and what becomes of their jobs: retries, timeouts, signals, and the options that bound them."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.engine.stage import PATIENCE_S, Stage, Thief, Witness, burst, known, serving

from surefoot import Cancel, JobCancelled, JobFailed, Queue, Reject, Retry, RetryLater, Snooze, Worker, current_job

LANES = pytest.mark.parametrize("lane", ["loop", "thread"])
POLICY = Retry(max_attempts=3, base=10, factor=3, cap=25, jitter=0)


def raising(jobs: Queue, lane: str, error: BaseException, **options: Any) -> Any:
    """A task that raises, in this lane."""

    @jobs.task(name="plain", **options)
    def plain() -> None:
        raise error

    @jobs.task(name="coroutine", **options)
    async def coroutine() -> None:
        raise error

    return plain if lane == "thread" else coroutine


@LANES
async def test_a_failed_run_is_tried_again_when_the_policy_says_and_dies_when_it_is_used_up(
    stage: Stage, jobs: Queue, lane: str
) -> None:
    job = await raising(jobs, lane, ValueError("boom"), retry=POLICY).enqueue()
    for failures, wait in ((1, 10), (2, 25)):
        before_ms = stage.wall()
        await burst(jobs)
        stored = await known(job)
        assert (stored.state, stored.failures, stored.runs) == ("scheduled", failures, failures)
        assert before_ms + wait * 1000 <= stored.due_at.timestamp() * 1000 <= stage.wall() + wait * 1000
        await burst(jobs)
        assert (await known(job)).runs == failures, "not before its time"
        stage.wall.forward(wait)
    await burst(jobs)
    stored = await known(job)
    assert (stored.state, stored.reason, stored.failures, stored.runs) == ("dead", "exhausted", 3, 3)
    assert stored.error is not None and f"in {stored.task}" in stored.error.traceback
    with pytest.raises(JobFailed) as caught:
        await jobs.handle(job.id).result(timeout=0)
    assert caught.value.error.matches(ValueError) and caught.value.failures == 3


async def test_retries_come_by_themselves(jobs: Queue) -> None:
    @jobs.task(name="flaky", retry=Retry(max_attempts=5, base=0.01))
    async def flaky() -> int:
        if current_job().attempt < 4:
            raise OSError("not yet")
        return current_job().attempt

    job = await flaky.enqueue()
    async with serving(jobs):
        assert await job.result(timeout=PATIENCE_S) == 4
    stored = await known(job)
    assert (stored.state, stored.failures, stored.runs) == ("completed", 3, 4)


async def test_give_up_on_ends_at_the_first_and_retry_on_refuses_what_it_does_not_name(jobs: Queue) -> None:
    policy = Retry(max_attempts=9, retry_on=OSError, give_up_on=FileNotFoundError)

    @jobs.task(name="work", retry=policy)
    async def work(kind: str) -> None:
        raise {"os": OSError, "missing": FileNotFoundError, "value": ValueError}[kind](kind)

    handles = [await work.enqueue(kind) for kind in ("os", "missing", "value")]
    await burst(jobs)
    states = [(await known(handle)).state for handle in handles]
    assert states == ["scheduled", "dead", "dead"]


async def test_within_allows_no_attempt_later_than_so_long_after_it_was_due(stage: Stage, jobs: Queue) -> None:
    @jobs.task(name="work", retry=Retry.forever(base=60, factor=1, jitter=0, within=100))
    async def work() -> None:
        raise ValueError("boom")

    job = await work.options(delay=1000).enqueue()
    stage.wall.forward(1000)
    await burst(jobs)
    assert (await known(job)).state == "scheduled", "it was due a moment ago: 60 s are within 100 s"
    stage.wall.forward(61)
    await burst(jobs)
    stored = await known(job)
    assert (stored.state, stored.reason, stored.failures) == ("dead", "exhausted", 2)


async def test_max_attempts_of_one_job_outdo_those_of_its_task(jobs: Queue) -> None:
    task = raising(jobs, "loop", ValueError("boom"), retry=Retry(max_attempts=3))
    once = await task.options(max_attempts=1).enqueue()
    await burst(jobs)
    stored = await known(once)
    assert (stored.state, stored.failures, stored.max_attempts) == ("dead", 1, 1)


async def test_a_coroutine_is_timed_out_and_tried_again(jobs: Queue) -> None:
    cancelled: list[int] = []

    @jobs.task(name="slow", timeout=0.1, retry=Retry(max_attempts=2, base=0.01))
    async def slow() -> str:
        if current_job().attempt == 2:
            return "in time"
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(current_job().attempt)
            raise
        return "never"

    job = await slow.enqueue()
    async with serving(jobs):
        assert await job.result(timeout=PATIENCE_S) == "in time"
    stored = await known(job)
    assert cancelled == [1] and stored.failures == 1
    assert stored.error is not None and stored.error.kind == "TimeoutError"
    assert stored.error.message == "slow did not finish within 0.1 s"


async def test_a_timeout_of_one_job_and_no_timeout(jobs: Queue) -> None:
    @jobs.task(name="slow", timeout=3600, retry=Retry(max_attempts=1))
    async def slow() -> None:
        await asyncio.sleep(0.3)

    short = await slow.options(timeout=0.05).enqueue()
    free = await slow.options(timeout=float("inf"), keep_result=60).enqueue()
    async with serving(jobs):
        await free.result(timeout=PATIENCE_S)
    assert (await known(short)).state == "dead"


async def test_a_coroutine_that_ends_well_after_its_timeout_was_told_is_completed(jobs: Queue) -> None:
    @jobs.task(name="saves", timeout=0.05, retry=Retry(max_attempts=1))
    async def saves() -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "saved"
        return "never"

    job = await saves.enqueue()
    async with serving(jobs):
        assert await job.result(timeout=PATIENCE_S) == "saved"


async def test_W12_a_stuck_thread_is_given_up_its_slot_replaced_and_its_end_ignored(jobs: Queue) -> None:
    gate = threading.Event()

    @jobs.task(name="stuck", timeout=0.1, retry=Retry(max_attempts=1))
    def stuck() -> str:
        gate.wait(PATIENCE_S)
        return "too late"

    @jobs.task(name="next", keep_result=60)
    def next_one() -> str:
        return "served"

    job = await stuck.enqueue()
    witness = Witness()
    async with serving(jobs, concurrency=2, threads=2, on_event=witness) as worker:
        event = await witness.sees("thread_stuck", job.id)
        assert (event.task, event.details["stuck"]) == ("stuck", 1)
        after = await jobs.enqueue_many([next_one.draft() for _ in range(5)])
        for one in after:
            assert await one.result(timeout=PATIENCE_S) == "served"
        gate.set()
    assert worker.exit_code == 0
    assert (await known(job)).state == "dead"
    assert witness.kinds(job.id) == ["started", "thread_stuck", "timed_out", "dead"]


async def test_W12_as_many_stuck_threads_as_there_may_be_drain_the_worker_with_75(jobs: Queue) -> None:
    gate = threading.Event()

    @jobs.task(name="stuck", timeout=0.1, retry=Retry(base=3600))
    def stuck() -> None:
        gate.wait(PATIENCE_S)

    handles = [await stuck.enqueue() for _ in range(2)]
    worker = await burst(jobs, threads=2, concurrency=10)
    gate.set()
    assert worker.exit_code == 75
    assert [(await known(job)).failures for job in handles] == [1, 1]
    assert (await jobs.stats()).processing == 0


def test_W12_run_leaves_with_75(jobs: Queue) -> None:
    gate = threading.Event()

    @jobs.task(name="stuck", timeout=0.1)
    def stuck() -> None:
        gate.wait(PATIENCE_S)

    stuck.enqueue_sync()
    with pytest.raises(SystemExit) as left:
        Worker(jobs, threads=1).run()
    gate.set()
    assert left.value.code == 75


@LANES
async def test_snooze_costs_no_attempt(stage: Stage, jobs: Queue, lane: str) -> None:
    job = await raising(jobs, lane, Snooze(timedelta(minutes=1)), retry=Retry(max_attempts=1)).enqueue()
    for snoozes in (1, 2):
        await burst(jobs)
        stored = await known(job)
        assert (stored.state, stored.snoozes, stored.failures, stored.runs) == ("scheduled", snoozes, 0, snoozes)
        assert 59_000 < stored.due_at.timestamp() * 1000 - stage.wall() <= 60_000
        stage.wall.forward(60)


async def test_snooze_until_a_moment(jobs: Queue) -> None:
    until = datetime.now(UTC) + timedelta(hours=2)
    job = await raising(jobs, "loop", Snooze(until=until)).enqueue()
    await burst(jobs)
    stored = await known(job)
    assert stored.state == "scheduled"
    assert abs(stored.due_at - until) < timedelta(milliseconds=100)


async def test_W14_a_run_that_snoozes_forgets_the_crashes_before_it(stage: Stage, jobs: Queue) -> None:
    thief = Thief(stage)
    job = await raising(jobs, "loop", Snooze(60)).enqueue()
    for _ in range(3):
        await thief.claim(jobs, lease_ms=1)
        stage.wall.forward(1)
    assert (await known(job)).crashes == 2
    [leased] = await thief.claim(jobs, lease_ms=1_000)
    await thief.begins(jobs, leased)
    stage.wall.forward(0.9)
    async with serving(jobs, lease=0.1):  # trusts its clock after one lease, then takes the job over: the third crash
        async with asyncio.timeout(PATIENCE_S):
            while (await known(job)).state == "processing":
                await asyncio.sleep(0.02)
    assert (await known(job)).state == "dead", "three crashes, and no run in between"
    assert await jobs.dead.requeue(job.id) == 1
    await thief.claim(jobs, lease_ms=1)
    stage.wall.forward(1)
    async with serving(jobs, lease=0.1):
        async with asyncio.timeout(PATIENCE_S):
            while (await known(job)).state != "scheduled":
                await asyncio.sleep(0.02)
    stored = await known(job)
    assert (stored.crashes, stored.snoozes) == (0, 1)


@LANES
async def test_retry_later_is_a_failure_with_its_own_delay(stage: Stage, jobs: Queue, lane: str) -> None:
    job = await raising(jobs, lane, RetryLater(500, "busy"), retry=Retry(max_attempts=2)).enqueue()
    await burst(jobs)
    stored = await known(job)
    assert (stored.state, stored.failures) == ("scheduled", 1)
    assert 498_000 < stored.due_at.timestamp() * 1000 - stage.wall() <= 500_000
    stage.wall.forward(500)
    await burst(jobs)
    stored = await known(job)
    assert (stored.state, stored.reason, stored.failures) == ("dead", "exhausted", 2)


@LANES
async def test_reject_is_a_dead_letter_at_once(jobs: Queue, lane: str) -> None:
    job = await raising(jobs, lane, Reject("no such address"), retry=Retry(max_attempts=9)).enqueue()
    await burst(jobs)
    stored = await known(job)
    assert (stored.state, stored.reason, stored.failures) == ("dead", "rejected", 1)
    assert stored.error is not None and stored.error.message == "no such address"


@LANES
async def test_cancel_ends_it_as_cancelled(jobs: Queue, lane: str) -> None:
    job = await raising(jobs, lane, Cancel("sold out")).enqueue()
    await burst(jobs)
    with pytest.raises(JobCancelled) as caught:
        await jobs.handle(job.id).result(timeout=0)
    assert caught.value.reason == "sold out"


async def test_except_exception_does_not_swallow_a_signal(jobs: Queue) -> None:
    @jobs.task(name="work")
    async def work() -> None:
        try:
            raise Snooze(60)
        except Exception:
            pytest.fail("a signal is no Exception")

    job = await work.enqueue()
    await burst(jobs)
    assert (await known(job)).state == "scheduled"


async def test_a_signal_in_the_group_of_a_task_group_is_found(jobs: Queue) -> None:
    async def child() -> None:
        raise Snooze(60)

    @jobs.task(name="work")
    async def work() -> None:
        async with asyncio.TaskGroup() as outer:
            outer.create_task(asyncio.sleep(3600))
            async with asyncio.TaskGroup() as inner:
                inner.create_task(child())

    job = await work.enqueue()
    await burst(jobs)
    stored = await known(job)
    assert (stored.state, stored.snoozes, stored.failures) == ("scheduled", 1, 0)


async def test_a_timeout_inside_the_handler_is_an_ordinary_failure(jobs: Queue) -> None:
    @jobs.task(name="work", retry=Retry(max_attempts=1))
    async def work() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(3600)

    job = await work.enqueue()
    witness = Witness()
    await burst(jobs, on_event=witness)
    assert (await known(job)).state == "dead"
    assert witness.kinds(job.id) == ["started", "failed", "dead"]
