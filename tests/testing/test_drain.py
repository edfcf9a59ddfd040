"""drain and run_next: what is due now, one job after the other, and what a test is told of it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.testing import shop as app
from tests.testing.shop import CardDeclined, Order, Services, diary, mail, shop, who

from surefoot import InvalidArguments, ResultNotKept, UsageError
from surefoot.testing import Drained, sandbox


async def test_nothing_runs_until_it_is_told() -> None:
    with sandbox(shop, mail) as box:
        job = await app.order.enqueue("lamp")
        assert (await job.status(), diary.lines) == ("pending", [])
        assert await box.drain() == Drained(runs=2, completed=2)
        assert diary.lines == ["order lamp", "welcome lamp@example.com en"]
        assert await job.result() == 1
        assert await box.drain() == Drained()


async def test_a_drain_runs_what_handlers_enqueue_from_loop_and_thread() -> None:
    with sandbox(shop, mail) as box:
        await app.order.enqueue("fragile", copies=3)
        assert await box.drain() == Drained(runs=6, completed=6)
    ran = [line.split()[0] for line in diary.lines]
    assert sorted(ran) == ["order", "pack", "pack", "welcome", "welcome", "welcome"]
    assert all("surefoot-job" in line for line in diary.lines if line.startswith("pack"))


async def test_every_end_is_counted() -> None:
    with sandbox(shop, mail) as box:
        for which in ("cancel", "reject", "snooze", "fine"):
            await app.signals.enqueue(which)
        late = await app.signals.options(expires=5).enqueue("too late")
        await shop.pause()
        await box.advance(6)
        await shop.resume()
        assert await box.drain() == Drained(runs=4, completed=1, dead=1, cancelled=1, expired=1)
        assert await late.status() == "expired"


async def test_arguments_and_results_cross_as_json() -> None:
    with sandbox(shop) as box:
        job = await app.stamp.enqueue(Order(1, app.NEW_YEAR))
        ran = await box.run_next()
        assert ran is not None and ran.outcome == "returned"
        assert ran.value == Order(2, app.NEW_YEAR) == await job.result()
        assert ran.job.arguments == {"made": {"number": 1, "when": "2026-01-01T00:00:00Z"}}
        assert ran.job.state == "completed"
        await app.unsendable.enqueue()
        ran = await box.run_next()
        assert ran is not None and (ran.outcome, ran.value) == ("returned", None)
        assert isinstance(ran.error, ResultNotKept) and "unsendable() returned" in str(ran.error)


async def test_state_and_the_tests_own_context_reach_the_handlers() -> None:
    who.set("ann")
    with sandbox(shop, state=Services(rate=7)) as box:
        jobs = [await task.enqueue() for task in (app.services, app.whose, app.whose_in_thread)]
        await box.drain()
        assert [await job.result() for job in jobs] == [7, "ann", "ann"]


async def test_until_stops_before_a_task_and_leaves_its_job_untouched() -> None:
    with sandbox(shop, mail) as box:
        await app.order.enqueue("lamp")
        assert await box.drain(until=app.welcome) == Drained(runs=1, completed=1)
        [job] = box.jobs(app.welcome)
        assert (job.state, job.runs, job.interruptions) == ("pending", 0, 0)
        ran = await box.run_next()
        assert ran is not None and (ran.job.id, ran.job.runs) == (job.id, 1)
        assert await box.drain(until=app.welcome) == Drained()


async def test_a_drain_without_end_names_the_tasks() -> None:
    with sandbox(shop, mail) as box:
        await app.ping.enqueue()
        await app.welcome.enqueue("a@b.c")
        with pytest.raises(AssertionError, match=r"after 20 runs there is still something due; .*ping 20 times"):
            await box.drain(max_runs=20)
        [job] = box.jobs(app.ping)
        assert (job.state, job.runs) == ("pending", 0)


async def test_an_error_is_raised_as_itself_where_it_is_asked_for() -> None:
    with sandbox(shop, mail) as box:
        await app.charge.enqueue(51)
        await app.welcome.enqueue("a@b.c")
        with pytest.raises(CardDeclined) as declined:
            await box.drain(raise_errors=True)
        assert declined.value.code == 51
        assert declined.traceback[-1].name == "charge"
        assert [entry.name for entry in declined.traceback if "surefoot/execution" in str(entry.path)] == []
        [job] = box.jobs(app.charge)
        assert (job.state, job.failures) == ("scheduled", 1)
        assert job.error is not None and job.error.matches(CardDeclined)
        assert await box.drain(raise_errors=True) == Drained(runs=1, completed=1)


async def test_signals_are_no_errors_but_a_timeout_and_wrong_arguments_are() -> None:
    with sandbox(shop) as box:
        for which in ("snooze", "later", "cancel", "reject"):
            await app.signals.enqueue(which)
        assert (await box.drain(raise_errors=True)).runs == 4
        await app.slow.enqueue()
        with pytest.raises(TimeoutError, match=r"slow did not finish within 0\.05 s"):
            await box.drain(raise_errors=True)
        await _put_wrong_arguments()
        with pytest.raises(InvalidArguments, match="charge"):
            await box.drain(raise_errors=True)


async def _put_wrong_arguments() -> None:
    """As a producer in another language could: its arguments are checked by the worker only."""
    draft = app.charge.draft(1)
    await shop.enqueue(msgspec.structs.replace(draft, payload=b'{"code":"x"}'))


async def test_run_next_tells_of_one_run() -> None:
    with sandbox(shop, mail) as box:
        assert await box.run_next() is None
        await app.charge.enqueue(7)
        ran = await box.run_next()
        assert ran is not None
        assert (ran.outcome, ran.value, ran.job.state, ran.job.failures) == ("raised", None, "scheduled", 1)
        assert isinstance(ran.error, CardDeclined) and ran.error.code == 7
        assert await box.run_next() is None


@pytest.mark.parametrize(
    ("which", "word", "state"),
    [
        ("snooze", "snoozed", "scheduled"), ("later", "retried_later", "scheduled"),
        ("cancel", "cancelled", "cancelled"), ("reject", "rejected", "dead"), ("fine", "returned", "completed"),
    ],
)  # fmt: skip
async def test_run_next_has_a_word_for_every_end(which: str, word: str, state: str) -> None:
    with sandbox(shop) as box:
        await app.signals.enqueue(which)
        ran = await box.run_next()
        assert ran is not None and (ran.outcome, ran.job.state) == (word, state)
        assert (ran.error is None) == (which == "fine")


async def test_run_next_tells_of_jobs_that_end_before_their_run() -> None:
    with sandbox(shop) as box:
        await _put_wrong_arguments()
        ran = await box.run_next()
        assert ran is not None and (ran.outcome, ran.job.state, ran.job.reason) == ("invalid", "dead", "invalid")
        assert isinstance(ran.error, InvalidArguments)
        await app.signals.options(expires=1).enqueue("late")
        await shop.pause()
        await box.advance(2)
        await shop.resume()
        ran = await box.run_next()
        assert ran is not None and (ran.outcome, ran.job.state) == ("expired", "expired")
        assert diary.lines == []


async def test_a_job_that_is_forgotten_at_its_end_is_still_told_of() -> None:
    with sandbox(shop, mail) as box:
        await app.pack.enqueue("lamp")
        ran = await box.run_next()
        assert ran is not None and (ran.job.state, ran.job.runs) == ("completed", 1)
        assert box.jobs(app.pack) == []


async def test_on_dead_runs_in_the_drain_with_the_dead_job() -> None:
    with sandbox(shop) as box:
        job = await app.doomed.enqueue()
        assert await box.drain() == Drained(runs=2, completed=1, dead=1)
        assert [(dead.id, dead.state) for dead in app.buried] == [(job.id, "dead")]


async def test_a_drain_inside_a_drain_is_refused() -> None:
    with sandbox(shop, mail) as box:

        @shop.task(name="drains_itself")
        async def drains_itself() -> None:
            await box.drain()

        await drains_itself.enqueue()
        with pytest.raises(UsageError, match=r"box.drain\(\) came while box.drain\(\) is at work"):
            await box.drain(raise_errors=True)


async def test_what_is_no_error_of_the_job_comes_through() -> None:
    with sandbox(shop) as box:

        @shop.task(name="fails_the_test")
        def fails_the_test() -> None:
            pytest.fail("seen in the handler")

        await fails_the_test.enqueue()
        with pytest.raises(BaseException, match="seen in the handler") as failed:
            await box.drain()
        assert type(failed.value) is pytest.fail.Exception
        [job] = box.jobs(fails_the_test)
        assert job.failures == 1


async def test_a_cancelled_drain_hands_its_job_back() -> None:
    begun = asyncio.Event()
    with sandbox(shop) as box:

        @shop.task(name="sleeps")
        async def sleeps() -> None:
            begun.set()
            await asyncio.sleep(60)

        job = await sleeps.enqueue()
        drain = asyncio.create_task(box.drain())
        await begun.wait()
        drain.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drain
        known = await job.job()
        assert known is not None and (known.state, known.interruptions) == ("pending", 1)


async def test_a_running_job_hears_of_its_cancelling_at_once() -> None:
    begun = asyncio.Event()
    with sandbox(shop) as box:

        @shop.task(name="waits")
        async def waits() -> None:
            begun.set()
            await asyncio.sleep(60)

        job = await waits.enqueue()
        drain = asyncio.create_task(box.drain())
        await begun.wait()
        assert await job.cancel("enough") == "requested"
        assert await drain == Drained(runs=1, cancelled=1)
        assert await job.status() == "cancelled"
