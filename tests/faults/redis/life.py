"""The scripted life said to a server, by one caller through a port, and what is left of it, without times and names.

Knows no fault.
"""

import asyncio
import itertools
import re
from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace
from tests.faults.life import QUEUE, begin, follow
from tests.faults.redis.stage import PATIENCE_S, all_of, at
from tests.servers import Server as Running

from surefoot.brokers.answers import Claimed, QueueStats
from surefoot.brokers.redis.broker import RedisBroker
from surefoot.client.session import Session, SyncSession

# --- said by one caller ---


def lived(
    port: int, *, known: bool = False, looped: bool = False, before: Callable[[int], object] = int
) -> tuple[list[str], str]:
    """Live it through a port: the answers, and the caller. `known`: as if each script had been said before.

    `looped`: from an event loop, not from a thread. `before` is called before each call, with its place.
    """
    broker = RedisBroker(at(port))
    for script in broker._scripts.values():
        script.known.update([QUEUE] if known else ())
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
    """The numbers since the beginning, which are those of all minutes, and those of all hours."""
    numbers = {slot: [int(word) for word in row.split()[1:]] for slot, row in rows.items() if "t" not in slot}
    total = numbers.pop("all")
    hours = [row for slot, row in numbers.items() if slot.startswith("h")]
    minutes = [row for slot, row in numbers.items() if not slot.startswith("h")]
    for part in (minutes, hours):
        assert total == [sum(column) for column in zip(*part, strict=True)], f"{rows}"
    return total
