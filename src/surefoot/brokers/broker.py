"""The border to a store: the verbs as inert records, their answers, and the Broker protocol that runs them.

One place retries, numbers, traces and injects faults, because a verb does nothing by itself. Durations and moments are
milliseconds; `queue` is always `namespace:queue`.
"""

from collections.abc import Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from surefoot.brokers.answers import (
    CancelWord,
    Change,
    Claimed,
    Config,
    Cursor,
    Damage,
    Hold,
    Lease,
    Page,
    PutAnswer,
    QueueStats,
    Record,
    RepairWord,
    Requeued,
    TickWord,
    Verdict,
)
from surefoot.core.errors import StoreError
from surefoot.core.job import Due, NewJob
from surefoot.core.names import State
from surefoot.core.transition import KEEP_MS, Transition

T = TypeVar("T")

PUT_LIMIT = 500
"""The most jobs in one Put."""
VERB_LIMIT = 1_000
"""The most ids or transitions in any other verb."""
BYTES_LIMIT = 4 << 20
"""The most bytes of envelopes, results and errors in one verb; a single larger item travels alone."""

FLOOR_MS = 12_000


class Verb(msgspec.Struct, Generic[T], frozen=True):
    """One thing a broker does to one queue. `T` is the type of its answer."""

    queue: str


# Numbered verbs: a repeat is answered from memory.


class Put(Verb[list[PutAnswer]], frozen=True):
    """Store jobs; each stands alone. Atomic. Repeat: the stored answer. Full store: StoreError, nothing stored.

    So many `replicas` are waited for, `within_ms` at most and a repeat anew; SQLite has none, and waits for nothing.
    """

    jobs: tuple[NewJob, ...]
    max_length: int | None = None
    keep_ms: int | None = KEEP_MS
    replicas: int = 0
    within_ms: int = 0


class Claim(Verb[Claimed], frozen=True):
    """Recover, promote, then lease up to `want` jobs. Atomic. Repeat: the same jobs, as far as still held.

    `trust_ms`: the latest store time that the worker believes. A claim that comes later may have waited out an outage,
    in which nobody could renew: it recovers nothing. `reasons`: parked reasons that it can serve.
    `want` 0 frees the caller's watch and passes a wake-up on.
    """

    want: int
    lease_ms: int
    trust_ms: int
    floor_ms: int = FLOOR_MS
    reasons: tuple[str, ...] = ()


class Settle(Verb[list[Verdict]], frozen=True):
    """Apply transitions, each fenced by its token. Atomic. Repeat: the same verdicts. Unknown id: fenced.

    `times`: how long these runs waited and lasted (`core/sketch.py`), whatever the verdicts.
    """

    transitions: tuple[Transition, ...]
    times: bytes = b""


class Cancel(Verb[list[CancelWord]], frozen=True):
    """End waiting jobs as cancelled, ask running ones. Atomic. Repeat: the stored answer. Dead, kept, unknown:
    finished.
    """

    ids: tuple[str, ...]
    reason: str = ""
    keep_ms: int | None = KEEP_MS
    who: str = ""


class Requeue(Verb[list[Requeued]], frozen=True):
    """Dead jobs back to pending: failures and crashes start at 0, runs go on. Atomic. Repeat: the stored answer.

    With `every_us` they come back one after the other, so many microseconds apart, the first after `first_ms`: they are
    scheduled meanwhile, and their pace outlives whoever asked for it.
    """

    ids: tuple[str, ...]
    who: str = ""
    every_us: int = 0
    first_ms: int = 0


class Move(Verb[list[bool]], frozen=True):
    """Another due time for waiting jobs. Atomic. Repeat: the stored answer. Running, dead, finished, unknown: False."""

    ids: tuple[str, ...]
    due: Due


class Amend(Verb[Literal["amended", "not_dead"]], frozen=True):
    """Another envelope for a dead job. Atomic. Repeat: the stored answer. Full store: StoreError, nothing changed."""

    id: str
    envelope: bytes
    who: str = ""


class Delete(Verb[list[bool]], frozen=True):
    """Forget jobs in any place but a lease. Atomic. Repeat: the stored answer. Running or unknown: False."""

    ids: tuple[str, ...]
    who: str = ""


class Configure(Verb[Config], frozen=True):
    """Set what is given, answer what is set now. `paused` None resumes. `cron`: an entry's name and its pause reason
    or None. Repeat: the stored answer, so that a pause which comes late undoes no resume.
    """

    paused: str | UnsetType | None = UNSET
    max_length: int | UnsetType | None = UNSET
    cron: tuple[str, str | None] | UnsetType = UNSET
    who: str = ""


class Tick(Verb[TickWord], frozen=True):
    """Fire one tick of a cron entry once, whoever asks. Atomic. Repeat: the stored answer."""

    name: str
    tick_ms: int
    job: NewJob


# Verbs without a number: a repeat is harmless.


class Extend(Verb[list[Hold]], frozen=True):
    """Renew leases, store their notes, learn of cancel requests. Never shortens a lease. An ended lease that nobody
    took is good.
    """

    leases: tuple[Lease, ...]
    lease_ms: int


class Beat(Verb[str], frozen=True):
    """Say that a worker lives. `worker` is the caller of its turns. Answers the epoch: another one means an emptied
    store.
    """

    worker: str
    presence: bytes


class Prune(Verb[int], frozen=True):
    """Forget what is over: dead letters beyond count or age (only where given), kept outcomes, periods, workers
    unseen for
    10 min; bury jobs parked for an unknown task for too long. Answers how many; fewer than `limit` means done.
    """

    dead_max: int | None = None
    dead_age_ms: int | None = None
    unknown_ms: int = 86_400_000
    limit: int = 100


class Repair(Verb[list[RepairWord]], frozen=True):
    """Put right what `Orphans` found, as far as it is still so: each id and each key is looked at again in the same
    step. Nothing is lost, and a repeat finds nothing to do. Answers a word for each id, then for each key.
    """

    ids: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


class Get(Verb[list[Record | None]], frozen=True):
    """What the store knows of these ids; None for one it does not know. `behind` also counts the pending jobs before
    each, up to BEHIND_MOST (answers.py) and one more.
    """

    ids: tuple[str, ...]
    behind: bool = False


class Find(Verb[Page], frozen=True):
    """A page of records, newest first in a state; without a state the places in turn. `key` (`<task> <key>`) finds
    its holder.
    """

    state: State | None = None
    cursor: Cursor | None = None
    limit: int = 100
    key: str | None = None


class Stats(Verb[QueueStats], frozen=True):
    """The queue in numbers, with the last `minutes` (at most 1,440), the last `hours` (at most 720), and what is kept
    of the named cron entries.

    `jobs` False: no job is counted or looked at, so the answer costs the same however many there are; it says 0.
    """

    minutes: int = 60
    crons: tuple[str, ...] = ()
    jobs: bool = True
    hours: int = 0


class Changes(Verb[list[Change]], frozen=True):
    """The last changes by hand (cancel, requeue, amend, delete, configure), newest first."""

    limit: int = 100


class Orphans(Verb[Damage], frozen=True):
    """One page of a search for jobs and keys that a careless hand or an eviction broke. Changes nothing."""

    cursor: Cursor | None = None


class Queues(Verb[list[str]], frozen=True):
    """The names of all queues of a namespace that were ever written (`queue` is `namespace:`, nothing after it)."""


NUMBERED = (Put, Claim, Settle, Cancel, Requeue, Move, Amend, Delete, Configure, Tick)
READS = (Get, Find, Stats, Changes, Orphans, Queues)


class Call(msgspec.Struct, frozen=True):
    """One round trip: verbs in order, at most one of a kind a queue, under one number of one caller.

    `tag` is the same in the repeats of this call and new in every other. `now` (ms) is for tests: the store's clock
    otherwise.
    """

    caller: str
    number: int
    tag: str
    verbs: tuple[Verb[Any], ...]
    now: int | None = None


class Refused(Exception):
    """The store refuses a call number: two senders use one caller ("CALLER"), or a lower number came late ("STALE")."""

    def __init__(self, word: Literal["CALLER", "STALE"]) -> None:
        super().__init__(word)
        self.word = word


class NoRoom(StoreError):
    """The store is full (disk, memory): nothing was written. Whatever shrinks it is still possible."""


class NoAnswer(Exception):
    """The call may or may not have been executed: send it again under the same number."""


class Facts(msgspec.Struct, frozen=True):
    """What is known of a store. `eviction`: the policy by which it may drop keys, None if it has none or will not say.

    `keeps`: what is on disk after each call (log), now and then (snapshots), never (nothing); None: it will not say.
    """

    software: str
    eviction: str | None = None
    keeps: Literal["log", "snapshots", "nothing"] | None = None


class Broker(Protocol):
    """A store as everybody else sees it.

    `run` and `run_sync` answer a list as long as the verbs: each item is the verb's answer, or the exception
    (StoreError, Refused) that this verb alone met. They raise NoAnswer if the whole call may or may not have been
    executed, StoreUnavailable if it certainly was not, StoreUnsuitable if the store must not be used.
    """

    @property
    def address(self) -> str:
        """The store's URL without passwords."""
        ...

    async def run(self, call: Call) -> list[Any]:
        """Run one call from the running event loop."""
        ...

    def run_sync(self, call: Call, *, urgent: bool = False) -> list[Any]:
        """Run one call from any thread; an `urgent` one (the keeper's) goes before all that waits."""
        ...

    async def facts(self) -> Facts:
        """What the store says of itself, asked once. Raises as `run` does."""
        ...

    async def wait(self, queues: Sequence[str], seconds: float, *, listener: object = None) -> bool:
        """Wait for a wake-up of any of these queues: True if one came, False after the time. Cancelling loses no
        wake-up.

        Each `listener` (a worker) hears every wake-up once, also one that came between two of its waits.
        """
        ...

    async def ended(self, queue: str, id: str, seconds: float) -> None:
        """Return soon after this job ended, or after the time. A hint: it may come early, and the caller asks `get`."""
        ...

    async def close(self) -> None:
        """Close connections of the running loop."""
        ...

    def close_sync(self) -> None:
        """Close everything; a later call opens again."""
        ...


def counted(call: Call) -> None:
    """Assert what the client promises: bounded verbs, and at most one of a kind a queue (a second would be lost)."""
    seen: set[tuple[type[Any], str]] = set()
    for verb in call.verbs:
        kind = (type(verb), verb.queue)
        assert kind not in seen, f"two {type(verb).__name__} for {verb.queue} in one call"
        seen.add(kind)
        match verb:
            case Put(jobs=jobs):
                assert len(jobs) <= PUT_LIMIT, f"{len(jobs)} jobs in one Put; the most is {PUT_LIMIT}"
            case Settle(transitions=items) | Extend(leases=items):
                assert len(items) <= VERB_LIMIT, f"{len(items)} items in one verb; the most is {VERB_LIMIT}"
            case Cancel(ids=ids) | Requeue(ids=ids) | Move(ids=ids) | Delete(ids=ids) | Get(ids=ids):
                assert len(ids) <= VERB_LIMIT, f"{len(ids)} ids in one verb; the most is {VERB_LIMIT}"
            case Repair(ids=ids, keys=keys):
                assert len(ids) + len(keys) <= VERB_LIMIT, f"{len(ids) + len(keys)} in one verb; most: {VERB_LIMIT}"
