"""Sentry: failed runs as events with their job and task, and spans by its conventions for queues.

Conventions: https://docs.sentry.io/platforms/python/tracing/instrumentation/custom-instrumentation/queues-module/
"""

from typing import Any, Final, TypeVar

try:
    import sentry_sdk
except ImportError as _why:
    raise ImportError("surefoot.integrations.sentry needs the SDK of Sentry: pip install surefoot[sentry]") from _why

from surefoot.core.job import Draft
from surefoot.core.outcome import Crashed, Outcome, Raised, Rejected, TimedOut
from surefoot.execution.context import JobContext
from surefoot.execution.middleware import CallNext, outcome_of

R = TypeVar("R")

_ORIGIN: Final = "auto.queue.surefoot"
_OURS: Final = ("sentry-trace", "baggage")


class Sentry:
    """For producers `before_enqueue=[sentry.on_enqueue]`, for workers `middleware=[sentry.around_run]`.

    A failure that will be tried again is no event, since nobody has to do anything about it; with `each_attempt` it is.
    The application calls `sentry_sdk.init` itself.
    """

    def __init__(self, *, each_attempt: bool = False) -> None:
        self._each_attempt = each_attempt

    def on_enqueue(self, draft: Draft[R]) -> Draft[R]:
        """A `queue.publish` span where a transaction is open, and the draft with the trace in its headers."""
        with sentry_sdk.start_span(op="queue.publish", name=draft.task, origin=_ORIGIN) as span:
            span.set_data("messaging.message.id", draft.id)
            span.set_data("messaging.destination.name", draft.queue)
            span.set_data("messaging.message.body.size", len(draft.payload))
            told = {"sentry-trace": sentry_sdk.get_traceparent(), "baggage": sentry_sdk.get_baggage()}
            return draft.with_headers(**{name: value for name, value in told.items() if value})

    async def around_run(self, job: JobContext, call_next: CallNext) -> object:
        """A transaction around one run, in a scope of its own that names the job; its failure as an event."""
        with sentry_sdk.isolation_scope() as scope:
            scope.clear_breadcrumbs()
            scope.set_transaction_name(job.task, source="task")
            scope.set_tag("surefoot.queue", job.queue)
            scope.set_tag("surefoot.task", job.task)
            scope.set_tag("surefoot.job_id", job.id)
            scope.set_context("surefoot", _facts(job))
            transaction = sentry_sdk.continue_trace(
                {name: value for name, value in job.headers.items() if name in _OURS},
                op="queue.process",
                name=job.task,
                source="task",
                origin=_ORIGIN,
            )
            with sentry_sdk.start_transaction(transaction) as span:
                span.set_data("messaging.message.id", job.id)
                span.set_data("messaging.destination.name", job.queue)
                span.set_data("messaging.message.retry.count", job.attempt - 1)
                waited = (job.started_at - job.enqueued_at).total_seconds() * 1000
                span.set_data("messaging.message.receive.latency", waited)
                try:
                    value = await call_next()
                except BaseException as error:
                    outcome = outcome_of(job, error)
                    failed = isinstance(outcome, Raised | Rejected | TimedOut | Crashed)
                    span.set_status("internal_error" if failed else "aborted")
                    if failed and (self._each_attempt or _is_final(job, outcome)):
                        sentry_sdk.capture_exception(error)
                    raise
                span.set_status("ok")
                return value


def _is_final(job: JobContext, outcome: Outcome) -> bool:
    """Whether no attempt follows, as far as the run can know."""
    return job.last_attempt or isinstance(outcome, Rejected) or (isinstance(outcome, Raised) and not outcome.retry)


def _facts(job: JobContext) -> dict[str, Any]:
    return {
        "job": job.id,
        "task": job.task,
        "queue": job.queue,
        "attempt": job.attempt,
        "failures": job.failures,
        "crashes": job.crashes,
        "key": job.key,
        "worker": job.worker,
        "enqueued_at": job.enqueued_at.isoformat(),
    }
