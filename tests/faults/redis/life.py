"""A scripted life of a queue, in which every verb is said, and what is left of it, without times and names. Knows no
fault.
"""

import asyncio
import itertools
import re
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, TypeAlias

from msgspec.structs import replace
from tests.conformance.stores import envelope
from tests.faults.redis.stage import FAR_MS, LEASE_MS, PATIENCE_S, QUEUE, all_of, at, job
from tests.servers import Server as Running

from surefoot.brokers.answers import Claimed, Lease, QueueStats
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
from surefoot.brokers.redis.broker import RedisBroker
from surefoot.client.session import Session, SyncSession
from surefoot.core.job import After, Leased, Unique
from surefoot.core.transition import Bury, Delay, Finish, Park, Return, Transition

Life: TypeAlias = Generator[Sequence[Verb[Any]], list[Any], None]

_TICK_MS: Final = 1_750_000_000_000
_LATER_MS: Final = 3_600_000
_IDS: Final = ("a", "b", "c", "d", "e", "f", "g", "h", "t", "after")


def life(queue: str = QUEUE) -> Life:
    """Yields the verbs of one call, is sent their answers; every call but the last changes the store."""
    held: dict[str, Leased] = {}

    def claim(want: int, *reasons: str) -> Claim:
        return Claim(queue, want, LEASE_MS, FAR_MS, reasons=reasons)

    def settle(*steps: tuple[str, Any, Any], **words: Any) -> Settle:
        return Settle(queue, tuple([Transition(id, held[id].token, to, bump, **words) for id, to, bump in steps]))

    def hold(claimed: Claimed, *ids: str) -> None:
        assert [one.id for one in claimed.jobs] == list(ids), f"claimed {[one.id for one in claimed.jobs]}"
        held.update({one.id: one for one in claimed.jobs})

    key = Unique("welcome a@b.c", "done")
    yield [Put(queue, (job("a"), job("b", unique=key), job("c"), job("d", due=After(_LATER_MS))))]
    yield [Put(queue, (job("e", unique=key), job("f", priority=2), job("g"), job("a")))]
    yield [Tick(queue, "nightly", _TICK_MS, job("t"))]
    hold((yield [claim(3)])[0], "f", "a", "b")
    yield [Extend(queue, (Lease("a", held["a"].token, b'{"done":1}'), Lease("b", held["b"].token)), LEASE_MS)]
    yield [settle(("a", Delay(_LATER_MS, "retry"), "failures"), error=b'{"kind":"OSError","message":"no host"}')]
    # A turn: what finished, the next jobs, and a sign of life in one pipeline.
    turn: list[Verb[Any]] = [
        settle(("b", Finish("completed", b'"done"'), "runs"), effects=(job("after", priority=8),)),
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
    yield [Put(queue, (job("h"), job("b")))]
    yield [Delete(queue, ("g", "h", "after"))]
    yield [Prune(queue, dead_max=0)]
    hold((yield [claim(1)])[0], "c")
    yield [settle(("c", Delay(0, "snooze"), "snoozes"))]
    yield [Get(queue, _IDS), Find(queue), Stats(queue)]


# --- said by one caller ---


def lived(
    port: int, *, known: bool = False, looped: bool = False, before: Callable[[int], object] = int
) -> tuple[list[str], str]:
    """Live it through a port: the answers, and the caller. `known`: as if each script had been said before.

    `looped`: from an event loop, not from a thread. `before` is called before each call, with its place.
    """
    broker = RedisBroker(at(port))
    for script in broker._scripts.values():
        script.known = known
    if looped:
        return asyncio.run(_on_loop(broker, before))
    session = SyncSession(broker, PATIENCE_S)
    answers: list[str] = []
    steps, verbs = begin()
    try:
        for place in itertools.count():
            if not verbs:
                break
            before(place)
            heard = session.ask(verbs)
            answers += _shown(heard, session.caller)
            verbs = follow(steps, heard)
    finally:
        broker.close_sync()
    return answers, session.caller


async def _on_loop(broker: RedisBroker, before: Callable[[int], object]) -> tuple[list[str], str]:
    session = Session(broker, PATIENCE_S)
    answers: list[str] = []
    steps, verbs = begin()
    try:
        for place in itertools.count():
            if not verbs:
                break
            before(place)
            heard = await session.ask(verbs)
            answers += _shown(heard, session.caller)
            verbs = follow(steps, heard)
    finally:
        await broker.close()
        broker.close_sync()
    return answers, session.caller


def begin() -> tuple[Life, Sequence[Verb[Any]]]:
    """A life, and the verbs of its first call."""
    steps = life()
    return steps, next(steps)


def follow(steps: Life, heard: list[Any]) -> Sequence[Verb[Any]]:
    """The verbs of the next call; none at its end."""
    try:
        return steps.send(heard)
    except StopIteration:
        return ()


# --- what is left ---

_TIME: Final = re.compile(r"\b1[5-9]\d{11}\b")
_TAG: Final = re.compile(r"^(\d+ TIME) \S+\n")


def _masked(text: str, caller: str) -> str:
    return _TIME.sub("TIME", text).replace(caller, "CALLER")


def _shown(answers: list[Any], caller: str) -> list[str]:
    """Answers without what may differ: times, how long to wait, whose turn it is to prune."""
    found = []
    for answer in answers:
        match answer:
            case Claimed():
                said: object = replace(answer, wait_ms=1, chores=False)
            case QueueStats():
                said = replace(answer, minutes=(), oldest_ms=None)
            case _:
                said = answer
        found.append(_masked(repr(said), caller))
    return found


def contents(server: Running, caller: str) -> dict[str, Any]:
    """All that is in the store, by key, without times and tags. The minutes are added up."""
    found: dict[str, Any] = {}
    for name, record in all_of(server).items():
        words = {_masked(one, caller): _masked(other, caller) for one, other in record.items()}
        found[name] = {one: _TAG.sub(r"\1 TAG\n", other) for one, other in words.items()}
        if name.endswith(":stats"):
            found[name] = _added_up(found[name])
    return found


def _added_up(rows: dict[str, str]) -> list[int]:
    """The numbers since the beginning, which are those of all minutes."""
    numbers = {slot: [int(word) for word in row.split()[1:]] for slot, row in rows.items()}
    total = numbers.pop("all")
    assert total == [sum(column) for column in zip(*numbers.values(), strict=True)], f"{rows}"
    return total
