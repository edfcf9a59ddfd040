"""Numbered calls: repeats are answered from memory, late and foreign calls refused; the verbs of a call stand alone."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.conformance.stores import LEASE_MS, QUEUE, START_MS, Hand, Store, ids, new

from surefoot.brokers.answers import Lease, PutAnswer
from surefoot.brokers.broker import (
    Amend,
    Call,
    Cancel,
    Claim,
    Configure,
    Delete,
    Extend,
    Get,
    Move,
    Put,
    Refused,
    Requeue,
    Settle,
    Stats,
    Tick,
    Verb,
)
from surefoot.core.transition import Delay, Finish, Return, Transition

OTHER = "shop:images"


def settle_of(hand: Hand) -> Verb[Any]:
    return Settle(QUEUE, (Transition("a", hand.take("a").token, Delay(0, "retry"), "failures"),))


def waiting(hand: Hand) -> None:
    hand.put(new("a"))


# What brings job `a` to where the verb may act on it, and the verb.
NUMBERED_VERBS: dict[str, tuple[Callable[[Hand], object], Callable[[Hand], Verb[Any]]]] = {
    "put": (lambda _: None, lambda _: Put(QUEUE, (new("a"), new("b")))),
    "claim": (waiting, lambda _: Claim(QUEUE, 1, LEASE_MS, 0)),
    "settle": (lambda _: None, settle_of),
    "cancel": (waiting, lambda _: Cancel(QUEUE, ("a",), "first")),
    "requeue": (lambda hand: hand.kill("a"), lambda _: Requeue(QUEUE, ("a",))),
    "move": (waiting, lambda _: Move(QUEUE, ("a",), None)),
    "amend": (lambda hand: hand.kill("a"), lambda _: Amend(QUEUE, "a", b"other")),
    "delete": (waiting, lambda _: Delete(QUEUE, ("a",))),
    "tick": (lambda _: None, lambda _: Tick(QUEUE, "nightly", START_MS, new("a"))),
}


def whole(hand: Hand) -> object:
    """Everything that can be seen of the queue."""
    return hand.say(Get(QUEUE, ("a", "b"))), hand.stats(60, "nightly")


@pytest.fixture(params=NUMBERED_VERBS)
def said(request: pytest.FixtureRequest, store: Store) -> tuple[Hand, list[Any], Call]:
    """A caller that has just said a verb, the answer it had, and the call."""
    bring, verb = NUMBERED_VERBS[request.param]
    bring(store.hand())
    hand = store.hand()
    call = hand.call(verb(store.hand()))
    return hand, hand.send(call), call


def test_a_repeat_has_the_same_answer_and_changes_nothing(said: tuple[Hand, list[Any], Call], store: Store) -> None:
    hand, (answer,), call = said
    assert not isinstance(answer, Exception)
    watcher = store.hand()
    before = whole(watcher)
    for _ in range(2):
        (again,) = hand.send(call)
        if isinstance(call.verbs[0], Claim):
            again = msgspec.structs.replace(answer, jobs=again.jobs)
        assert again == answer
        assert whole(watcher) == before


def test_a_repeat_after_a_restart_has_the_same_answer(shared_store: Store) -> None:
    hand = shared_store.hand()
    assert hand.put(new("a")) == [PutAnswer("created")]
    shared_store.restart()
    assert hand.again() == [PutAnswer("created")]
    assert hand.put(new("a")) == [PutAnswer("exists")]
    shared_store.restart()
    assert hand.again() == [PutAnswer("exists")]


def test_W5_a_settle_whose_reply_was_lost_is_answered_again_and_changes_nothing(shared_store: Store) -> None:
    worker = shared_store.hand()
    leased = worker.take("a")
    step = Transition("a", leased.token, Delay(0, "retry"), "failures", b'{"kind":"E"}', effects=(new("b"),))
    assert worker.settle(step) == ["applied"]
    before = whole(shared_store.hand())
    shared_store.restart()
    assert worker.again() == ["applied"]
    assert whole(shared_store.hand()) == before


def test_the_same_number_with_another_tag_is_refused(said: tuple[Hand, list[Any], Call], store: Store) -> None:
    hand, _, call = said
    before = whole(store.hand())
    (answer,) = hand.send(msgspec.structs.replace(call, tag="else"))
    assert isinstance(answer, Refused) and answer.word == "CALLER"
    assert whole(store.hand()) == before


def test_a_lower_number_is_refused(said: tuple[Hand, list[Any], Call], store: Store) -> None:
    hand, _, call = said
    before = whole(store.hand())
    (answer,) = hand.send(msgspec.structs.replace(call, number=call.number - 1))
    assert isinstance(answer, Refused) and answer.word == "STALE"
    assert whole(store.hand()) == before


def test_a_refused_call_does_not_spoil_the_memory(producer: Hand) -> None:
    answer = producer.put(new("a"))
    assert producer.last is not None
    producer.send(msgspec.structs.replace(producer.last, tag="else", verbs=(Put(QUEUE, (new("b"),)),)))
    producer.send(msgspec.structs.replace(producer.last, number=0))
    assert producer.again() == answer
    assert producer.state("b") == "unknown"


def test_numbers_may_leave_gaps(producer: Hand) -> None:
    for number in (7, 1_000, 2**53):
        (answer,) = producer.send(Call(producer.caller, number, "tag1", (Put(QUEUE, (new(str(number)),)),), START_MS))
        assert answer == [PutAnswer("created")]


def test_each_verb_of_a_caller_has_its_own_memory(producer: Hand, store: Store) -> None:
    put = producer.call(Put(QUEUE, (new("a"),)))
    claim = Call(producer.caller, put.number, put.tag, (Claim(QUEUE, 1, LEASE_MS, 0),), store.now)
    assert producer.send(put) == [[PutAnswer("created")]]
    assert ids(producer.send(claim)[0]) == ["a"]


def test_each_queue_of_a_caller_has_its_own_memory(producer: Hand, store: Store) -> None:
    call = producer.call(Put(QUEUE, (new("a"),)))
    producer.send(call)
    elsewhere = msgspec.structs.replace(call, verbs=(Put(OTHER, (new("a"),)),))
    assert producer.send(elsewhere) == [[PutAnswer("created")]]


def test_two_callers_may_use_one_number_and_tag(store: Store) -> None:
    for id in "ab":
        (answer,) = store.hand().send(store.hand().call(Put(QUEUE, (new(id),))))
        assert answer == [PutAnswer("created")]


# The memory of a claim


def test_a_repeated_claim_gives_the_same_jobs(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(new("a"), new("b"), new("c"))
    first = worker.claim(2)
    store.later(1_000)
    again = worker.again()
    assert (again.jobs, again.wait_ms) == (first.jobs, 1)
    assert producer.stats().pending == 1
    assert producer.record("a").lease_ms == store.now - 1_000 + LEASE_MS, "a repeat renews nothing"


def test_a_repeated_empty_claim_stays_empty(producer: Hand, worker: Hand) -> None:
    assert worker.claim().jobs == []
    producer.put(new("a"))
    again = worker.again()
    assert (again.jobs, again.wait_ms) == ([], 1)
    assert producer.state("a") == "pending"


def test_a_repeated_claim_gives_only_what_is_still_held(producer: Hand, worker: Hand, store: Store) -> None:
    producer.put(*(new(id) for id in "abcd"))
    a, b, c, _ = worker.claim(lease_ms=LEASE_MS).jobs
    store.hand().end(a, Finish("completed"))
    store.hand().end(b, Return(), None)
    worker_two = store.hand()
    assert ids(worker_two.claim()) == ["b"]
    store.hand().extend(Lease("c", c.token), lease_ms=9 * LEASE_MS)
    store.later(LEASE_MS)
    assert "d" in ids(store.hand().claim())
    assert ids(worker.again()) == ["c"]


def test_a_repeated_claim_shows_the_jobs_as_they_are_now(producer: Hand, worker: Hand) -> None:
    producer.put(new("a"))
    (leased,) = worker.claim().jobs
    call = worker.last
    producer.extend(Lease("a", leased.token, b"half"))
    producer.cancel("a", reason="enough")
    assert call is not None
    (again,) = worker.send(call)[0].jobs
    assert again == msgspec.structs.replace(leased, note=b"half", cancel="enough")


def test_a_repeated_claim_survives_a_restart(shared_store: Store) -> None:
    producer, worker = shared_store.hand(), shared_store.hand()
    producer.put(new("a"), new("b"))
    first = worker.claim(1)
    shared_store.restart()
    assert worker.again().jobs == first.jobs
    assert ids(worker.claim()) == ["b"]


# Verbs that need no number


def test_extend_and_reads_may_be_said_under_any_number(producer: Hand, worker: Hand, store: Store) -> None:
    leased = worker.take("a")
    verbs = (Extend(QUEUE, (Lease("a", leased.token),), LEASE_MS), Get(QUEUE, ("a",)), Stats(QUEUE))
    answers = [worker.send(Call(worker.caller, number, "tag1", verbs, store.now)) for number in (9, 9, 1)]
    assert answers[0] == answers[1] == answers[2]
    assert not [answer for answer in answers[0] if isinstance(answer, Exception)]


# Several verbs in one call


def test_a_turn_settles_and_claims_in_one_call(producer: Hand, worker: Hand) -> None:
    producer.put(new("a"), new("b"))
    (a,) = worker.claim(1).jobs
    settle = Settle(QUEUE, (Transition("a", a.token, Return()),))
    verdicts, claimed = worker.send(worker.call(settle, Claim(QUEUE, 1, LEASE_MS, 0)))
    assert (verdicts, ids(claimed)) == (["applied"], ["a"])


def test_two_queues_go_in_one_call(store: Store) -> None:
    producer, worker = store.hand(), store.hand()
    answers = producer.send(producer.call(Put(QUEUE, (new("a"),)), Put(OTHER, (new("a"), new("b")))))
    assert answers == [[PutAnswer("created")], [PutAnswer("created"), PutAnswer("created")]]
    first, second = worker.send(worker.call(Claim(OTHER, 9, LEASE_MS, 0), Claim(QUEUE, 9, LEASE_MS, 0)))
    assert (ids(first), ids(second)) == (["a", "b"], ["a"])
    assert worker.again_all() == [first.jobs, second.jobs]


def test_one_verb_failing_alone_leaves_the_others(store: Store) -> None:
    hand = store.hand()
    hand.send(Call(hand.caller, 5, "tag5", (Put(QUEUE, (new("a"),)),), store.now))
    late = Call(hand.caller, 4, "tag4", (Put(QUEUE, (new("late"),)), Put(OTHER, (new("b"),))), store.now)
    refused, stored = hand.send(late)
    assert isinstance(refused, Refused) and refused.word == "STALE"
    assert stored == [PutAnswer("created")]
    assert store.hand().state("late") == "unknown"
    assert store.hand(OTHER).state("b") == "pending"


def test_a_call_without_verbs_has_no_answers(producer: Hand) -> None:
    assert producer.send(producer.call()) == []


def test_two_verbs_of_a_kind_for_one_queue_are_refused_before_anything_happens(producer: Hand) -> None:
    with pytest.raises(AssertionError, match="two Put"):
        producer.send(producer.call(Put(QUEUE, (new("a"),)), Put(QUEUE, (new("b"),))))
    assert [producer.state(id) for id in "ab"] == ["unknown", "unknown"]


def test_everything_survives_a_restart(shared_store: Store) -> None:
    hand = shared_store.hand()
    leased = hand.take("runs")
    hand.extend(Lease("runs", leased.token, b"half"))
    hand.kill("dead")
    hand.complete("done")
    hand.put(new("a", priority=2))
    hand.say(Configure(QUEUE, paused="night", max_length=9))
    jobs = ("runs", "dead", "done", "a")
    before = [hand.get(id) for id in jobs], hand.stats()
    shared_store.restart()
    assert ([hand.get(id) for id in jobs], hand.stats()) == before
    assert hand.end(leased, Finish("completed")) == "applied"
