"""Settle and extend: what a token allows, and where each transition leads."""

import pytest
from tests.conformance.stores import LEASE_MS, QUEUE, Hand, Store, ids, new

from surefoot.brokers.answers import Hold, Lease
from surefoot.brokers.broker import Configure, Put, Settle
from surefoot.core.codec import decode_error
from surefoot.core.job import After, Counts, Leased, NewJob, Unique
from surefoot.core.transition import Bury, Counter, Delay, Finish, Move, Park, Return, Transition

EVERY_MOVE: tuple[Move, ...] = (
    Finish("completed", b"1"), Finish("cancelled", b"why"), Finish("expired"), Bury("rejected"),
    Delay(5_000, "retry"), Delay(0, "retry"), Return(), Park("task:welcome"),
)  # fmt: skip
WAITS_AGAIN = EVERY_MOVE[4:]


# The fence


@pytest.mark.parametrize("to", EVERY_MOVE)
def test_a_settle_with_a_stale_token_is_fenced_and_changes_nothing(to: Move, worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    store.later(LEASE_MS)
    store.hand().claim()
    before, stats = worker.get("a"), worker.stats()
    effect = (new("effect"),)
    assert worker.end(leased, to, "failures", error=b'{"kind":"X"}', keep_ms=0, effects=effect) == "fenced"
    assert (worker.get("a"), worker.state("effect")) == (before, "unknown")
    assert worker.stats() == stats


def test_a_settle_with_the_token_of_another_job_is_fenced(worker: Hand) -> None:
    a, b = worker.take("a"), worker.take("b")
    assert a.token != b.token
    assert worker.settle(Transition("a", b.token, Finish("completed"))) == ["fenced"]
    assert worker.state("a") == "processing"


def test_a_settle_of_a_job_that_is_unknown_waits_or_is_done_is_fenced(producer: Hand, worker: Hand) -> None:
    done = worker.complete("done")
    dead = worker.kill("dead")
    back = worker.take("back")
    worker.end(back, Return(), None)
    unknown = Leased("nobody", back.token, 0, b"")
    before = [worker.get(id) for id in ("done", "dead", "back")]
    for leased in (done, dead, back, unknown):
        assert worker.end(leased, Delay(0, "retry"), "failures") == "fenced"
    assert [worker.get(id) for id in ("done", "dead", "back")] == before


def test_the_same_job_twice_in_one_settle_is_settled_once(worker: Hand) -> None:
    leased = worker.take("a")
    first = Transition("a", leased.token, Finish("completed", b"1"), "runs")
    second = Transition("a", leased.token, Bury("exhausted"), "failures")
    assert worker.settle(first, second) == ["applied", "fenced"]
    assert (worker.state("a"), worker.record("a").result, worker.stats().dead) == ("completed", b"1", 0)


def test_the_first_life_of_an_id_cannot_settle_its_second(producer: Hand, worker: Hand, store: Store) -> None:
    old = worker.complete("a", keep_ms=0)
    again = worker.take("a")
    assert worker.end(old, Finish("cancelled")) == "fenced"
    assert worker.end(again, Finish("completed")) == "applied"


def test_an_ended_lease_that_nobody_took_is_still_good(worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    store.later(100 * LEASE_MS)
    assert worker.end(leased, Finish("completed")) == "applied"


def test_each_transition_of_a_settle_stands_alone(worker: Hand) -> None:
    a, b = worker.take("a"), worker.take("b")
    steps = (
        Transition("a", "nobody.1", Finish("completed")), Transition("b", b.token, Finish("completed")),
        Transition("a", a.token, Bury("rejected")),
    )  # fmt: skip
    assert worker.settle(*steps) == ["fenced", "applied", "applied"]
    assert [worker.state(id) for id in "ab"] == ["dead", "completed"]


def test_anybody_with_the_token_may_settle(worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    assert store.hand().end(leased, Finish("completed")) == "applied"


# The moves


def test_a_completed_job_is_kept_with_its_result(worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    claimed_at = store.now
    store.later(700)
    assert worker.end(leased, Finish("completed", b'{"n": [1,\n2]}')) == "applied"
    record = worker.record("a")
    assert (record.state, record.result, record.counts.runs) == ("completed", b'{"n": [1,\n2]}', 1)
    assert (record.started_ms, record.finished_ms, record.caller) == (claimed_at, store.now, worker.caller)
    assert (record.lease_ms, record.reason, record.cancel) == (None, None, None)


def test_an_end_without_a_run_has_no_start_and_counts_no_run(worker: Hand) -> None:
    worker.end(worker.take("a"), Finish("expired"), None)
    record = worker.record("a")
    assert (record.state, record.started_ms, record.counts) == ("expired", None, Counts())


def test_a_cancelled_job_keeps_the_reason(worker: Hand) -> None:
    worker.end(worker.take("a"), Finish("cancelled", "wëil".encode()))
    assert (worker.state("a"), worker.record("a").reason) == ("cancelled", "wëil")


@pytest.mark.parametrize("state", ["completed", "cancelled", "expired"])
def test_nothing_is_kept_for_a_keep_time_of_zero(state: str, worker: Hand) -> None:
    worker.end(worker.take("a"), Finish(state, b"1"), keep_ms=0)  # type: ignore[arg-type]
    assert worker.state("a") == "unknown"


def test_an_outcome_is_kept_at_least_for_its_time(worker: Hand, store: Store) -> None:
    worker.complete("a", keep_ms=60_000)
    worker.complete("b", keep_ms=None)
    store.later(59_999)
    for n in range(3):
        worker.complete(f"later-{n}")
    assert worker.state("a") == "completed"
    store.later(10**12)
    worker.complete("later still")
    assert worker.state("b") == "completed"


def test_each_settle_that_keeps_something_drops_what_is_over(real_store: Store) -> None:
    worker = real_store.hand()
    for n in range(30):
        worker.complete(str(n), keep_ms=1)
    real_store.later(2)
    for n in range(3):
        worker.complete(f"later-{n}", keep_ms=None)
    assert [worker.state(str(n)) for n in range(30)] == ["unknown"] * 30


def test_kept_jobs_keep_counts_and_errors_and_lose_notes(worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    worker.extend(Lease("a", leased.token, b"half"))
    worker.end(leased, Delay(0, "retry"), "failures", error=b'{"kind":"E1"}')
    worker.end(worker.claim().jobs[0], Finish("completed"))
    record = worker.record("a")
    assert (record.counts, record.note) == (Counts(runs=2, failures=1), None)
    assert [decode_error(line).kind for line in record.errors] == ["E1"]


def test_a_dead_job_keeps_its_reason_its_errors_and_its_note(worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    worker.extend(Lease("a", leased.token, b"half"))
    store.later(30)
    worker.end(leased, Bury("exhausted"), "failures", error=b'{"kind":"E","reason":"exhausted"}')
    record = worker.record("a")
    assert (record.state, record.reason, record.finished_ms) == ("dead", "exhausted", store.now)
    assert (record.counts, record.note) == (Counts(runs=1, failures=1), b"half")
    assert record.errors == (b'{"kind":"E","reason":"exhausted"}',)


def test_a_death_without_an_error_line_still_says_why(worker: Hand, store: Store) -> None:
    worker.end(worker.take("a"), Bury("crash_loop"), None)
    record = worker.record("a")
    assert (record.reason, record.counts) == ("crash_loop", Counts())
    line = decode_error(record.errors[0])
    assert (line.reason, line.ended_ms) == ("crash_loop", store.now)


def test_a_delay_of_nothing_goes_to_the_end_of_the_line_at_once(producer: Hand, worker: Hand) -> None:
    leased = worker.take("a")
    producer.put(new("b"))
    worker.end(leased, Delay(0, "snooze"), "snoozes")
    assert ids(worker.claim()) == ["b", "a"]


def test_a_hand_back_has_its_old_place_and_costs_nothing(producer: Hand, worker: Hand) -> None:
    producer.put(new("a"), new("b"), new("c"))
    a, b = worker.claim(2).jobs
    for leased in (b, a):
        worker.end(leased, Return(), None)
    assert producer.record("a").counts == Counts()
    assert ids(worker.claim()) == ["a", "b", "c"]


def test_a_parked_job_says_since_when_and_for_what(worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    store.later(11)
    worker.end(leased, Park("task:welcome@3"), None)
    record = worker.record("a")
    assert (record.state, record.reason, record.parked_ms) == ("parked", "task:welcome@3", store.now)
    assert (record.counts, record.lease_ms) == (Counts(), None)


@pytest.mark.parametrize(
    ("bump", "counts"),
    [
        (None, Counts(8, 4, 2, 1, 1)),
        ("runs", Counts(9, 4, 2, 1, 1)),
        ("failures", Counts(9, 5, 2, 1, 1)),
        ("crashes", Counts(9, 4, 3, 1, 1)),
        ("interruptions", Counts(9, 4, 2, 2, 1)),
        ("snoozes", Counts(9, 4, 0, 1, 2)),
    ],
)
def test_each_bump_counts_a_run_and_a_snooze_forgives_crashes(
    bump: Counter | None, counts: Counts, worker: Hand
) -> None:
    leased = worker.take("a")
    before: list[Counter] = ["snoozes", "failures", "failures", "crashes", "crashes", "interruptions"]
    for counter in [*before, *before[1:3]]:
        worker.end(leased, Delay(0, "retry"), counter)
        (leased,) = worker.claim().jobs
    assert leased.counts == Counts(8, 4, 2, 1, 1)
    worker.end(leased, Delay(0, "retry"), bump)
    assert worker.record("a").counts == counts


def test_error_lines_are_newest_first_and_at_most_ten(worker: Hand) -> None:
    leased = worker.take("a")
    for n in range(12):
        worker.end(leased, Delay(0, "retry"), "failures", error=b'{"kind":"E%d"}' % n)
        (leased,) = worker.claim().jobs
    assert [decode_error(line).kind for line in worker.record("a").errors] == [f"E{n}" for n in range(11, 1, -1)]


def test_a_settled_job_of_a_paused_queue_goes_where_it_should(worker: Hand) -> None:
    leased = worker.take("a")
    worker.say(Configure(QUEUE, paused="x"))
    worker.end(leased, Delay(0, "retry"), "failures")
    assert (worker.state("a"), worker.claim().jobs) == ("pending", [])


# A cancel request meets a settle


@pytest.mark.parametrize("to", WAITS_AGAIN)
def test_a_job_that_would_wait_but_was_cancelled_ends_as_cancelled(to: Move, producer: Hand, worker: Hand) -> None:
    leased = worker.take("a")
    producer.cancel("a", reason="enough")
    step = Transition("a", leased.token, to, "failures", b'{"kind":"E"}', effects=(new("effect"),))
    assert worker.settle(step) == ["cancelled"]
    record = worker.record("a")
    assert (record.state, record.reason, record.cancel, record.counts.runs) == ("cancelled", "enough", None, 1)
    assert worker.state("effect") == "unknown"


def test_a_job_cancelled_by_settle_is_kept_as_the_transition_says(producer: Hand, worker: Hand) -> None:
    leased = worker.take("a")
    producer.cancel("a", keep_ms=None)
    assert worker.end(leased, Return(), None, keep_ms=0) == "cancelled"
    assert worker.state("a") == "unknown"


@pytest.mark.parametrize("to", [Finish("completed", b"1"), Finish("expired"), Bury("rejected")])
def test_a_job_that_ends_by_itself_is_not_cancelled_any_more(to: Finish | Bury, producer: Hand, worker: Hand) -> None:
    leased = worker.take("a")
    producer.cancel("a", reason="too late")
    assert worker.end(leased, to) == "applied"
    assert worker.state("a") == (to.state if isinstance(to, Finish) else "dead")


def test_a_cancel_request_does_not_outlive_its_job(producer: Hand, worker: Hand) -> None:
    leased = worker.take("a")
    producer.cancel("a", reason="first life")
    worker.end(leased, Finish("completed"), keep_ms=0)
    assert worker.take("a").cancel is None


# Effects


@pytest.mark.parametrize("to", [Bury("exhausted"), Finish("completed"), Delay(5, "retry"), Return(), Park("task:x")])
def test_an_effect_enters_with_its_transition(to: Move, worker: Hand) -> None:
    effects = (new("now"), new("later", due=After(5_000)), new("first", priority=0))
    assert worker.end(worker.take("a"), to, effects=effects) == "applied"
    assert [worker.state(id) for id in ("now", "later", "first")] == ["pending", "scheduled", "pending"]


def test_an_effect_that_exists_or_whose_key_is_taken_is_skipped(producer: Hand, worker: Hand) -> None:
    leased = worker.take("a")
    producer.put(new("holder", unique=Unique("welcome k")))
    effects = (NewJob("holder", b"other"), new("other", unique=Unique("welcome k")), new("plain"))
    assert worker.end(leased, Bury("exhausted"), effects=effects) == "applied"
    assert producer.record("holder").body != b"other"
    assert [producer.state(id) for id in ("other", "plain")] == ["unknown", "pending"]


def test_a_full_queue_does_not_refuse_an_effect(producer: Hand, worker: Hand) -> None:
    leased = worker.take("a")
    producer.say(Configure(QUEUE, max_length=0))
    worker.end(leased, Bury("exhausted"), effects=(new("effect"),))
    assert producer.state("effect") == "pending"


def test_a_settle_may_carry_many_and_keeps_their_order(producer: Hand, worker: Hand) -> None:
    producer.say(Put(QUEUE, tuple(new(f"{n:03}") for n in range(300))))
    jobs = worker.claim(300).jobs
    steps = [
        Transition(leased.id, leased.token if n % 3 else "nobody.9", Finish("completed"), "runs", keep_ms=0)
        for n, leased in enumerate(jobs)
    ]
    verdicts = worker.say(Settle(QUEUE, tuple(steps)))
    assert verdicts == ["applied" if n % 3 else "fenced" for n in range(300)]
    assert worker.stats().processing == 100


# Extend


def test_extend_renews_a_lease_from_now(worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    store.later(4_000)
    assert worker.extend(Lease("a", leased.token)) == [Hold(True)]
    assert worker.record("a").lease_ms == store.now + LEASE_MS


def test_extend_never_shortens_a_lease(worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    end = worker.record("a").lease_ms
    assert worker.extend(Lease("a", leased.token), lease_ms=1) == [Hold(True)]
    assert worker.record("a").lease_ms == end


def test_extend_of_an_ended_lease_is_good_until_somebody_took_the_job(worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    store.later(5 * LEASE_MS)
    assert worker.extend(Lease("a", leased.token)) == [Hold(True)]
    assert store.hand().claim().jobs == []
    store.later(LEASE_MS)
    store.hand().claim()
    before = worker.get("a")
    assert worker.extend(Lease("a", leased.token, b"note")) == [Hold(False)]
    assert worker.get("a") == before


def test_extend_answers_each_lease_for_itself(producer: Hand, worker: Hand) -> None:
    a, b = worker.take("a"), worker.take("b")
    worker.end(b, Return(), None)
    producer.cancel("a", reason="")
    leases = (Lease("nobody", a.token), Lease("a", a.token), Lease("b", b.token), Lease("a", "wrong.1"))
    assert worker.extend(*leases) == [Hold(False), Hold(True, ""), Hold(False), Hold(False)]


def test_a_note_is_stored_stays_and_reaches_the_next_run(worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    worker.extend(Lease("a", leased.token, b"\x00\xffhalf"))
    worker.extend(Lease("a", leased.token))
    assert worker.record("a").note == b"\x00\xffhalf"
    worker.end(leased, Delay(0, "snooze"), "snoozes")
    assert worker.claim().jobs[0].note == b"\x00\xffhalf"


def test_an_empty_note_is_a_note(worker: Hand) -> None:
    leased = worker.take("a")
    worker.extend(Lease("a", leased.token, b"half"))
    worker.extend(Lease("a", leased.token, b""))
    assert worker.record("a").note == b""
