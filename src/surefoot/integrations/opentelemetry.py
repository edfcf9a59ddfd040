"""OpenTelemetry: a span where a job is made and one for each run, linked across the queue by the job's headers.

Only the API is used: what becomes of spans and metrics is the application's choice. Names follow the messaging
conventions, which are still in development (https://opentelemetry.io/docs/specs/semconv/messaging/).
"""

from typing import Any, Final, TypeAlias, TypeVar

try:
    from opentelemetry import metrics, propagate, trace
except ImportError as _why:
    raise ImportError("surefoot.integrations.opentelemetry needs OpenTelemetry: pip install surefoot[otel]") from _why

from surefoot import clock
from surefoot.core.job import Draft
from surefoot.core.outcome import (
    Cancelled,
    Crashed,
    Interrupted,
    Lost,
    Raised,
    Rejected,
    RetriedLater,
    Snoozed,
    TimedOut,
)
from surefoot.execution.context import JobContext
from surefoot.execution.middleware import CallNext, outcome_of

R = TypeVar("R")
Attributes: TypeAlias = dict[str, str | int]

_SCOPE: Final = "surefoot"
_SYSTEM: Final[Attributes] = {"messaging.system": "surefoot"}


class Tracing:
    """Spans and counters for producers (`before_enqueue=[tracing.on_enqueue]`) and workers
    (`middleware=[tracing.around_run]`).

    A run's span begins a trace of its own and links to the span that made the job, so that a trace does not stay open
    for as long as a job waits, and each attempt is a span beside the others; `parent`: it continues that trace instead.
    """

    def __init__(
        self,
        *,
        parent: bool = False,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._parent = parent
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        self._sent = meter.create_counter("messaging.client.sent.messages", "{message}", "Jobs handed to enqueue.")
        self._consumed = meter.create_counter("messaging.client.consumed.messages", "{message}", "Runs begun.")
        self._duration = meter.create_histogram("messaging.process.duration", "s", "Duration of runs.")

    def on_enqueue(self, draft: Draft[R]) -> Draft[R]:
        """A `create` span, and the draft with its context as `traceparent` (and `tracestate`, `baggage`)."""
        common: Attributes = _SYSTEM | {"messaging.operation.name": "create", "messaging.destination.name": draft.queue}
        own: Attributes = {
            "messaging.operation.type": "create",
            "messaging.message.id": draft.id,
            "messaging.message.body.size": len(draft.payload),
            "messaging.surefoot.task": draft.task,
        }
        name, kind = f"create {draft.queue}", trace.SpanKind.PRODUCER
        with self._tracer.start_as_current_span(name, kind=kind, attributes=common | own):
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
        self._sent.add(1, common)
        return draft.with_headers(**carrier)

    async def around_run(self, job: JobContext, call_next: CallNext) -> object:
        """A `process` span around one run, the current one for whatever the handler does."""
        made = propagate.extract(job.headers)
        origin = trace.get_current_span(made).get_span_context()
        common: Attributes = _SYSTEM | {"messaging.operation.name": "process", "messaging.destination.name": job.queue}
        own: Attributes = {
            "messaging.operation.type": "process",
            "messaging.message.id": job.id,
            "messaging.client.id": job.worker,
            "messaging.surefoot.task": job.task,
            "messaging.surefoot.attempt": job.attempt,
        }
        self._consumed.add(1, common)
        began = clock.monotonic()
        ended: Attributes = {}
        with self._tracer.start_as_current_span(
            f"process {job.queue}",
            context=made if self._parent else trace.set_span_in_context(trace.INVALID_SPAN, made),
            kind=trace.SpanKind.CONSUMER,
            attributes=common | own,
            links=[trace.Link(origin)] if origin.is_valid and not self._parent else None,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                return await call_next()
            except BaseException as error:
                ended = _tell(span, job, error)
                raise
            finally:
                self._duration.record(clock.monotonic() - began, common | ended)


def _tell(span: trace.Span, job: JobContext, error: BaseException) -> Attributes:
    """Write how a run ended that did not return. Only a failure is an error; a snooze or a drain is not."""
    kind, words = _in_words(outcome_of(job, error))
    span.set_attribute("messaging.surefoot.outcome", kind)
    if not words:
        return {}
    error_type, message = words
    span.record_exception(error)
    span.set_attribute("error.type", error_type)
    span.set_status(trace.StatusCode.ERROR, message)
    return {"error.type": error_type}


def _in_words(outcome: Any) -> tuple[str, tuple[str, str] | None]:
    match outcome:
        case Raised(error=error):
            return "failed", (error.kind, error.message)
        case Rejected(error=error):
            return "rejected", (error.kind, error.message)
        case Crashed(error=error):
            return "crashed", (error.kind, error.message)
        case TimedOut(seconds=seconds):
            return "timed_out", ("timeout", f"over {seconds:g} s")
        case Lost():
            return "lease_lost", ("lease_lost", "another worker has the job")
        case RetriedLater():
            return "retry_later", None
        case Snoozed():
            return "snoozed", None
        case Cancelled():
            return "cancelled", None
        case Interrupted():
            return "interrupted", None
        case _:
            return type(outcome).__name__.lower(), None
