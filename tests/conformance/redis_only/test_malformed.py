"""What a foreign producer may get wrong: refused before anything is written, since a claim would meet it later."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.stores import QUEUE, REDIS, Store, ids, new
from tests.servers import Refusal

from surefoot.brokers.redis.names import key
from surefoot.brokers.redis.scripts import Script

PUT = Script("put")
JOB = ("a", b"{}", "", "5", "", "", "", "")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(REDIS, tmp_path)
    yield store
    store.close()


def put(store: Store, job: tuple[str | bytes, ...], call: tuple[str, str, str] = ("somebody", "1", "tag1")) -> bytes:
    keys = [key(QUEUE, name) for name in PUT.keys]
    said: bytes = store.server.say(
        "EVAL", PUT.text, len(keys), *keys, store.now, *call, -1, -1, 2, *JOB[:0], "b", *JOB[1:], *job
    )
    return said


def test_what_can_be_read_is_stored(store: Store) -> None:
    assert put(store, JOB) == b"created\ncreated"


@pytest.mark.parametrize(
    ("place", "word", "fault"),
    [
        (3, "high", "priority"),
        (3, "10", "priority"),
        (3, "", "priority"),
        (2, "tomorrow", "due"),
        (2, "+1h", "due"),
        (7, '{"priority":', "traits"),
        (7, "5", "traits"),
        (7, '{"priority":"high"}', "traits"),
        (7, '{"priority":null}', "traits"),
        (7, '{"needs":"2"}', "traits"),
        (7, '{"unique":7}', "traits"),
    ],
)
def test_a_word_that_no_claim_could_read_is_refused(store: Store, place: int, word: str, fault: str) -> None:
    job = (*JOB[:place], word, *JOB[place + 1 :])
    with pytest.raises(Refusal, match=f"MALFORMED {fault} of job a"):
        put(store, job)
    assert store.server.say("KEYS", "*") == [], "also the job beside it is not stored"


def test_a_key_says_how_long_it_is_held(store: Store) -> None:
    job = ("a", b"{}", "", "5", "welcome k", "forever", "", '{"unique":"welcome k"}')
    with pytest.raises(Refusal, match="MALFORMED until of job a"):
        put(store, job)


@pytest.mark.parametrize("call", [("somebody", "one", "tag1"), ("somebody", "1", "a tag"), ("some body", "1", "tag1")])
def test_a_call_that_could_not_be_remembered_is_refused(store: Store, call: tuple[str, str, str]) -> None:
    with pytest.raises(Refusal, match="MALFORMED call"):
        put(store, JOB, call)
    assert store.server.say("KEYS", "*") == []


def test_the_queue_goes_on_after_a_refusal(store: Store) -> None:
    with pytest.raises(Refusal, match="MALFORMED"):
        put(store, (*JOB[:7], "{"))
    hand = store.hand()
    hand.put(new("c"))
    assert ids(hand.claim()) == ["c"]
