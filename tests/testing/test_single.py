"""run_job and inside_job: one run, or the inside of one, without any store."""

from __future__ import annotations

import asyncio

import pytest
from tests.testing import shop as app
from tests.testing.shop import NEW_YEAR, CardDeclined, Order, Services, shop, who

from surefoot import (
    Cancel,
    ConfigError,
    InvalidArguments,
    NotInJob,
    Queue,
    ResultNotKept,
    Retry,
    StateMissing,
    SyncTask,
    UsageError,
    current_job,
    in_job,
)
from surefoot.testing import inside_job, run_job


async def test_a_run_goes_the_whole_way_and_stores_nothing() -> None:
    who.set("ann")
    ran = await run_job(app.stamp.draft(Order(1, NEW_YEAR)))
    assert (ran.outcome, ran.value, ran.error) == ("returned", Order(2, NEW_YEAR), None)
    assert (ran.job.state, ran.job.runs, ran.job.task, ran.job.queue) == ("completed", 1, "stamp", "kit-shop")
    assert (await run_job(app.services.draft(), state=Services(rate=9))).value == 9
    assert (await run_job(app.whose_in_thread.draft())).value == "ann"
    assert (await run_job(app.welcome.options(headers={"a": "b"}).draft("x"))).job.headers == {"a": "b"}


@pytest.mark.parametrize(
    ("attempt", "state", "reason", "failures"),
    [(1, "scheduled", None, 1), (2, "scheduled", None, 2), (3, "dead", "exhausted", 3)],
)
async def test_an_error_comes_back_as_itself(attempt: int, state: str, reason: str | None, failures: int) -> None:
    ran = await run_job(app.charge.draft(12), attempt=attempt)
    assert isinstance(ran.error, CardDeclined) and ran.error.code == 12
    assert (ran.outcome, ran.value) == ("raised", None)
    assert (ran.job.state, ran.job.reason, ran.job.failures, ran.job.runs) == (state, reason, failures, attempt)
    assert ran.job.error is not None and ran.job.error.matches(CardDeclined)


@pytest.mark.parametrize(
    ("which", "word", "state"),
    [
        ("snooze", "snoozed", "scheduled"),
        ("later", "retried_later", "scheduled"),
        ("cancel", "cancelled", "cancelled"),
        ("reject", "rejected", "dead"),
    ],
)
async def test_signals_have_their_words(which: str, word: str, state: str) -> None:
    ran = await run_job(app.signals.draft(which))
    assert (ran.outcome, ran.job.state) == (word, state)


async def test_a_timeout_is_real() -> None:
    ran = await run_job(app.slow.draft())
    assert ran.outcome == "timed_out" and isinstance(ran.error, TimeoutError)
    assert str(ran.error) == "slow did not finish within 0.05 s"
    ran = await run_job(app.slow.options(timeout=0.02).draft())
    assert str(ran.error) == "slow did not finish within 0.02 s"


async def test_what_cannot_cross_is_told() -> None:
    ran = await run_job(app.unsendable.draft())
    assert ran.outcome == "returned" and isinstance(ran.error, ResultNotKept)
    draft = app.charge.draft(1)
    wrong = await run_job(type(draft)(id="x", queue=draft.queue, task=draft.task, payload=b'{"code":"x"}'))
    assert (wrong.outcome, wrong.job.state) == ("invalid", "dead") and isinstance(wrong.error, InvalidArguments)


async def test_a_plain_function_runs_in_a_thread_and_never_on_the_loop() -> None:
    queue = Queue(name="kit-thread")

    @queue.task(name="looks")
    def looks() -> str:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return current_job().id

    draft = looks.draft()
    assert (await run_job(draft)).value == draft.id


async def test_the_code_must_be_there_and_be_one() -> None:
    one, two = Queue(name="kit-double"), Queue(name="kit-double")

    @one.task(name="same")
    async def first() -> None: ...

    @two.task(name="same")
    async def second() -> None: ...

    with pytest.raises(UsageError, match="2 queues of this process are named 'kit-double' and have a task same, in"):
        await run_job(first.draft())
    with pytest.raises(UsageError, match="no queue 'kit-double' of this process has the code of far"):
        await run_job(one.by_name("far").draft())
    with pytest.raises(UsageError, match=r"run_job takes a draft, not <SyncTask pack"):
        await run_job(app.pack)  # type: ignore[arg-type]  # what it refuses
    with pytest.raises(ConfigError, match=r"run_job\(attempt=0\): give a whole number >= 1"):
        await run_job(app.pack.draft("x"), attempt=0)


def loaded(number: int) -> SyncTask[[], int]:
    """A module as it is after its first, its second, ... import."""
    queue = Queue(name="kit-reloaded")

    @queue.task(name="which")
    def which() -> int:
        return number

    return which


async def test_of_a_module_that_was_loaded_again_the_newest_counts() -> None:
    tasks = [loaded(number) for number in range(5)]
    assert [(await run_job(task.draft())).value for task in tasks] == [4] * 5


async def test_a_function_called_directly_sees_its_job() -> None:
    with inside_job(state=Services(rate=2), attempt=2, id="mine") as job:
        assert await app.services() == 2
        inner = current_job()
        assert (inner.id, inner.attempt, inner.failures, inner.last_attempt) == ("mine", 2, 1, False)
        assert (job.id, job.attempt, job.context.id) == ("mine", 2, "mine")
        inner.check()
        inner.extend(5)
        assert inner.deadline is None and inner.started_at.tzinfo is not None
    assert not in_job()
    with pytest.raises(NotInJob, match=r"in a test use surefoot.testing.inside_job\(\)"):
        current_job()


def flags() -> tuple[bool, bool]:
    return current_job().stopping, current_job().cancelled


async def test_its_progress_is_seen_and_its_flags_can_be_set() -> None:
    with inside_job() as job:
        before = job.progress
        assert before is None
        current_job().progress(3, 4, "nearly")
        assert job.progress is not None and (job.progress.done, job.progress.note) == (3, "nearly")
        assert flags() == (False, False)
        job.drain()
        job.cancel("enough")
        assert flags() == (True, True)
        with pytest.raises(Cancel, match="enough"):
            current_job().check()
        with pytest.raises(StateMissing):
            await app.services()


async def test_blocks_nest_and_reach_into_threads_and_tasks() -> None:
    async def id_here() -> str:
        return current_job().id

    with inside_job(id="outer"):
        with inside_job(id="inner"):
            assert await asyncio.create_task(id_here()) == "inner"
            assert await asyncio.to_thread(lambda: current_job().id) == "inner"
        assert current_job().id == "outer"
    with pytest.raises(ConfigError, match=r"inside_job\(attempt=0\)"), inside_job(attempt=0):
        pass


async def test_the_policy_of_the_queue_holds() -> None:
    queue = Queue(name="kit-policy", retry=Retry(max_attempts=1))

    @queue.task(name="once")
    async def once() -> None:
        raise CardDeclined(1)

    assert (await run_job(once.draft())).job.state == "dead"
    assert shop.name == "kit-shop"
