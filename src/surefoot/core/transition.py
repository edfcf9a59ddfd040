"""What should happen to a job because of a run: a record that the broker applies. Also the table of legal moves
between states.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from surefoot.core.job import NewJob

if TYPE_CHECKING:
    from surefoot.core.names import State

Counter: TypeAlias = Literal["runs", "failures", "crashes", "interruptions", "snoozes"]
DecidedReason: TypeAlias = Literal["exhausted", "rejected", "crash_loop", "invalid", "unsettlable"]

KEEP_MS: Final = 300_000
"""How long an outcome is kept where nothing else is said, and the least for cancelled and expired jobs."""


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The job is over. `result` is JSON, or the reason of a cancel as text."""

    state: Literal["completed", "cancelled", "expired"]
    result: bytes | None = None


class Bury(msgspec.Struct, frozen=True, gc=False):
    """Into the dead letters."""

    reason: DecidedReason


class Delay(msgspec.Struct, frozen=True, gc=False):
    """Due again after `ms`; 0 is at once, at the tail."""

    ms: int
    why: Literal["retry", "snooze", "apart"]


class Return(msgspec.Struct, frozen=True, gc=False):
    """Handed back to its old place, uncharged."""


class Park(msgspec.Struct, frozen=True, gc=False):
    """Waits for a worker that can: `task:<name>`, `task:<name>@<schema>`, `needs:<n>`."""

    reason: str


Move: TypeAlias = Finish | Bury | Delay | Return | Park


class Transition(msgspec.Struct, frozen=True, gc=False):
    """One job's next step, fenced by the token of the claim.

    `bump` names the counter and counts a run; None: the handler was not started. `error` is one line of JSON.
    `keep_ms` (None for ever, 0 not at all) is for Finish, and for a job that would wait but was cancelled meanwhile.
    `effects` are new jobs that enter this queue in the same atomic step, only if the transition is applied.
    """

    id: str
    token: str
    to: Move
    bump: Counter | None = None
    error: bytes | None = None
    keep_ms: int | None = KEEP_MS
    effects: tuple[NewJob, ...] = ()


START: Final = "(enqueue)"
END: Final = "(forgotten)"

MOVES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        START: {"pending": "put", "scheduled": "put, due later"},
        "scheduled": {
            "processing": "due and claimed in one step",
            "pending": "due",
            "parked": "due, needs a newer worker",
            "cancelled": "cancel, replaced",
            END: "delete",
        },
        "pending": {
            "processing": "claim",
            "scheduled": "reschedule",
            "parked": "claim, needs a newer worker",
            "dead": "body lost",
            "cancelled": "cancel, replaced",
            END: "delete",
        },
        "parked": {
            "processing": "claim by a worker that can",
            "pending": "reschedule, due now",
            "scheduled": "reschedule",
            "dead": "unknown for too long, body lost",
            "cancelled": "cancel, replaced",
            END: "delete",
        },
        "processing": {
            "processing": "lease ended, claimed again",
            "completed": "returned",
            "scheduled": "retry, snooze, apart",
            "pending": "handed back, retry at once",
            "parked": "no worker here can run it",
            "dead": "exhausted, rejected, crash loop, invalid, unsettlable, body lost",
            "cancelled": "cancelled",
            "expired": "came too late",
            END: "finished, nothing kept",
        },
        "dead": {"pending": "requeue", END: "delete, prune"},
        "completed": {END: "kept time over, delete"},
        "cancelled": {END: "kept time over, delete"},
        "expired": {END: "kept time over, delete"},
    }
)
"""The table of legal moves: from a state to a state, and what does it. The drawing in ARCHITECTURE.md is made from it.
"""


def legal(before: "State | None", after: "State | None") -> bool:
    """Whether a job may go from one state to another; None is: not in the store."""
    return before == after or (after or END) in MOVES[before or START]
