"""Claim: recovery, promotion, parked jobs, pending jobs; what a worker gets and is told."""

import pytest
from tests.conformance.stores import LEASE_MS, QUEUE, Hand, Store, envelope, ids, new

from surefoot.brokers.answers import Hold, Lease
from surefoot.brokers.broker import Claim, Configure, Find, Prune
from surefoot.core.codec import decode_error
from surefoot.core.job import After, Counts
from surefoot.core.transition import Delay, Finish, Park, Return


def test_a_claimed_job_carries_all_that_a_decision_needs(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(new("a"))
    put_at = store.now
    store.later(5)
    claimed = worker.claim()
    (leased,) = claimed.jobs
    assert (leased.id, leased.enqueued_ms, leased.body) == ("a", put_at, envelope("a"))
    assert (leased.counts, leased.note, leased.cancel) == (Counts(), None, None)
    assert (claimed.now_ms, claimed.paused, claimed.recovered, claimed.orphans) == (store.now, False, 0, ())


def test_a_token_is_the_caller_and_the_call(producer: Hand, worker: Hand) -> None:
    producer.put(new("a"), new("b"))
    (first,), (second,) = worker.claim(1).jobs, worker.claim(1).jobs
    assert (first.token, second.token) == (f"{worker.caller}.1", f"{worker.caller}.2")


def test_a_claimed_job_is_processing_and_says_where(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(new("a"))
    worker.claim(lease_ms=700)
    record = producer.record("a")
    assert (record.state, record.lease_ms, record.started_ms) == ("processing", store.now + 700, store.now)
    assert record.caller == worker.caller


def test_a_job_goes_to_one_worker(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(new("a"), new("b"), new("c"))
    other = store.hand()
    assert [ids(worker.claim(2)), ids(other.claim(2)), ids(worker.claim(2))] == [["a", "b"], ["c"], []]


def test_wanting_nothing_takes_nothing(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(new("a"), new("b", due=After(1)))
    store.later(LEASE_MS)
    assert ids(worker.claim(0)) == []
    assert producer.stats().processing == 0


def test_an_empty_queue_gives_nothing(worker: Hand) -> None:
    claimed = worker.claim()
    assert (claimed.jobs, claimed.parking, claimed.wait_ms) == ([], False, 12_000)


# Recovery


def test_an_ended_lease_is_handed_to_the_next_claim_and_counts_a_crash(store: Store, producer: Hand) -> None:
    first, second = store.hand(), store.hand()
    producer.put(new("a"))
    (old,), started = first.claim().jobs, store.now
    store.later(LEASE_MS)
    claimed = second.claim()
    (leased,) = claimed.jobs
    assert (leased.id, claimed.recovered) == ("a", 1)
    assert leased.token.startswith(second.caller) and leased.token != old.token
    assert leased.counts == Counts(runs=1, crashes=1)
    line = decode_error(producer.record("a").errors[0])
    assert (line.kind, line.attempt, line.caller) == ("crash", 1, first.caller)
    assert (line.started_ms, line.ended_ms) == (started, store.now)
    record = producer.record("a")
    assert (record.caller, record.started_ms, record.lease_ms) == (second.caller, store.now, store.now + LEASE_MS)


def test_a_lease_that_has_not_ended_is_left_alone(producer: Hand, worker: Hand, store: Store) -> None:
    worker.take("a")
    store.later(LEASE_MS - 1)
    assert ids(store.hand().claim()) == []


def test_without_trust_nothing_is_recovered(worker: Hand, store: Store) -> None:
    worker.take("a")
    store.later(LEASE_MS)
    assert ids(store.hand().claim(trusting=False)) == []


def test_a_claim_that_comes_later_than_its_worker_believes_recovers_nothing(worker: Hand, store: Store) -> None:
    worker.take("a")
    end = store.now + LEASE_MS
    store.later(10 * LEASE_MS)
    other = store.hand()
    assert ids(other.say(Claim(QUEUE, 9, LEASE_MS, end))) == []
    assert ids(other.say(Claim(QUEUE, 9, LEASE_MS, store.now - 1))) == []
    assert ids(other.say(Claim(QUEUE, 9, LEASE_MS, store.now))) == ["a"]


def test_trust_beyond_the_stores_time_is_worth_no_more_than_it(worker: Hand, store: Store) -> None:
    worker.take("a")
    store.later(LEASE_MS - 1)
    assert ids(store.hand().say(Claim(QUEUE, 9, LEASE_MS, store.now + 2_000))) == []


def test_recovered_jobs_come_first_the_longest_lost_before_the_others(producer: Hand, store: Store) -> None:
    first, second = store.hand(), store.hand()
    producer.put(new("a"), new("b"))
    first.claim(1, lease_ms=LEASE_MS + 5)
    first.claim(1)
    producer.put(new("c", priority=0))
    store.later(2 * LEASE_MS)
    claimed = second.claim()
    assert (ids(claimed), claimed.recovered) == (["b", "a", "c"], 2)


def test_no_more_is_recovered_than_wanted(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(*(new(str(n)) for n in range(5)))
    worker.claim()
    store.later(LEASE_MS)
    other = store.hand()
    assert [len(other.claim(2).jobs), len(other.claim(2).jobs), len(other.claim(2).jobs)] == [2, 2, 1]


def test_a_job_lost_again_and_again_counts_each_crash_and_keeps_ten_lines(producer: Hand, store: Store) -> None:
    producer.put(new("a"))
    for _ in range(13):
        store.hand().claim()
        store.later(LEASE_MS)
    record = producer.record("a")
    assert (record.counts.runs, record.counts.crashes, len(record.errors)) == (12, 12, 10)
    assert [decode_error(line).attempt for line in record.errors] == list(range(12, 2, -1))


def test_a_recovered_job_keeps_its_note_and_its_cancel_request(producer: Hand, worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    worker.extend(Lease("a", leased.token, b"half"))
    producer.cancel("a", reason="enough")
    store.later(2 * LEASE_MS)
    (again,) = store.hand().claim().jobs
    assert (again.note, again.cancel) == (b"half", "enough")


def test_a_recovered_job_keeps_its_old_place_for_a_hand_back(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(new("a"), new("b"))
    worker.claim(1)
    store.later(LEASE_MS)
    other = store.hand()
    (leased,) = other.claim(1).jobs
    other.end(leased, Return(), None)
    assert ids(other.claim()) == ["a", "b"]


# Promotion


def test_a_scheduled_job_is_claimed_when_it_is_due(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(new("a", due=After(500)))
    store.later(499)
    assert ids(worker.claim()) == []
    store.later(1)
    assert ids(worker.claim()) == ["a"]


def test_due_jobs_join_the_end_of_their_line_in_the_order_of_their_times(
    producer: Hand, worker: Hand, store: Store
) -> None:
    producer.put(new("late", due=After(900)), new("early", due=After(100)), new("high", due=After(999), priority=2))
    producer.put(new("was here"))
    store.later(1_000)
    assert ids(worker.claim()) == ["high", "was here", "early", "late"]


def test_R25_a_claim_promotes_in_bounded_steps(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(*(new(str(n), due=After(1)) for n in range(150)))
    store.later(1)
    worker.claim(1)
    stats = producer.stats()
    assert (stats.scheduled, stats.pending, stats.processing) == (50, 99, 1)
    worker.claim(1)
    assert producer.stats().scheduled == 0


def test_even_a_claim_that_wants_nothing_promotes(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(new("a", due=After(1)))
    store.later(1)
    worker.claim(0)
    assert producer.state("a") == "pending"


# A clock that jumps


def test_R22_a_clock_that_steps_back_makes_late_and_loses_nothing(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(new("lost"), new("kept"), new("later", due=After(1_000)))
    kept = next(leased for leased in worker.claim(2).jobs if leased.id == "kept")
    store.later(-600_000)
    assert worker.claim().jobs == []
    assert worker.extend(Lease("kept", kept.token)) == [Hold(True)]
    assert worker.end(kept, Finish("completed")) == "applied"
    store.later(600_000 + LEASE_MS)
    assert ids(store.hand().claim()) == ["lost", "later"]


def test_R22_after_a_clock_that_stepped_forward_the_next_renewal_wins(worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    store.later(600_000)
    assert worker.extend(Lease("a", leased.token)) == [Hold(True)]
    assert store.hand().claim().jobs == []


# Parked


def parked(producer: Hand, worker: Hand, id: str, reason: str) -> None:
    producer.put(new(id))
    (leased,) = worker.claim().jobs
    assert worker.end(leased, Park(reason), None) == "applied"


def test_a_parked_job_goes_to_a_worker_that_serves_its_reason(producer: Hand, worker: Hand) -> None:
    parked(producer, worker, "a", "task:welcome@3")
    assert ids(worker.claim(9, "task:welcome", "task:welcome@2", "task:welcome@30", "needs:1")) == []
    claimed = worker.claim(9, "task:resize", "task:welcome@3")
    assert (ids(claimed), claimed.parking) == (["a"], False)
    assert producer.record("a").parked_ms is None


def test_parked_jobs_come_before_pending_ones_in_the_order_of_their_ranks(producer: Hand, worker: Hand) -> None:
    producer.put(new("a"), new("b"), new("c", priority=2))
    leased = {job.id: job for job in worker.claim().jobs}
    for id in ("a", "c", "b"):
        worker.end(leased[id], Park("task:welcome"), None)
    producer.put(new("pending", priority=0))
    assert ids(worker.claim(2, "task:welcome")) == ["c", "a"]
    assert ids(worker.claim(2, "task:welcome")) == ["b", "pending"]


def test_a_claim_says_that_something_is_parked(producer: Hand, worker: Hand) -> None:
    assert not worker.claim().parking
    parked(producer, worker, "a", "task:welcome")
    assert worker.claim().parking


def test_a_parked_job_handed_back_has_its_old_place(producer: Hand, worker: Hand) -> None:
    parked(producer, worker, "a", "task:welcome")
    producer.put(new("b"))
    (leased,) = worker.claim(1, "task:welcome").jobs
    worker.end(leased, Return(), None)
    assert ids(worker.claim()) == ["a", "b"]


# What a worker is told


def test_an_idle_worker_may_sleep_until_the_next_due_time(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(new("a", due=After(9_000)), new("b", due=After(4_000)))
    assert worker.claim().wait_ms == 4_000
    store.later(3_999)
    assert worker.claim().wait_ms == 1


def test_an_idle_worker_may_sleep_until_the_next_lease_ends(producer: Hand, worker: Hand, store: Store) -> None:
    worker.take("a")
    store.later(4_000)
    assert worker.claim().wait_ms == LEASE_MS - 4_000


def test_nobody_sleeps_longer_than_the_floor(producer: Hand, worker: Hand) -> None:
    producer.put(new("a", due=After(90_000)))
    assert worker.claim().wait_ms == 12_000
    assert worker.say(Claim(QUEUE, 1, 1_000, 0, floor_ms=1_200)).wait_ms == 1_200


def test_a_lease_that_ended_but_is_not_believed_is_no_timer(worker: Hand, store: Store) -> None:
    worker.take("a")
    store.later(LEASE_MS)
    assert worker.claim(trusting=False).wait_ms == 12_000


def test_a_sleep_is_never_zero(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(*(new(str(n), due=After(1)) for n in range(150)))
    store.later(1)
    assert worker.claim(1).wait_ms >= 1


def test_a_paused_queue_gives_recovers_and_promotes_nothing(producer: Hand, worker: Hand, store: Store) -> None:
    worker.take("a")
    producer.put(new("b"), new("c", due=After(1)))
    parked_one = store.hand()
    producer.say(Configure(QUEUE, paused="maintenance"))
    store.later(LEASE_MS)
    claimed = parked_one.claim(9, "task:welcome")
    assert (claimed.paused, claimed.jobs, claimed.wait_ms) == (True, [], 12_000)
    assert [producer.state(id) for id in "abc"] == ["processing", "pending", "scheduled"]
    assert producer.stats().ended_leases == 1
    producer.say(Configure(QUEUE, paused=None))
    assert sorted(ids(parked_one.claim())) == ["a", "b", "c"]


def test_a_running_job_of_a_paused_queue_goes_on(producer: Hand, worker: Hand) -> None:
    leased = worker.take("a")
    producer.say(Configure(QUEUE, paused=""))
    assert worker.end(leased, Finish("completed")) == "applied"


def test_chores_are_due_a_minute_after_the_last(worker: Hand, store: Store) -> None:
    assert worker.claim().chores
    worker.say(Prune(QUEUE))
    assert not worker.claim().chores
    store.later(60_001)
    assert worker.claim().chores


# A body that is gone


@pytest.mark.parametrize("place", ["pending", "scheduled", "parked", "processing"])
def test_R15_a_job_whose_body_is_gone_is_a_dead_letter(place: str, damaged_store: Store) -> None:
    producer, worker = damaged_store.hand(), damaged_store.hand()
    if place == "scheduled":
        producer.put(new("a", due=After(1)))
    else:
        leased = worker.take("a")
        back = {"pending": Return(), "parked": Park("task:welcome"), "processing": None}[place]
        if back is not None:
            worker.end(leased, back, None)
    damaged_store.lose_body("a")
    producer.put(new("b"))
    damaged_store.later(LEASE_MS)
    claimed = worker.claim(9, "task:welcome")
    assert (ids(claimed), claimed.orphans) == (["b"], ("a",))
    record = producer.record("a")
    assert (record.state, record.reason, record.body) == ("dead", "body_lost", b"")
    assert decode_error(record.errors[0]).reason == "body_lost"
    assert producer.stats().dead == 1


def test_a_job_without_a_body_can_still_be_read_and_found(damaged_store: Store) -> None:
    producer = damaged_store.hand()
    producer.put(new("a"))
    damaged_store.lose_body("a")
    assert producer.record("a").body == b""


def test_a_delayed_retry_waits_its_time_and_joins_the_end(producer: Hand, worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    worker.end(leased, Delay(2_000, "retry"), "failures")
    assert producer.record("a").due_ms == store.now + 2_000
    producer.put(new("b"))
    store.later(2_000)
    assert ids(worker.claim()) == ["b", "a"]


def test_find_meets_claimed_jobs_in_processing(real_store: Store) -> None:
    producer, worker = real_store.hand(), real_store.hand()
    producer.put(new("a"), new("b"))
    worker.claim(1)
    assert [record.id for record in producer.say(Find(QUEUE, "processing")).records] == ["a"]
