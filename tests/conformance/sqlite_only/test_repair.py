"""repair in a file: bodies whose job somebody deleted, and keys that stayed with a job that is over."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.stores import FILE, QUEUE, Hand, Store, envelope, ids, new
from tests.conformance.test_verbs_repair import repair, search
from tests.conformance.test_verbs_wake import rings, silence

from surefoot.brokers.broker import Orphans
from surefoot.core.job import Unique


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(FILE, tmp_path)
    yield store
    store.close()


def change(place: Path, statement: str, *values: object) -> None:
    """A careless hand."""
    connection = sqlite3.connect(place / "jobs.db")
    with connection:
        changed = connection.execute(statement, values).rowcount
    connection.close()
    assert changed > 0


def test_R15_a_body_whose_job_was_deleted_is_pending_again(store: Store, tmp_path: Path) -> None:
    hand = store.hand()
    hand.put(new("a"), new("b"))
    change(tmp_path, "DELETE FROM job WHERE id = 'a'")
    assert hand.say(Orphans(QUEUE)).nameless
    assert search(hand).strays == ("a",)
    assert repair(hand, "a", "b") == ["returned", "sound"]
    assert ids(hand.claim()) == ["b", "a"]
    assert hand.record("a").body == envelope("a")
    assert search(hand).strays == ()


def test_R15_a_body_that_names_no_job_is_pending_under_a_name_of_its_row(store: Store, tmp_path: Path) -> None:
    hand: Hand = store.hand()
    hand.put(new("a"), new("b"), new("c"))
    change(tmp_path, "UPDATE body SET envelope = ? WHERE seq = 1", b"\xff no JSON")
    change(tmp_path, "UPDATE body SET envelope = ? WHERE seq = 2", envelope("c"))  # one that is there
    change(tmp_path, "DELETE FROM job WHERE id IN ('a', 'b')")
    assert search(hand).strays == ("body-1", "body-2")
    assert repair(hand, "body-1", "body-2", "c") == ["returned", "returned", "sound"]
    assert [leased.body for leased in hand.claim().jobs] == [envelope("c"), b"\xff no JSON", envelope("c")]


async def test_R15_a_body_that_is_pending_again_wakes_a_worker(store: Store, tmp_path: Path) -> None:
    hand = store.hand()
    hand.put(new("a"))
    change(tmp_path, "DELETE FROM job WHERE id = 'a'")
    await silence(store.broker, 0.1)
    assert repair(hand, "a") == ["returned"]
    assert await rings(store.broker)


def test_R15_a_key_of_a_job_that_is_over_is_free(store: Store, tmp_path: Path) -> None:
    hand = store.hand()
    hand.kill("dead")
    hand.put(new("holds", unique=Unique("welcome held")))
    change(tmp_path, "UPDATE job SET unique_key = 'welcome k' WHERE id = 'dead'")
    assert search(hand).keys == ("welcome k",)
    assert repair(hand, keys=("welcome k", "welcome held")) == ["freed", "sound"]
    assert hand.put(new("x", unique=Unique("welcome k")))[0].word == "created"
    assert hand.put(new("y", unique=Unique("welcome held")))[0].word == "taken"
