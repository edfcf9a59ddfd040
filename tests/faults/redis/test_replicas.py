"""Enqueues that replicas must confirm (R4): what was confirmed survives the primary, a shortfall is told with ids."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.faults.processes import eventually
from tests.faults.redis.conftest import check
from tests.faults.redis.stage import QUEUE, Talker, broker_at, job, meanwhile
from tests.servers import HOST, Server, start

from surefoot import Draft, DuplicateJob, Key, NotReplicated, Queue, QueueFull
from surefoot.brokers.answers import PutAnswer
from surefoot.brokers.broker import PUT_LIMIT, Call, Configure, Put
from surefoot.client.session import SyncSession
from surefoot.core.errors import StoreUnsuitable
from surefoot.core.names import State

LONG = "?timeout=60"
SHORT = "?timeout=0.6"
"""For enqueues that are to be confirmed, on however slow a machine; and for those that are not."""


@pytest.fixture
def replica(server: Server, tmp_path: Path) -> Iterator[Server]:
    """A replica of the server that is up to date."""
    with start(tmp_path / "replica") as replica:
        replica.follow(server)
        yield replica


class Shop:
    """Queues of one name at a server's URL, closed at the end."""

    def __init__(self) -> None:
        self._queues: list[Queue] = []

    def __call__(self, server: Server, query: str = LONG, **options: Any) -> Queue:
        # A process has one set of options a store; with a login, which a server without users takes, it is another.
        login = "default:any@" if query == SHORT else ""
        url = f"redis://{login}{HOST}:{server.port}/0{query}"
        self._queues.append(Queue(url, name="jobs", **options))
        return self._queues[-1]

    def close(self) -> None:
        for queue in self._queues:
            queue.close_sync()


@pytest.fixture
def shop() -> Iterator[Shop]:
    one = Shop()
    yield one
    one.close()


def drafts(queue: Queue, count: int = 1, **options: Any) -> list[Draft[Any]]:
    return [queue.by_name("work").options(**options).draft(number=number) for number in range(count)]


def stored(queue: Queue, ones: Sequence[Draft[Any]]) -> list[State]:
    """The states of those that the queue's store has."""
    found = [queue.get_sync(one.id) for one in ones]
    return [job.state for job in found if job is not None]


def shortfall(ask: Callable[[], object]) -> NotReplicated:
    with pytest.raises(NotReplicated) as told:
        ask()
    return told.value


# --- what is confirmed is there ---


async def enqueue_until_it_breaks(queue: Queue, confirmed: list[str], enough: threading.Event) -> None:
    """One enqueue after the other; each that was confirmed is noted."""
    while True:
        [draft] = drafts(queue)
        try:
            await queue.enqueue(draft)
        except ConnectionError:
            return
        confirmed.append(draft.id)
        if len(confirmed) > 500:
            enough.set()


def test_R4_what_was_confirmed_is_in_the_replica_when_the_primary_dies(
    server: Server, replica: Server, shop: Shop
) -> None:
    queue = shop(server, "?timeout=3", durable=1)
    confirmed: list[str] = []
    enough = threading.Event()

    async def crowd() -> None:
        await asyncio.gather(*[enqueue_until_it_breaks(queue, confirmed, enough) for _ in range(20)])
        await queue.close()

    thread = threading.Thread(target=asyncio.run, args=(crowd(),))
    thread.start()
    assert enough.wait(60)
    server.kill()
    thread.join()
    replica.lead()
    promoted = shop(replica)
    assert [id for id in confirmed if promoted.get_sync(id) is None] == []
    check(replica)
    server.again()


def test_R4_without_durable_a_failover_loses_what_the_replica_had_not(
    server: Server, replica: Server, shop: Shop
) -> None:
    queue = shop(server)
    before = drafts(queue, 100)
    queue.enqueue_many_sync(before)
    eventually("it has them", lambda: replica.say("HLEN", "{surefoot:jobs}:jobs") == 100)
    replica.lose_primary()
    after = drafts(queue, 100)
    queue.enqueue_many_sync(after)
    server.kill()
    replica.lead()
    promoted = shop(replica)
    assert (len(stored(promoted, before)), len(stored(promoted, after))) == (100, 0)
    server.again()


# --- a shortfall ---


def test_R4_a_frozen_replica_is_told_and_the_same_draft_is_safe(server: Server, replica: Server, shop: Shop) -> None:
    queue = shop(server, SHORT, durable=1)
    [draft] = drafts(queue)
    replica.freeze()
    for _ in range(2):  # the second time it is there already, and that is no reason to believe the replica
        told = shortfall(lambda: queue.enqueue_sync(draft))
        assert (told.job_ids, told.confirmed, told.wanted, told.accepted) == ((draft.id,), 0, 1, ())
        assert str(told) == (
            "queue 'jobs': 0 of 1 replicas confirmed within 0.6 s; the job is in the primary. Enqueue the same draft "
            "again, or lower durable=."
        )
    assert stored(shop(server, SHORT), [draft]) == ["pending"]
    replica.thaw()
    patient = shop(server, SHORT, durable=1)
    eventually("it is confirmed", lambda: confirmed_as_duplicate(patient, draft))
    replica.lead()
    assert stored(shop(replica), [draft]) == ["pending"]


def confirmed_as_duplicate(queue: Queue, draft: Draft[Any]) -> bool:
    """On a slow machine a replica may need more than one enqueue's time to wake up."""
    try:
        return queue.enqueue_sync(draft).duplicate
    except NotReplicated:
        return False


async def test_R4_the_same_from_a_loop(server: Server, replica: Server, shop: Shop) -> None:
    queue = shop(server, SHORT, durable=1)
    ones = drafts(queue, 3)
    replica.freeze()
    answers = await asyncio.gather(*[queue.enqueue(one) for one in ones], return_exceptions=True)
    assert [(type(one), getattr(one, "job_ids", None)) for one in answers] == [
        (NotReplicated, (one.id,)) for one in ones
    ]
    replica.thaw()
    queue = shop(server, SHORT, durable=1)
    await asyncio.to_thread(eventually, "confirmed", lambda: all(confirmed_as_duplicate(queue, one) for one in ones))
    await queue.close()


def test_R4_as_many_as_are_asked_for(server: Server, replica: Server, shop: Shop, tmp_path: Path) -> None:
    with start(tmp_path / "second") as second:
        second.follow(server)
        shop(server, durable=2).enqueue_sync(drafts(shop(server))[0])
        second.lose_primary()
        queue = shop(server, SHORT, durable=2)
        [draft] = drafts(queue)
        told = shortfall(lambda: queue.enqueue_sync(draft))
        assert (told.confirmed, told.wanted) == (1, 2)
        assert shop(server, SHORT, durable=1).enqueue_sync(draft).duplicate


def test_R4_after_a_shortfall_the_same_draft_is_stored_once_by_the_promoted_replica(
    server: Server, replica: Server, shop: Shop
) -> None:
    queue = shop(server, SHORT, durable=1)
    kept, lost = drafts(queue, 2)
    queue.enqueue_sync(kept)
    replica.lose_primary()
    shortfall(lambda: queue.enqueue_sync(lost))
    server.kill()
    replica.lead()
    promoted = shop(replica)
    assert stored(promoted, [kept, lost]) == ["pending"]
    assert [handle.duplicate for handle in promoted.enqueue_many_sync([kept, lost])] == [True, False]
    assert promoted.stats_sync().pending == 2
    server.again()


# --- traps of WAIT: it asks for the last write of its connection ---


def test_R4_a_repeat_on_another_connection_is_not_confirmed_unseen(server: Server, replica: Server) -> None:
    replica.freeze()
    call = Call("caller", 1, "abcd", (Put(QUEUE, (job("a"),), replicas=1, within_ms=200),))
    short = [[PutAnswer("created", confirmed=0)]]
    with broker_at(server.port) as first, broker_at(server.port) as second:
        assert first.run_sync(call) == short
        assert second.run_sync(call) == short  # answered from memory
        assert asyncio.run(run_and_close(second, call)) == short
    replica.thaw()


async def run_and_close(broker: Any, call: Call) -> list[Any]:
    answers: list[Any] = await broker.run(call)
    await broker.close()
    return answers


def test_R4_a_repeat_is_answered_by_a_full_server_too(server: Server, replica: Server) -> None:
    call = Call("caller", 1, "abcd", (Put(QUEUE, (job("a"),), replicas=1, within_ms=60_000),))
    with broker_at(server.port) as broker:
        assert broker.run_sync(call) == [[PutAnswer("created")]]
        server.say("CONFIG", "SET", "maxmemory", 1)
        assert broker.run_sync(call) == [[PutAnswer("created")]]


def test_R4_a_key_that_is_taken_is_confirmed_too(server: Server, replica: Server, shop: Shop) -> None:
    """The enqueue is answered with the job that holds the key: it may not have reached the replica."""
    holder, late = drafts(shop(server), 2, key="k")
    replica.lose_primary()
    shop(server).enqueue_sync(holder)
    told = shortfall(lambda: shop(server, SHORT, durable=1).enqueue_sync(late))
    assert told.job_ids == (holder.id,)
    replica.follow(server)
    assert shop(server, durable=1).enqueue_sync(late).id == holder.id
    raising = drafts(shop(server), key=Key("k", duplicate="raise"))[0]
    with pytest.raises(DuplicateJob):
        shop(server, durable=1).enqueue_sync(raising)


# --- lists, and callers side by side ---


def test_R4_a_list_names_what_was_confirmed_and_what_was_not(
    server: Server, replica: Server, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = shop(server, SHORT, durable=1)
    ones = drafts(queue, 2 * PUT_LIMIT + 1)
    say = SyncSession.ask
    puts = 0

    def ask(*args: Any, **words: Any) -> list[Any]:
        nonlocal puts
        puts += 1
        if puts == 2:
            replica.lose_primary()
        return say(*args, **words)

    monkeypatch.setattr(SyncSession, "ask", ask)
    told = shortfall(lambda: queue.enqueue_many_sync(ones))
    ids = [one.id for one in ones]
    assert list(told.accepted) == ids[:PUT_LIMIT]
    assert list(told.job_ids) == ids[PUT_LIMIT : 2 * PUT_LIMIT]
    replica.follow(server)
    again = shop(server, durable=1).enqueue_many_sync(ones)
    assert [handle.duplicate for handle in again] == [True] * 2 * PUT_LIMIT + [False]


def test_R4_a_full_queue_says_that_it_is_full(server: Server, replica: Server, shop: Shop) -> None:
    with broker_at(server.port) as broker:
        Talker(broker).say(Configure("surefoot:jobs", max_length=1))
    queue = shop(server, SHORT, durable=1)
    first, second, third = drafts(queue, 3)
    queue.enqueue_sync(first)
    replica.freeze()
    with pytest.raises(QueueFull):
        queue.enqueue_sync(second)
    assert shortfall(lambda: queue.enqueue_many_sync([first, third])).job_ids == (first.id,)
    replica.thaw()


async def test_R4_nobody_else_stands_behind_an_enqueue_that_waits(server: Server, replica: Server, shop: Shop) -> None:
    replica.freeze()
    queue = shop(server, durable=1)
    plain = shop(server)
    confirming = asyncio.ensure_future(queue.enqueue(drafts(queue)[0]))
    await asyncio.to_thread(eventually, "it waits", lambda: server.info()["blocked_clients"] == "1")
    await plain.enqueue_many(drafts(plain, 3))
    assert await plain.handle("nobody").status() is None
    assert not confirming.done()
    replica.thaw()
    assert not (await confirming).duplicate
    await queue.close()
    await plain.close()


def test_R4_two_threads_do_not_wait_for_each_other(server: Server, replica: Server, shop: Shop) -> None:
    replica.freeze()
    queue, plain = shop(server, durable=1), shop(server)
    thread, answers = meanwhile(lambda: queue.enqueue_sync(drafts(queue)[0]))
    eventually("it waits", lambda: server.info()["blocked_clients"] == "1")
    plain.enqueue_sync(drafts(plain)[0])
    assert answers == []
    replica.thaw()
    thread.join()
    assert len(answers) == 1


def test_R20_a_user_who_may_not_wait_is_told(server: Server, replica: Server) -> None:
    server.say("ACL", "SETUSER", "producer", "on", ">secret", "~*", "&*", "+@all", "-wait")
    queue = Queue(f"redis://producer:secret@{HOST}:{server.port}/0", name="jobs", durable=1)
    [draft] = drafts(queue)
    with pytest.raises(StoreUnsuitable, match="does not let this user do what surefoot needs"):
        queue.enqueue_sync(draft)
    server.say("ACL", "SETUSER", "producer", "+wait")
    assert queue.enqueue_sync(draft).duplicate
    queue.close_sync()
