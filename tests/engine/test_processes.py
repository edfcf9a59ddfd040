"""Jobs in child processes: what they see and say, how they are killed, and that a death concerns one job alone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.engine import killable
from tests.engine.killable import Size, jobs
from tests.engine.stage import SHORT, Stage, Thief, Witness, burst, known, serving, soon

from surefoot import ConfigError, JobCancelled, JobContext, JobFailed, Queue, ResultNotKept, Worker
from surefoot.client.session import Sessions
from surefoot.client.store import Store
from surefoot.execution import processes
from surefoot.worker import CallNext


@pytest.fixture(autouse=True)
def on_the_stage(stage: Stage) -> Iterator[None]:
    before = jobs.lend(Store(Sessions(stage.broker), "test"))
    yield
    jobs.lend(before)


async def until(condition: Callable[[], object]) -> None:
    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await soon(look())


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# --- what crosses ---


async def test_arguments_and_results_cross_typed() -> None:
    async with serving(jobs):
        job = await killable.twice.enqueue(Size(3, 4))
        assert await soon(job.result()) == Size(6, 8)
        assert await soon((await killable.twice_later.enqueue(21)).result()) == 42
        nothing: object = await soon((await killable.untold.enqueue()).result())
        assert nothing is None


async def test_what_is_larger_than_any_socket_s_buffer_crosses() -> None:
    text = "é" * 500_000
    async with serving(jobs):
        assert await soon((await killable.echo.enqueue(text)).result()) == text


async def test_a_result_that_cannot_travel_says_what_it_was() -> None:
    job = await killable.untravelled.enqueue()
    await burst(jobs)
    with pytest.raises(ResultNotKept, match="returned an object that cannot travel as JSON"):
        await soon(job.result())
    assert (await known(job)).state == "completed"


async def test_a_job_sees_itself_and_its_worker(stage: Stage) -> None:
    async with serving(jobs) as worker:
        job = await killable.who.options(headers={"trace": "7"}).enqueue()
        seen = await soon(job.result())
        old = await soon((await jobs.by_name("who_was").enqueue()).result())
    assert (seen["id"], seen["attempt"], seen["headers"]) == (job.id, 1, {"trace": "7"})
    assert seen["worker"] and worker.id is None and seen["pid"] != os.getpid()
    assert old["worker"] == seen["worker"]


async def test_progress_reaches_the_store(tmp_path: Path) -> None:
    async with serving(jobs, lease=SHORT):
        job = await killable.counts.enqueue(3, str(tmp_path / "gate"))

        async def told() -> None:
            while (found := await known(job)).progress is None or found.progress.done < 3:
                await asyncio.sleep(0.02)
            assert (found.progress.total, found.progress.note) == (3, "counting")

        await soon(told())
        (tmp_path / "gate").touch()
        await soon(job.result())


async def test_a_handler_may_move_its_deadline() -> None:
    async with serving(jobs):
        assert await soon((await killable.extends.enqueue(1.0)).result()) == "in time"


# --- how it ends ---


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("raise", "LookupError", "there is no such thing"),
        ("exit", "SystemExit", "4"),
        ("reject", "Reject", "not this one"),
    ],
)
async def test_what_a_handler_raises_is_known_by_its_words(how: str, kind: str, message: str) -> None:
    async with serving(jobs):
        job = await killable.ends.enqueue(how)
        with pytest.raises(JobFailed) as failed:
            await soon(job.result())
    assert (failed.value.error.kind, failed.value.error.message) == (kind, message)
    assert "killable.py" in failed.value.error.traceback
    assert (await known(job)).failures == 1


async def test_a_snooze_in_a_child_is_a_snooze() -> None:
    job = await killable.ends.enqueue("snooze")
    await burst(jobs)
    found = await known(job)
    assert (found.state, found.snoozes, found.failures) == ("scheduled", 1, 0)


DEATHS = {
    "SIGSEGV": "died of SIGSEGV (segmentation fault)",
    "SIGABRT": "died of SIGABRT (aborted)",
    "SIGKILL": "was killed by SIGKILL; the system does that when memory runs out",
    "code 3": "left with exit code 3",
    "deaf": "died of SIGKILL (killed)",
}


@pytest.mark.parametrize(("how", "words"), DEATHS.items())
async def test_W13_a_death_is_the_crash_of_one_job_and_the_lane_repairs_itself(how: str, words: str) -> None:
    """Five deaths among forty good jobs on two children."""
    async with serving(jobs, process_pool=2):
        good = [await killable.twice_later.enqueue(number) for number in range(40)]
        bad = [await killable.ends.enqueue(how) for _ in range(5)]
        good += [await killable.twice_later.enqueue(number) for number in range(40, 80)]
        for dead in bad:
            with pytest.raises(JobFailed) as failed:
                await asyncio.wait_for(dead.result(), 25)
            assert failed.value.error.kind == "ProcessDied"
            assert failed.value.error.message.endswith(words), failed.value.error.message
            found = await known(dead)
            assert (found.reason, found.crashes, found.failures) == ("crash_loop", 1, 0)
        assert [await soon(job.result()) for job in good] == [2 * number for number in range(80)]
        for job in good:
            assert (await known(job)).crashes == 0


async def test_W13_a_child_that_dies_before_its_job_has_begun_costs_nothing() -> None:
    async with serving(jobs, process_pool=1):
        child = (await soon((await killable.who.enqueue()).result()))["pid"]
        os.kill(child, signal.SIGSTOP)
        job = await killable.twice_later.enqueue(3)
        other = await killable.twice_later.enqueue(4)

        async def given() -> None:
            while (await known(job)).state != "processing":
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)  # it is on its way to the child, which cannot take it

        await soon(given())
        os.kill(child, signal.SIGKILL)
        assert await soon(job.result()) == 6 and await soon(other.result()) == 8
        assert ((await known(job)).crashes, (await known(other)).crashes) == (0, 0)


async def test_W13_at_its_timeout_a_job_is_killed_with_all_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    async with serving(jobs):
        job = await killable.family.options(timeout=0.5).enqueue(str(pids), away=True)
        with pytest.raises(JobFailed) as failed:
            await soon(job.result())
        assert failed.value.error.kind == "TimeoutError"
        family = [int(pid) for pid in pids.read_text().split()]
        assert len(family) == 3
        await until(lambda: not any(map(alive, family)))
        assert await soon((await killable.twice_later.enqueue(1)).result()) == 2


async def test_a_drain_tells_then_kills_and_hands_back_uncharged(tmp_path: Path) -> None:
    told, pids = tmp_path / "told", tmp_path / "pids"
    witness = Witness()
    async with serving(jobs, process_pool=2, drain=1, on_event=witness):
        listens = await killable.patient.enqueue(str(told))
        ignores = await killable.family.enqueue(str(pids))
        await until(lambda: told.exists() and pids.exists())
    assert await soon(listens.result()) == "stopping"
    found = await known(ignores)
    assert (found.state, found.interruptions, found.failures, found.crashes) == ("pending", 1, 0, 0)
    await until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))
    assert await jobs.cancel(ignores.id) == 1


async def test_a_cancelled_job_is_told_first(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    async with serving(jobs, lease=SHORT):
        job = await killable.patient.enqueue(str(begun))
        await until(begun.exists)
        assert await job.cancel("no longer needed") == "requested"
        with pytest.raises(JobCancelled):
            await soon(job.result())
    assert (await known(job)).crashes == 0


async def test_one_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "CANCEL_S", 0.2)
    pids = tmp_path / "pids"
    async with serving(jobs, lease=SHORT):
        job = await killable.family.enqueue(str(pids))
        await until(pids.exists)
        assert await job.cancel("no longer needed") == "requested"
        with pytest.raises(JobCancelled):
            await soon(job.result())
    await until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))


async def test_one_whose_lease_is_lost_is_killed_and_settles_nothing(stage: Stage, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    witness = Witness()
    async with serving(jobs, lease=SHORT, on_event=witness):
        job = await killable.family.enqueue(str(pids))
        await until(pids.exists)
        leased = await soon(Thief(stage).steal(jobs))
        assert leased.id == job.id
        await witness.sees("lease_lost", job.id)
        await until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))
    assert (await known(job)).state == "processing"
    assert await jobs.cancel(job.id) == 1


# --- children ---


async def test_a_lifespan_surrounds_a_child_s_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("SUREFOOT_TEST_LIFE", str(log))
    async with serving(jobs, process_lifespan=killable.life, process_pool=1):
        assert await soon((await killable.services.enqueue()).result()) == ["service"]
    (pid,) = {line.split()[0] for line in log.read_text().splitlines()}
    assert log.read_text().splitlines() == [f"{pid} begins", f"{pid} ends"]


async def test_a_child_that_cannot_begin_stops_the_start() -> None:
    with pytest.raises(ConfigError) as refused:
        await soon(Worker(jobs, process_lifespan=killable.no_life).serve(burst=True))
    assert str(refused.value) == (
        'a process for tasks with executor="process" cannot start: OSError: the database is not there.'
    )


async def test_what_no_other_process_could_find_is_refused(stage: Stage) -> None:
    queue = stage.queue("inner")

    @queue.task(name="inner", executor="process")
    def inner() -> None: ...

    with pytest.raises(ConfigError, match="task 'inner' of queue 'inner' wants executor=\"process\" and is an inner"):
        await Worker(queue).serve(burst=True)
    with pytest.raises(ConfigError, match="another process must find it by its name"):
        Worker(queue, process_lifespan=lambda: killable.life())


async def test_a_task_that_another_queue_serves_too_is_found(stage: Stage) -> None:
    other = stage.queue("other")
    other.add(killable.twice_later)
    async with serving(other):
        assert await soon((await killable.twice_later.options(queue=other).enqueue(4)).result()) == 8


async def test_children_are_replaced_after_so_many_jobs() -> None:
    worker = Worker(jobs, process_pool=1)
    worker.recycle_after = 2
    async with worker:
        seen = [(await soon((await killable.who.enqueue()).result()))["pid"] for _ in range(5)]
    assert len(set(seen)) == 3 and [seen.count(pid) for pid in dict.fromkeys(seen)] == [2, 2, 1]


async def test_children_are_replaced_when_they_have_grown() -> None:
    worker = Worker(jobs, process_pool=1)
    worker.recycle_at = 150
    async with worker:
        first = await soon((await killable.holds.enqueue(200)).result())
        second = await soon((await killable.holds.enqueue(1)).result())
        third = await soon((await killable.holds.enqueue(1)).result())
    assert first != second and second == third


async def test_more_jobs_than_children_wait_their_turn_and_go_back_uncharged(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    async with serving(jobs, process_pool=1, drain=5):
        first = await killable.patient.enqueue(str(begun))
        await until(begun.exists)
        rest = [await killable.twice_later.enqueue(number) for number in range(5)]

        async def claimed() -> None:
            while (await jobs.stats()).processing < 6:
                await asyncio.sleep(0.01)

        await soon(claimed())
    assert await soon(first.result()) == "stopping"
    for job in rest:
        found = await known(job)
        assert (found.state, found.runs, found.interruptions) == ("pending", 0, 0)
    assert await jobs.cancel(everything=True) == 5


async def test_middleware_stays_around_jobs_in_children() -> None:
    seen: list[tuple[str, Any]] = []

    async def watching(job: JobContext, call_next: CallNext) -> object:
        try:
            value = await call_next()
        except Exception as error:
            seen.append((job.task, str(error)))
            raise
        seen.append((job.task, value))
        return value

    async with serving(jobs, middleware=[watching]):
        assert await soon((await killable.twice.enqueue(Size(1, 2))).result()) == Size(2, 4)
        for how in ("raise", "SIGABRT"):
            with pytest.raises(JobFailed):
                await soon((await killable.ends.enqueue(how)).result())
    assert seen[:2] == [("twice", Size(2, 4)), ("ends", "LookupError: there is no such thing")]
    assert seen[2][1].endswith("died of SIGABRT (aborted)")


def test_nothing_is_started_for_a_queue_without_such_tasks(jobs: Queue) -> None:
    @jobs.task(name="plain")
    def plain() -> None: ...

    assert Worker(jobs)._processes() is None
