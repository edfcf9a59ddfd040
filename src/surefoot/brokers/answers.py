"""What a store answers to each verb: inert records. Durations and moments are milliseconds."""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from surefoot.core.job import NO_COUNTS, Counts, Leased
from surefoot.core.names import State

PutWord: TypeAlias = Literal["created", "exists", "taken", "replaced", "full"]
Verdict: TypeAlias = Literal["applied", "fenced", "cancelled"]
CancelWord: TypeAlias = Literal["cancelled", "requested", "finished"]


BEHIND_MOST: Final = 1_000
"""So many jobs before another one are counted, and then one more, which says that there are more."""


class PutAnswer(msgspec.Struct, frozen=True, gc=False):
    """What became of one job of a put. `other`: the holder of the key (taken), or who lost it (replaced).

    `confirmed`: how many replicas have it, if they are fewer than the put asked for.
    """

    word: PutWord
    other: str | None = None
    confirmed: int | None = None


class Claimed(msgspec.Struct, frozen=True):
    """What a claim brought. `now_ms`: the store's time; `wait_ms`: how long an idle worker may sleep (>= 1).

    `parking`: something is parked here; `chores`: it is time to prune; `orphans`: ids buried because their body was
    gone.
    `recovered`: how many of `jobs` came from an ended lease (they are the first).
    """

    now_ms: int
    wait_ms: int
    paused: bool
    jobs: list[Leased]
    parking: bool = False
    chores: bool = False
    orphans: tuple[str, ...] = ()
    recovered: int = 0


class Lease(msgspec.Struct, frozen=True):
    """One lease to renew; `note` (progress as codec.Note) is stored with it if given."""

    id: str
    token: str
    note: bytes | None = None


class Hold(msgspec.Struct, frozen=True):
    """The answer for one lease: whether it is `held`, and why somebody asked to cancel the job (None: nobody)."""

    held: bool
    cancel: str | None = None


class Requeued(msgspec.Struct, frozen=True):
    """requeued, taken (its key is held by `other`, it stays dead), or not_dead."""

    word: Literal["requeued", "taken", "not_dead"]
    other: str | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """All that the store knows of one job. `errors` are lines of JSON, newest first; moments are milliseconds or None.

    `due_ms` is the time it waits for, while scheduled. `started_ms`, `caller`: the running or the last run.
    `reason`: why it
    is parked, dead or cancelled. `cancel`: the reason of a cancel request that a running job has not met yet.
    `behind`: how many pending jobs come before it, if asked; more than BEHIND_MOST are not counted.
    """

    id: str
    state: State
    enqueued_ms: int
    body: bytes
    priority: int
    key: str | None
    counts: Counts = NO_COUNTS
    due_ms: int | None = None
    lease_ms: int | None = None
    started_ms: int | None = None
    finished_ms: int | None = None
    caller: str | None = None
    reason: str | None = None
    parked_ms: int | None = None
    cancel: str | None = None
    note: bytes | None = None
    errors: tuple[bytes, ...] = ()
    result: bytes | None = None
    behind: int | None = None


Cursor: TypeAlias = str
"""Where a page ended; opaque to everybody but the broker that made it."""


class Page(msgspec.Struct, frozen=True):
    """Some records, newest first, and where to go on; `cursor` is None at the end."""

    records: list[Record]
    cursor: Cursor | None


RepairWord: TypeAlias = Literal["buried", "filled", "returned", "dead", "kept", "freed", "sound"]
"""What a repair did. A job without a body: buried (body_lost), or filled with an empty one where it was over. A body in
no place: returned to pending, or dead or kept again as it was before. A key: freed. sound: there was nothing to do.
"""


class Damage(msgspec.Struct, frozen=True):
    """A page of what is broken. `lost`: ids without a body; `strays`: bodies that stand in no place, by id; `keys`:
    those whose holder is gone or over.

    `nameless`: the strays do not say which queue they are of. `looked`: how many records this page read. `cursor`:
    where to go on, None at the end.
    """

    lost: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    nameless: bool = False
    looked: int = 0
    cursor: Cursor | None = None


class Presence(msgspec.Struct, frozen=True):
    """One worker as the store knows it: `presence` is the JSON of its last beat."""

    caller: str
    seen_ms: int
    presence: bytes


class MinuteRow(msgspec.Struct, frozen=True):
    """What happened in one minute of store time (`minute` = ms // 60,000), or in the hour that it begins.

    `times`: how long jobs waited for their first run, and how long runs lasted, as `core/sketch.py` counts them.
    """

    minute: int
    enqueued: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    dead: int = 0
    cancelled: int = 0
    expired: int = 0
    recovered: int = 0
    times: Mapping[int, int] = {}


EVENTS: Final = MinuteRow.__struct_fields__[1:-1]
"""What is counted."""
HOURS_KEPT: Final = 720
"""So many hours of history are kept."""


class CronState(msgspec.Struct, frozen=True):
    """What the store keeps of a cron entry: its last tick, and since when and why it is paused."""

    last_ms: int | None = None
    paused_ms: int | None = None
    reason: str | None = None


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """The queue in numbers. `oldest_ms`: age of the pending job that was enqueued first among the next ones, None if
    none.
    """

    now_ms: int
    scheduled: int
    pending: int
    parked: int
    processing: int
    dead: int
    ended_leases: int
    oldest_ms: int | None
    paused_ms: int | None
    pause_reason: str | None
    max_length: int | None
    epoch: str
    workers: tuple[Presence, ...]
    minutes: tuple[MinuteRow, ...]
    totals: Mapping[str, int]
    crons: Mapping[str, CronState]
    hours: tuple[MinuteRow, ...] = ()


class Config(msgspec.Struct, frozen=True):
    """What is set on the queue now."""

    paused: str | None
    paused_ms: int | None
    max_length: int | None


ChangeWord: TypeAlias = Literal[
    "pause", "resume", "pause_cron", "resume_cron", "limit", "cancel", "requeue", "edit", "delete"
]

CHANGES_KEPT: Final = 1_000
"""So many changes by hand are remembered of each queue."""
CHANGE_NAMES: Final = 10
"""So many jobs of a change are remembered by their ids."""
CHANGE_BYTES: Final = 500
"""The most bytes of a name or a reason in what is remembered of a change."""


class Change(msgspec.Struct, frozen=True):
    """One change by hand. `who`: `user@host` as whoever asked said, empty if nobody said. `many`: how many jobs, or 1.

    `names`: the first jobs' ids, the cron entry, or the limit.
    """

    at_ms: int
    who: str
    what: ChangeWord
    many: int
    reason: str = ""
    names: tuple[str, ...] = ()


TickWord: TypeAlias = Literal["created", "exists", "taken", "replaced", "full", "past", "early", "paused"]
