"""Accepted, or an error that says so: enqueues, lists, keys, full queues."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.client.shop import Hand, Wire, meanwhile, queue_on

from surefoot import (
    ConfigError,
    Draft,
    DuplicateJob,
    InvalidArguments,
    Key,
    PayloadTooLarge,
    Queue,
    QueueFull,
    UsageError,
)
from surefoot.client import intake
from surefoot.core.transition import Finish


async def welcome(address: str, *, language: str = "en") -> str:
    return address


def resize(path: str, width: int = 800) -> None: ...


def test_an_enqueued_job_is_in_the_store_with_its_arguments(mail: Queue) -> None:
    task = mail.task(welcome)
    handle = task.enqueue_sync("a@b", language="fr")
    assert (handle.queue, handle.task, handle.duplicate, len(handle.id)) == ("mail", "welcome", False, 28)
    job = handle.job_sync()
    assert job is not None
    assert (job.id, job.task, job.state, job.priority) == (handle.id, "welcome", "pending", 5)
    assert dict(job.arguments) == {"address": "a@b", "language": "fr"}
    assert (job.runs, job.failures, job.max_attempts, job.key, job.worker, job.error) == (0, 0, 3, None, None, None)
    assert job.due_at == job.enqueued_at


async def test_the_same_on_a_loop(mail: Queue) -> None:
    handle = await mail.task(welcome).enqueue("a@b")
    job = await handle.job()
    assert job is not None and dict(job.arguments) == {"address": "a@b"}
    assert await mail.get(handle.id) == job
    assert await mail.get("nobody") is None
    assert await handle.status() == "pending"


def test_the_same_draft_twice_is_stored_once(mail: Queue) -> None:
    draft = mail.task(welcome).draft("a@b")
    first, second = mail.enqueue_sync(draft), mail.enqueue_sync(draft)
    assert (first.duplicate, second.duplicate) == (False, True)
    assert first == second and first.id == draft.id
    assert mail.stats_sync().pending == 1


def test_ids_sort_by_time_and_differ(mail: Queue) -> None:
    task = mail.task(welcome)
    ids = [task.draft("a").id for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [id[:12] for id in ids] == sorted(id[:12] for id in ids)
    assert task.options(id="order-7").enqueue_sync("a").id == "order-7"


def test_what_a_job_says_wins_over_its_task(mail: Queue) -> None:
    task = mail.task(priority="low")(welcome)
    assert task.draft("a").priority == 8
    changed = task.options(
        priority="high", max_attempts=9, headers={"trace": "1"}, timeout=5, keep_result=0, expires=60
    )
    assert type(changed) is type(task) and changed.name == task.name and changed.known is task.known
    handle = changed.options(headers={"tenant": "x"}).enqueue_sync("a")
    job = handle.job_sync()
    assert job is not None
    assert (job.priority, job.max_attempts, dict(job.headers)) == (2, 9, {"trace": "1", "tenant": "x"})
    assert task.draft("a").headers == {}


def test_a_delayed_job_is_due_later(mail: Queue) -> None:
    task = mail.task(welcome)
    job = task.options(delay=timedelta(minutes=2)).enqueue_sync("a").job_sync()
    assert job is not None and job.state == "scheduled"
    assert job.due_at - job.enqueued_at == timedelta(minutes=2)
    at = datetime(2090, 1, 1, 12, tzinfo=UTC)
    job = task.options(at=at).enqueue_sync("a").job_sync()
    assert job is not None and (job.state, job.due_at) == ("scheduled", at)
    past = task.options(at=datetime(2020, 1, 1, tzinfo=UTC)).enqueue_sync("a")
    assert past.status_sync() == "pending"
    assert task.options(delay=0).enqueue_sync("a").status_sync() == "pending"


def test_arguments_are_checked_before_anything_is_stored(mail: Queue, wire: Wire) -> None:
    task = mail.task(welcome)
    with pytest.raises(InvalidArguments, match=r"welcome\(\) got 42 for 'address', which is a str\."):
        task.enqueue_sync(42)  # type: ignore[arg-type]
    with pytest.raises(InvalidArguments, match=r"welcome\(\) is missing 'address'\."):
        task.enqueue_sync()  # type: ignore[call-arg]
    with pytest.raises(InvalidArguments) as wrong:
        task.enqueue_sync("a", delay=5)  # type: ignore[call-arg]
    assert str(wrong.value) == (
        "welcome() has no parameter 'delay'; it is an option: welcome.options(delay=5).enqueue(...)."
    )
    with pytest.raises(PayloadTooLarge) as large:
        mail.enqueue_many_sync([task.draft("a"), task.draft("x" * 1_100_000)])
    assert (large.value.task, large.value.limit) == ("welcome", 1 << 20)
    assert wire.calls == []


def test_a_draft_is_for_its_queue(mail: Queue, wire: Wire) -> None:
    bulk = queue_on(wire, "bulk")
    draft = mail.task(welcome).draft("a")
    with pytest.raises(UsageError) as wrong:
        bulk.enqueue_sync(draft)
    assert "is for queue 'mail', not for 'bulk'" in str(wrong.value)
    with pytest.raises(UsageError, match=r"takes drafts: write welcome\.enqueue"):
        mail.enqueue_sync(mail.by_name("welcome"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="takes drafts, not"):
        mail.enqueue_many_sync([("a", 1)])  # type: ignore[arg-type]


def test_before_enqueue_changes_drafts_in_turn(wire: Wire) -> None:
    def traced(draft: Draft[Any]) -> Draft[Any]:
        return draft.with_headers(trace="t1")

    def again(draft: Draft[Any]) -> Draft[Any]:
        return draft.with_headers(trace=draft.headers["trace"] + "+")

    queue = queue_on(wire, before_enqueue=[traced, again])
    task = queue.task(welcome)
    single, many = task.enqueue_sync("a"), queue.enqueue_many_sync([task.draft("b")])[0]
    for handle in (single, many):
        job = handle.job_sync()
        assert job is not None and job.headers == {"trace": "t1+"}
    broken = queue_on(wire, before_enqueue=[lambda draft: None])
    with pytest.raises(UsageError, match="it must return a draft"):
        broken.task(welcome).enqueue_sync("a")


# Lists.


def test_a_list_keeps_its_order_in_as_few_round_trips_as_fit(mail: Queue, wire: Wire) -> None:
    task = mail.task(welcome)
    drafts = [task.draft(str(n)) for n in range(1201)]
    handles = mail.enqueue_many_sync(iter(drafts))
    assert [handle.id for handle in handles] == [draft.id for draft in drafts]
    assert [len(put) for put in wire.puts()] == [500, 500, 201]
    hand = Hand(mail)
    claimed = [leased.id for _ in range(3) for leased in hand.claim(500)]
    assert claimed == [draft.id for draft in drafts]
    assert mail.enqueue_many_sync([]) == []


def test_a_list_is_cut_at_four_mebibytes(mail: Queue, wire: Wire) -> None:
    task = mail.task(welcome)
    mail.enqueue_many_sync([task.draft("x" * 1_000_000) for _ in range(9)])
    assert [len(put) for put in wire.puts()] == [4, 4, 1]


def test_each_of_a_list_is_stored_or_refused_by_itself(mail: Queue) -> None:
    task = mail.task(welcome)
    holder = task.options(key="k").enqueue_sync("first")
    once = task.options(key=Key("k", duplicate="raise"))
    drafts = [task.draft("a"), once.draft("b"), task.draft("c")]
    with pytest.raises(DuplicateJob) as taken:
        mail.enqueue_many_sync(drafts)
    assert (taken.value.job_id, taken.value.key) == (holder.id, "k")
    assert taken.value.accepted == (drafts[0].id, drafts[2].id)
    assert mail.stats_sync().pending == 3


# Keys.


def test_a_key_gives_the_first_job_until_it_is_over(mail: Queue) -> None:
    task = mail.task(welcome)
    first = task.options(key="k").enqueue_sync("a")
    second = task.options(key="k").enqueue_sync("b")
    assert (second.id, second.duplicate) == (first.id, True)
    assert task.options(key="other").enqueue_sync("b").duplicate is False
    job = first.job_sync()
    assert job is not None and job.key == "k"
    Hand(mail).complete()
    Hand(mail).complete()
    third = task.options(key="k").enqueue_sync("c")
    assert third.id != first.id and not third.duplicate


def test_a_key_belongs_to_its_task(mail: Queue) -> None:
    first = mail.task(welcome).options(key="k").enqueue_sync("a")
    second = mail.task(resize).options(key="k").enqueue_sync("a")
    assert not second.duplicate and first.id != second.id


def test_a_key_until_started_lets_one_more_queue_behind_the_running_one(mail: Queue) -> None:
    task = mail.task(welcome).options(key=Key("k", until="started"))
    task.enqueue_sync("a")
    assert task.enqueue_sync("b").duplicate
    assert len(Hand(mail).claim()) == 1
    assert not task.enqueue_sync("c").duplicate


def test_a_key_for_a_period_outlives_its_job(mail: Queue) -> None:
    task = mail.task(welcome).options(key=Key("k", until=timedelta(hours=1)))
    first = task.enqueue_sync("a")
    Hand(mail).complete(keep_ms=0)
    again = task.enqueue_sync("b")
    assert (again.id, again.duplicate) == (first.id, True)


def test_replace_ends_the_waiting_holder(mail: Queue) -> None:
    task = mail.task(welcome).options(key=Key("k", duplicate="replace"))
    first, second = task.enqueue_sync("a"), task.enqueue_sync("b")
    assert not second.duplicate and first.id != second.id
    assert (first.status_sync(), second.status_sync()) == ("cancelled", "pending")
    drafts = [task.draft("c"), task.draft("d")]
    mail.enqueue_many_sync(drafts)
    assert [mail.handle(draft.id).status_sync() for draft in drafts] == ["cancelled", "pending"]


def test_raise_names_the_holder(mail: Queue) -> None:
    task = mail.task(welcome).options(key=Key("k", duplicate="raise"))
    first = task.enqueue_sync("a")
    with pytest.raises(DuplicateJob) as taken:
        task.enqueue_sync("b")
    assert (taken.value.job_id, taken.value.key, taken.value.accepted) == (first.id, "k", ())
    assert str(taken.value) == (
        f"queue 'mail': job {first.id} already holds the key 'k'; leave out duplicate=\"raise\" to get a handle to it."
    )


# Full queues.


def test_a_full_queue_refuses_and_says_how_full(wire: Wire) -> None:
    queue = queue_on(wire, max_length=3)
    task = queue.task(welcome)
    for n in range(3):
        task.options(delay=60 * (n == 0)).enqueue_sync("a")
    with pytest.raises(QueueFull) as full:
        task.enqueue_sync("b")
    assert str(full.value).startswith("queue 'mail' is full: 3 of 3 jobs wait (the oldest for ")
    assert str(full.value).endswith(" s). Nothing was stored.")
    assert (full.value.queue, full.value.length, full.value.limit, full.value.accepted) == ("mail", 3, 3, ())


def test_a_list_into_a_filling_queue_says_what_was_stored(wire: Wire) -> None:
    queue = queue_on(wire, max_length=600)
    task = queue.task(welcome)
    drafts = [task.draft("a") for _ in range(1300)]
    with pytest.raises(QueueFull) as full:
        queue.enqueue_many_sync(drafts)
    assert full.value.accepted == tuple(draft.id for draft in drafts[:600])
    assert str(full.value).endswith("600 of 1,300 were stored.")
    assert queue.stats_sync().pending == 600
    assert len(wire.puts()) == 2, "the third parcel is not even tried"


def test_when_full_wait_sends_the_rest_again(wire: Wire) -> None:
    queue = queue_on(wire, max_length=2, when_full="wait")
    task = queue.task(welcome)
    hand = Hand(queue)
    drafts = [task.draft(str(n)) for n in range(5)]

    def make_room() -> None:
        done = 0
        while done < 3:
            for leased in hand.claim(1):
                done += 1
                hand.settle(leased, Finish("completed", b"null"))

    with meanwhile(make_room):
        handles = queue.enqueue_many_sync(drafts)
    assert [handle.id for handle in handles] == [draft.id for draft in drafts]
    assert not any(handle.duplicate for handle in handles)
    numbers = [call.number for call in wire.calls if any(type(verb).__name__ == "Put" for verb in call.verbs)]
    assert len(numbers) == len(set(numbers)) >= 2, "each try has a number of its own"


async def test_waiting_ends(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_PATIENCE_S", 0.12)
    queue = queue_on(wire, max_length=1, when_full="wait")
    task = queue.task(welcome)
    await task.enqueue("a")
    results = await asyncio.gather(task.enqueue("b"), return_exceptions=True)
    assert isinstance(results[0], QueueFull)
    assert len(wire.puts()) >= 3


# Options that cannot be.


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"timeout": -5}, "timeout=-5 is not a duration; give seconds > 0, or math.inf for no limit."),
        ({"timeout": 0}, "timeout=0 is not a duration; give seconds > 0, or math.inf for no limit."),
        (
            {"at": datetime(2026, 12, 24, 18)},
            'options(at=2026-12-24 18:00) has no time zone; use datetime(..., tzinfo=ZoneInfo("Europe/Paris")).',
        ),
        (
            {"expires": datetime(2026, 12, 24, 18)},
            'options(expires=2026-12-24 18:00) has no time zone; use datetime(..., tzinfo=ZoneInfo("Europe/Paris")).',
        ),
        ({"delay": 5, "at": datetime(2026, 1, 1, tzinfo=UTC)}, "give one of them, not both."),
        ({"max_attempts": 0}, "max_attempts=0 is not a count; give a whole number >= 1."),
        ({"priority": "hgih"}, 'options(priority=\'hgih\'): give "high", "normal" or "low"; did you mean \'high\'?'),
        ({"id": ""}, "id='' is not an id; give 1 to 128 bytes of text without control characters."),
        ({"key": "x" * 129}, "is not a key; give 1 to 128 bytes of text without control characters."),
        ({"headers": {"n": 1}}, "the header 'n' is 1; headers are text."),
        ({"countdown": 5}, "options(countdown=5): there is no option 'countdown'; did you mean delay=5?"),
        ({"retries": 3}, "options(retries=3): there is no option 'retries'; did you mean max_attempts=3?"),
        ({"prioritty": "low"}, "options(prioritty='low'): there is no option 'prioritty'; did you mean 'priority'?"),
    ],
)
def test_options_are_refused_in_a_sentence(mail: Queue, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        mail.task(welcome).options(**options)
    assert sentence in str(wrong.value)


def test_group_is_reserved(mail: Queue) -> None:
    with pytest.raises(UsageError) as wrong:
        mail.task(welcome).options(group="acme")
    assert str(wrong.value) == "options(group='acme'): 'group' is reserved and not in this release; use headers=."
