"""Middleware around both lanes, and on_event: what is told, once, in which order, and when the listener fails."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from typing import Any

import pytest
from tests.engine.stage import PATIENCE_S, SHORT, Stage, Thief, Witness, burst, happens, known, serving

from surefoot import CallNext, Event, JobContext, JobFailed, Queue, Reject, Retry, RetryLater, Snooze, current_job


def tasks_of(jobs: Queue, work: Any) -> dict[str, Any]:
    """`work` as a task of each lane."""

    @jobs.task(name="plain", keep_result=60, retry=Retry(max_attempts=1))
    def plain() -> Any:
        return work()

    @jobs.task(name="coroutine", keep_result=60, retry=Retry(max_attempts=1))
    async def coroutine() -> Any:
        return work()

    return {"thread": plain, "loop": coroutine}


LANES = pytest.mark.parametrize("lane", ["loop", "thread"])


@LANES
async def test_the_first_middleware_is_outermost_and_each_runs_once_a_run(jobs: Queue, lane: str) -> None:
    steps: list[str] = []

    async def outer(job: JobContext, call_next: CallNext) -> object:
        steps.append(f"outer in {job.task}")
        try:
            return await call_next()
        finally:
            steps.append("outer out")

    async def inner(job: JobContext, call_next: CallNext) -> object:
        steps.append(f"inner in {job.attempt}")
        value = await call_next()
        steps.append(f"inner out {value}")
        return value

    def work() -> str:
        steps.append("handler")
        return current_job().id

    job = await tasks_of(jobs, work)[lane].enqueue()
    await burst(jobs, middleware=[outer, inner])
    assert await job.result(timeout=0) == job.id
    name = "plain" if lane == "thread" else "coroutine"
    assert steps == [f"outer in {name}", "inner in 1", "handler", f"inner out {job.id}", "outer out"]


@LANES
async def test_middleware_sees_the_exception_and_may_answer_for_the_handler(jobs: Queue, lane: str) -> None:
    seen: list[BaseException] = []

    async def sees(job: JobContext, call_next: CallNext) -> object:
        try:
            return await call_next()
        except ValueError as error:
            seen.append(error)
            if job.headers.get("forgive"):
                return "forgiven"
            raise

    def work() -> None:
        raise ValueError("boom")

    task = tasks_of(jobs, work)[lane]
    forgiven, failed = await task.options(headers={"forgive": "yes"}).enqueue(), await task.enqueue()
    await burst(jobs, middleware=[sees])
    assert [str(error) for error in seen] == ["boom", "boom"]
    assert await jobs.handle(forgiven.id).result(timeout=0) == "forgiven"
    with pytest.raises(JobFailed) as caught:
        await failed.result(timeout=0)
    assert (caught.value.error.kind, caught.value.error.message) == ("ValueError", "boom")


@LANES
async def test_an_error_of_the_middleware_is_a_failed_attempt(jobs: Queue, lane: str) -> None:
    async def broken(job: JobContext, call_next: CallNext) -> object:
        raise KeyError("middleware")

    job = await tasks_of(jobs, lambda: None)[lane].enqueue()
    await burst(jobs, middleware=[broken])
    stored = await known(job)
    assert stored.state == "dead" and stored.error is not None and stored.error.kind == "KeyError"


async def test_a_plain_function_inside_middleware_is_still_in_a_thread_and_has_its_context(jobs: Queue) -> None:
    async def passes(job: JobContext, call_next: CallNext) -> object:
        return await call_next()

    job = await tasks_of(jobs, lambda: [current_job().id, threading.get_ident()])["thread"].enqueue()
    await burst(jobs, middleware=[passes])
    id, thread = await job.result(timeout=0)
    assert id == job.id and thread != threading.get_ident()


async def test_W12_a_stuck_thread_inside_middleware_is_told_too(jobs: Queue) -> None:
    gate = threading.Event()

    async def passes(job: JobContext, call_next: CallNext) -> object:
        return await call_next()

    @jobs.task(name="stuck", timeout=0.1, retry=Retry(max_attempts=1))
    def stuck() -> None:
        gate.wait(PATIENCE_S)

    job = await stuck.enqueue()
    witness = Witness()
    async with serving(jobs, threads=1, middleware=[passes], on_event=witness) as worker:
        await witness.sees("timed_out", job.id)
        await witness.sees("worker_draining")  # by itself: the only thread is stuck
        gate.set()
    assert len(witness.of("thread_stuck", job.id)) == 1
    assert worker.exit_code == 75


async def test_every_kind_of_event_is_told_with_its_job_and_facts(stage: Stage, jobs: Queue) -> None:
    gate, plain_gate = asyncio.Event(), threading.Event()
    policy = Retry(max_attempts=2, base=3600)

    @jobs.task(name="work", retry=policy, timeout=0.2)
    async def work(kind: str) -> None:
        match kind:
            case "retrying":
                raise ValueError("boom")
            case "retry_later":
                raise RetryLater(60, "busy")
            case "dead":
                raise Reject("never")
            case "snoozed":
                raise Snooze(60)
            case "timed_out":
                await asyncio.sleep(3600)

    @jobs.task(name="endless")
    async def endless() -> None:
        await gate.wait()

    @jobs.task(name="stuck", timeout=0.2, retry=Retry(max_attempts=1))
    def stuck() -> None:
        plain_gate.wait(PATIENCE_S)

    kinds = ["completed", "retrying", "retry_later", "dead", "snoozed", "timed_out"]
    ids = {kind: (await work.enqueue(kind)).id for kind in kinds}
    ids["expired"] = (await work.options(expires=1).enqueue("expired")).id
    stage.wall.forward(2)
    ids["stuck"] = (await stuck.enqueue()).id
    cancelled, handed_back = await endless.enqueue(), await endless.enqueue()
    witness = Witness()
    async with serving(jobs, lease=SHORT, drain=0, on_event=witness) as worker:
        await witness.sees("started", handed_back.id)
        await cancelled.cancel("enough")
        await witness.sees("cancelled")
        await witness.sees("timed_out", count=2)
        await witness.sees("thread_stuck")
        name = worker.id
    plain_gate.set()
    assert {kind: witness.kinds(ids[kind]) for kind in ids} == {
        "completed": ["started", "completed"],
        "retrying": ["started", "failed", "retrying"],
        "retry_later": ["started", "failed", "retrying"],
        "dead": ["started", "failed", "dead"],
        "snoozed": ["started", "snoozed"],
        "timed_out": ["started", "timed_out", "retrying"],
        "expired": ["expired"],
        "stuck": ["started", "thread_stuck", "timed_out", "dead"],
    }
    assert witness.kinds(cancelled.id) == ["started", "cancelled"]
    assert witness.kinds(handed_back.id) == ["started", "interrupted"]
    assert [one.kind for one in witness.events if one.job_id is None] == [
        "worker_started", "worker_draining", "worker_stopped",
    ]  # fmt: skip
    assert {one.worker for one in witness.events} == {name}
    [failed] = witness.of("failed", ids["retrying"])
    assert (failed.queue, failed.task) == ("jobs", "work")
    assert failed.details["error"] == "ValueError: boom" and failed.details["attempt"] == 1
    [retrying] = witness.of("retrying", ids["retry_later"])
    assert retrying.details["delay"] == 60
    [dead] = witness.of("dead", ids["dead"])
    assert dead.details["reason"] == "rejected"


async def test_a_recovered_job_is_told_as_crashed(stage: Stage, jobs: Queue) -> None:
    @jobs.task(name="work", keep_result=60)
    async def work() -> int:
        return current_job().crashes

    job = await work.enqueue()
    assert len(await Thief(stage).claim(jobs, lease_ms=1)) == 1  # and is never heard of again
    witness = Witness()
    async with serving(jobs, lease=0.2, on_event=witness):
        assert await job.result(timeout=PATIENCE_S) == 1
    assert witness.kinds(job.id) == ["crashed", "started", "completed"]


async def test_progress_is_told(jobs: Queue) -> None:
    gate = asyncio.Event()

    @jobs.task(name="work")
    async def work() -> None:
        current_job().progress(1, 2)
        await gate.wait()

    job = await work.enqueue()
    witness = Witness()
    async with serving(jobs, lease=SHORT, on_event=witness):
        await witness.sees("started", job.id)
        async with asyncio.timeout(PATIENCE_S):
            while (await known(job)).progress is None:
                await asyncio.sleep(0.02)
        await witness.sees("progress", job.id)
        gate.set()
        await witness.sees("completed", job.id)
    assert witness.kinds(job.id) == ["started", "progress", "completed"]


async def test_an_on_event_that_raises_harms_nothing(jobs: Queue, caplog: pytest.LogCaptureFixture) -> None:
    told = Counter[str]()

    def raises(event: Event) -> None:
        told[event.kind] += 1
        raise RuntimeError("listener")

    @jobs.task(name="work", keep_result=60)
    async def work() -> str:
        return "done"

    job = await work.enqueue()
    with caplog.at_level(logging.ERROR, logger="surefoot"):
        await burst(jobs, on_event=raises)
    assert await job.result(timeout=0) == "done"
    assert told["completed"] == 1
    assert "on_event raised for the event completed" in caplog.text


async def test_S3_the_log_has_one_line_a_job_event_with_its_fields(
    jobs: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    @jobs.task(name="work", retry=Retry(max_attempts=1))
    async def work() -> None:
        raise ValueError("two\nlines \x1b[31m")

    job = await work.enqueue()
    with caplog.at_level(logging.DEBUG, logger="surefoot.worker"):
        await burst(jobs)
    lines = [line for line in caplog.records if getattr(line, "job", None) == job.id]
    assert [line.__dict__["event"] for line in lines] == ["started", "failed", "dead"]
    assert all("\n" not in line.getMessage() and "\x1b" not in line.getMessage() for line in lines)
    assert {line.__dict__["queue"] for line in lines} == {"jobs"}


async def test_S6_arguments_are_not_logged(jobs: Queue, caplog: pytest.LogCaptureFixture) -> None:
    running = asyncio.Event()

    @jobs.task(name="work")
    async def work(password: str) -> None:
        running.set()

    await work.enqueue("hunter2")
    with caplog.at_level(logging.DEBUG):
        await burst(jobs)
    await happens(running)
    assert "hunter2" not in caplog.text
