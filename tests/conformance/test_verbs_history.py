"""Minutes of a day and hours of a month: every event and every time is counted once, where it belongs."""

import pytest
from tests.conformance.stores import QUEUE, Hand, Store, new

from surefoot.brokers.answers import EVENTS, HOURS_KEPT, MinuteRow
from surefoot.brokers.broker import Cancel, Prune, Settle, Stats
from surefoot.core import sketch
from surefoot.core.transition import Bury, Delay, Finish, Transition

A_MINUTE_MS = 60_000
AN_HOUR_MS = 3_600_000


def times(*waited_ms: int, ran: tuple[int, ...] = ()) -> bytes:
    counts: sketch.Times = {}
    for ms in waited_ms:
        sketch.add(counts, "waiting", ms)
    for ms in ran:
        sketch.add(counts, "running", ms)
    return sketch.encode(counts)


def settle(hand: Hand, id: str, said: bytes) -> None:
    leased = hand.take(id)
    hand.say(Settle(QUEUE, (Transition(id, leased.token, Finish("completed"), "runs", keep_ms=0),), said))


def history(hand: Hand, minutes: int = 1_440, hours: int = HOURS_KEPT) -> tuple[list[MinuteRow], list[MinuteRow]]:
    stats = hand.say(Stats(QUEUE, minutes, hours=hours))
    return list(stats.minutes), list(stats.hours)


def numbers(row: MinuteRow) -> dict[str, int]:
    return {word: count for word in EVENTS if (count := getattr(row, word))}


def test_every_event_is_counted_in_its_minute_and_its_hour(real_store: Store) -> None:
    hand = real_store.hand()
    started = real_store.now
    hand.complete("a")
    hand.kill("b")
    hand.end(hand.take("c"), Delay(1_000, "retry"), "failures")
    hand.end(hand.take("d"), Finish("expired"), None)
    hand.put(new("e"))
    hand.say(Cancel(QUEUE, ("e",)))
    hand.take("f")
    real_store.later(11_000)
    hand.claim(1)
    real_store.later(A_MINUTE_MS)
    hand.put(new("g"))
    minutes, hours = history(hand)
    expected = {
        "enqueued": 6, "completed": 1, "failed": 2, "retried": 1, "dead": 1, "cancelled": 1, "expired": 1,
        "recovered": 1,
    }  # fmt: skip
    assert [(row.minute, numbers(row)) for row in minutes] == [
        (started // A_MINUTE_MS, expected), ((started + 71_000) // A_MINUTE_MS, {"enqueued": 1}),
    ]  # fmt: skip
    assert [(row.minute, numbers(row)) for row in hours] == [
        (started // AN_HOUR_MS * 60, expected | {"enqueued": 7}),
    ]  # fmt: skip


def test_times_are_added_up_in_their_minute_and_hour(real_store: Store) -> None:
    hand = real_store.hand()
    settle(hand, "a", times(5, 7, ran=(100,)))
    settle(hand, "b", times(5, ran=(200,)))
    real_store.later(A_MINUTE_MS)
    settle(hand, "c", times(9_000))
    (first, second), (hour,) = history(hand)
    assert first.times == sketch.decode(times(5, 5, 7, ran=(100, 200)))
    assert second.times == sketch.decode(times(9_000))
    assert hour.times == sketch.decode(times(5, 5, 7, 9_000, ran=(100, 200)))


def test_a_settle_that_is_said_again_counts_once(store: Store) -> None:
    hand = store.hand()
    settle(hand, "a", times(5, ran=(100,)))
    hand.again()
    (minute,), (hour,) = history(hand)
    assert dict(minute.times) == dict(hour.times) == sketch.decode(times(5, ran=(100,)))
    assert minute.completed == hour.completed == 1


def test_a_run_whose_job_is_somebody_elses_by_now_is_timed_all_the_same(real_store: Store) -> None:
    hand = real_store.hand()
    hand.say(Settle(QUEUE, (Transition("nobody", "stale.1", Finish("completed"), "runs"),), times(ran=(70,))))
    (minute,), _ = history(hand)
    assert (numbers(minute), minute.times) == ({}, sketch.decode(times(ran=(70,))))


def test_all_buckets_at_once_are_kept(real_store: Store) -> None:
    hand = real_store.hand()
    everything = {base + place: 3 for base in sketch.BASES.values() for place in range(sketch.MOST)}
    for id in "ab":
        settle(hand, id, sketch.encode(everything))
    (minute,), (hour,) = history(hand)
    assert minute.times == hour.times == {place: 6 for place in everything}


@pytest.mark.parametrize("rubbish", [b"\xc1", b"\x93\x01\x02\x03", b"\xa3abc", b"x" * 50])
def test_times_that_nobody_can_read_stop_no_settle(real_store: Store, rubbish: bytes) -> None:
    hand = real_store.hand()
    settle(hand, "a", rubbish)
    settle(hand, "b", times(5))
    (minute,), _ = history(hand)
    assert minute.completed == 2
    assert sketch.total(minute.times, "waiting") == 1


def test_an_hour_is_told_for_a_month_and_a_minute_for_a_day(real_store: Store) -> None:
    hand = real_store.hand()
    began = real_store.now
    settle(hand, "a", times(5))
    real_store.later((HOURS_KEPT - 1) * AN_HOUR_MS)
    minutes, hours = history(hand)
    assert minutes == []
    assert [(row.minute, row.completed) for row in hours] == [(began // AN_HOUR_MS * 60, 1)]
    assert history(hand, hours=24)[1] == []
    real_store.later(AN_HOUR_MS)
    hand.say(Prune(QUEUE))
    assert history(hand) == ([], [])


def test_a_slot_that_comes_round_begins_anew(real_store: Store) -> None:
    hand = real_store.hand()
    settle(hand, "a", times(5))
    real_store.later(HOURS_KEPT * AN_HOUR_MS)
    settle(hand, "b", times(7))
    (minute,), (hour,) = history(hand)
    assert (numbers(minute), minute.times) == ({"enqueued": 1, "completed": 1}, sketch.decode(times(7)))
    assert (numbers(hour), hour.times) == ({"enqueued": 1, "completed": 1}, sketch.decode(times(7)))


def test_what_was_not_asked_for_is_not_told(real_store: Store) -> None:
    hand = real_store.hand()
    settle(hand, "a", times(5))
    assert history(hand, minutes=0, hours=0) == ([], [])
    assert hand.stats().hours == ()


def test_a_death_is_counted_with_its_failure(store: Store) -> None:
    hand = store.hand()
    leased = hand.take("a")
    hand.end(leased, Bury("exhausted"), "failures")
    (minute,), _ = history(hand)
    assert (minute.failed, minute.dead, minute.retried) == (1, 1, 0)
