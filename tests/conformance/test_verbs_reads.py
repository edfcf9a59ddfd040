"""Get, Find, Stats, Queues: what can be seen, and that looking changes nothing."""

import pytest
from tests.conformance.stores import LEASE_MS, QUEUE, Hand, Store, new

from surefoot.brokers.answers import BEHIND_MOST
from surefoot.brokers.broker import Configure, Find, Get, Queues, Stats
from surefoot.core.job import After, Unique
from surefoot.core.names import State
from surefoot.core.transition import Delay, Finish, Park

EVERY_STATE: tuple[State, ...] = (
    "scheduled", "pending", "parked", "processing", "completed", "dead", "cancelled", "expired",
)  # fmt: skip


def one_of_each(hand: Hand) -> None:
    """A job in every state, named by it."""
    hand.end(hand.take("parked"), Park("task:welcome"), None)
    hand.end(hand.take("expired"), Finish("expired"), None)
    hand.take("processing")
    hand.complete("completed")
    hand.kill("dead")
    hand.put(new("cancelled"))
    hand.cancel("cancelled")
    hand.put(new("pending"), new("scheduled", due=After(60_000)))


# Get


def test_get_answers_each_id_in_order_and_none_for_the_unknown(producer: Hand) -> None:
    producer.put(new("a"), new("b"))
    records = producer.say(Get(QUEUE, ("b", "nobody", "a", "b")))
    assert [record and record.id for record in records] == ["b", None, "a", "b"]


def test_get_of_nothing_is_nothing(producer: Hand) -> None:
    assert producer.say(Get(QUEUE, ())) == []


def test_a_queue_that_was_never_written_can_be_read(real_store: Store) -> None:
    hand = real_store.hand()
    assert (hand.get("a"), hand.find().records, hand.stats().pending) == (None, [], 0)


def test_get_says_how_many_pending_jobs_come_before(real_store: Store) -> None:
    hand = real_store.hand()
    hand.put(new("a"), new("b"), new("c"), new("high", priority=2), new("later", due=After(9)))
    records = hand.say(Get(QUEUE, ("c", "high", "a"), behind=True))
    assert [record and record.behind for record in records] == [3, 0, 1]


def test_no_more_jobs_before_one_are_counted_than_anybody_reads(real_store: Store) -> None:
    hand = real_store.hand()
    for first in range(0, BEHIND_MOST + 50, 500):
        hand.put(*[new(f"{n}") for n in range(first, first + 500)])
    ids = [f"{n}" for n in (BEHIND_MOST - 1, BEHIND_MOST, BEHIND_MOST + 1, BEHIND_MOST + 2)]
    records = hand.say(Get(QUEUE, tuple(ids), behind=True))
    assert [record and record.behind for record in records] == [999, 1_000, 1_001, 1_001]


# Find


def test_find_shows_each_state_alone(real_store: Store) -> None:
    hand = real_store.hand()
    one_of_each(hand)
    for state in EVERY_STATE:
        page = hand.find(state=state)
        assert [record.id for record in page.records] == [state]
        assert (page.records[0], page.cursor) == (hand.get(state), None)


def test_find_without_a_state_shows_every_place_once(real_store: Store) -> None:
    hand = real_store.hand()
    one_of_each(hand)
    assert sorted(record.id for record in hand.find().records) == sorted(EVERY_STATE)


@pytest.mark.parametrize("limit", [1, 3, 7, 8])
def test_pages_show_everything_once_and_end(limit: int, real_store: Store) -> None:
    hand = real_store.hand()
    one_of_each(hand)
    hand.put(*(new(f"more-{n}") for n in range(5)))
    seen, cursor = list[str](), None
    for _ in range(20):
        page = hand.find(cursor=cursor, limit=limit)
        assert len(page.records) <= limit
        seen += [record.id for record in page.records]
        cursor = page.cursor
        if cursor is None:
            break
    assert cursor is None
    assert sorted(seen) == sorted([*EVERY_STATE, *(f"more-{n}" for n in range(5))])


def test_pages_of_a_state_are_newest_first(real_store: Store) -> None:
    hand = real_store.hand()
    for n in range(5):
        hand.kill(str(n))
        real_store.later(10)
    first = hand.find(state="dead", limit=2)
    second = hand.find(state="dead", limit=2, cursor=first.cursor)
    third = hand.find(state="dead", limit=2, cursor=second.cursor)
    shown = [[record.id for record in page.records] for page in (first, second, third)]
    assert (shown, third.cursor) == ([["4", "3"], ["2", "1"], ["0"]], None)


def test_jobs_that_come_while_somebody_pages_do_not_shift_the_pages(real_store: Store) -> None:
    hand = real_store.hand()
    hand.put(*(new(str(n)) for n in range(4)))
    first = hand.find(state="pending", limit=2)
    hand.put(new("new"))
    second = hand.find(state="pending", limit=9, cursor=first.cursor)
    assert [record.id for record in (*first.records, *second.records)] == ["3", "2", "1", "0"]


def test_jobs_of_one_moment_are_paged_without_loss(real_store: Store) -> None:
    hand = real_store.hand()
    hand.put(*(new(f"{n:02}", due=After(60_000)) for n in range(23)))
    seen, cursor = list[str](), None
    for _ in range(10):
        page = hand.find(state="scheduled", cursor=cursor, limit=5)
        seen += [record.id for record in page.records]
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(seen) == [f"{n:02}" for n in range(23)]


def test_find_by_key_shows_its_holder(real_store: Store) -> None:
    hand = real_store.hand()
    hand.put(new("a", unique=Unique("welcome k")), new("b", unique=Unique("welcome other")))
    assert [record.id for record in hand.say(Find(QUEUE, key="welcome k")).records] == ["a"]
    assert hand.say(Find(QUEUE, key="welcome nobody")).records == []
    hand.cancel("a")
    assert hand.say(Find(QUEUE, key="welcome k")).records == []


# Stats


def test_stats_count_each_place(producer: Hand, store: Store) -> None:
    one_of_each(producer)
    stats = producer.stats()
    assert (stats.scheduled, stats.pending, stats.parked, stats.processing, stats.dead) == (1, 1, 1, 1, 1)
    assert (stats.ended_leases, stats.now_ms) == (0, store.now)
    assert (stats.paused_ms, stats.pause_reason, stats.max_length, stats.workers) == (None, None, None, ())


def test_stats_that_count_no_jobs_tell_the_rest(real_store: Store) -> None:
    producer = real_store.hand()
    one_of_each(producer)
    producer.say(Configure(QUEUE, paused="why", max_length=9))
    stats = producer.say(Stats(QUEUE, jobs=False))
    assert (stats.scheduled, stats.pending, stats.parked, stats.processing, stats.dead) == (0, 0, 0, 0, 0)
    assert (stats.ended_leases, stats.oldest_ms) == (0, None)
    assert (stats.now_ms, stats.pause_reason, stats.max_length) == (real_store.now, "why", 9)
    full = producer.say(Stats(QUEUE))
    assert (stats.epoch, stats.minutes, stats.totals) == (full.epoch, full.minutes, full.totals)


def test_stats_know_the_age_of_the_oldest_pending_job(producer: Hand, store: Store) -> None:
    assert producer.stats().oldest_ms is None
    producer.put(new("a"), new("b"))
    store.later(1_000)
    producer.put(new("c"))
    store.later(500)
    assert producer.stats().oldest_ms == 1_500


def test_stats_count_leases_that_have_ended(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(new("a"), new("b"))
    worker.claim(1, lease_ms=LEASE_MS)
    worker.claim(1, lease_ms=2 * LEASE_MS)
    store.later(LEASE_MS)
    assert (producer.stats().processing, producer.stats().ended_leases) == (2, 1)


def test_each_minute_counts_what_happened_in_it(real_store: Store) -> None:
    hand = real_store.hand()
    minute = real_store.now // 60_000
    one_of_each(hand)
    real_store.later(60_000)
    leased = hand.take("retried")
    hand.end(leased, Delay(9_000, "retry"), "failures", error=b'{"kind":"E"}')
    rows = {row.minute: row for row in hand.stats().minutes}
    first, second = rows[minute], rows[minute + 1]
    assert (first.enqueued, first.completed, first.dead, first.cancelled, first.expired) == (8, 1, 1, 1, 1)
    assert (second.enqueued, second.failed, second.retried, second.recovered) == (1, 1, 1, 1)
    assert (second.completed, second.dead, first.retried, first.recovered) == (0, 0, 0, 0)


def test_only_the_asked_minutes_are_told(real_store: Store) -> None:
    hand = real_store.hand()
    hand.put(new("a"))
    real_store.later(10 * 60_000)
    assert [row for row in hand.stats(5).minutes if row.enqueued] == []
    assert [row.enqueued for row in hand.stats(15).minutes if row.enqueued] == [1]


def test_stats_know_why_a_queue_is_paused(producer: Hand, store: Store) -> None:
    producer.say(Configure(QUEUE, paused="card provider down"))
    stats = producer.say(Stats(QUEUE))
    assert (stats.paused_ms, stats.pause_reason) == (store.now, "card provider down")


# Queues


def test_queues_names_all_of_a_namespace_and_no_other(real_store: Store) -> None:
    for queue in ("shop:mail", "shop:images", "shop2:mail", "other:x"):
        real_store.hand(queue).put(new("a"))
    names = real_store.hand().say(Queues("shop:"))
    assert sorted(name.removeprefix("shop:") for name in names) == ["images", "mail"]


def test_reading_changes_nothing(real_store: Store) -> None:
    hand = real_store.hand()
    one_of_each(hand)
    before = [hand.get(state) for state in EVERY_STATE], hand.stats(), hand.find()
    for _ in range(3):
        assert ([hand.get(state) for state in EVERY_STATE], hand.stats(), hand.find()) == before
