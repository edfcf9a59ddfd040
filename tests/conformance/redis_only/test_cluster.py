"""On a node of a cluster every verb runs as elsewhere: no script touches a key outside the one slot of its queue.

The node serves that slot and no other, since it would not refuse a key that a script did not declare but that it has.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.stores import LEASE_MS, NODE, QUEUE, Hand, Store, ids, new, server_of, words
from tests.servers import Refusal
from tests.servers.server import SLOTS

from surefoot.brokers.answers import Config, Hold, Lease, Requeued
from surefoot.brokers.broker import (
    Amend,
    Beat,
    Cancel,
    Changes,
    Claim,
    Configure,
    Delete,
    Extend,
    Find,
    Get,
    Move,
    Orphans,
    Prune,
    Put,
    Queues,
    Repair,
    Requeue,
    Settle,
    Stats,
    Tick,
    Verb,
)
from surefoot.core import transition
from surefoot.core.job import After, Unique
from surefoot.core.transition import Bury, Delay, Finish, Park, Return, Transition

LATER = After(60_000)
KEY = "welcome k"


@pytest.fixture(scope="module")
def one_slot() -> None:
    assert NODE.server is not None
    node = server_of(NODE.server, NODE.clustered)
    ours = node.say("CLUSTER", "KEYSLOT", f"{{{QUEUE}}}:jobs")
    node.say("CONFIG", "SET", "cluster-require-full-coverage", "no")
    node.say("CLUSTER", "DELSLOTS", *(slot for slot in range(SLOTS) if slot != ours))


@pytest.fixture
def hand(tmp_path: Path, one_slot: None) -> Iterator[Hand]:
    """A caller on the cluster's only node, through a plain connection."""
    store = Store(NODE, tmp_path)
    yield store.hand()
    store.close()


def put(hand: Hand) -> None:
    assert words(hand.put(new("a", unique=Unique(KEY), due=LATER), new("b", priority=2))) == ["created", "created"]
    replacing = new("c", unique=Unique(KEY, 5_000, replace=True))
    assert words(hand.put(new("b"), replacing, new("d", due=LATER))) == ["exists", "replaced", "created"]


def claim(hand: Hand) -> None:
    hand.end(hand.take("parks"), Park("task:welcome"))
    hand.put(new("runs"), new("newer", needs=2))
    assert ids(hand.claim(9)) == ["runs"]
    hand.put(new("ready", unique=Unique(KEY, "start")), new("due", due=After(1)))
    hand.store.later(LEASE_MS)
    assert sorted(ids(hand.claim(9, "task:welcome"))) == ["due", "parks", "ready", "runs"]
    assert len(hand.again().jobs) == 4


def settle(hand: Hand) -> None:
    ends: list[transition.Move] = [Finish("completed", b"1"), Finish("expired"), Bury("exhausted")]
    ends += [Delay(9, "retry"), Return(), Park("needs:2")]
    hand.put(*(new(str(n), unique=Unique(f"welcome {n}")) for n in range(len(ends))))
    steps = [Transition(job.id, job.token, to, "runs") for job, to in zip(hand.claim().jobs, ends, strict=True)]
    steps[0] = Transition(steps[0].id, steps[0].token, ends[0], "runs", error=b"{}", effects=(new("effect"),))
    assert hand.settle(*steps) == ["applied"] * len(ends)


def extend(hand: Hand) -> None:
    leased = hand.take("a")
    hand.cancel("a", reason="enough")
    assert hand.extend(Lease("a", leased.token, b"half")) == [Hold(True, "enough")]


def cancel(hand: Hand) -> None:
    hand.end(hand.take("parks"), Park("needs:2"))
    hand.take("runs")
    hand.put(new("a", unique=Unique(KEY)), new("b", due=LATER))
    assert hand.cancel("a", "b", "parks", "runs", keep_ms=0) == ["cancelled", "cancelled", "cancelled", "requested"]


def requeue(hand: Hand) -> None:
    hand.kill("a")
    assert hand.say(Requeue(QUEUE, ("a",))) == [Requeued("requeued")]


def move(hand: Hand) -> None:
    hand.end(hand.take("parks"), Park("needs:2"))
    hand.put(new("a"), new("b", due=LATER))
    assert hand.say(Move(QUEUE, ("a", "b", "parks"), After(5))) == [True, True, True]
    assert hand.say(Move(QUEUE, ("a", "b", "parks"), None)) == [True, True, True]


def amend(hand: Hand) -> None:
    hand.kill("a")
    assert hand.say(Amend(QUEUE, "a", b"{}")) == "amended"


def delete(hand: Hand) -> None:
    hand.kill("dies")
    hand.complete("ends")
    hand.put(new("a", unique=Unique(KEY)), new("b", due=LATER))
    assert hand.say(Delete(QUEUE, ("a", "b", "dies", "ends"))) == [True, True, True, True]


def tick(hand: Hand) -> None:
    assert hand.say(Tick(QUEUE, "nightly", hand.store.now, new("a"))) == "created"


def configure(hand: Hand) -> None:
    said = hand.say(Configure(QUEUE, paused="night", max_length=9, cron=("nightly", "")))
    assert said == Config("night", hand.store.now, 9)
    assert hand.say(Configure(QUEUE, paused=None)) == Config(None, None, 9)


def beat(hand: Hand) -> None:
    assert hand.say(Beat(QUEUE, hand.caller, b"{}")).startswith(hand.caller)


def prune(hand: Hand) -> None:
    hand.kill("dies")
    hand.complete("ends", keep_ms=1)
    hand.end(hand.take("parks"), Park("task:unknown"))
    hand.put(new("a", unique=Unique(KEY, 1)))
    hand.say(Beat(QUEUE, hand.caller, b"{}"))
    hand.store.later(1_000_000)
    assert hand.say(Prune(QUEUE, dead_max=0, dead_age_ms=0, unknown_ms=1)) == 3


def broken(hand: Hand) -> tuple[str, str]:
    """A job without a body, and one that stands in no place."""
    hand.put(new("a", unique=Unique(KEY)), new("b"))
    hand.store.lose_body("a")
    hand.store.server.say("ZREM", f"{{{QUEUE}}}:pending", "b")
    return "a", "b"


def repair(hand: Hand) -> None:
    assert hand.say(Repair(QUEUE, broken(hand), (KEY,))) == ["buried", "returned", "sound"]


def orphans(hand: Hand) -> None:
    lost_and_stray = broken(hand)
    page = hand.say(Orphans(QUEUE))
    found = [*page.lost, *page.strays]
    while page.cursor is not None:
        page = hand.say(Orphans(QUEUE, page.cursor))
        found += [*page.lost, *page.strays]
    assert sorted(found) == sorted(lost_and_stray)
    hand.say(Repair(QUEUE, lost_and_stray))


def get(hand: Hand) -> None:
    hand.put(new("a"), new("b"))
    records = hand.say(Get(QUEUE, ("b", "nobody"), behind=True))
    assert [record and record.behind for record in records] == [1, None]


def find(hand: Hand) -> None:
    hand.kill("dies")
    hand.put(new("a", unique=Unique(KEY)))
    assert [record.id for record in hand.find().records] == ["a", "dies"]
    assert [record.id for record in hand.find(key=KEY).records] == ["a"]


def stats(hand: Hand) -> None:
    hand.put(new("a"))
    assert hand.stats(60, "nightly").pending == 1


def changes(hand: Hand) -> None:
    hand.say(Configure(QUEUE, paused="night"))
    assert [change.reason for change in hand.say(Changes(QUEUE))] == ["night"]


def queues(hand: Hand) -> None:
    hand.put(new("a"))
    assert hand.say(Queues("shop:")) == [QUEUE.removeprefix("shop:")]


ACTS: dict[type[Verb[Any]], Callable[[Hand], None]] = {
    Put: put, Claim: claim, Settle: settle, Extend: extend, Cancel: cancel, Requeue: requeue, Move: move, Amend: amend,
    Delete: delete, Tick: tick, Configure: configure, Beat: beat, Prune: prune, Get: get, Find: find, Stats: stats,
    Queues: queues, Changes: changes, Repair: repair, Orphans: orphans,
}  # fmt: skip


def test_the_node_refuses_a_script_that_touches_another_slot(hand: Hand) -> None:
    ours = f"{{{QUEUE}}}:jobs"
    with pytest.raises(Refusal, match="non local key"):
        hand.store.server.say("EVAL", "return redis.call('EXISTS', 'elsewhere')", 1, ours)
    with pytest.raises(Refusal, match="CROSSSLOT"):
        hand.store.server.say("EVAL", "return redis.call('EXISTS', KEYS[1])", 2, ours, "elsewhere")


@pytest.mark.parametrize("verb", Verb.__subclasses__(), ids=lambda verb: verb.__name__)
def test_every_verb_runs_on_a_node_of_a_cluster(verb: type[Verb[Any]], hand: Hand) -> None:
    ACTS[verb](hand)
