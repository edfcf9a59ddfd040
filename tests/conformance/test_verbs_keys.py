"""Unique keys: who holds one, until when, and who takes it over."""

import pytest
from tests.conformance.stores import QUEUE, Hand, Store, ids, new, words

from surefoot.brokers.answers import PutAnswer, Requeued
from surefoot.brokers.broker import Put, Requeue
from surefoot.core.job import After, NewJob, Unique
from surefoot.core.transition import Bury, Delay, Finish, Park, Return

A_DAY_MS = 86_400_000


def keyed(id: str, until: object = "done", *, replace: bool = False, key: str = "welcome k", **words: object) -> NewJob:
    return new(id, unique=Unique(key, until, replace), **words)  # type: ignore[arg-type]


def taken(other: str) -> PutAnswer:
    return PutAnswer("taken", other)


def test_a_key_holds_one_job_and_says_which(producer: Hand) -> None:
    assert producer.put(keyed("a")) == [PutAnswer("created")]
    assert producer.put(keyed("b"), keyed("c", key="welcome other")) == [taken("a"), PutAnswer("created")]
    assert (producer.state("b"), producer.record("a").key) == ("unknown", "welcome k")


def test_a_key_taken_earlier_in_the_same_put_is_taken(producer: Hand) -> None:
    assert producer.put(keyed("a"), keyed("b")) == [PutAnswer("created"), taken("a")]


def test_the_same_id_again_is_not_taken_by_itself(producer: Hand) -> None:
    producer.put(keyed("a"))
    assert words(producer.put(keyed("a"))) == ["exists"]


def test_a_key_is_of_its_queue(store: Store) -> None:
    store.hand("shop:mail").put(keyed("a"))
    assert words(store.hand("shop:images").put(keyed("b"))) == ["created"]


def test_a_job_refused_for_room_does_not_take_its_key(producer: Hand) -> None:
    assert words(producer.put(keyed("a"), max_length=0)) == ["full"]
    assert words(producer.put(keyed("b"))) == ["created"]


def test_a_key_is_held_while_the_job_waits_runs_and_waits_again(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(keyed("a", due=After(1_000)))
    assert producer.put(keyed("b")) == [taken("a")]
    store.later(1_000)
    for to in (Delay(1_000, "retry"), Return(), Park("task:welcome")):
        (leased,) = worker.claim().jobs
        assert producer.put(keyed("b")) == [taken("a")]
        worker.end(leased, to, None)
        assert producer.put(keyed("b")) == [taken("a")]
        store.later(1_000)


@pytest.mark.parametrize("to", [Finish("completed"), Finish("cancelled"), Finish("expired"), Bury("exhausted")])
@pytest.mark.parametrize("keep_ms", [0, 60_000])
def test_every_end_frees_a_key(to: Finish | Bury, keep_ms: int, producer: Hand, worker: Hand) -> None:
    producer.put(keyed("a"))
    (leased,) = worker.claim().jobs
    assert worker.end(leased, to, keep_ms=keep_ms) == "applied"
    assert words(producer.put(keyed("b"))) == ["created"]


def test_cancel_and_delete_free_a_key(producer: Hand) -> None:
    producer.put(keyed("a"))
    producer.cancel("a")
    assert words(producer.put(keyed("b"))) == ["created"]
    producer.cancel("b", keep_ms=0)
    assert words(producer.put(keyed("c"))) == ["created"]


def test_the_end_of_an_old_job_does_not_free_a_key_that_passed_on(producer: Hand, worker: Hand) -> None:
    producer.put(keyed("a"))
    (leased,) = worker.claim().jobs
    assert words(producer.put(keyed("b", replace=True))) == ["created"]
    worker.end(leased, Finish("completed"))
    assert producer.put(keyed("c")) == [taken("b")]


def test_a_key_until_start_is_free_when_the_job_starts(producer: Hand, worker: Hand) -> None:
    producer.put(keyed("a", "start"))
    assert producer.put(keyed("b", "start")) == [taken("a")]
    (leased,) = worker.claim().jobs
    assert words(producer.put(keyed("b", "start"))) == ["created"]
    worker.end(leased, Return(), None)
    assert producer.put(keyed("c", "start")) == [taken("b")]
    assert producer.record("a").key == "welcome k"


def test_a_key_outlives_its_owner_only_for_its_period(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(keyed("a", A_DAY_MS))
    (leased,) = worker.claim().jobs
    worker.end(leased, Finish("completed"), keep_ms=0)
    store.later(A_DAY_MS - 1)
    assert producer.put(keyed("b")) == [taken("a")]
    store.later(1)
    assert words(producer.put(keyed("b"))) == ["created"]


def test_a_period_that_is_over_holds_nothing_though_the_job_still_waits(producer: Hand, store: Store) -> None:
    producer.put(keyed("a", 1_000, due=After(A_DAY_MS)))
    store.later(1_000)
    assert words(producer.put(keyed("b"))) == ["created"]
    producer.cancel("a")
    assert producer.put(keyed("c")) == [taken("b")]


def test_a_new_holder_without_a_period_is_not_bound_by_an_old_one(producer: Hand, store: Store) -> None:
    producer.put(keyed("a", 1_000))
    store.later(1_000)
    assert words(producer.put(keyed("b"))) == ["created"]
    store.later(A_DAY_MS)
    assert producer.put(keyed("c")) == [taken("b")]
    producer.cancel("b")
    assert words(producer.put(keyed("c"))) == ["created"]


@pytest.mark.parametrize("end", ["cancel", "die", "delete"])
def test_a_period_stays_whatever_ends_the_job(end: str, producer: Hand, worker: Hand) -> None:
    producer.put(keyed("a", A_DAY_MS))
    if end == "die":
        worker.end(worker.claim().jobs[0], Bury("exhausted"))
    else:
        producer.cancel("a", keep_ms=0 if end == "delete" else 300_000)
    assert producer.put(keyed("b")) == [taken("a")]
    assert producer.put(keyed("b", replace=True)) == [taken("a")], "one that has ended cannot be replaced"


def test_replace_ends_a_waiting_holder_and_takes_its_key(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(keyed("a", due=After(9_000)))
    store.later(10)
    assert producer.put(keyed("b", replace=True, due=After(9_000))) == [PutAnswer("replaced", "a")]
    record = producer.record("a")
    assert (record.state, record.reason, record.finished_ms) == ("cancelled", "replaced", store.now)
    assert (record.started_ms, record.counts.runs, record.due_ms) == (None, 0, None)
    assert producer.put(keyed("c")) == [taken("b")]
    store.later(20_000)
    assert ids(worker.claim()) == ["b"]


def test_replace_without_anybody_there_is_a_plain_put(producer: Hand) -> None:
    assert producer.put(keyed("a", replace=True)) == [PutAnswer("created")]


def test_replace_leaves_a_running_holder_alone(producer: Hand, worker: Hand) -> None:
    producer.put(keyed("a"))
    (leased,) = worker.claim().jobs
    assert producer.put(keyed("b", replace=True)) == [PutAnswer("created")]
    assert (producer.state("a"), producer.record("a").cancel) == ("processing", None)
    assert worker.end(leased, Finish("completed")) == "applied"


def test_replace_replaces_a_parked_holder(producer: Hand, worker: Hand) -> None:
    producer.put(keyed("a"))
    worker.end(worker.claim().jobs[0], Park("task:welcome"), None)
    assert producer.put(keyed("b", replace=True)) == [PutAnswer("replaced", "a")]
    assert (producer.state("a"), producer.stats().parked) == ("cancelled", 0)


def test_how_long_a_key_is_held_is_said_by_its_new_holder(producer: Hand) -> None:
    producer.put(keyed("a", A_DAY_MS))
    assert producer.put(keyed("b", replace=True)) == [PutAnswer("replaced", "a")]
    assert producer.put(keyed("c")) == [taken("b")]
    producer.cancel("b")
    assert words(producer.put(keyed("c"))) == ["created"]


def test_replace_takes_no_room(producer: Hand) -> None:
    producer.put(keyed("a"))
    assert words(producer.put(keyed("b", replace=True), new("c"), max_length=1)) == ["replaced", "full"]


def test_a_replaced_job_is_kept_as_the_put_says(producer: Hand, store: Store) -> None:
    producer.put(keyed("a"))
    producer.say(Put(QUEUE, (keyed("b", replace=True),), keep_ms=0))
    assert producer.state("a") == "unknown"


def test_a_second_replace_in_one_put_does_not_end_the_first(producer: Hand) -> None:
    producer.put(keyed("a"))
    answers = producer.put(keyed("b", replace=True), keyed("c", replace=True))
    assert answers == [PutAnswer("replaced", "a"), taken("b")]


def test_a_requeued_job_takes_its_key_again(producer: Hand, worker: Hand) -> None:
    producer.put(keyed("a"))
    worker.end(worker.claim().jobs[0], Bury("exhausted"))
    assert producer.say(Requeue(QUEUE, ("a",))) == [Requeued("requeued")]
    assert producer.put(keyed("b")) == [taken("a")]


def test_a_requeued_job_whose_key_is_taken_stays_dead(producer: Hand, worker: Hand) -> None:
    producer.put(keyed("a"))
    worker.end(worker.claim().jobs[0], Bury("exhausted"))
    producer.put(keyed("b"))
    before = producer.get("a")
    assert producer.say(Requeue(QUEUE, ("a",))) == [Requeued("taken", "b")]
    assert producer.get("a") == before


def test_of_two_dead_jobs_with_one_key_one_is_requeued(producer: Hand, worker: Hand) -> None:
    for id in ("a", "b"):
        producer.put(keyed(id))
        worker.end(worker.claim().jobs[0], Bury("exhausted"))
    assert producer.say(Requeue(QUEUE, ("b", "a"))) == [Requeued("requeued"), Requeued("taken", "b")]


def test_a_requeue_does_not_begin_a_period_again(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(keyed("a", 1_000))
    worker.end(worker.claim().jobs[0], Bury("exhausted"))
    assert producer.say(Requeue(QUEUE, ("a",))) == [Requeued("requeued")]
    store.later(1_000)
    assert words(producer.put(keyed("b"))) == ["created"]
    assert [producer.state(id) for id in ("a", "b")] == ["pending", "pending"]
