"""The house: configure, tick, beat, prune."""

import pytest
from tests.conformance.stores import QUEUE, Hand, Store, ids, new, words

from surefoot.brokers.answers import Config, CronState
from surefoot.brokers.broker import Beat, Configure, Delete, Prune, Tick
from surefoot.core.codec import decode_error
from surefoot.core.job import After, Unique
from surefoot.core.transition import Park

A_DAY_MS = 86_400_000


# Configure


def test_nothing_is_set_at_first_and_asking_sets_nothing(producer: Hand) -> None:
    assert producer.say(Configure(QUEUE)) == Config(None, None, None)


def test_a_second_pause_has_the_new_reason_and_the_old_since(producer: Hand, store: Store) -> None:
    since = store.now
    assert producer.say(Configure(QUEUE, paused="")) == Config("", since, None)
    store.later(500)
    assert producer.say(Configure(QUEUE, paused="card provider down")) == Config("card provider down", since, None)
    stats = producer.stats()
    assert (stats.paused_ms, stats.pause_reason) == (since, "card provider down")
    assert producer.say(Configure(QUEUE, paused=None)) == Config(None, None, None)
    store.later(500)
    assert producer.say(Configure(QUEUE, paused="again")) == Config("again", store.now, None)


def test_each_setting_may_be_left_out(producer: Hand, store: Store) -> None:
    producer.say(Configure(QUEUE, max_length=0))
    producer.say(Configure(QUEUE, paused="x"))
    assert producer.say(Configure(QUEUE)) == Config("x", store.now, 0)
    assert producer.say(Configure(QUEUE, max_length=None)) == Config("x", store.now, None)


def test_a_configured_length_holds_for_every_put_that_says_none(producer: Hand) -> None:
    producer.say(Configure(QUEUE, max_length=1))
    assert producer.stats().max_length == 1
    assert words(producer.put(new("a"), new("b"))) == ["created", "full"]
    assert words(producer.put(new("b"), max_length=2)) == ["created"]
    producer.say(Configure(QUEUE, max_length=None))
    assert words(producer.put(new("c"))) == ["created"]


def test_a_cron_entry_is_paused_with_a_reason_and_resumed(producer: Hand, store: Store) -> None:
    since = store.now
    producer.say(Configure(QUEUE, cron=("nightly", "month end")))
    store.later(9)
    producer.say(Configure(QUEUE, cron=("nightly", "")))
    assert producer.stats(60, "nightly", "other").crons == {
        "nightly": CronState(None, since, ""), "other": CronState(),
    }  # fmt: skip
    producer.say(Configure(QUEUE, cron=("nightly", None)))
    assert producer.stats(60, "nightly").crons == {"nightly": CronState()}


# Tick


def tick(hand: Hand, tick_ms: int, id: str | None = None, **facts: object) -> str:
    return hand.say(Tick(QUEUE, "nightly", tick_ms, new(id or f"nightly@{tick_ms}", **facts)))


def test_C2_a_tick_makes_one_job_whoever_asks(producer: Hand, worker: Hand, store: Store) -> None:
    at = store.now
    assert tick(producer, at) == "created"
    assert tick(store.hand(), at) == "past"
    assert tick(store.hand(), at, "other id") == "past"
    assert ids(worker.claim()) == [f"nightly@{at}"]
    assert producer.stats(60, "nightly").crons["nightly"].last_ms == at


def test_a_tick_is_past_though_its_job_is_done_and_forgotten(producer: Hand, worker: Hand, store: Store) -> None:
    tick(producer, store.now, "a")
    producer.cancel("a", keep_ms=0)
    assert tick(producer, store.now, "a") == "past"


def test_an_older_tick_is_past_and_a_newer_one_is_not(producer: Hand, store: Store) -> None:
    tick(producer, store.now)
    assert tick(producer, store.now - 1) == "past"
    assert tick(producer, store.now + 1) == "created"


def test_a_tick_far_ahead_of_the_stores_time_is_early(producer: Hand, store: Store) -> None:
    assert tick(producer, store.now + 60_001) == "early"
    assert producer.stats(60, "nightly").crons["nightly"].last_ms is None
    assert tick(producer, store.now + 60_000) == "created"


def test_C4_a_stored_tick_years_ahead_counts_as_unset(producer: Hand, store: Store) -> None:
    wrong = 365 * A_DAY_MS
    store.later(wrong)
    tick(producer, store.now)
    store.later(-wrong)
    assert tick(producer, store.now) == "created"
    assert tick(producer, store.now) == "past"


def test_C4_a_clock_that_steps_back_a_little_does_not_tick_twice(producer: Hand, store: Store) -> None:
    tick(producer, store.now)
    store.later(-60_000)
    assert tick(producer, store.now) == "past"


def test_a_tick_of_a_paused_entry_is_spent_without_a_job(producer: Hand, worker: Hand, store: Store) -> None:
    producer.say(Configure(QUEUE, cron=("nightly", "x")))
    assert tick(producer, store.now) == "paused"
    producer.say(Configure(QUEUE, cron=("nightly", None)))
    assert tick(producer, store.now) == "past"
    assert worker.claim().jobs == []


def test_a_tick_refused_for_room_may_come_again(producer: Hand, store: Store) -> None:
    producer.say(Configure(QUEUE, max_length=0))
    assert tick(producer, store.now) == "full"
    producer.say(Configure(QUEUE, max_length=1))
    assert tick(producer, store.now) == "created"


def test_a_tick_whose_key_is_taken_is_skipped_and_spent(producer: Hand, store: Store) -> None:
    key = Unique("nightly cron:nightly")
    assert tick(producer, store.now, "a", unique=key) == "created"
    store.later(1_000)
    assert tick(producer, store.now, "b", unique=key) == "taken"
    producer.cancel("a")
    assert tick(producer, store.now, "b", unique=key) == "past"


def test_entries_tick_each_for_themselves(producer: Hand, store: Store) -> None:
    tick(producer, store.now)
    assert producer.say(Tick(QUEUE, "hourly", store.now, new("hourly"))) == "created"


# Beat


def test_the_epoch_is_the_first_call_and_stays(store: Store) -> None:
    first, second = store.hand(), store.hand()
    first.put(new("a"))
    begun = f"{first.caller}.{store.now}"
    store.later(1_000)
    second.put(new("b"))
    assert second.say(Beat(QUEUE, second.caller, b"{}")) == begun
    assert second.stats().epoch == begun


def test_a_beat_shows_a_worker_as_it_last_was(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(new("a"))
    worker.say(Beat(QUEUE, worker.caller, b'{"running":1}'))
    store.later(15_000)
    worker.say(Beat(QUEUE, worker.caller, b'{"running":2}'))
    (presence,) = producer.stats().workers
    assert (presence.caller, presence.seen_ms, presence.presence) == (worker.caller, store.now, b'{"running":2}')


def test_a_worker_is_known_by_the_caller_of_its_turns_whoever_beats(producer: Hand, worker: Hand) -> None:
    producer.say(Beat(QUEUE, worker.caller, b"{}"))
    assert [presence.caller for presence in producer.stats().workers] == [worker.caller]


# Prune


def test_D6_dead_letters_stay_without_a_limit(producer: Hand, store: Store) -> None:
    producer.kill("a")
    store.later(365 * A_DAY_MS)
    assert producer.say(Prune(QUEUE)) == 0
    assert producer.state("a") == "dead"


def test_D6_the_oldest_dead_letters_beyond_the_count_go(producer: Hand, store: Store) -> None:
    for id in "abcd":
        producer.kill(id)
        store.later(10)
    assert producer.say(Prune(QUEUE, dead_max=2)) == 2
    assert [producer.state(id) for id in "abcd"] == ["unknown", "unknown", "dead", "dead"]
    assert producer.say(Prune(QUEUE, dead_max=0)) == 2
    assert producer.stats().dead == 0


def test_D6_dead_letters_beyond_the_age_go(producer: Hand, store: Store) -> None:
    producer.kill("a")
    store.later(2_000)
    producer.kill("b")
    assert producer.say(Prune(QUEUE, dead_age_ms=1_000)) == 1
    assert [producer.state(id) for id in "ab"] == ["unknown", "dead"]


def test_D6_pruned_letters_are_counted(real_store: Store) -> None:
    hand = real_store.hand()
    hand.kill("a")
    before = sum(hand.stats().totals.values())
    hand.say(Prune(QUEUE, dead_max=0))
    assert sum(hand.stats().totals.values()) == before + 1


def test_outcomes_past_their_time_go_and_others_stay(producer: Hand, store: Store) -> None:
    producer.put(*(new(id) for id in "abc"))
    producer.cancel("a", keep_ms=1_000)
    producer.cancel("b", keep_ms=2_000)
    producer.cancel("c", keep_ms=None)
    store.later(1_500)
    assert producer.say(Prune(QUEUE)) == 1
    assert [producer.state(id) for id in "abc"] == ["unknown", "cancelled", "cancelled"]


def test_one_prune_moves_no_more_than_its_limit(producer: Hand, store: Store) -> None:
    for n in range(5):
        producer.kill(str(n))
        store.later(10)
    assert [producer.say(Prune(QUEUE, dead_max=0, limit=2)) for _ in range(3)] == [2, 2, 1]
    assert producer.stats().dead == 0


def test_a_job_parked_too_long_for_an_unknown_task_is_dead(producer: Hand, worker: Hand, store: Store) -> None:
    for id, reason in (("task", "task:welcome"), ("schema", "task:welcome@3"), ("needs", "needs:2")):
        worker.end(worker.take(id), Park(reason), None)
    store.later(A_DAY_MS - 1)
    producer.say(Prune(QUEUE))
    assert producer.stats().parked == 3
    store.later(2)
    worker.end(worker.take("young"), Park("task:welcome"), None)
    assert producer.say(Prune(QUEUE)) == 2
    assert [producer.state(id) for id in ("task", "schema", "needs", "young")] == ["dead", "dead", "parked", "parked"]
    record = producer.record("task")
    assert (record.reason, record.finished_ms) == ("unknown", store.now)
    assert decode_error(record.errors[0]).reason == "unknown"


def test_a_job_buried_as_unknown_frees_its_key(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(new("a", unique=Unique("welcome k")))
    worker.end(worker.claim().jobs[0], Park("task:welcome"), None)
    store.later(1_001)
    producer.say(Prune(QUEUE, unknown_ms=1_000))
    assert words(producer.put(new("b", unique=Unique("welcome k")))) == ["created"]


def test_workers_unseen_for_ten_minutes_go(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(new("a"))
    worker.say(Beat(QUEUE, worker.caller, b"{}"))
    store.later(599_000)
    producer.say(Beat(QUEUE, producer.caller, b"{}"))
    producer.say(Prune(QUEUE))
    assert len(producer.stats().workers) == 2
    store.later(2_000)
    producer.say(Prune(QUEUE))
    assert [presence.caller for presence in producer.stats().workers] == [producer.caller]


def test_prune_leaves_everything_that_is_not_over(producer: Hand, worker: Hand, store: Store) -> None:
    worker.take("runs")
    worker.kill("dead")
    producer.put(new("pending"), new("later", due=After(10 * A_DAY_MS)))
    store.later(2 * A_DAY_MS)
    assert producer.say(Prune(QUEUE, dead_max=1, dead_age_ms=3 * A_DAY_MS)) == 0
    states = [producer.state(id) for id in ("runs", "dead", "pending", "later")]
    assert states == ["processing", "dead", "pending", "scheduled"]


@pytest.mark.parametrize("gone", ["a", "nobody"])
def test_prune_after_a_delete_finds_nothing(gone: str, producer: Hand, store: Store) -> None:
    producer.put(new("a"))
    producer.cancel("a", keep_ms=1)
    producer.say(Delete(QUEUE, (gone,)))
    store.later(10)
    assert producer.say(Prune(QUEUE)) == (0 if gone == "a" else 1)
