"""Explanations where real workers are the reason, on each kind of store: what is said is what the workers do."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.client.shop import Hand, Wire, queue_on

from surefoot import Cancel, Explanation, JobHandle, Queue, Reject, Retry, Snooze, Worker, clock
from surefoot.engine import keeper

PATIENCE_S = 30
gate: asyncio.Event


@pytest.fixture(autouse=True)
async def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """What workers say of themselves is as new as a test needs it."""
    global gate
    gate = asyncio.Event()
    monkeypatch.setattr(keeper, "BEAT_S", 0.05)


async def close_month(month: int) -> str:
    await gate.wait()
    return f"closed {month}"


def tasks(queue: Queue, **options: Any) -> Any:
    """The queue's task, as one release of the application has it."""
    return queue.task(**{"retry": Retry(max_attempts=2, base=3600, jitter=0), **options})(close_month)


def raising(queue: Queue, error: BaseException) -> Any:
    """A task that ends so, and is tried again in ten minutes."""

    async def raises() -> None:
        raise error

    return queue.task(name=type(error).__name__, retry=Retry(max_attempts=3, base=600, jitter=0))(raises)


@asynccontextmanager
async def worker(queue: Queue, **options: Any) -> AsyncIterator[Worker]:
    """A real worker of this queue, with one slot."""
    async with Worker(queue, **{"concurrency": 1, "lease": 1, "name": "web-1", "drain": 30, **options}) as serving:
        try:
            yield serving
        finally:
            gate.set()


async def told(job: JobHandle[Any], *reasons: str, state: str | None = None) -> Explanation:
    """What is said once these are the reasons."""
    until = clock.monotonic() + PATIENCE_S
    while True:
        said = await job.explain()
        if said.reasons == reasons and state in (None, said.state):
            return said
        assert clock.monotonic() < until, said
        await clock.sleep(0.02)


async def test_running_names_the_worker(mail: Queue) -> None:
    task = tasks(mail)
    async with worker(mail) as serving:
        said = await told(await task.enqueue(1), "running")
        where = re.escape(f"Running on web-1:{os.getpid()} ({serving.id}) since ")
        assert re.fullmatch(
            rf"{where}\d\d:\d\d, for .+: attempt 1; its lease ends in .+ unless the worker renews it\.", said.sentence
        )
        assert said.details["worker"] == serving.id


async def test_a_run_that_a_drain_handed_back_does_not_count_as_waiting(mail: Queue) -> None:
    task = tasks(mail)
    async with worker(mail, drain=0) as serving:
        job = await task.enqueue(1)
        await told(job, "running")
        serving.stop()
        said = await told(job, "no_worker", state="pending")
    assert re.match(r"Pending, due .+ ago and handed back by a drain since: no worker is alive", said.sentence)


async def test_the_next_waits_for_a_slot_and_the_one_behind_it_for_both(mail: Queue) -> None:
    task = tasks(mail, aliases=["month_end"])
    async with worker(mail):
        await told(await task.enqueue(1), "running")
        second, third = await task.enqueue(2), await mail.by_name("month_end").enqueue(month=3)
        said = await told(second, "full_workers")
        assert said.sentence.endswith(": the only slot is taken, and it is the next one.")
        said = await told(third, "full_workers", "behind")
        assert said.sentence.endswith(": the only slot is taken, and 1 job comes before it.")
        assert said.details["task"] == "month_end", "the worker knows it by this name too"


async def test_workers_that_drain_take_nothing_and_those_that_left_are_gone(mail: Queue) -> None:
    task = tasks(mail)
    async with worker(mail) as serving:
        await told(await task.enqueue(1), "running")
        serving.stop()
        waiting = await task.enqueue(2)
        said = await told(waiting, "no_worker")
        if "draining" not in said.sentence:
            await asyncio.sleep(0.5)
            said = await waiting.explain()
        assert said.sentence.endswith(": the only worker on queue mail is draining. Start one.")
    said = await told(waiting, "no_worker")
    assert said.sentence.endswith(": no worker is alive on queue mail. Start one.")
    assert said.details["workers"] == 0


async def test_a_worker_without_the_task_parks_it_until_one_comes_that_has_it(mail: Queue, wire: Wire) -> None:
    other = queue_on(wire)
    other.task(name="other")(close_month)
    job = await tasks(mail).enqueue(1)
    async with worker(other):
        said = await told(job, "unknown_task", state="parked")
        assert said.sentence.endswith(": no worker on queue mail has the task close_month.")
        gate.set()
        async with worker(mail):
            assert await job.result(timeout=PATIENCE_S) == "closed 1"


async def test_a_pending_job_that_no_worker_knows(mail: Queue, wire: Wire) -> None:
    """While every slot is taken nobody parks it."""
    other = queue_on(wire)
    blocker = other.task(name="other")(close_month)
    async with worker(other):
        await told(await blocker.enqueue(1), "running")
        job = await tasks(mail).enqueue(1)
        said = await told(job, "unknown_task", state="pending")
        assert said.sentence.endswith(": the only worker on queue mail does not have the task close_month.")


async def test_a_newer_version_waits_pending_then_parked_for_a_worker_that_knows_it(mail: Queue, wire: Wire) -> None:
    old, new = tasks(mail), tasks(newer := queue_on(wire), schema=3)
    async with worker(mail):
        await told(await old.enqueue(1), "running")
        job = await new.enqueue(2)
        words = ": no worker knows version 3 of the task close_month; deploy one that does."
        assert (await told(job, "newer_version", state="pending")).sentence.endswith(words)
        gate.set()
        assert (await told(job, "newer_version", state="parked")).sentence.endswith(words)
        async with worker(newer):
            assert await job.result(timeout=PATIENCE_S) == "closed 2"


async def test_a_newer_version_that_a_worker_knows_only_waits_for_its_slot(mail: Queue) -> None:
    task = tasks(mail, schema=3)
    async with worker(mail):
        await told(await task.enqueue(1), "running")
        await told(await task.enqueue(2), "full_workers", state="pending")


async def test_a_pause_holds_what_waits_with_and_without_a_reason(mail: Queue) -> None:
    task = tasks(mail)
    async with worker(mail):
        await mail.pause("card provider down")
        job, later = await task.enqueue(1), await task.options(delay=3600).enqueue(2)
        said = await told(job, "paused", state="pending")
        assert re.search(
            r"queue mail is paused since \d\d:\d\d \(card provider down\)\. `surefoot resume -q mail`$", said.sentence
        )
        said = await told(later, "not_due", "paused")
        assert re.fullmatch(
            r"Scheduled for .+, in 60 min\. Queue mail is paused since \d\d:\d\d \(card provider down\)\. "
            r"`surefoot resume -q mail`",
            said.sentence,
        )
        await mail.resume()
        await mail.pause()
        said = await told(later, "not_due", "paused")
        assert re.search(r"is paused since \d\d:\d\d\. `surefoot", said.sentence)


async def test_a_lost_lease_paused_alone_and_with_a_worker(mail: Queue) -> None:
    job = await tasks(mail).enqueue(1)
    Hand(mail).claim(1, lease_ms=1)
    said = await told(job, "lease_lost", "no_worker")
    assert re.search(
        r"is silent: the lease ended .+ ago, and no worker is alive on queue mail\. Start one\.$", said.sentence
    )
    await mail.pause("quiet")
    async with worker(mail):
        said = await told(job, "lease_lost", "paused")
        assert re.search(r"ended .+ ago\. Queue mail is paused since .+ \(quiet\): it runs again after", said.sentence)
        await mail.resume()
        said = await told(job, "running")
        assert said.sentence.endswith("unless the worker renews it.") and said.details["crashes"] == 1


async def test_what_runs_left_behind_is_told_while_it_waits_again(mail: Queue) -> None:
    fails, snoozes = raising(mail, OSError("disk\nfull")), raising(mail, Snooze(3600))
    rejects, cancels = raising(mail, Reject("no such month")), raising(mail, Cancel("not needed"))
    async with worker(mail):
        said = await told(await fails.enqueue(), "not_due")
        assert re.fullmatch(
            r"Scheduled for .+, in 10 min\. It failed once, last with OSError: disk full\.", said.sentence
        )
        said = await told(await snoozes.enqueue(), "not_due")
        assert re.fullmatch(r"Scheduled for .+, in 60 min\. It snoozed once\.", said.sentence)
        said = await told(await rejects.enqueue(), "finished")
        assert re.fullmatch(
            r"Dead at .+, .+ ago \(rejected\), after 1 run\. Last error: Reject: no such month\.", said.sentence
        )
        said = await told(await cancels.enqueue(), "finished")
        assert re.fullmatch(r"Cancelled at .+, .+ ago \(not needed\)\.", said.sentence)
        said = await told(await fails.options(max_attempts=1).enqueue(), "finished")
        assert "(exhausted), after 1 run. Last error: OSError: disk full." in said.sentence
        said = await told(await mail.by_name("close_month").enqueue(month=1), "unknown_task", state="parked")
        late = await fails.options(expires=datetime.now(UTC) - timedelta(seconds=5)).enqueue()
        said = await told(late, "finished")
        assert re.fullmatch(r"Expired at .+, .+ ago: it was not started in time\.", said.sentence)


async def test_kept_results_and_deaths_of_each_reason(mail: Queue) -> None:
    task, hand = tasks(mail), Hand(mail)
    job = await task.enqueue(1)
    hand.complete()
    said = await told(job, "finished")
    assert re.fullmatch(r"Completed at .+, .+ ago, after 1 run\.", said.sentence)
    for reason in ("exhausted", "rejected", "crash_loop", "invalid", "unsettlable", "unknown"):
        job = await task.enqueue(1)
        hand.kill(reason=reason)
        said = await told(job, "finished", state="dead")
        assert f"({reason}), after 1 run. Last error: ValueError: boom." in said.sentence
        assert said.details["reason"] == reason
