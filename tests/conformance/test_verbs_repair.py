"""orphans and repair: a job whose body is gone. What else can break differs by store: redis_only and sqlite_only."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from tests.conformance.stores import LEASE_MS, MODEL, QUEUE, Hand, Store, ids, new

from surefoot.brokers.answers import Damage, RepairWord
from surefoot.brokers.broker import Orphans, Repair, Requeue
from surefoot.core.codec import decode_error
from surefoot.core.job import After, Unique
from surefoot.core.transition import Park


def search(hand: Hand) -> Damage:
    """All pages."""
    found, cursor = Damage(), None
    while True:
        page = hand.say(Orphans(hand.queue, cursor))
        found = Damage(
            found.lost + page.lost,
            found.strays + page.strays,
            found.keys + page.keys,
            looked=found.looked + page.looked,
        )
        cursor = page.cursor
        if cursor is None:
            return found


def repair(hand: Hand, *ids: str, keys: tuple[str, ...] = ()) -> list[RepairWord]:
    return hand.say(Repair(hand.queue, ids, keys))


def test_nothing_is_found_in_a_sound_queue_and_nothing_is_repaired(store: Store) -> None:
    hand = store.hand()
    assert (search(hand), repair(hand, "a", keys=("welcome k",))) == (Damage(), ["sound", "sound"])
    hand.kill("dead")
    hand.complete("completed")
    hand.take("processing")
    hand.put(new("later", due=After(9_000)), new("keyed", unique=Unique("welcome k")))
    assert (search(hand).lost, search(hand).strays, search(hand).keys) == ((), (), ())
    known = ("dead", "completed", "processing", "later", "keyed")
    before = [hand.record(id) for id in known]
    assert set(repair(hand, *known, keys=("welcome k",))) == {"sound"}
    assert [hand.record(id) for id in known] == before


def test_R15_a_job_without_a_body_becomes_a_dead_letter_wherever_it_waits(damaged_store: Store) -> None:
    hand = damaged_store.hand()
    parked = hand.take("parked")
    hand.end(parked, Park("task:gone"), None)
    hand.put(new("pending", unique=Unique("welcome k")), new("scheduled", due=After(9_000)), new("sound"))
    for id in ("parked", "pending", "scheduled"):
        damaged_store.lose_body(id)
    assert sorted(search(hand).lost) == ["parked", "pending", "scheduled"]
    assert repair(hand, "pending", "scheduled", "parked", "sound") == ["buried", "buried", "buried", "sound"]
    for id in ("parked", "pending", "scheduled"):
        record = hand.record(id)
        assert (record.state, record.reason, record.body) == ("dead", "body_lost", b"")
        assert decode_error(record.errors[0]).reason == "body_lost"
    assert search(hand).lost == ()
    assert repair(hand, "pending", "scheduled", "parked") == ["sound"] * 3
    stats = hand.stats()
    assert (stats.dead, stats.pending, stats.scheduled, stats.parked) == (3, 1, 0, 0)
    assert sum(row.dead for row in stats.minutes) == 3
    assert hand.put(new("other", unique=Unique("welcome k")))[0].word == "created"  # the key is free
    assert ids(hand.claim()) == ["sound", "other"]


def test_R15_a_running_job_without_a_body_is_left_to_its_worker_until_the_lease_ends(damaged_store: Store) -> None:
    hand = damaged_store.hand()
    leased = hand.take("a")
    damaged_store.lose_body("a")
    assert (search(hand).lost, repair(hand, "a")) == ((), ["sound"])
    damaged_store.later(LEASE_MS)
    assert search(hand).lost == ("a",)
    assert repair(hand, "a") == ["buried"]
    assert hand.record("a").state == "dead"
    assert hand.end(leased, Park("task:x"), None) == "fenced"
    assert hand.claim().jobs == []


@pytest.mark.parametrize("state", ["dead", "completed"])
def test_R15_a_job_that_is_over_stays_what_it_is_with_an_empty_body(damaged_store: Store, state: str) -> None:
    hand = damaged_store.hand()
    if state == "dead":
        hand.kill("a")
    else:
        hand.complete("a")
    damaged_store.lose_body("a")
    assert search(hand).lost == ("a",)
    assert repair(hand, "a") == ["filled"]
    record = hand.record("a")
    assert (record.state, record.body) == (state, b"")
    assert search(hand).lost == ()
    if state == "dead":
        assert record.reason == "exhausted"
        assert hand.say(Requeue(QUEUE, ("a",)))[0].word == "requeued"


async def test_R15_whoever_waits_for_a_job_is_told_that_its_body_is_lost(damaged_store: Store) -> None:
    if damaged_store.kind is MODEL:
        pytest.skip("nobody can wait for the model")
    hand = damaged_store.hand()
    hand.put(new("a"))
    damaged_store.lose_body("a")
    with anyio.fail_after(10):
        told = asyncio.create_task(damaged_store.broker.ended(QUEUE, "a", 100))
        await asyncio.sleep(0)
        assert repair(hand, "a") == ["buried"]
        await told


def test_a_repair_of_one_id_named_twice_answers_for_each(damaged_store: Store) -> None:
    hand = damaged_store.hand()
    hand.put(new("a"))
    damaged_store.lose_body("a")
    assert repair(hand, "a", "a", "unknown") == ["buried", "sound", "sound"]


def test_a_long_queue_is_searched_page_by_page(damaged_store: Store) -> None:
    hand = damaged_store.hand()
    many = [f"job-{number}" for number in range(2_500)]
    for first in range(0, len(many), 500):
        hand.put(*[new(id) for id in many[first : first + 500]])
    gone = many[::500]
    for id in gone:
        damaged_store.lose_body(id)
    found = search(hand)
    assert sorted(set(found.lost)) == sorted(gone)
    assert found.looked >= len(many) - len(gone)
    assert repair(hand, *gone) == ["buried"] * len(gone)
    assert hand.stats().pending == len(many) - len(gone)


def test_R15_a_repair_beside_claims_takes_nothing_from_them(damaged_store: Store) -> None:
    hand, worker = damaged_store.hand(), damaged_store.hand()
    hand.put(new("a"), new("b"))
    damaged_store.lose_body("a")
    assert worker.claim().orphans == ("a",)  # the claim came first
    assert repair(hand, "a", "b") == ["sound", "sound"]
    assert (hand.state("a"), hand.state("b")) == ("dead", "processing")
