"""A scripted life of a queue, in which every verb is said, for any store. Knows no fault."""

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from tests.conformance.stores import envelope

from surefoot.brokers.answers import Claimed, Lease
from surefoot.brokers.broker import (
    Amend,
    Beat,
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
    Tick,
    Verb,
)
from surefoot.core.job import After, Due, Leased, NewJob, Unique
from surefoot.core.transition import Bury, Delay, Finish, Park, Return, Transition

Life: TypeAlias = Generator[Sequence[Verb[Any]], list[Any], None]

QUEUE: Final = "shop:mail"
LEASE_MS: Final = 60_000
FAR_MS: Final = 1 << 50
"""A trust in the clock that no lease lies beyond."""
_TICK_MS: Final = 1_750_000_000_000
_LATER_MS: Final = 3_600_000
_IDS: Final = ("a", "b", "c", "d", "e", "f", "g", "h", "t", "after")


def job(id: str, *, due: Due = None, letters: int = 0, **words: Any) -> NewJob:
    """A job of the task `welcome`, larger by so many letters."""
    body = envelope(id, b'{"address":"%s@b.c"}' % (b"a" * letters)) if letters else envelope(id)
    return NewJob(id, body, due, **words)


def life(letters: int = 0, queue: str = QUEUE) -> Life:
    """Yields the verbs of one call, is sent their answers; every call but the last changes the store."""
    held: dict[str, Leased] = {}
    new = partial(job, letters=letters)

    def claim(want: int, *reasons: str) -> Claim:
        return Claim(queue, want, LEASE_MS, FAR_MS, reasons=reasons)

    def settle(*steps: tuple[str, Any, Any], **words: Any) -> Settle:
        return Settle(queue, tuple([Transition(id, held[id].token, to, bump, **words) for id, to, bump in steps]))

    def hold(claimed: Claimed, *ids: str) -> None:
        assert [one.id for one in claimed.jobs] == list(ids), f"claimed {[one.id for one in claimed.jobs]}"
        held.update({one.id: one for one in claimed.jobs})

    key = Unique("welcome a@b.c", "done")
    yield [Put(queue, (new("a"), new("b", unique=key), new("c"), new("d", due=After(_LATER_MS))))]
    yield [Put(queue, (new("e", unique=key), new("f", priority=2), new("g"), new("a")))]
    yield [Tick(queue, "nightly", _TICK_MS, new("t"))]
    hold((yield [claim(3)])[0], "f", "a", "b")
    yield [Extend(queue, (Lease("a", held["a"].token, b'{"done":1}'), Lease("b", held["b"].token)), LEASE_MS)]
    yield [settle(("a", Delay(_LATER_MS, "retry"), "failures"), error=b'{"kind":"OSError","message":"no host"}')]
    # A turn: what finished, the next jobs, and a sign of life in one pipeline.
    turn: list[Verb[Any]] = [
        settle(("b", Finish("completed", b'"done"'), "runs"), effects=(new("after", priority=8),)),
        claim(2),
        Beat(queue, "worker", b'{"name":"w"}'),
    ]
    hold((yield turn)[1], "c", "g")
    yield [settle(("c", Bury("exhausted"), "failures"), error=b'{"kind":"OSError","reason":"exhausted"}')]
    yield [settle(("f", Return(), None), ("g", Park("task:g"), None))]
    yield [Move(queue, ("a", "d"), None)]
    yield [Amend(queue, "c", envelope("c", b'{"address":"c@b.c"}'))]
    yield [Requeue(queue, ("c", "b"))]
    hold((yield [claim(4, "task:g")])[0], "g", "f", "t", "a")
    yield [Cancel(queue, ("d", "t"), "not wanted"), Configure(queue, paused="night", max_length=9)]
    yield [Extend(queue, tuple([Lease(id, held[id].token) for id in ("t", "a")]), LEASE_MS)]
    yield [
        settle(("t", Finish("cancelled", b"not wanted"), "runs"), ("a", Finish("completed", b"1"), "runs"), keep_ms=0)
    ]
    yield [settle(("f", Finish("expired"), None), ("g", Bury("rejected"), "failures"))]
    yield [Configure(queue, paused=None)]
    yield [Put(queue, (new("h"), new("b")))]
    yield [Delete(queue, ("g", "h", "after"))]
    yield [Prune(queue, dead_max=0)]
    hold((yield [claim(1)])[0], "c")
    yield [settle(("c", Delay(0, "snooze"), "snoozes"))]
    yield [Get(queue, _IDS), Find(queue), Stats(queue)]


def begin(letters: int = 0) -> tuple[Life, Sequence[Verb[Any]]]:
    """A life, and the verbs of its first call. Its jobs are larger by so many letters."""
    steps = life(letters)
    return steps, next(steps)


def follow(steps: Life, heard: list[Any]) -> Sequence[Verb[Any]]:
    """The verbs of the next call; none at its end."""
    try:
        return steps.send(heard)
    except StopIteration:
        return ()
