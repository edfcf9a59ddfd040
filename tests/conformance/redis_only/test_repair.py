"""repair on a server: keys that are gone as a whole or in part, as an eviction or a careless hand leaves them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.stores import QUEUE, REDIS, Hand, Store, ids, new
from tests.conformance.test_verbs_repair import repair, search
from tests.servers import why_not

from surefoot.brokers.broker import Orphans, Requeue
from surefoot.brokers.redis.orphans import orphans
from surefoot.core.job import After, Unique
from surefoot.core.transition import Bury, Finish

if reason := why_not("valkey-9"):
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(REDIS, tmp_path)
    yield store
    store.close()  # says what is still broken


def key(name: str) -> str:
    return f"{{{QUEUE}}}:{name}"


def test_R15_a_body_that_stands_nowhere_is_pending_again_at_its_priority(store: Store) -> None:
    hand = store.hand()
    hand.put(new("low", priority=8), new("later", due=After(9_000)), new("high", priority=2), new("stays", priority=5))
    for place in ("pending", "scheduled"):
        store.server.say("ZREM", key(place), "low", "later", "high")
    assert sorted(search(hand).strays) == ["high", "later", "low"]
    assert repair(hand, "low", "later", "high", "stays") == ["returned", "returned", "returned", "sound"]
    assert ids(hand.claim()) == ["high", "stays", "later", "low"]


def test_a_body_named_twice_is_pending_once(store: Store) -> None:
    hand = store.hand()
    hand.put(new("a"))
    store.server.say("ZREM", key("pending"), "a")
    store.server.say("DEL", key("wake"))
    assert repair(hand, "a", "a") == ["returned", "sound"]
    assert store.server.say("LLEN", key("wake")) == 1  # somebody is to look
    assert repair(hand, "a") == ["sound"]


def test_R15_a_job_that_moves_while_it_is_looked_at_is_not_broken() -> None:
    steps = orphans(Orphans(QUEUE, "pending 0"), None)
    assert [command[0] for command in next(steps)] == ["HGET", "ZSCAN"]
    looked = steps.send([b"1", [b"0", [b"gone", b"64", b"lost", b"128"]]])
    assert [command[0] for command in looked[1:]] == ["ZMSCORE"] * 5 + ["HMGET", "HEXISTS", "HEXISTS", "TIME"]
    nowhere, at = [None, None], [b"1800000000", b"0"]
    pending = [None, b"128"]
    # `gone` was finished and forgotten after its place was read and before its body was.
    steps.send([b"1", nowhere, [b"64", b"128"], nowhere, nowhere, nowhere, nowhere, 0, 0, at])
    steps.send([b"1", nowhere, pending, nowhere, nowhere, nowhere, nowhere, 0, 0, at])
    replies = [b"1", [None], [b"128"], [None], [None], [None], [None], 0, at]
    found = None
    while found is None:
        try:
            steps.send(replies)
        except StopIteration as end:
            found = end.value
    assert (found.lost, found.strays) == (("lost",), ())


def test_R15_a_lost_lease_is_pending_again_and_its_worker_is_fenced(store: Store) -> None:
    hand, other = store.hand(), store.hand()
    leased = hand.take("a")
    store.server.say("ZREM", key("leases"), "a")
    assert search(other).strays == ("a",)
    assert repair(other, "a") == ["returned"]
    assert hand.end(leased, Finish("completed", b"1")) == "fenced"
    assert ids(other.claim()) == ["a"]


def test_R15_what_was_over_does_not_run_again(store: Store) -> None:
    hand = store.hand()
    hand.complete("done", keep_ms=None)
    hand.kill("dead")
    hand.kill("requeued")
    hand.say(Requeue(QUEUE, ("requeued",)))
    store.server.say("DEL", key("kept"), key("dead"), key("pending"))
    assert sorted(search(hand).strays) == ["dead", "done", "requeued"]
    assert repair(hand, "done", "dead", "requeued") == ["kept", "dead", "returned"]
    assert [hand.state(id) for id in ("done", "dead", "requeued")] == ["completed", "dead", "pending"]
    assert hand.record("dead").reason == "exhausted"
    assert hand.record("done").result == b'"done"'


def test_a_message_of_an_error_is_no_reason_of_a_death(store: Store) -> None:
    hand = store.hand()
    leased = hand.take("a")
    line = b'{"kind":"E","message":"said \\"reason\\":\\"exhausted\\"","ended_ms":1}'
    hand.end(leased, Bury("exhausted"), "failures", error=line)
    store.server.say("DEL", key("dead"))
    assert repair(hand, "a") == ["returned"]


def test_R15_all_bodies_gone_is_all_jobs_dead_and_none_dropped(store: Store) -> None:
    hand = store.hand()
    many = [f"job-{number}" for number in range(1_200)]
    for first in range(0, len(many), 400):
        hand.put(*[new(id) for id in many[first : first + 400]])
    store.server.say("DEL", key("jobs"))
    lost = search(hand).lost
    assert sorted(lost) == sorted(many)
    for first in (0, 1_000):
        assert set(repair(hand, *lost[first : first + 1_000])) == {"buried"}
    assert hand.stats().dead == len(many)


def test_R15_a_key_whose_holder_is_gone_or_over_is_free(store: Store) -> None:
    hand = store.hand()
    hand.kill("dead")
    hand.put(new("holds", unique=Unique("welcome held")), new("period", unique=Unique("welcome day", 86_400_000)))
    store.server.say("HSET", key("unique"), "welcome gone", "nobody", "welcome over", "dead")
    hand.cancel("period", keep_ms=0)
    keys = ("welcome held", "welcome gone", "welcome over", "welcome day", "welcome unknown")
    assert sorted(search(hand).keys) == ["welcome gone", "welcome over"]
    assert repair(hand, keys=keys) == ["sound", "freed", "freed", "sound", "sound"]
    assert search(hand).keys == ()
    assert hand.put(new("x", unique=Unique("welcome held")), new("y", unique=Unique("welcome day")))[1].word == "taken"


def test_R15_ids_and_keys_of_one_repair_agree(store: Store) -> None:
    hand = store.hand()
    hand.put(new("a", unique=Unique("welcome k")), new("b", unique=Unique("welcome l")))
    store.server.say("ZREM", key("pending"), "a")
    store.server.say("HDEL", key("jobs"), "b")
    assert repair(hand, "a", "b", keys=("welcome k", "welcome l")) == ["returned", "buried", "sound", "sound"]
    assert hand.put(new("c", unique=Unique("welcome k")))[0].other == "a"


def test_a_repair_passes_on_a_full_server(store: Store) -> None:
    hand: Hand = store.hand()
    hand.put(new("a"), new("b"))
    store.server.say("HDEL", key("jobs"), "a")
    store.server.say("ZREM", key("pending"), "b")
    store.server.say("CONFIG", "SET", "maxmemory", 1)
    try:
        assert repair(hand, "a", "b") == ["buried", "returned"]
    finally:
        store.server.say("CONFIG", "SET", "maxmemory", 0)


def test_ids_that_no_text_can_be_made_of_stop_nothing(store: Store) -> None:
    hand = store.hand()
    hand.put(new("a"))
    store.server.say("HSET", key("jobs"), b"\xff", b"1\nx")
    assert search(hand).strays == ("\ufffd",)
    assert repair(hand, *search(hand).strays) == ["sound"]
    store.server.say("HDEL", key("jobs"), b"\xff")
