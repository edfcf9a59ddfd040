"""One record that somebody else spoiled stops no other job; a whole key of the wrong type stops its own queue only, and
is named. Each spoiled record stands between two whole jobs.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.stores import LEASE_MS, QUEUE, REDIS, Hand, Store, ids, new

from surefoot.brokers.answers import Lease
from surefoot.brokers.broker import (
    Cancel,
    Claim,
    Configure,
    Delete,
    Extend,
    Find,
    Get,
    Move,
    Prune,
    Put,
    Requeue,
    Settle,
    Stats,
    Verb,
)  # fmt: skip
from surefoot.brokers.redis.names import key
from surefoot.brokers.redis.spoiled import KINDS
from surefoot.core.errors import StoreError
from surefoot.core.job import After, NewJob, Unique
from surefoot.core.lifecycle import admit
from surefoot.core.transition import Bury, Delay, Finish, Park, Return, Transition

HUGE = b"9" * 400
GARBAGE = b"\xff{"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Nothing is looked for behind it: what a test spoiled here stays spoiled."""
    store = Store(REDIS, tmp_path)
    yield store
    store.server.say("FLUSHALL")
    store.close()


@pytest.fixture
def hand(store: Store) -> Hand:
    return store.hand()


def spoil(store: Store, name: str, *words: Any) -> Any:
    """Write into a key of the queue by hand: the command, then its words behind the key."""
    command, *rest = words
    return store.server.say(command, key(QUEUE, name), *rest)


def looks(hand: Hand, *known: str) -> None:
    """Every verb that only looks tells of these jobs."""
    assert {record.id for record in hand.say(Get(QUEUE, known)) if record is not None} == set(known)
    found = {record.id for record in hand.find(limit=100).records}
    assert set(known) <= found
    hand.stats()


# --- what stands before and in a job's body ---


@pytest.mark.parametrize(
    "body",
    [
        b"hello", b"", b"xx\n{}", b"\n{}", b"-5\n{}", b"1.5\n{}", b"+5\n{}", b"1_0\n{}", HUGE + b"\n{}",
        b"999999999999999\n{}", b"5\nhello", b"5\n" + GARBAGE, GARBAGE, b"5\n" + b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_a_dead_letter_with_all_its_bytes(store: Store, hand: Hand, body: bytes) -> None:
    hand.put(new("a"), new("b"), new("c"))
    spoil(store, "jobs", "HSET", "b", body)
    looks(hand, "a", "b", "c")
    claimed = hand.claim()
    assert ids(claimed) == ["a", "b", "c"]
    admitted = admit(claimed.jobs[1], {}, claimed.now_ms, 0)
    assert isinstance(admitted, Transition) and admitted.to == Bury("invalid")
    assert hand.settle(admitted) == ["applied"]
    letter = hand.record("b")
    assert (letter.state, letter.reason) == ("dead", "invalid")
    assert spoil(store, "jobs", "HGET", "b") == body, "whoever looks for it finds what there was"
    looks(hand, "a", "b", "c")


def test_a_body_without_its_time_that_can_be_read_runs(store: Store, hand: Hand) -> None:
    job = new("b")
    hand.put(new("a"), job)
    spoil(store, "jobs", "HSET", "b", job.envelope)
    claimed = hand.claim()
    assert [(one.id, one.body, one.enqueued_ms) for one in claimed.jobs][1] == ("b", job.envelope, store.now)


# --- what stands beside it ---

BESIDE = [
    ("counts", GARBAGE), ("counts", b""), ("counts", b"1 2"), ("counts", b"a b c d e"), ("counts", (HUGE + b" ") * 5),
    ("counts", b"-1 0 0 0 0"), ("traits", GARBAGE), ("traits", b""), ("traits", b"5"), ("traits", b"null"),
    ("traits", b'{"priority":"high"}'), ("traits", b'{"priority":1e300}'), ("traits", b'{"priority":nan}'),
    ("traits", b'{"priority":-7}'), ("traits", b'{"needs":{}}'), ("traits", b'{"unique":[1]}'),
    ("traits", b'{"unique":"k","unique_until":{}}'), ("traits", b"[" * 100_000), ("notes", GARBAGE), ("notes", b""),
    ("errors", GARBAGE), ("errors", b"\n\n"), ("errors", b'{"reason":[]}'), ("cancels", GARBAGE),
    ("results", GARBAGE), ("parked", GARBAGE),
]  # fmt: skip


@pytest.mark.parametrize(("name", "record"), [one for one in BESIDE if one[0] != "parked"])
def test_a_record_beside_a_job_stops_no_verb(store: Store, hand: Hand, name: str, record: bytes) -> None:
    """The whole way of a job, with the record spoiled again before each step."""

    def again() -> None:
        spoil(store, name, "HSET", "b", record)
        looks(hand, "a", "b", "c")

    hand.put(new("a"), new("b"), new("c"))
    again()
    leased = hand.claim().jobs
    assert [one.id for one in leased] == ["a", "b", "c"]
    again()
    held = hand.extend(*[Lease(one.id, one.token) for one in leased])
    assert [hold.held for hold in held] == [True, True, True]
    verdicts = hand.settle(*[Transition(one.id, one.token, Return(), "failures", b'{"kind":"E"}') for one in leased])
    assert verdicts[0] == verdicts[2] == "applied" and verdicts[1] in ("applied", "cancelled")
    if name == "cancels":
        return
    again()
    hand.claim()
    again()
    store.later(LEASE_MS + 1)
    claimed = hand.claim()
    assert (sorted(ids(claimed)), claimed.recovered) == (["a", "b", "c"], 3)
    again()
    by_id = {one.id: one for one in claimed.jobs}
    assert hand.end(by_id["a"], Finish("completed", b"1")) == "applied"
    assert hand.end(by_id["b"], Bury("exhausted"), "failures", error=b'{"kind":"E"}') == "applied"
    assert hand.end(by_id["c"], Delay(1_000, "retry"), "failures", error=b'{"kind":"E"}') == "applied"
    again()
    assert [one.word for one in hand.say(Requeue(QUEUE, ("b",)))] == ["requeued"]
    again()
    assert hand.say(Move(QUEUE, ("b", "c"), After(5_000))) == [True, True]
    again()
    assert hand.cancel("b", "c") == ["cancelled", "cancelled"]
    hand.say(Prune(QUEUE, limit=100))
    spoil(store, name, "HSET", "b", record)
    looks(hand, *(("a", "c") if name == "results" else ("a", "b", "c")))
    store.later(400_000)
    hand.say(Prune(QUEUE, limit=100))
    hand.put(new("d"))
    assert ids(hand.claim()) == ["d"]


@pytest.mark.parametrize("record", [b"", GARBAGE, b"a b", b"caller0000000000.1 inf 5", b"caller.1 abc x", b"x " + HUGE])
def test_a_record_of_a_lease(store: Store, hand: Hand, record: bytes) -> None:
    """The run has lost its lease, and the job comes again after its end."""
    hand.put(new("a"), new("b"))
    hand.claim()
    spoil(store, "held", "HSET", "b", record)
    looks(hand, "a", "b")
    store.later(LEASE_MS + 1)
    claimed = hand.claim()
    assert (sorted(ids(claimed)), claimed.recovered) == (["a", "b"], 2)
    for to in (Return(), Park("task:welcome")):
        claimed = hand.claim(100, "task:welcome") if to == Park("task:welcome") else claimed
        assert hand.settle(*[Transition(one.id, one.token, to) for one in claimed.jobs]) == ["applied"] * 2
    assert sorted(ids(hand.claim(100, "task:welcome"))) == ["a", "b"]


@pytest.mark.parametrize("rank", ["abc", "inf", HUGE])
@pytest.mark.parametrize("to", [Return(), Park("task:x"), Delay(0, "retry"), Finish("completed"), Bury("exhausted")])
def test_a_rank_that_is_none_is_given_anew(store: Store, hand: Hand, rank: str | bytes, to: Any) -> None:
    leased = hand.take("a")
    rank = rank.encode() if isinstance(rank, str) else rank
    spoil(store, "held", "HSET", "a", leased.token.encode() + b" " + rank + b" x")
    assert hand.end(leased, to) == "applied"
    hand.put(new("b"))
    assert sorted(ids(hand.claim(100, "task:x"))) == (["b"] if isinstance(to, Finish | Bury) else ["a", "b"])


# --- places ---


@pytest.mark.parametrize("member", ["stranger", GARBAGE])
@pytest.mark.parametrize("place", ["pending", "scheduled", "leases", "dead", "kept"])
@pytest.mark.parametrize("score", ["-inf", "1", "inf"])
def test_a_stranger_in_a_place(store: Store, hand: Hand, place: str, member: str | bytes, score: str) -> None:
    hand.put(new("a"))
    spoil(store, place, "ZADD", score, member)
    looks(hand, "a")
    assert ids(hand.claim()) == ["a"]
    hand.say(Prune(QUEUE, dead_age_ms=1, limit=100))
    if isinstance(member, str):
        hand.say(Requeue(QUEUE, (member,)))
        hand.cancel(member)
        hand.say(Delete(QUEUE, (member,)))
    store.later(LEASE_MS + 1)
    assert ids(hand.claim()) == ["a"]


def test_a_strangers_job_whose_id_is_no_text_stops_nobody(store: Store, hand: Hand) -> None:
    spoil(store, "jobs", "HSET", GARBAGE, b"5\n{}")
    spoil(store, "pending", "ZADD", "-inf", GARBAGE)
    hand.put(new("a"))
    assert ids(hand.claim()) == ["a"]
    store.later(LEASE_MS + 1)
    claimed = hand.claim()
    assert (ids(claimed), claimed.recovered) == (["a"], 1)


def test_a_page_goes_on_behind_a_member_that_is_no_text(store: Store, hand: Hand) -> None:
    hand.put(new("a"), new("b"))
    for member in (b"\x80", b"\xff", b"\xff\xfe"):
        spoil(store, "pending", "ZADD", 64, member)
    found, cursor = [], None
    for _ in range(10):
        page = hand.find(state="pending", limit=1, cursor=cursor)
        found += [record.id for record in page.records]
        cursor = page.cursor
        if cursor is None:
            break
    assert (sorted(found), cursor) == (["a", "b"], None)


@pytest.mark.parametrize(
    "member", [b"task:x\x1f", b"task:x\x1fabc\x1fa", b"task:x\x1f\xff", b"task:x\x1f1\x1fstranger"]
)
def test_a_stranger_among_the_parked(store: Store, hand: Hand, member: bytes) -> None:
    leased = hand.take("a")
    hand.end(leased, Park("task:x"), None)
    spoil(store, "parking", "ZADD", 0, member)
    looks(hand, "a")
    assert ids(hand.claim(1, "task:x")) + ids(hand.claim(1, "task:x")) == ["a"]
    assert spoil(store, "parking", "ZCARD") == spoil(store, "parked", "HLEN") == 0


@pytest.mark.parametrize("record", [b"", GARBAGE, b"5", b"x y"])
def test_a_record_of_a_parked_job(store: Store, hand: Hand, record: bytes) -> None:
    for id in ("a", "b", "c"):
        hand.end(hand.take(id), Park("task:x"), None)
        spoil(store, "parked", "HSET", id, record)
    looks(hand, "a", "b", "c")
    hand.say(Prune(QUEUE, unknown_ms=0, limit=100))
    assert hand.cancel("a") == ["cancelled"]
    assert hand.say(Move(QUEUE, ("b",), None)) == [True]
    assert sorted(ids(hand.claim(100, "task:x"))) == ["b", "c"]
    assert spoil(store, "parking", "ZCARD") == spoil(store, "parked", "HLEN") == 0
    assert hand.state("a") == "cancelled"


# --- the words of the queue ---


@pytest.mark.parametrize("word", [b"x", b"", GARBAGE, HUGE])
@pytest.mark.parametrize(
    "field", ["max_length", "watch", "pruned", "prune_at", "epoch", "tail:5", "tail:2", "total:pruned", "tick:nightly"]
)
def test_a_word_of_the_queue(store: Store, hand: Hand, field: str, word: bytes) -> None:
    hand.put(new("a"), new("b", priority=2))
    spoil(store, "meta", "HSET", field, word)
    assert [one.word for one in hand.put(new("c"), new("d", priority=2), new("e", due=After(1)))] == ["created"] * 3
    looks(hand, "a", "b", "c", "d", "e")
    hand.stats(60, "nightly")
    store.later(1)
    assert ids(hand.claim()) == ["b", "d", "a", "c", "e"]
    hand.kill("f")
    hand.say(Prune(QUEUE, dead_max=0, limit=100))
    hand.say(Configure(QUEUE))


@pytest.mark.parametrize("word", [b"x", b"", GARBAGE, HUGE])
def test_a_pause_whose_moment_is_none_holds(store: Store, hand: Hand, word: bytes) -> None:
    hand.put(new("a"))
    spoil(store, "meta", "HSET", "paused", word)
    assert hand.claim().paused
    assert hand.stats().paused_ms is not None
    hand.say(Configure(QUEUE, paused="again"))
    hand.say(Configure(QUEUE, paused=None))
    assert ids(hand.claim()) == ["a"]


@pytest.mark.parametrize("record", [b"x", b"", b"1", GARBAGE])
def test_a_callers_memory(store: Store, hand: Hand, record: bytes) -> None:
    hand.put(new("a"))
    spoil(store, "meta", "HSET", f"call:claim:{hand.caller}", record)
    spoil(store, "meta", "HSET", f"call:put:{hand.caller}", record)
    assert [one.word for one in hand.put(new("b"))] == ["created"]
    assert ids(hand.claim()) == ["a", "b"]


@pytest.mark.parametrize("record", [b"x", b"", GARBAGE, HUGE, b"1 x"])
def test_numbers_and_workers(store: Store, hand: Hand, record: bytes) -> None:
    spoil(store, "stats", "HSET", str(store.now // 60_000 % 1_440), record, "all", record)
    spoil(store, "workers", "HSET", "somebody", record)
    hand.stats()
    hand.put(new("a"))
    assert ids(hand.claim()) == ["a"]
    hand.say(Prune(QUEUE, limit=100))
    assert hand.stats().totals["enqueued"] == 1
    assert spoil(store, "workers", "HLEN") == 0


@pytest.mark.parametrize("holder", [b"", GARBAGE, b"nobody"])
def test_a_holder_of_a_key(store: Store, hand: Hand, holder: bytes) -> None:
    spoil(store, "unique", "HSET", "welcome k", holder)
    assert hand.find(key="welcome k").records == []
    assert hand.put(NewJob("a", b"{}", unique=Unique("welcome k", replace=True)))[0].word == "created"


# --- whole keys ---

OTHER = "shop:images"


@pytest.mark.parametrize("name", ["traits", "unique", "scheduled", "pending", "wake", "stats"])
def test_a_put_that_meets_a_wrong_type_stores_nothing(store: Store, hand: Hand, name: str) -> None:
    """Else the same draft would be told that it is stored, and would be in no place."""
    jobs = new("a"), new("b", due=After(5), unique=Unique("welcome k")), new("c", needs=1, priority=2)
    spoil(store, name, "SET", "x")
    with pytest.raises(StoreError, match=f"{name} is a string"):
        hand.put(*jobs)
    spoil(store, name, "DEL")
    assert hand.stats().pending == hand.stats().scheduled == spoil(store, "jobs", "HLEN") == 0
    assert [one.word for one in hand.put(*jobs)] == ["created"] * 3
    store.later(10)
    assert sorted(ids(hand.claim())) == ["a", "b", "c"]


def _verbs(hand: Hand) -> list[Verb[Any]]:
    """Each verb once, on a job that runs and others that do not exist."""
    return [
        Put(QUEUE, (new("z", unique=Unique("welcome k")),)), Claim(QUEUE, 10, LEASE_MS, hand.store.now),
        Settle(QUEUE, (Transition("a", "t.1", Return()),)), Extend(QUEUE, (Lease("a", "t.1"),), LEASE_MS),
        Cancel(QUEUE, ("a",), ""), Requeue(QUEUE, ("a",)), Move(QUEUE, ("a",), None), Delete(QUEUE, ("x",)),
        Configure(QUEUE), Prune(QUEUE, limit=10), Get(QUEUE, ("a",)), Find(QUEUE), Stats(QUEUE, 5),
    ]  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_key_of_the_wrong_type_is_named_and_stops_its_queue_only(store: Store, hand: Hand, name: str) -> None:
    hand.put(new("a"), new("b"))
    store.hand(OTHER).put(new("o"))
    claimed = hand.claim(1)
    kept = store.server.say("EXISTS", key(QUEUE, name)) and store.server.say("DUMP", key(QUEUE, name))
    store.server.say("SET", key(QUEUE, name), "x")
    refused = 0
    for verb in _verbs(hand):
        call = hand.call(verb, Claim(OTHER, 0, LEASE_MS, store.now))
        mine, other = hand.send(call)
        assert not isinstance(other, Exception), "another queue of the same call goes on"
        if isinstance(mine, Exception):
            refused += 1
            assert isinstance(mine, StoreError)
            assert f"{key(QUEUE, name)} is a string and must be a {KINDS[name]}" in str(mine)
            assert f"DEL {key(QUEUE, name)}" in str(mine)
    assert refused > 0
    if name != "meta":
        store.server.say("DEL", key(QUEUE, name))
        if kept:
            store.server.say("RESTORE", key(QUEUE, name), 0, kept)
        store.later(LEASE_MS + 1)
        found = hand.claim()
        assert not found.paused, "it goes on as soon as the key is gone"
    assert claimed.jobs[0].id == "a"


def test_after_the_first_refusal_nothing_more_is_half_done(store: Store, hand: Hand) -> None:
    """A script that meets a wrong type stops half-way; the second one is not even begun."""
    hand.put(*[new(f"job{n}") for n in range(10)])
    spoil(store, "notes", "SET", "x")
    for _ in range(3):
        with pytest.raises(StoreError, match="notes is a string and must be a hash"):
            hand.claim(2)
    assert spoil(store, "leases", "ZCARD") <= 2
    spoil(store, "notes", "DEL")
    store.later(LEASE_MS + 1)
    assert len(ids(hand.claim())) == 10
