"""What the verbs of a SQLite store do beyond what every store does: order among equals, wake-ups, numbers kept."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.conformance.sqlite_only.sender import Sender
from tests.conformance.stores import LEASE_MS, QUEUE, new

from surefoot.brokers.broker import Call, Claim, Prune, Put, Settle, Stats, Verb
from surefoot.brokers.sqlite import SqliteBroker
from surefoot.core.job import After, NewJob
from surefoot.core.transition import Bury, Delay, Finish, Park, Transition

START_MS = 1_800_000_000_000


class Clerk(Sender):
    """Says its calls at a time that only `later` moves."""

    now = START_MS

    def call(self, *verbs: Verb[Any]) -> Call:
        self.number += 1
        return Call(self.caller, self.number, "tag1", verbs, self.now)

    def take(self, want: int = 100, *reasons: str) -> list[Any]:
        (claimed,) = self.say(Claim(QUEUE, want, LEASE_MS, 0, reasons=reasons))
        return list(claimed.jobs)


def test_what_comes_due_takes_its_place_in_the_order_of_due_times_parked_or_not(
    open_store: Callable[..., SqliteBroker],
) -> None:
    old, new_release = Clerk(open_store(), "old"), Clerk(open_store(understands=2), "new")
    old.put(new("second", due=After(700)), new("first", due=After(1), needs=2))
    old.now = new_release.now = START_MS + 1_000
    (second,) = old.take()
    old.say(Settle(QUEUE, (Transition("second", second.token, Park("needs:2")),)))
    assert [job.id for job in new_release.take(5, "needs:2")] == ["first", "second"]


def test_a_job_that_was_delayed_after_a_run_goes_to_the_tail_when_it_is_parked(
    open_store: Callable[..., SqliteBroker],
) -> None:
    old, new_release = Clerk(open_store(), "old"), Clerk(open_store(understands=2), "new")
    old.put(new("delayed", needs=2))
    (delayed,) = new_release.take()
    new_release.say(Settle(QUEUE, (Transition("delayed", delayed.token, Delay(1_000, "retry"), "failures"),)))
    old.put(new("before", needs=2))
    old.take()
    old.now = new_release.now = START_MS + 1_000
    old.take()
    assert [job.id for job in new_release.take(5, "needs:2")] == ["before", "delayed"]


async def test_a_claim_that_takes_all_that_came_due_wakes_nobody(open_store: Callable[..., SqliteBroker]) -> None:
    clerk = Clerk(open_store())
    clerk.put(new("a", due=After(1_000)))
    assert await clerk.broker.wait([QUEUE], 0)
    clerk.now += 1_000
    assert len(clerk.take()) == 1
    assert not await clerk.broker.wait([QUEUE], 0)


def test_many_jobs_due_at_one_instant_are_promoted_in_bounded_steps(open_store: Callable[..., SqliteBroker]) -> None:
    clerk = Clerk(open_store())
    clerk.put(*[new(f"j{n:03}", due=After(1_000)) for n in range(250)])
    clerk.now += 1_000
    left = []
    for _ in range(3):
        assert len(clerk.take(1)) == 1
        left.append(clerk.say(Stats(QUEUE))[0].scheduled)
    assert left == [150, 50, 0]


def test_the_totals_outlive_the_minutes(open_store: Callable[..., SqliteBroker]) -> None:
    clerk = Clerk(open_store())
    clerk.put(new("a"), new("b"))
    a, b = clerk.take()
    ends = (
        Transition("a", a.token, Finish("completed"), "runs"),
        Transition("b", b.token, Bury("exhausted"), "failures"),
    )
    clerk.say(Settle(QUEUE, ends))
    clerk.now += 2 * 86_400_000
    assert clerk.say(Prune(QUEUE, dead_max=0))[0] == 2
    (stats,) = clerk.say(Stats(QUEUE, 1_440))
    assert stats.minutes == ()
    told = {event: count for event, count in stats.totals.items() if count}
    assert told == {"enqueued": 2, "completed": 1, "failed": 1, "dead": 1, "pruned": 1, "forgotten": 1}


@pytest.mark.parametrize("id", ['quote"', "back\\slash", "ünïcode ☃ 🦶", "a,b", "[]", "line\u2028separator"])
def test_any_text_may_be_an_id(id: str, open_store: Callable[..., SqliteBroker]) -> None:
    clerk = Clerk(open_store())
    assert [answer.word for answer in clerk.put(new(id), new(id))] == ["created", "exists"]
    (leased,) = clerk.take()
    assert leased.id == id
    assert clerk.say(Settle(QUEUE, (Transition(id, leased.token, Finish("completed"), "runs", keep_ms=0),))) == [
        ["applied"]
    ]
    assert clerk.known(id) == [False]


def test_what_no_database_can_hold_is_refused_for_its_verb_alone(open_store: Callable[..., SqliteBroker]) -> None:
    clerk = Clerk(open_store())
    refused, claimed = clerk.say(Put(QUEUE, (NewJob("\ud800", b"{}"),)), Claim(QUEUE, 1, LEASE_MS, 0))
    assert "nothing was stored" in str(refused)
    assert claimed.jobs == []
