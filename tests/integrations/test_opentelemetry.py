"""Spans and counters by the messaging conventions, as an exporter gets them: linked across the queue, one a run."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.client.kinds import Kind
from tests.engine.stage import PATIENCE_S, SHORT, Stage, Witness, burst, serving

from surefoot import Cancel, Queue, Reject, Retry, RetryLater, Snooze
from surefoot.cli import logs
from surefoot.integrations.opentelemetry import Tracing


class Seen:
    """A tracer provider and a meter provider that keep what they are told."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])

    def tracing(self, **options: Any) -> Tracing:
        return Tracing(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def span(self, name: str) -> ReadableSpan:
        [span] = self.spans(name)
        return span

    def points(self) -> dict[str, list[Any]]:
        data = self._reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def seen() -> Iterator[Seen]:
    made = Seen()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


@pytest.fixture
def stage(kind: Kind) -> Iterator[Stage]:
    made = Stage(kind)
    yield made
    made.close()


def place(context: trace.SpanContext | None) -> tuple[int, int]:
    """Its ids: whether it came over a wire is no part of what it is."""
    assert context is not None
    return context.trace_id, context.span_id


def context_of(span: ReadableSpan) -> tuple[int, int]:
    return place(span.get_span_context())


@pytest.mark.parametrize("lane", ["loop", "thread"])
async def test_a_run_is_linked_to_where_its_job_was_made(stage: Stage, seen: Seen, lane: str) -> None:
    tracing = seen.tracing()
    jobs = stage.queue("mail", before_enqueue=[tracing.on_enqueue])
    inside: list[tuple[int, int]] = []

    def look(to: str) -> None:
        inside.append(place(trace.get_current_span().get_span_context()))

    async def look_here(to: str) -> None:
        look(to)

    task = jobs.task(name="welcome")(look if lane == "thread" else look_here)
    with seen.tracers.get_tracer("app").start_as_current_span("request") as request:
        job = await task.enqueue("ada@example.org")
    worker = await burst(jobs, middleware=[tracing.around_run])

    made, run = seen.span("create mail"), seen.span("process mail")
    assert made.kind is trace.SpanKind.PRODUCER and run.kind is trace.SpanKind.CONSUMER
    assert place(made.parent) == place(request.get_span_context())
    assert [place(link.context) for link in run.links] == [context_of(made)]
    assert run.parent is None and context_of(run)[0] != context_of(made)[0]
    assert inside == [context_of(run)]
    assert dict(made.attributes or {}) == {
        "messaging.system": "surefoot",
        "messaging.operation.name": "create",
        "messaging.operation.type": "create",
        "messaging.destination.name": "mail",
        "messaging.message.id": job.id,
        "messaging.message.body.size": len(b'{"to":"ada@example.org"}'),
        "messaging.surefoot.task": "welcome",
    }
    attributes = dict(run.attributes or {})
    assert attributes.pop("messaging.client.id") and worker.id is None
    assert attributes == {
        "messaging.system": "surefoot",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "mail",
        "messaging.message.id": job.id,
        "messaging.surefoot.task": "welcome",
        "messaging.surefoot.attempt": 1,
    }
    assert run.status.status_code is trace.StatusCode.UNSET


async def test_a_run_may_continue_the_trace_instead(stage: Stage, seen: Seen) -> None:
    tracing = seen.tracing(parent=True)
    jobs = stage.queue("mail", before_enqueue=[tracing.on_enqueue])

    @jobs.task(name="welcome")
    async def welcome() -> None:
        return None

    await welcome.enqueue()
    await burst(jobs, middleware=[tracing.around_run])
    made, run = seen.span("create mail"), seen.span("process mail")
    assert place(run.parent) == context_of(made) and not run.links


async def test_each_attempt_is_a_span_with_its_error(stage: Stage, seen: Seen) -> None:
    tracing = seen.tracing()
    jobs = stage.queue("mail", before_enqueue=[tracing.on_enqueue])

    @jobs.task(name="welcome", retry=Retry(max_attempts=2, base=0.001))
    async def welcome() -> None:
        raise ValueError("no such address")

    await welcome.enqueue()
    async with asyncio.timeout(PATIENCE_S):
        while len(runs := seen.spans("process mail")) < 2:
            await burst(jobs, middleware=[tracing.around_run])
    assert [(run.attributes or {})["messaging.surefoot.attempt"] for run in runs] == [1, 2]
    assert {place(link.context) for run in runs for link in run.links} == {context_of(seen.span("create mail"))}
    for run in runs:
        assert run.status.status_code is trace.StatusCode.ERROR and run.status.description == "no such address"
        assert (run.attributes or {})["error.type"] == "ValueError"
        assert [event.name for event in run.events] == ["exception"]
    points = seen.points()
    assert [(point.value, point.attributes["messaging.destination.name"]) for point in
            points["messaging.client.consumed.messages"]] == [(2, "mail")]  # fmt: skip
    assert [point.value for point in points["messaging.client.sent.messages"]] == [1]
    [duration] = points["messaging.process.duration"]
    assert (duration.count, duration.attributes["error.type"]) == (2, "ValueError")


SIGNALS = {
    "snoozed": (Snooze(0), None),
    "retry_later": (RetryLater(0, "busy"), None),
    "cancelled": (Cancel("not wanted"), None),
    "rejected": (Reject("no such person"), "Reject"),
}


@pytest.mark.parametrize("outcome", SIGNALS)
async def test_only_a_failure_is_an_error(seen: Seen, outcome: str) -> None:
    signal, error_type = SIGNALS[outcome]
    tracing = seen.tracing()
    stage = Stage()
    jobs = stage.queue("mail", before_enqueue=[tracing.on_enqueue])
    runs = 0

    @jobs.task(name="welcome")
    async def welcome() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise signal

    await welcome.enqueue()
    await burst(jobs, middleware=[tracing.around_run])
    stage.close()
    first = seen.spans("process mail")[0]
    attributes = dict(first.attributes or {})
    assert attributes["messaging.surefoot.outcome"] == outcome
    assert attributes.get("error.type") == error_type
    assert first.status.is_ok is (error_type is None)


async def test_a_timeout_is_an_error_and_a_drain_is_not(seen: Seen) -> None:
    tracing = seen.tracing()
    stage = Stage()
    jobs = stage.queue("mail", before_enqueue=[tracing.on_enqueue])

    @jobs.task(name="slow", timeout=0.05, retry=Retry(max_attempts=1))
    async def slow() -> None:
        await asyncio.sleep(60)

    @jobs.task(name="long")
    async def long() -> None:
        await asyncio.sleep(60)

    await slow.enqueue()
    await burst(jobs, middleware=[tracing.around_run])
    [timed_out] = seen.spans("process mail")
    assert (timed_out.attributes or {})["error.type"] == "timeout"
    witness = Witness()
    await long.enqueue()
    options: dict[str, Any] = {"middleware": [tracing.around_run], "on_event": witness, "lease": SHORT, "drain": 0}
    async with serving(jobs, **options):
        await witness.sees("started")
    interrupted = seen.spans("process mail")[1]
    assert (interrupted.attributes or {})["messaging.surefoot.outcome"] == "interrupted"
    assert interrupted.status.status_code is trace.StatusCode.UNSET
    stage.close()


def test_the_library_uses_the_api_alone_and_only_when_asked() -> None:
    """Whoever does not trace loads nothing of it; whoever does chooses the SDK."""
    words = (
        "import sys, surefoot, surefoot.worker; print([m for m in sys.modules if m.startswith('opentelemetry')]);"
        "import surefoot.integrations.opentelemetry; print([m for m in sys.modules if 'opentelemetry.sdk' in m])"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_a_queue_without_tracing_takes_traced_jobs_and_the_other_way_round(seen: Seen) -> None:
    """Headers are text: a worker without tracing passes them by, and a job without them begins a trace of its own."""
    stage = Stage()
    tracing = seen.tracing()
    jobs: Queue = stage.queue("mail")

    @jobs.task(name="welcome")
    async def welcome() -> None:
        return None

    welcome.enqueue_sync()
    asyncio.run(burst(jobs, middleware=[tracing.around_run]))
    assert not seen.span("process mail").links
    stage.close()


def test_a_handlers_log_lines_name_their_span(seen: Seen) -> None:
    """The JSON log of the command line: from a line to its trace."""
    stream = io.StringIO()
    stage = Stage()
    tracing = seen.tracing()
    jobs = stage.queue("mail")

    @jobs.task(name="welcome")
    async def welcome() -> None:
        logging.getLogger("shop").warning("inside")

    welcome.enqueue_sync()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        logs.set_up("info", "json", stream, coloured=False)
        logging.getLogger("shop").warning("outside")
        asyncio.run(burst(jobs, middleware=[tracing.around_run]))
    finally:
        root.handlers = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
    stage.close()
    lines = {line["message"]: line for line in map(json.loads, stream.getvalue().splitlines())}
    trace_id, span_id = context_of(seen.span("process mail"))
    assert (lines["inside"]["trace_id"], lines["inside"]["span_id"]) == (f"{trace_id:032x}", f"{span_id:016x}")
    assert "trace_id" not in lines["outside"]
