"""What only the reads of Redis must stand: jobs that move between two replies, crowds of one score, damage, rights.

A queue is written here by hand. Commands go out one by one, as a server may interleave a pipeline with other writers.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import pytest
from tests.conformance.stores import QUEUE, START_MS
from tests.servers import Conversation, Refusal
from tests.servers.conversation import Word

from surefoot.brokers.answers import Page, Record
from surefoot.brokers.broker import Find, Get, Queues, Stats
from surefoot.brokers.redis.find import find
from surefoot.brokers.redis.names import key
from surefoot.brokers.redis.read import get, queues, stats
from surefoot.brokers.redis.steps import Steps
from surefoot.core.errors import StoreUnsuitable, UsageError
from surefoot.core.names import State

T = TypeVar("T")
Command: TypeAlias = tuple[Word, ...]
Pages: TypeAlias = list[list[str]]

MOST_STEPS = 45
"""More than the commands of any of these reads, if nothing moves."""
MINUTE = START_MS // 60_000


def at(name: str) -> str:
    return key(QUEUE, name)


def answer(talk: Conversation, steps: Steps[T], before: Callable[[int], None] = lambda _: None) -> T:
    """Drive a read to its end. `before` is called before each command with its number, and may write."""
    number = 0
    try:
        commands = next(steps)
        while True:
            replies = list[Any]()
            for command in commands:
                before(number)
                number += 1
                try:
                    replies.append(talk.say(*cast(Command, command)))
                except Refusal as refusal:
                    replies.append(refusal)
            commands = steps.send(replies)
    except StopIteration as end:
        return cast(T, end.value)


def at_once(talk: Conversation, commands: Iterable[Command]) -> None:
    for command in (("MULTI",), *commands, ("EXEC",)):
        talk.say(*command)


MEMBER = "task:x\x1f09007199254741056\x1fjob"
ENTER: dict[State, list[Command]] = {
    "pending": [("ZADD", at("pending"), 64, "job")],
    "scheduled": [("ZADD", at("scheduled"), START_MS + 9, "job")],
    "processing": [("ZADD", at("leases"), START_MS + 10, "job"), ("HSET", at("held"), "job", "caller.17 64 5")],
    "parked": [("HSET", at("parked"), "job", f"7 {MEMBER}"), ("ZADD", at("parking"), 0, MEMBER)],
    "dead": [("ZADD", at("dead"), START_MS + 3, "job")],
    "completed": [
        ("ZADD", at("kept"), "+inf", "job"),
        ("HSET", at("results"), "job", 'completed 9 5 1 caller and newer\n"done"'),
    ],
}
LEAVE: dict[State, list[Command]] = {
    "pending": [("ZREM", at("pending"), "job")],
    "scheduled": [("ZREM", at("scheduled"), "job")],
    "processing": [("ZREM", at("leases"), "job"), ("HDEL", at("held"), "job")],
    "parked": [("HDEL", at("parked"), "job"), ("ZREM", at("parking"), MEMBER)],
    "dead": [("ZREM", at("dead"), "job")],
    "completed": [("ZREM", at("kept"), "job"), ("HDEL", at("results"), "job")],
}
BODY: Command = ("HSET", at("jobs"), "job", "5\n{\n}")
ERRORS: Command = ("HSET", at("errors"), "job", '{"kind":"E","reason":"rejected"}\n{"kind":"F"}')


def place(talk: Conversation, state: State) -> None:
    talk.say("FLUSHALL")
    at_once(talk, [BODY, ERRORS, *ENTER[state]])


def job(talk: Conversation, before: Callable[[int], None] = lambda _: None) -> Record | None:
    [record] = answer(talk, get(Get(QUEUE, ("job",)), None), before)
    return record


# A job that moves


@pytest.mark.parametrize("old", ENTER)
@pytest.mark.parametrize("new", ENTER)
def test_a_job_that_moves_between_two_replies_is_seen_whole_in_one_of_its_places(
    old: State, new: State, talk: Conversation
) -> None:
    seen = {}
    for state in (old, new):
        place(talk, state)
        seen[state] = job(talk)
    for moment in range(MOST_STEPS):
        place(talk, old)

        def move(number: int, moment: int = moment) -> None:
            if number == moment and old != new:
                at_once(talk, [*ENTER[new], *LEAVE[old]])

        assert job(talk, move) in seen.values(), f"moved before command {moment}"


@pytest.mark.parametrize("old", ENTER)
def test_a_job_that_is_forgotten_between_two_replies_is_seen_whole_or_not(old: State, talk: Conversation) -> None:
    place(talk, old)
    whole = job(talk)
    for moment in range(MOST_STEPS):
        place(talk, old)

        def forget(number: int, moment: int = moment) -> None:
            if number == moment:
                at_once(talk, [*LEAVE[old], ("HDEL", at("jobs"), "job")])

        assert job(talk, forget) in (None, whole), f"forgotten before command {moment}"


def test_a_page_shows_no_job_that_left_the_state_and_none_twice(talk: Conversation) -> None:
    for moment in range(MOST_STEPS):
        place(talk, "scheduled")

        def move(number: int, moment: int = moment) -> None:
            if number == moment:
                at_once(talk, [*ENTER["pending"], *LEAVE["scheduled"]])

        page = answer(talk, find(Find(QUEUE, "scheduled"), None), move)
        assert [record.state for record in page.records] in (["scheduled"], [])
        place(talk, "scheduled")
        page = answer(talk, find(Find(QUEUE), None), move)
        assert len(page.records) == 1


# Damage


def test_a_job_without_its_body_is_still_shown(talk: Conversation) -> None:
    place(talk, "pending")
    talk.say("HDEL", at("jobs"), "job")
    record = job(talk)
    assert record is not None
    assert (record.state, record.body) == ("pending", b"")


def test_a_lease_without_its_holder_is_still_running(talk: Conversation) -> None:
    place(talk, "processing")
    talk.say("HDEL", at("held"), "job")
    record = job(talk)
    assert record is not None
    assert (record.state, record.started_ms, record.caller) == ("processing", None, None)


def test_words_of_a_newer_release_are_passed_over(talk: Conversation) -> None:
    place(talk, "completed")
    talk.say("HSET", at("counts"), "job", "0 2 1 0 0 77 newer words")
    talk.say("HSET", at("traits"), "job", '{"priority":2,"newer":[1]}')
    record = job(talk)
    assert record is not None
    assert (record.counts.runs, record.counts.failures, record.counts.due_set_ms) == (1, 2, 77)
    assert (record.priority, record.caller, record.result) == (2, "caller", b'"done"')


READS: dict[str, Callable[[], Steps[Any]]] = {
    "get": lambda: get(Get(QUEUE, ("job",)), None),
    "get nothing": lambda: get(Get(QUEUE, ()), None),
    "find": lambda: find(Find(QUEUE), None),
    "find parked": lambda: find(Find(QUEUE, "parked"), None),
    "find by key": lambda: find(Find(QUEUE, key="welcome k"), None),
    "stats": lambda: stats(Stats(QUEUE), None),
}


@pytest.mark.parametrize("read", READS)
def test_a_queue_in_another_layout_is_not_read(read: str, talk: Conversation) -> None:
    talk.say("HSET", at("meta"), "layout", 7)
    talk.say("SET", at("jobs"), "another type")
    with pytest.raises(
        StoreUnsuitable, match=f"queue '{QUEUE}' is written in layout 7 and this release reads layout 1"
    ):
        answer(talk, READS[read]())


def test_a_key_of_another_type_is_named(talk: Conversation) -> None:
    talk.say("SET", at("counts"), "another type")
    with pytest.raises(StoreUnsuitable, match=f"the key {at('counts')} is a string and must be a hash"):
        job(talk)


def test_a_user_who_may_only_read_can_look(talk: Conversation) -> None:
    place(talk, "dead")
    talk.say("HSET", at("meta"), "layout", 1)
    talk.say("ACL", "SETUSER", "look", "reset", "on", "nopass", "~*", "+@read", "+time")
    talk.say("AUTH", "look", "")
    try:
        for read in READS.values():
            answer(talk, read())
        assert answer(talk, queues(Queues("shop:"), None)) == ["mail"]
    finally:
        talk.say("AUTH", "default", "")
        talk.say("ACL", "DELUSER", "look")


# Pages


def fill(talk: Conversation, zset: str, entries: Sequence[tuple[Word, str]]) -> None:
    talk.say("ZADD", at(zset), *[word for entry in entries for word in entry])
    talk.say("HSET", at("jobs"), *[word for _, id in entries for word in (id, "5\n{}")])


def drop(talk: Conversation, zset: str, ids: Sequence[str]) -> None:
    talk.say("ZREM", at(zset), *ids)
    talk.say("HDEL", at("jobs"), *ids)


def pages(talk: Conversation, limit: int, state: State | None, after: Callable[[Page], None] = lambda _: None) -> Pages:
    shown, cursor = Pages(), None
    for _ in range(1_000):
        page = answer(talk, find(Find(QUEUE, state, cursor, limit), None))
        assert len(page.records) <= limit
        shown.append([record.id for record in page.records])
        cursor = page.cursor
        if cursor is None:
            return shown
        after(page)
    raise AssertionError("the pages do not end")


def one_list(shown: Pages) -> list[str]:
    return [id for page in shown for id in page]


@pytest.mark.parametrize("scores", [1, 3, 400])
@pytest.mark.parametrize("limit", [90, 150, 700, 2_000])
def test_pages_are_in_order_however_many_have_one_score(scores: int, limit: int, talk: Conversation, seed: int) -> None:
    chance = random.Random(seed)
    entries = [(START_MS + chance.randrange(scores), f"{n:04} é") for n in range(1_500)]
    fill(talk, "scheduled", entries)
    shown = pages(talk, limit, "scheduled")
    assert one_list(shown) == [id for _, id in sorted(entries, reverse=True)]
    assert {len(page) for page in shown[:-1]} <= {limit}


@pytest.mark.parametrize("scores", [1, 3])
def test_whatever_changes_between_pages_what_stays_is_shown_once(scores: int, talk: Conversation, seed: int) -> None:
    chance = random.Random(seed)
    there = {f"{n:04}": chance.randrange(scores) for n in range(1_500)}
    fill(talk, "dead", [(score, id) for id, score in there.items()])
    gone, come = set[str](), list[str]()

    def change(page: Page) -> None:
        shown = [record.id for record in page.records]
        unseen = chance.sample(sorted(there), 9)
        going = chance.choice([shown, shown[-1:], shown[:3], unseen, []])
        if going:
            drop(talk, "dead", going)
            gone.update(going)
        coming = [f"new {len(come) + n}" for n in range(5)]
        come.extend(coming)
        fill(talk, "dead", [(scores, id) for id in coming])

    shown = one_list(pages(talk, 120, "dead", change))
    assert len(shown) == len(set(shown))
    assert set(there) - gone <= set(shown)


def test_whatever_changes_within_a_page_what_stays_is_shown_once(talk: Conversation, seed: int) -> None:
    chance = random.Random(seed)
    there = {f"{n:04}" for n in range(1_000)}
    fill(talk, "dead", [(1, id) for id in there])
    gone = set[str]()

    def change(_: int) -> None:
        if chance.random() < 0.05:
            id = chance.choice(sorted(there - gone))
            drop(talk, "dead", [id])
            gone.add(id)

    shown, cursor = list[str](), None
    for _ in range(1_000):
        page = answer(talk, find(Find(QUEUE, "dead", cursor, 50), None), change)
        shown += [record.id for record in page.records]
        cursor = page.cursor
        if cursor is None:
            break
    assert cursor is None
    assert len(shown) == len(set(shown))
    assert there - gone <= set(shown)


def test_the_finished_of_one_state_are_found_among_many_of_another(talk: Conversation) -> None:
    entries: list[tuple[Word, str]] = [("+inf" if n > 1_040 else n, f"{n:04}") for n in range(1_050)]
    rare = ["0000", "0600", "1049"]
    fill(talk, "kept", entries)
    word = {id: "expired" if id in rare else "completed" for _, id in entries}
    talk.say("HSET", at("results"), *[text for id in word for text in (id, f"{word[id]} 9 0 0 -\n")])
    assert one_list(pages(talk, 10, "expired")) == ["1049", "0600", "0000"]
    assert one_list(pages(talk, 1, "expired")) == ["1049", "0600", "0000"]
    assert len(one_list(pages(talk, 300, "completed"))) == 1_047


def test_a_page_gives_up_among_too_many_of_another_state_and_goes_on_with_its_cursor(talk: Conversation) -> None:
    for first in range(0, 11_000, 1_000):
        ids = [f"{n:05}" for n in range(first, first + 1_000)]
        fill(talk, "kept", [(1, id) for id in ids])
        talk.say("HSET", at("results"), *[word for id in ids for word in (id, "completed 9 0 0 -\n")])
    talk.say("HSET", at("results"), "00000", "expired 9 0 0 -\n")
    assert pages(talk, 10, "expired") == [[], ["00000"]]


def test_parked_jobs_are_paged_by_reason_and_rank(talk: Conversation) -> None:
    wanted = list[str]()
    for reason in ("needs:2", "task:a", "task:b@3"):
        for rank in (2**53 - 2**52, 2**53, 2**53 + 64):
            id = f"id {len(wanted)}"
            member = f"{reason}\x1f{rank:017}\x1f{id}"
            talk.say("HSET", at("jobs"), id, "5\n{}")
            talk.say("HSET", at("parked"), id, f"7 {member}")
            talk.say("ZADD", at("parking"), 0, member)
            wanted.insert(0, id)
    for limit in (1, 2, 9, 10):
        assert one_list(pages(talk, limit, "parked")) == wanted


@pytest.mark.parametrize("cursor", ["", "x", "[]", '["nowhere","1","a"]', '["dead","x","a"]', '["pending","1","a"]'])
def test_the_cursor_of_another_find_is_refused(cursor: str, talk: Conversation) -> None:
    with pytest.raises(UsageError, match="this is no cursor of such a find; start again without one"):
        answer(talk, find(Find(QUEUE, "dead", cursor), None))


# The queue as a whole


def minutes(talk: Conversation, most: int, now: int) -> list[tuple[int, int]]:
    return [(row.minute, row.enqueued) for row in answer(talk, stats(Stats(QUEUE, most), now)).minutes]


def test_minutes_of_a_former_day_are_not_told(talk: Conversation) -> None:
    for minute, enqueued in ((MINUTE, 1), (MINUTE - 1_439, 2), (MINUTE - 1_441, 3)):
        talk.say("HSET", at("stats"), minute % 1_440, f"{minute} {enqueued} 0 0 0 0 0 0 0 newer")
    assert minutes(talk, 1_440, START_MS) == [(MINUTE - 1_439, 2), (MINUTE, 1)]
    assert minutes(talk, 1_439, START_MS) == [(MINUTE, 1)]
    assert minutes(talk, 60, START_MS - 2_000) == [(MINUTE, 1)], "the clock was set back"


def test_the_oldest_is_sought_among_the_next_ones(talk: Conversation) -> None:
    for n in range(30):
        talk.say("ZADD", at("pending"), n, str(n))
        talk.say("HSET", at("jobs"), str(n), f"{START_MS - n}\n{{}}")
    assert answer(talk, stats(Stats(QUEUE), START_MS)).oldest_ms == 19
    talk.say("HDEL", at("jobs"), "19")
    assert answer(talk, stats(Stats(QUEUE), START_MS)).oldest_ms == 18


def test_queues_takes_a_namespace_literally_and_leaves_foreign_keys_out(talk: Conversation) -> None:
    for queue in ("a*b:one", "aXb:two", "[s]:three", "s:four", "q?:five", "qq:six", "a*b:br}ace"):
        talk.say("HSET", key(queue, "meta"), "layout", 1)
    talk.say("SET", "{a*b:foreign}:metal", 1)
    for n in range(2_500):
        talk.say("SET", f"noise {n}", 1)
    named = {namespace: answer(talk, queues(Queues(namespace), None)) for namespace in ("a*b:", "[s]:", "q?:", "none:")}
    assert named == {"a*b:": ["one"], "[s]:": ["three"], "q?:": ["five"], "none:": []}
