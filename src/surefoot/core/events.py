"""What is told about jobs and workers: Event (as it happens) and Explanation (why a job is where it is)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

import msgspec

if TYPE_CHECKING:
    from surefoot.core.names import State, WaitReason

EventKind: TypeAlias = Literal[
    "enqueued", "started", "progress", "completed", "failed", "retrying", "snoozed", "timed_out",
    "interrupted", "crashed", "lease_lost", "dead", "cancelled", "expired", "paused", "resumed",
    "worker_started", "worker_draining", "worker_stopped", "loop_blocked", "thread_stuck",
]  # fmt: skip

NO_DETAILS: Final[Mapping[str, str | float]] = MappingProxyType({})


@final
class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a job or a worker, as `on_event` is told. `details` are words and numbers by name."""

    kind: EventKind
    at: datetime
    queue: str | None = None
    job_id: str | None = None
    task: str | None = None
    worker: str | None = None
    details: Mapping[str, str | float] = NO_DETAILS


@final
class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job is where it is: one sentence for people, the reasons as words, the facts behind them."""

    job_id: str
    state: "State"
    sentence: str
    reasons: "Sequence[WaitReason]"
    details: Mapping[str, str | float]
