"""Two releases on one store: what only the newer can serve waits for it, wherever the older meets it.

The second release is a broker that understands 2.
"""

from tests.conformance.stores import LEASE_MS, QUEUE, Hand, Store, ids, new

from surefoot.brokers.broker import Cancel, Find, Requeue
from surefoot.core.job import After, Counts
from surefoot.core.transition import Bury, Finish, Park, Return


def both(store: Store) -> tuple[Hand, Hand]:
    """A worker of the old release, and one of the new."""
    return store.hand(), store.hand(runner=store.open(understands=2))


def is_parked(hand: Hand, id: str = "a") -> bool:
    record = hand.record(id)
    return (record.state, record.reason, record.lease_ms) == ("parked", "needs:2", None)


def test_the_old_release_parks_what_it_claims_and_the_new_one_serves_it(shared_store: Store) -> None:
    old, newer = both(shared_store)
    old.put(new("a", needs=2), new("b"))
    claimed = old.claim(9, "needs:1")
    assert (ids(claimed), claimed.parking) == (["b"], True)
    assert is_parked(old) and old.record("a").parked_ms == shared_store.now
    assert ids(newer.claim()) == []
    assert ids(newer.claim(9, "needs:2")) == ["a"]


def test_the_new_release_serves_it_without_parking(shared_store: Store) -> None:
    _, newer = both(shared_store)
    newer.put(new("a", needs=2))
    assert ids(newer.claim()) == ["a"]


def test_the_old_release_parks_what_it_promotes(shared_store: Store) -> None:
    old, newer = both(shared_store)
    old.put(new("a", needs=2, due=After(1_000)), new("b", due=After(1_000)))
    shared_store.later(1_000)
    assert ids(old.claim()) == ["b"]
    assert is_parked(old)
    assert ids(newer.claim(9, "needs:2")) == ["a"]


def test_the_old_release_parks_what_it_recovers_and_the_crash_is_counted(shared_store: Store) -> None:
    old, newer = both(shared_store)
    old.put(new("a", needs=2))
    (lost,) = newer.claim().jobs
    shared_store.later(LEASE_MS)
    claimed = old.claim()
    assert (ids(claimed), claimed.recovered) == ([], 0)
    assert is_parked(old)
    assert newer.end(lost, Finish("completed")) == "fenced"
    (leased,) = newer.claim(9, "needs:2").jobs
    assert leased.counts == Counts(runs=1, crashes=1)
    assert newer.end(leased, Finish("completed")) == "applied"


def test_a_request_to_a_run_that_was_lost_is_gone_where_the_job_is_parked(shared_store: Store) -> None:
    old, newer = both(shared_store)
    old.put(new("a", needs=2))
    newer.claim()
    assert old.say(Cancel(QUEUE, ("a",), "no")) == ["requested"]
    shared_store.later(LEASE_MS)
    assert (ids(old.claim()), is_parked(old), old.record("a").cancel) == ([], True, None)
    (leased,) = newer.claim(9, "needs:2").jobs
    assert leased.cancel is None


def test_a_job_parked_for_its_task_is_parked_again_by_the_old_release(shared_store: Store) -> None:
    old, newer = both(shared_store)
    old.put(new("a", needs=2))
    newer.end(newer.claim().jobs[0], Park("task:welcome"), None)
    assert ids(old.claim(9, "task:welcome")) == []
    assert is_parked(old)


def test_a_hand_back_and_a_requeue_lead_the_old_release_to_park(shared_store: Store) -> None:
    old, newer = both(shared_store)
    old.put(new("a", needs=2))
    newer.end(newer.claim().jobs[0], Return(), None)
    assert (ids(old.claim()), is_parked(old)) == ([], True)
    newer.end(newer.claim(9, "needs:2").jobs[0], Bury("rejected"), "failures")
    old.say(Requeue(QUEUE, ("a",)))
    assert (ids(old.claim()), is_parked(old)) == ([], True)


def test_a_parked_job_keeps_its_place_for_the_new_release(shared_store: Store) -> None:
    old, newer = both(shared_store)
    old.put(new("a", needs=2), new("b", needs=2, priority=2), new("c", needs=2))
    old.claim()
    assert ids(newer.claim(9, "needs:2")) == ["b", "a", "c"]


def test_parked_jobs_take_no_slot_of_the_old_release(shared_store: Store) -> None:
    old, _ = both(shared_store)
    old.put(*(new(f"newer-{n}", needs=2) for n in range(3)), new("b"))
    served = [id for _ in range(4) for id in ids(old.claim(2))]
    assert served == ["b"]
    assert old.stats().parked == 3


def test_the_old_release_can_still_cancel_and_find_it(shared_store: Store) -> None:
    old, _ = both(shared_store)
    old.put(new("a", needs=2), new("b", needs=2))
    old.claim()
    assert old.cancel("a") == ["cancelled"]
    if shared_store.kind.name != "model":
        assert [record.id for record in old.say(Find(QUEUE, "parked")).records] == ["b"]


def test_a_newer_need_is_named(shared_store: Store) -> None:
    old, newer = both(shared_store)
    old.put(new("a", needs=7))
    assert ids(newer.claim()) == []
    assert newer.record("a").reason == "needs:7"
