"""The check that follows every case on Redis finds each kind of leak. A whole queue is written here by hand."""

import re
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.conformance.leaks import leaks
from tests.conformance.stores import QUEUE, REDIS, Store, new
from tests.servers import Conversation
from tests.servers.conversation import Word

Command: TypeAlias = tuple[Word, ...]

FOREVER = "+inf"
MEMBER = "task:welcome\x1f09007199254741056\x1fparks"


def key(name: str) -> str:
    return f"{{{QUEUE}}}:{name}"


WHOLE: list[Command] = [
    ("HSET", key("meta"), "layout", 1, "epoch", "c1", "paused", "5 night", "watch", "c1 9", "max_length", 9),
    ("HSET", key("meta"), "pruned", 5, "prune_at", 0, "tail:5", 192, "total:pruned", 1, "tick:nightly", 5),
    ("HSET", key("meta"), "cron_paused:nightly", "5 ", "call:put:c1", "1 5 t001\ncreated"),
    *(("HSET", key("jobs"), id, "5\n{}") for id in ("waits", "later", "runs", "parks", "died", "over")),
    ("ZADD", key("pending"), 64, "waits"),
    ("ZADD", key("scheduled"), 9, "later"),
    ("ZADD", key("leases"), 9, "runs"),
    ("HSET", key("held"), "runs", "c1.2 128 5"),
    ("HSET", key("cancels"), "runs", ""),
    ("HSET", key("notes"), "runs", "half"),
    ("HSET", key("parked"), "parks", f"5 {MEMBER}"),
    ("ZADD", key("parking"), 0, MEMBER),
    ("ZADD", key("dead"), 5, "died"),
    ("HSET", key("errors"), "died", '{"reason":"rejected"}'),
    ("HSET", key("counts"), "died", "1 1 0 0 0", "runs", "1 0 0 0 1 5 and what is newer"),
    ("ZADD", key("kept"), FOREVER, "over"),
    ("HSET", key("results"), "over", "completed 5 4 1 c1\n"),
    ("HSET", key("traits"), "waits", '{"unique":"welcome k","priority":5}'),
    ("HSET", key("unique"), "welcome k", "waits", "welcome period", "gone"),
    ("ZADD", key("unique_until"), 9, "welcome period"),
    ("LPUSH", key("wake"), 1),
    ("HSET", key("workers"), "c1", "5 {}"),
    ("HSET", key("stats"), 0, "1440 1 0 0 0 0 0 0 0", "all", "- 1 0 0 0 0 0 0 0"),
]

PLANTED: list[tuple[str, Command]] = [
    ("shop:mail:jobs: not a key of the layout", ("SET", "shop:mail:jobs", "")),
    (r"\{shop:mail\}:links: not a key of the layout", ("SADD", key("links"), "waits")),
    (r"\{shop\}:jobs: not a key of the layout", ("HSET", "{shop}:jobs", "a", "5\n")),
    ("jobs: has a time to live of [0-9]+ ms", ("PEXPIRE", key("jobs"), 1_000_000)),
    ("wake: holds 2 tokens", ("LPUSH", key("wake"), 1)),
    ("meta: listen is no word of it", ("HSET", key("meta"), "listen", 1)),
    ("meta: has the layout b'2'", ("HSET", key("meta"), "layout", 2)),
    ("meta: has the layout b'1' and the epoch None", ("HDEL", key("meta"), "epoch")),
    ("jobs: stray is in no place", ("HSET", key("jobs"), "stray", "5\n{}")),
    ("jobs: waits is in no place", ("ZREM", key("pending"), "waits")),
    ("pending: runs is in pending and leases", ("ZADD", key("pending"), 64, "runs")),
    ("scheduled: over is in scheduled and kept", ("ZADD", key("scheduled"), 64, "over")),
    ("parked: died is in parked and dead", ("HSET", key("parked"), "died", f"5 {MEMBER}")),
    *(
        (f"{place}: {id} has no body in jobs", ("HDEL", key("jobs"), id))
        for place, id in {
            "pending": "waits",
            "scheduled": "later",
            "leases": "runs",
            "parked": "parks",
            "dead": "died",
            "kept": "over",
        }.items()
    ),
    ("traits: gone has no body in jobs", ("HSET", key("traits"), "gone", "{}")),
    ("counts: gone has no body in jobs", ("HSET", key("counts"), "gone", "0 0 0 0 0")),
    ("errors: gone has no body in jobs", ("HSET", key("errors"), "gone", "{}")),
    ("notes: gone has no body in jobs", ("HSET", key("notes"), "gone", "half")),
    ("results: gone has no body in jobs", ("HSET", key("results"), "gone", "expired 5 0 0 -\n")),
    ("held: gone has no body in jobs", ("HSET", key("held"), "gone", "c1.2 64 5")),
    ("cancels: gone has no body in jobs", ("HSET", key("cancels"), "gone", "")),
    ("held: waits is not in leases", ("HSET", key("held"), "waits", "c1.2 64 5")),
    ("leases: runs is not in held", ("HDEL", key("held"), "runs")),
    ("cancels: waits is not in leases", ("HSET", key("cancels"), "waits", "")),
    ("results: died is not in kept", ("HSET", key("results"), "died", "expired 5 0 0 -\n")),
    ("kept: over has no line in results", ("HDEL", key("results"), "over")),
    ("notes: over is in kept", ("HSET", key("notes"), "over", "half")),
    ("parked: parks is not in parking", ("ZREM", key("parking"), MEMBER)),
    ("parking: parks is not so in parked", ("ZADD", key("parking"), 0, MEMBER.replace("welcome", "other"))),
    ("parking: waits is not so in parked", ("ZADD", key("parking"), 0, MEMBER.replace("parks", "waits"))),
    ("parking: 'parks' is not reason, rank and id", ("ZADD", key("parking"), 0, "parks")),
    ("parking: parks has the score 1.0", ("ZADD", key("parking"), 1, MEMBER)),
    ("parking: parks has the rank 09007199254741057", ("ZADD", key("parking"), 0, MEMBER.replace("1056", "1057"))),
    ("pending: waits has the rank 65.0", ("ZADD", key("pending"), 65, "waits")),
    ("unique: 'welcome l' belongs to gone, which is in no place", ("HSET", key("unique"), "welcome l", "gone")),
    ("unique: 'welcome k' belongs to died, which is in .'dead'.", ("HSET", key("unique"), "welcome k", "died")),
    ("unique: 'welcome k' belongs to later, which did not ask", ("HSET", key("unique"), "welcome k", "later")),
    ("unique: 'welcome period' belongs to gone", ("ZREM", key("unique_until"), "welcome period")),
    ("unique_until: 'welcome period' is not in unique", ("HDEL", key("unique"), "welcome period")),
    ("traits: waits has {'group'}", ("HSET", key("traits"), "waits", '{"unique":"welcome k","group":"g"}')),
    ("errors: died has more than 10 lines", ("HSET", key("errors"), "died", "{}\n" * 10 + "{}")),
    ("stats: 1440 is no minute of a day and no hour of a month", ("HSET", key("stats"), 1440, "1440 1 0 0 0 0 0 0 0")),
    *(
        (f"{name}: {id} has b'{record}'", ("HSET", key(name), id, record))
        for name, id, record in (
            ("jobs", "waits", "{}"),
            ("counts", "died", "1 1 0 0"),
            ("held", "runs", "c1 128 5"),
            ("parked", "parks", "5 task:welcome"),
            ("results", "over", "dead 5 4 1 c1"),
            ("workers", "c1", "{}"),
            ("stats", "0", "1440 1 0"),
        )
    ),
]


@pytest.fixture
def whole(talk: Conversation) -> Conversation:
    """A store with something in each place, and nothing wrong."""
    for command in WHOLE:
        talk.say(*command)
    return talk


def test_a_whole_queue_has_no_leak(whole: Conversation) -> None:
    assert leaks(whole) == []


@pytest.mark.parametrize(("sentence", "command"), PLANTED, ids=[sentence for sentence, _ in PLANTED])
def test_a_planted_leak_is_found(sentence: str, command: Command, whole: Conversation) -> None:
    whole.say(*command)
    found = leaks(whole)
    assert any(re.search(sentence, said) for said in found), found


def test_a_key_of_another_type_is_found(whole: Conversation) -> None:
    whole.say("DEL", key("wake"))
    whole.say("SET", key("wake"), 1)
    assert leaks(whole) == [f"{key('wake')}: is a string"]


def test_a_body_that_a_test_took_away_is_no_leak(whole: Conversation) -> None:
    whole.say("HDEL", key("jobs"), "runs")
    assert leaks(whole, lost=("runs",)) == []
    whole.say("ZREM", key("leases"), "runs")
    assert f"{key('held')}: runs is not in leases" in leaks(whole, lost=("runs",))


def test_each_queue_is_looked_at(whole: Conversation) -> None:
    whole.say("HSET", "{other:x}:jobs", "a", "5\n")
    assert [said for said in leaks(whole) if said.startswith("{other:x}:jobs")] == ["{other:x}:jobs: a is in no place"]


def test_a_leak_fails_the_case_that_left_it(tmp_path: Path) -> None:
    store = Store(REDIS, tmp_path)
    store.hand().put(new("a"))
    store.close()
    store.server.say("HSET", key("notes"), "b", "half")
    with pytest.raises(AssertionError, match="notes: b has no body in jobs"):
        store.close()
