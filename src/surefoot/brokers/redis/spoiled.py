"""What somebody else spoiled in a queue's keys: a record that cannot be read stops nobody, a whole key of the wrong
type is named, and its queue stays as it is until somebody has looked. Runs no script.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from surefoot.brokers.redis.names import key
from surefoot.brokers.redis.steps import Steps
from surefoot.core.errors import StoreUnsuitable
from surefoot.core.job import LAST_MS, NO_COUNTS, Counts

T = TypeVar("T")

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "meta": "hash", "jobs": "hash", "traits": "hash", "counts": "hash", "errors": "hash", "notes": "hash",
        "pending": "zset", "scheduled": "zset", "leases": "zset", "held": "hash", "parked": "hash", "parking": "zset",
        "dead": "zset", "kept": "zset", "results": "hash", "unique": "hash", "unique_until": "zset", "cancels": "hash",
        "wake": "list", "workers": "hash", "stats": "hash", "audit": "list",
    }
)  # fmt: skip
"""The type of each key of a queue."""

_DIGITS: Final = 15


class SpoiledKey(StoreUnsuitable):
    """A key of the queue is of another type than the scripts write."""


# --- records ---


def number(raw: bytes | None) -> int | None:
    """A count or a moment as the scripts write it; None for anything else."""
    return int(raw) if raw is not None and len(raw) <= _DIGITS and raw.isdigit() else None


def moment(raw: bytes | None) -> int | None:
    """A moment in ms; None for anything else."""
    ms = number(raw)
    return None if ms is None or ms >= LAST_MS else ms


def body_of(record: bytes, otherwise_ms: int) -> tuple[int, bytes]:
    """When a job was enqueued, and its envelope. Without the line of its time the whole record stands for the envelope,
    as it is: nothing of it is lost, and whoever reads it says what is wrong with it.
    """
    first, newline, envelope = record.partition(b"\n")
    enqueued_ms = moment(first) if newline else None
    return (otherwise_ms, record) if enqueued_ms is None else (enqueued_ms, envelope)


def counts_of(record: bytes | None) -> Counts:
    """The numbers of a job's runs, none if they are spoiled; words behind those that we know are a newer release's."""
    if record is None:
        return NO_COUNTS
    words = record.split(b" ")
    numbers = [known for word in words[:5] if (known := number(word)) is not None]
    if len(numbers) < 5:
        return NO_COUNTS
    runs, failures, crashes, interruptions, snoozes = numbers
    due_set_ms = moment(words[5]) if len(words) > 5 else None
    return Counts(runs, failures, crashes, interruptions, snoozes, due_set_ms)


# --- keys ---


def is_wrong_kind(reply: object) -> bool:
    """Whether an error reply says that a key is of another type."""
    return isinstance(reply, Exception) and "WRONGTYPE" in str(reply)


def wrong_kind(queue: str) -> Steps[SpoiledKey | None]:
    """What is wrong with the types of a queue's keys, in a sentence; None if nothing is."""
    replies = yield [("TYPE", key(queue, name)) for name in KINDS]
    for (name, kind), reply in zip(KINDS.items(), replies, strict=True):
        found = reply.decode() if isinstance(reply, bytes) else str(reply)
        if not isinstance(reply, Exception) and found not in (kind, "none"):
            return SpoiledKey(
                f"the key {key(queue, name)} is a {found} and must be a {kind}: somebody else wrote it. Look at it, "
                f"then take it away (DEL {key(queue, name)}); until then queue '{queue}' stands still."
            )
    return None


def guarded(queue: str, steps: Steps[T]) -> Steps[T]:
    """A verb on a queue that had a key of the wrong type: a script that meets one stops half-way, so look first."""
    wrong = yield from wrong_kind(queue)
    if wrong is not None:
        raise wrong
    return (yield from steps)


def named(queue: str, reply: Exception) -> Steps[Exception]:
    """An error reply as it is to be raised: with the key's name if it is about a key's type."""
    wrong = (yield from wrong_kind(queue)) if is_wrong_kind(reply) else None
    return reply if wrong is None else wrong
