"""jobs, assert_enqueued, assert_not_enqueued: what counts, and what a failure tells."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.testing import shop as app
from tests.testing.shop import NEW_YEAR, Order, mail, shop

from surefoot import Key, Queue, UsageError
from surefoot.testing import Sandbox, sandbox


def failure(assertion: Any, *args: Any, **options: Any) -> str:
    """What a failed assertion says."""
    with pytest.raises(AssertionError) as failed:
        assertion(*args, **options)
    return str(failed.value)


async def test_a_job_is_found_by_task_by_arguments_and_by_a_question() -> None:
    with sandbox(shop, mail) as box:
        ann = await app.welcome.enqueue("ann@a.b")
        bob = await app.welcome.options(key="bob").enqueue("bob@a.b", language="fr")
        assert box.assert_enqueued(app.welcome).id == ann.id
        assert box.assert_enqueued(app.welcome, times=2).id == ann.id
        assert box.assert_enqueued(app.welcome.draft("bob@a.b", language="fr")).id == bob.id
        assert box.assert_enqueued(app.welcome, key="bob").id == bob.id
        assert box.assert_enqueued(app.welcome, key=Key("bob")).id == bob.id
        assert box.assert_enqueued(app.welcome, where={"language": "fr"}).id == bob.id
        assert box.assert_enqueued(app.welcome, where=lambda job: job.key is None).id == ann.id
        box.assert_not_enqueued(app.order)
        box.assert_not_enqueued(app.welcome.draft("cid@a.b"))
        box.assert_not_enqueued(app.welcome, where={"language": "de"})


async def test_a_default_is_the_same_given_or_not() -> None:
    with sandbox(shop, mail) as box:
        await app.welcome.enqueue("ann@a.b")
        await app.welcome.enqueue("bob@a.b", language="en")
        box.assert_enqueued(app.welcome.draft("ann@a.b", language="en"))
        box.assert_enqueued(app.welcome.draft("bob@a.b"))
        box.assert_enqueued(app.welcome, times=2, where={"language": "en"})


async def test_rich_arguments_are_compared_as_they_travel() -> None:
    with sandbox(shop) as box:
        await app.stamp.enqueue(Order(1, NEW_YEAR))
        box.assert_enqueued(app.stamp.draft(Order(1, NEW_YEAR)))
        box.assert_enqueued(app.stamp, where={"made": Order(1, NEW_YEAR)})
        words = failure(box.assert_enqueued, app.stamp.draft(Order(2, NEW_YEAR)))
        assert "made is {'number': 1, 'when': '2026-01-01T00:00:00Z'}, not {'number': 2, " in words


async def test_a_delay_counts_from_the_enqueue_and_of_a_job_that_ran_from_now() -> None:
    with sandbox(shop) as box:
        await app.signals.options(delay=3600).enqueue("fine")
        box.assert_enqueued(app.signals, delay=timedelta(hours=1))
        box.assert_enqueued(app.signals.options(delay=3600).draft("fine"))
        box.assert_enqueued(app.signals.options(delay=3600))
        box.assert_not_enqueued(app.signals.options(delay=60))
        box.assert_not_enqueued(app.signals.options(key="none"))
        await box.advance(60)
        box.assert_enqueued(app.signals, delay=3600)
        words = failure(box.assert_enqueued, app.signals, delay=60)
        assert "signals(which='fine') scheduled, due in 59 min: delay is 3600 s, not 60 s" in words
        await app.signals.enqueue("snooze")
        box.assert_enqueued(app.signals, delay=0)
        await box.advance(50)
        box.assert_enqueued(app.signals, delay=10, where={"which": "snooze"})
        box.assert_not_enqueued(app.signals, delay=60)


async def test_a_moment_and_a_key_of_the_draft_count_too() -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    with sandbox(shop) as box:
        await app.signals.options(at=at, key="k").enqueue("fine")
        box.assert_enqueued(app.signals.options(at=at, key="k").draft("fine"))
        words = failure(box.assert_enqueued, app.signals.options(at=NEW_YEAR, key="j").draft("fine"))
        assert "signals(which='fine'), at=2026-01-01 00:00:00+00:00, key='j' is not enqueued." in words
        assert "it is due at 2030-01-01 00:00:00+00:00, not at 2026-01-01 00:00:00+00:00; key is 'k', not 'j'" in words


async def test_finished_jobs_do_not_count_and_the_failure_says_so() -> None:
    with sandbox(shop, mail) as box:
        await app.welcome.enqueue("ann@a.b")
        await box.drain()
        box.assert_not_enqueued(app.welcome)
        assert [job.state for job in box.jobs(app.welcome)] == ["completed"]
        assert failure(box.assert_enqueued, app.welcome) == (
            "welcome(...) is not enqueued.\n"
            "Nothing is enqueued.\n"
            "1 job of welcome has finished here; finished jobs do not count."
        )


async def test_a_failure_lists_what_is_enqueued_the_nearest_first() -> None:
    with sandbox(shop, mail) as box:
        await app.pack.enqueue("lamp")
        await app.welcome.enqueue("bob@a.b", language="fr")
        await app.welcome.enqueue("ann@a.b", language="fr")
        assert failure(box.assert_enqueued, app.welcome.draft("ann@a.b")) == (
            "welcome(address='ann@a.b') is not enqueued.\n"
            "Enqueued, the nearest first:\n"
            "  welcome(address='ann@a.b', language='fr') pending: language is 'fr', not 'en'\n"
            "  welcome(address='bob@a.b', language='fr') pending: address is 'bob@a.b', not 'ann@a.b'; "
            "language is 'fr', not 'en'\n"
            "  pack(item='lamp') pending: another task"
        )
        words = failure(box.assert_enqueued, app.welcome, where=lambda job: False)
        assert "welcome(...), where=<lambda> is not enqueued." in words and "where= says no" in words


async def test_the_number_of_times_is_told_both_ways() -> None:
    with sandbox(shop, mail) as box:
        await app.pack.enqueue("lamp")
        await app.pack.enqueue("desk")
        assert failure(box.assert_enqueued, app.pack, times=1) == (
            "pack(...) is enqueued 2 times, not once:\n  pack(item='lamp') pending\n  pack(item='desk') pending"
        )
        assert failure(box.assert_not_enqueued, app.pack, where={"item": "desk"}) == (
            "pack(item='desk', ...) is enqueued once:\n  pack(item='desk') pending"
        )
        assert failure(box.assert_enqueued, app.pack.draft("lamp"), times=2).startswith(
            "pack(item='lamp') is enqueued once, not 2 times:\n  pack(item='lamp') pending\nEnqueued, the nearest"
        )


async def test_a_failure_is_short_whatever_is_enqueued() -> None:
    with sandbox(shop, mail) as box:
        await shop.enqueue_many([app.pack.draft("x" * 1_000) for _ in range(500)])
        words = failure(box.assert_enqueued, app.pack.draft("lamp"))
        assert len(words.splitlines()) == 13 and "  and 490 more" in words
        assert max(map(len, words.splitlines())) < 400
        words = failure(box.assert_not_enqueued, app.pack)
        assert len(words.splitlines()) == 12 and "  and 490 more" in words


async def test_jobs_come_in_the_order_of_their_enqueue_across_states_and_queues() -> None:
    with sandbox(shop, mail) as box:
        names = []
        for number in range(30):
            task = app.welcome if number % 3 else app.pack
            await task.options(delay=number % 2 * 60).enqueue(str(number))
            names.append(str(number))
        assert [next(iter(job.arguments.values())) for job in box.jobs()] == names
        assert len(box.jobs(app.pack)) == 10


async def test_what_is_no_task_of_the_sandbox_is_refused() -> None:
    other = Queue(name="kit-elsewhere")

    @other.task(name="far")
    async def far() -> None: ...

    def plain() -> None: ...

    with sandbox(shop) as box:
        with pytest.raises(UsageError, match="far is of queue 'kit-elsewhere', which is not in this sandbox: name it"):
            box.assert_enqueued(far)
        with pytest.raises(UsageError, match=r"assert_enqueued takes a task or a draft, not <function"):
            box.assert_enqueued(plain)  # type: ignore[arg-type]  # what it refuses
        with pytest.raises(UsageError, match="times=0"):
            box.assert_enqueued(app.pack, times=0)
        with pytest.raises(UsageError, match=re.escape("jobs(...) takes a task")):
            box.jobs(plain)  # type: ignore[arg-type]  # what it refuses
        with pytest.raises(UsageError, match=re.escape("drain(until=...) takes a task")):
            await box.drain(until="pack")  # type: ignore[arg-type]  # what it refuses


async def test_a_task_of_that_name_on_another_queue_is_named_as_such() -> None:
    one, two = Queue(name="kit-one"), Queue(name="kit-two")

    @one.task(name="same")
    async def first() -> None: ...

    @two.task(name="same")
    async def second() -> None: ...

    with sandbox(one, two) as box:
        await second.enqueue()
        words = failure(box.assert_enqueued, first)
        assert "same() pending: another task of that name, on queue 'kit-two'" in words


def test_assertions_need_no_loop_and_stop_with_the_sandbox() -> None:
    with sandbox(shop, mail) as box:
        app.welcome.enqueue_sync("ann@a.b")
        box.assert_enqueued(app.welcome)
        assert len(box.jobs()) == 1
    assert isinstance(box, Sandbox)
    with pytest.raises(UsageError, match=r"box.assert_enqueued\(\) works inside the `with sandbox\(\) as box:` block"):
        box.assert_enqueued(app.welcome)
