"""Middleware around every run, and how whatever a run ends with becomes an Outcome."""

import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from surefoot.core.errors import Cancel, ErrorInfo, Reject, RetryLater, Signal, Snooze
from surefoot.core.job import moment_ms
from surefoot.core.outcome import (
    Cancelled,
    Interrupted,
    Lost,
    Outcome,
    Raised,
    Rejected,
    RetriedLater,
    Returned,
    Snoozed,
    TimedOut,
    describe,
)
from surefoot.execution.context import JobContext, Running

_TRACEBACK_FRAMES = 40

CallNext: TypeAlias = Callable[[], Awaitable[object]]
"""What a middleware awaits to go on: the next one, or the handler."""
Middleware: TypeAlias = Callable[[JobContext, CallNext], Awaitable[object]]
"""`async def timing(job, call_next): ... return await call_next()`, around every run, whatever its lane."""


class EndedApart(Exception):
    """Carries how a job ended in a child process through the middleware around it."""

    def __init__(self, outcome: Outcome) -> None:
        error = getattr(outcome, "error", None)
        super().__init__(
            f"{error.kind}: {error.message}" if isinstance(error, ErrorInfo) else type(outcome).__name__.lower()
        )
        self.outcome = outcome


def wrap(middleware: Sequence[Middleware], job: JobContext, handler: CallNext) -> CallNext:
    """`handler` inside the middleware, the first of them outermost."""
    call = handler
    for layer in reversed(middleware):
        call = _layer(layer, job, call)
    return call


def _layer(layer: Middleware, job: JobContext, call_next: CallNext) -> CallNext:
    return lambda: layer(job, call_next)


def returned(running: Running, value: object) -> Outcome:
    """The outcome of a handler that came to its end, even if it was told to stop: only a lost lease makes it void."""
    return Lost() if running.stop == "lost" else Returned(value)


def raised(running: Running, error: BaseException) -> Outcome:
    """The outcome of a handler that raised. What it was told to stop for explains more than what it raised then."""
    if running.stop == "lost":
        return Lost()
    if isinstance(error, EndedApart):
        return error.outcome
    signal = _signal_in(error)
    if signal is not None:
        return _signalled(signal, error)
    match running.stop:
        case "timeout":
            return TimedOut(running.limit or 0.0)
        case "cancel":
            return Cancelled(running.cancel_reason)
        case "drain":
            return Interrupted(started=True)
        case _:
            return Raised(in_words(error), running.run.spec.retry.tries(error))


def outcome_of(job: JobContext, error: BaseException) -> Outcome:
    """What a run that ends with `error` counts as; for middleware that tells of it."""
    return raised(job._running, error)


def in_words(error: BaseException) -> ErrorInfo:
    """An exception with the last lines of its traceback; constant text where even that cannot be made."""
    try:
        text = "".join(traceback.format_exception(error, limit=-_TRACEBACK_FRAMES))
    except BaseException:
        text = "(the traceback could not be made)"
    return describe(error, text)


def _signalled(signal: Signal, error: BaseException) -> Outcome:
    match signal:
        case Snooze(until=None, seconds=seconds):
            return Snoozed(ms=round((seconds or 0) * 1000))
        case Snooze(until=until) if until is not None:
            return Snoozed(until_ms=moment_ms(until))
        case RetryLater(seconds=seconds, reason=reason):
            return RetriedLater(round(seconds * 1000), reason, in_words(error))
        case Reject():
            return Rejected(in_words(error))
        case Cancel(reason=reason):
            return Cancelled(reason)
        case _:
            return Raised(in_words(error))


def _signal_in(error: BaseException) -> Signal | None:
    """The signal that `error` is, or the first one inside a group of a task group."""
    if isinstance(error, Signal):
        return error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            found = _signal_in(inner)
            if found is not None:
                return found
    return None
