"""By hand: cancel, requeue, move, amend, delete."""

import msgspec
import pytest
from tests.conformance.stores import QUEUE, Hand, Store, envelope, ids, new

from surefoot.brokers.answers import Lease, Requeued
from surefoot.brokers.broker import Amend, Delete, Move, Requeue
from surefoot.core.codec import amend_envelope, decode_envelope
from surefoot.core.job import After, At, Counts, Due, NewJob, Unique
from surefoot.core.transition import Bury, Counter, Delay, Park

WAITING = ("scheduled", "pending", "parked")
OVER = ("completed", "cancelled", "dead")
EVERY_STATE = (*WAITING, "processing", *OVER)


def bring(state: str, hand: Hand) -> None:
    """The job `a` in this state."""
    if state == "scheduled":
        hand.put(new("a", due=After(60_000)))
    elif state == "pending":
        hand.put(new("a"))
    elif state == "parked":
        hand.end(hand.take("a"), Park("task:welcome"), None)
    elif state == "processing":
        hand.take("a")
    elif state == "completed":
        hand.complete("a")
    elif state == "cancelled":
        hand.put(new("a"))
        hand.cancel("a", reason="first")
    elif state == "dead":
        hand.kill("a")
    assert hand.state("a") == state


# Cancel


@pytest.mark.parametrize("state", WAITING)
def test_cancels_a_job_in_each_waiting_state(state: str, producer: Hand, store: Store) -> None:
    bring(state, producer)
    store.later(5)
    assert producer.cancel("a", reason="not needed") == ["cancelled"]
    record = producer.record("a")
    assert (record.state, record.reason, record.finished_ms) == ("cancelled", "not needed", store.now)
    assert (record.started_ms, record.due_ms, record.parked_ms) == (None, None, None)
    store.later(60_000)
    assert producer.claim(9, "task:welcome").jobs == []


def test_a_running_job_is_asked_and_keeps_the_first_reason(producer: Hand, worker: Hand) -> None:
    leased = worker.take("a")
    assert producer.cancel("a", reason="first") == ["requested"]
    assert producer.cancel("a", reason="second") == ["requested"]
    record = producer.record("a")
    assert (record.state, record.cancel, record.reason) == ("processing", "first", None)
    assert worker.extend(Lease("a", leased.token))[0].cancel == "first"


@pytest.mark.parametrize("state", OVER)
def test_cancel_does_not_alter_a_finished_job(state: str, producer: Hand, store: Store) -> None:
    bring(state, producer)
    before = producer.get("a")
    store.later(5)
    assert producer.cancel("a", reason="late", keep_ms=0) == ["finished"]
    assert producer.get("a") == before


def test_cancel_of_an_unknown_job_says_finished(producer: Hand) -> None:
    assert producer.cancel("nobody") == ["finished"]


def test_cancel_answers_each_id_for_itself(producer: Hand, worker: Hand) -> None:
    worker.take("runs")
    producer.put(new("a"), new("b"))
    assert producer.cancel("b", "runs", "nobody", "b") == ["cancelled", "requested", "finished", "finished"]
    assert ids(worker.claim()) == ["a"]


def test_a_cancelled_job_is_kept_as_asked(producer: Hand, store: Store) -> None:
    producer.put(new("a"), new("b"))
    producer.cancel("a", keep_ms=0)
    producer.cancel("b", keep_ms=None)
    assert (producer.state("a"), producer.state("b")) == ("unknown", "cancelled")


def test_a_cancelled_job_keeps_counts_and_errors(producer: Hand, worker: Hand) -> None:
    worker.end(worker.take("a"), Delay(9_000, "retry"), "failures", error=b'{"kind":"E"}')
    producer.cancel("a")
    record = producer.record("a")
    assert (record.counts, record.errors) == (Counts(1, 1), (b'{"kind":"E"}',))


# Requeue


def test_requeue_keeps_runs_clears_failures_and_crashes(producer: Hand, worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    counters: tuple[Counter, ...] = ("snoozes", "failures", "crashes", "interruptions")
    for counter in counters:
        worker.end(leased, Delay(0, "retry"), counter)
        (leased,) = worker.claim().jobs
    worker.end(leased, Bury("exhausted"), "failures", error=b'{"kind":"E","reason":"exhausted"}')
    store.later(77)
    assert producer.say(Requeue(QUEUE, ("a",))) == [Requeued("requeued")]
    record = producer.record("a")
    assert record.counts == Counts(5, 0, 0, 1, 1, due_set_ms=store.now)
    assert (record.state, record.reason, record.finished_ms) == ("pending", None, None)
    assert record.errors == (b'{"kind":"E","reason":"exhausted"}',)
    assert worker.claim().jobs[0].counts == record.counts


def test_a_requeued_job_goes_to_the_end_of_its_line(producer: Hand, worker: Hand) -> None:
    producer.kill("a")
    producer.put(new("b"))
    producer.say(Requeue(QUEUE, ("a",)))
    assert ids(worker.claim()) == ["b", "a"]


@pytest.mark.parametrize("state", [state for state in EVERY_STATE if state != "dead"])
def test_only_dead_jobs_are_requeued(state: str, producer: Hand) -> None:
    bring(state, producer)
    before = producer.get("a")
    assert producer.say(Requeue(QUEUE, ("a", "nobody"))) == [Requeued("not_dead"), Requeued("not_dead")]
    assert producer.get("a") == before


def test_a_job_named_twice_is_requeued_once(producer: Hand) -> None:
    producer.kill("a")
    assert producer.say(Requeue(QUEUE, ("a", "a"))) == [Requeued("requeued"), Requeued("not_dead")]


def test_a_requeued_job_keeps_its_note(producer: Hand, worker: Hand) -> None:
    leased = worker.take("a")
    worker.extend(Lease("a", leased.token, b"half"))
    worker.end(leased, Bury("rejected"), "failures")
    producer.say(Requeue(QUEUE, ("a",)))
    assert worker.claim().jobs[0].note == b"half"


# Move


@pytest.mark.parametrize("state", WAITING)
def test_moves_a_job_in_each_waiting_state(state: str, producer: Hand, store: Store) -> None:
    bring(state, producer)
    store.later(5)
    assert producer.say(Move(QUEUE, ("a",), After(9_000))) == [True]
    record, due_ms = producer.record("a"), store.now + 9_000
    assert (record.state, record.due_ms, record.counts.due_set_ms) == ("scheduled", due_ms, due_ms)
    assert (record.reason, record.parked_ms) == (None, None)
    store.later(9_000)
    assert ids(producer.claim()) == ["a"]


@pytest.mark.parametrize("state", WAITING)
@pytest.mark.parametrize("due", [None, After(0), At(1)])
def test_moved_to_now_it_is_pending(state: str, due: Due, producer: Hand, store: Store) -> None:
    bring(state, producer)
    store.later(5)
    assert producer.say(Move(QUEUE, ("a",), due)) == [True]
    record = producer.record("a")
    assert (record.state, record.due_ms, record.counts.due_set_ms) == ("pending", None, store.now)
    assert ids(producer.claim()) == ["a"]


def test_a_pending_job_moved_to_now_keeps_its_place(producer: Hand, worker: Hand) -> None:
    producer.put(new("a"), new("b"))
    producer.say(Move(QUEUE, ("a",), None))
    assert ids(worker.claim()) == ["a", "b"]


def test_a_scheduled_job_moved_to_now_goes_to_the_end_of_its_line(producer: Hand, worker: Hand) -> None:
    producer.put(new("a", due=After(9_000)), new("b"))
    producer.say(Move(QUEUE, ("a",), None))
    assert ids(worker.claim()) == ["b", "a"]


@pytest.mark.parametrize("state", ["processing", *OVER])
def test_a_job_that_runs_or_is_over_is_not_moved(state: str, producer: Hand) -> None:
    bring(state, producer)
    before = producer.get("a")
    assert producer.say(Move(QUEUE, ("a", "nobody"), None)) == [False, False]
    assert producer.get("a") == before


# Amend


def test_an_amended_dead_job_has_another_envelope_and_nothing_else(producer: Hand, store: Store) -> None:
    producer.kill("a")
    before = producer.record("a")
    store.later(5)
    assert producer.say(Amend(QUEUE, "a", b"other")) == "amended"
    assert producer.record("a") == msgspec.structs.replace(before, body=b"other")
    producer.say(Requeue(QUEUE, ("a",)))
    assert producer.claim().jobs[0].body == b"other"


@pytest.mark.parametrize("state", [state for state in EVERY_STATE if state != "dead"])
def test_only_dead_jobs_are_amended(state: str, producer: Hand) -> None:
    bring(state, producer)
    before = producer.get("a")
    assert producer.say(Amend(QUEUE, "a", b"other")) == "not_dead"
    assert producer.say(Amend(QUEUE, "nobody", b"other")) == "not_dead"
    assert producer.get("a") == before


def test_fields_that_this_release_does_not_know_survive_an_amend(producer: Hand) -> None:
    fields = msgspec.json.decode(envelope("a")) | {"flow": {"weight": 9_007_199_254_740_993, "tags": []}, "version": 1}
    producer.put(NewJob("a", msgspec.json.encode(fields)))
    producer.end(producer.claim().jobs[0], Bury("invalid"), None)
    amended = amend_envelope(producer.record("a").body, b'{"address":"c@d.e"}', 4)
    producer.say(Amend(QUEUE, "a", amended))
    body = producer.record("a").body
    assert msgspec.json.decode(body)["flow"] == fields["flow"]
    assert (decode_envelope(body).schema, bytes(decode_envelope(body).payload)) == (4, b'{"address":"c@d.e"}')


# Delete


@pytest.mark.parametrize("state", [state for state in EVERY_STATE if state != "processing"])
def test_deletes_a_job_from_each_place(state: str, producer: Hand, store: Store) -> None:
    bring(state, producer)
    assert producer.say(Delete(QUEUE, ("a",))) == [True]
    stats = producer.stats()
    assert (producer.state("a"), stats.scheduled, stats.pending, stats.parked, stats.dead) == ("unknown", 0, 0, 0, 0)
    store.later(60_000)
    assert producer.claim(9, "task:welcome").jobs == []
    assert producer.take("a").counts == Counts(), "nothing of the first life is left"


def test_a_running_or_unknown_job_is_not_deleted(producer: Hand, worker: Hand) -> None:
    worker.take("a")
    before = producer.get("a")
    assert producer.say(Delete(QUEUE, ("a", "nobody"))) == [False, False]
    assert producer.get("a") == before


def test_a_deleted_job_leaves_no_note_and_no_error_behind(producer: Hand, worker: Hand) -> None:
    leased = worker.take("a")
    worker.extend(Lease("a", leased.token, b"half"))
    worker.end(leased, Bury("rejected"), "failures", error=b'{"kind":"E"}')
    producer.say(Delete(QUEUE, ("a",)))
    producer.put(new("a"))
    record = producer.record("a")
    assert (record.note, record.errors, record.counts) == (None, (), Counts())


# Requeue one after the other


def test_letters_come_back_one_after_the_other(store: Store) -> None:
    hand = store.hand()
    for id in "abcd":
        hand.kill(id)
    hand.say(Requeue(QUEUE, ("a", "nobody", "b", "c", "a"), every_us=1_500_500))
    assert [hand.state(id) for id in "abcd"] == ["pending", "scheduled", "scheduled", "dead"]
    assert [hand.record(id).due_ms for id in "bc"] == [store.now + 1_500, store.now + 3_001]
    hand.say(Requeue(QUEUE, ("d",), every_us=1_500_500, first_ms=4_501))
    record = hand.record("d")
    assert (record.due_ms, record.counts.due_set_ms, record.counts.failures) == (
        store.now + 4_501,
        store.now + 4_501,
        0,
    )
    assert ids(hand.claim()) == ["a"]
    store.later(3_001)
    assert ids(hand.claim()) == ["b", "c"]
    store.later(1_500)
    assert ids(hand.claim()) == ["d"]


def test_the_pace_of_a_requeue_is_not_set_anew_by_a_repeat(store: Store) -> None:
    hand = store.hand()
    hand.kill("a")
    hand.say(Requeue(QUEUE, ("a",), first_ms=5_000))
    due_ms = hand.record("a").due_ms
    store.later(1_000)
    hand.again()
    assert hand.record("a").due_ms == due_ms == store.now + 4_000


def test_a_job_that_is_to_come_back_holds_its_key(store: Store) -> None:
    hand = store.hand()
    hand.put(new("a", unique=Unique("welcome k")))
    (leased,) = hand.claim().jobs
    hand.end(leased, Bury("exhausted"), "failures")
    hand.say(Requeue(QUEUE, ("a",), first_ms=5_000))
    (answer,) = hand.put(new("b", unique=Unique("welcome k")))
    assert (answer.word, answer.other) == ("taken", "a")
