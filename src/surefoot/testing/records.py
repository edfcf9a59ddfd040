"""What the kit tells a test: Drained (what a drain or an advance did) and Ran (what became of one run)."""

from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, final

import msgspec

from surefoot.core.codec import ErrorLine, decode_error
from surefoot.core.errors import ResultNotKept
from surefoot.core.job import Job
from surefoot.core.outcome import (
    Cancelled,
    Crashed,
    Interrupted,
    Lost,
    Outcome,
    Raised,
    Rejected,
    RetriedLater,
    Returned,
    Snoozed,
    TimedOut,
)
from surefoot.core.spec import Spec
from surefoot.core.transition import Bury, Finish, Transition

R_co = TypeVar("R_co", covariant=True)

Word: TypeAlias = Literal[
    "returned", "raised", "timed_out", "snoozed", "retried_later", "rejected", "cancelled", "interrupted", "crashed",
    "lost", "expired", "invalid", "crash_loop",
]  # fmt: skip
"""What a run came to. The last three end a job before its run: too late, arguments that do not fit, crashed too often;
`cancelled` may do so too.
"""

_WORDS: Final[dict[type[Any], Word]] = {
    Returned: "returned",
    Raised: "raised",
    TimedOut: "timed_out",
    Snoozed: "snoozed",
    RetriedLater: "retried_later",
    Rejected: "rejected",
    Cancelled: "cancelled",
    Interrupted: "interrupted",
    Crashed: "crashed",
    Lost: "lost",
}


@final
class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """How many handlers were started, and how many jobs ended in which way meanwhile."""

    runs: int = 0
    completed: int = 0
    dead: int = 0
    cancelled: int = 0
    expired: int = 0


@final
class Ran(msgspec.Struct, Generic[R_co], frozen=True, kw_only=True):
    """What became of one run.

    `value`: what it returned, after the round trip through JSON. `error`: the exception itself, signals too; for
    `timed_out` a TimeoutError. `job`: the job as it is after the run.
    """

    outcome: Word
    value: R_co | None
    error: BaseException | None
    job: Job


def word_of(outcome: Outcome) -> Word:
    """The word for a run's outcome."""
    return _WORDS[type(outcome)]


def word_unrun(transition: Transition) -> Word | None:
    """The word for a job that ends before its run; None if it does not end."""
    match transition.to:
        case Finish(state="cancelled"):
            return "cancelled"
        case Finish(state="expired"):
            return "expired"
        case Bury(reason="crash_loop"):
            return "crash_loop"
        case Bury():
            return "invalid"
        case _:
            return None


def value_after(spec: Spec, queue: str, outcome: Returned, end: Transition | None) -> tuple[Any, ResultNotKept | None]:
    """What a run returned, as whoever waits for it gets it, and why they do not. A task that keeps nothing sends
    nothing: then it is the value itself.
    """
    if end is None or type(end.to) is not Finish or end.to.result is None:
        return outcome.value, None
    try:
        return spec.signature.decode_result(end.to.result), None
    except ValueError as lost:
        return None, ResultNotKept(str(lost), job_id=end.id, queue=queue, task=spec.name)


def error_in(end: Transition) -> ErrorLine:
    """What a transition says of its error."""
    return ErrorLine() if end.error is None else decode_error(end.error)
