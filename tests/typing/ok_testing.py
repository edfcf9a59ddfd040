"""The testing kit as it is meant to be used: results have the task's own type, assertions take tasks and drafts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from surefoot import Job, Key, Progress, Queue
from surefoot.testing import Drained, Inside, Ran, Sandbox, inside_job, run_job, run_job_sync, sandbox

mail = Queue("sqlite:///jobs.db", name="mail")


@mail.task
async def welcome(address: str, *, language: str = "en") -> str:
    return f"{address} {language}"


@mail.task
def resize(path: str) -> int:
    return len(path)


async def hold() -> None:
    with sandbox(mail, state={"a": 1}, now=datetime(2026, 1, 1, tzinfo=UTC)) as box:
        assert_type(box, Sandbox)
        assert_type(await box.drain(until=welcome, max_runs=10, raise_errors=True), Drained)
        assert_type(await box.advance(timedelta(days=1)), Drained)
        assert_type(await box.run_next(lose_worker=True), Ran[Any] | None)
        assert_type(box.jobs(welcome), list[Job])
        assert_type(box.assert_enqueued(welcome, times=2, delay=60, key="a"), Job)
        box.assert_enqueued(welcome.draft("a"), delay=timedelta(hours=1), key=Key("a"), where={"language": "fr"})
        box.assert_not_enqueued(resize, where=lambda job: job.runs == 0)
        assert_type(box.now, datetime)
    async with sandbox(mode="inline") as inner:
        assert_type(inner, Sandbox)


def without_a_loop(box: Sandbox) -> None:
    assert_type(box.drain_sync(until=welcome, raise_errors=True), Drained)
    assert_type(box.advance_sync(60), Drained)
    assert_type(box.run_next_sync(), Ran[Any] | None)
    assert_type(run_job_sync(resize.draft("a"), attempt=2).value, int | None)


async def alone() -> None:
    ran = await run_job(welcome.draft("a"), state=object(), attempt=3)
    assert_type(ran, Ran[str])
    assert_type(ran.value, str | None)
    assert_type(ran.error, BaseException | None)
    with inside_job(state=object(), attempt=2, id="mine") as job:
        assert_type(job, Inside)
        assert_type(job.progress, Progress | None)
        await welcome("a")


def fixture() -> Iterator[Sandbox]:
    with ExitStack() as stack:
        yield stack.enter_context(sandbox())
