"""What a run came to: one record per way a run can end. `lifecycle.decide` turns it into a Transition."""

from typing import TypeAlias

import msgspec

from surefoot.core.errors import ErrorInfo

MESSAGE_LIMIT = 2_000
TRACEBACK_LIMIT = 12_000
KINDS_LIMIT = 20
NAME_LIMIT = 200
_WORDS = 50
"""What the words between a head and a tail may add."""


class Returned(msgspec.Struct, frozen=True, gc=False):
    """The handler returned `value`."""

    value: object


class Raised(msgspec.Struct, frozen=True):
    """The handler raised. `retry`: whether the task's policy tries this class of exception again."""

    error: ErrorInfo
    retry: bool = True


class TimedOut(msgspec.Struct, frozen=True):
    """The run was over its deadline; `seconds` is the limit it had."""

    seconds: float


class Snoozed(msgspec.Struct, frozen=True):
    """The handler raised Snooze: run again after `ms`, or at the moment `until_ms` of the store's clock."""

    ms: int | None = None
    until_ms: int | None = None


class RetriedLater(msgspec.Struct, frozen=True):
    """The handler raised RetryLater: this attempt failed, and the next comes after `ms`."""

    ms: int
    reason: str | None
    error: ErrorInfo


class Rejected(msgspec.Struct, frozen=True):
    """The handler raised Reject."""

    error: ErrorInfo


class Cancelled(msgspec.Struct, frozen=True):
    """The handler raised Cancel, or the run was stopped because somebody asked for it."""

    reason: str


class Interrupted(msgspec.Struct, frozen=True):
    """A drain ended the run, or it came before the handler was `started`."""

    started: bool


class Crashed(msgspec.Struct, frozen=True):
    """The process that ran the job died; `error` names how."""

    error: ErrorInfo


class Lost(msgspec.Struct, frozen=True):
    """The lease is gone: another worker has the job, and nothing is settled here."""


Outcome: TypeAlias = (
    Returned | Raised | TimedOut | Snoozed | RetriedLater | Rejected | Cancelled | Interrupted | Crashed | Lost
)


def describe(error: BaseException, traceback: str = "") -> ErrorInfo:
    """An exception as words, cut to bounds. Never raises, whatever the exception's own code does.

    `traceback` is its text, made where files may be read; it must hold no local variables.
    """
    kind = type(error)
    kinds = tuple(bounded(base.__qualname__, NAME_LIMIT) for base in kind.__mro__ if base is not object)[:KINDS_LIMIT]
    return ErrorInfo(kind=kinds[0], kinds=kinds, message=_message(error), traceback=bounded(traceback, TRACEBACK_LIMIT))


def bounded(text: str, limit: int) -> str:
    """`text` as UTF-8 can carry it; one over the limit keeps its head and its tail."""
    if len(text) > limit:  # before it is escaped, which makes it longer: a huge text must not be copied whole
        text = _cut(text, limit)
    written = text.encode("utf-8", "backslashreplace").decode()
    return _cut(written, limit) if len(written) > limit + _WORDS else written


def _cut(text: str, limit: int) -> str:
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"


def _message(error: BaseException) -> str:
    try:
        return bounded(str(error), MESSAGE_LIMIT)
    except BaseException as worse:
        return f"(the exception's own text could not be made: {type(worse).__qualname__})"
