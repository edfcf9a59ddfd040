"""What a scrape reads: the workers' counts, the store's state, and nothing that grows with the number of jobs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from tests.client.kinds import Kind
from tests.engine.stage import Stage, burst

from surefoot import Queue, Reject, Retry
from surefoot.engine.meter import BOUNDS_S, Figures, Histogram, TaskFigures, added, decode
from surefoot.metrics import StoreMetrics, WorkerMetrics, page


@pytest.fixture
def stage(kind: Kind) -> Iterator[Stage]:
    made = Stage(kind)
    yield made
    made.close()


def read(*collectors: Any) -> dict[tuple[str, ...], float]:
    """Values by name and labels."""
    status, kind, text = page(*collectors)
    assert status == 200 and kind.startswith("text/plain")
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def tasks_of(jobs: Queue) -> dict[str, Any]:
    @jobs.task(name="good")
    async def good() -> None:
        return None

    @jobs.task(name="bad", retry=Retry(max_attempts=2, base=3600))
    async def bad() -> None:
        raise ValueError("boom")

    @jobs.task(name="wrong")
    async def wrong() -> None:
        raise Reject("never")

    return {"good": good, "bad": bad, "wrong": wrong}


async def test_a_worker_counts_its_runs(stage: Stage) -> None:
    jobs = stage.queue()
    tasks = tasks_of(jobs)
    for name, many in (("good", 3), ("bad", 2), ("wrong", 1)):
        for _ in range(many):
            await tasks[name].enqueue()
    metrics = WorkerMetrics()
    await burst(jobs, on_event=metrics)
    values = read(metrics)

    def value(name: str, task: str, *more: str) -> float | None:
        return values.get((f"surefoot_{name}", *sorted(("queue=jobs", f"task={task}", *more))))

    assert value("jobs_settled_total", "good", "outcome=completed") == 3
    assert value("jobs_settled_total", "bad", "outcome=retrying") == 2
    assert value("attempts_failed_total", "bad", "kind=failed") == 2
    assert value("jobs_settled_total", "wrong", "outcome=dead") == 1
    assert value("leases_lost_total", "good") == 0
    for name, many in (("good", 3), ("bad", 2), ("wrong", 1)):
        assert value("job_duration_seconds_count", name) == value("job_wait_seconds_count", name) == many
    assert values[("surefoot_worker_trouble_total", "kind=worker_died")] == 0


async def test_a_retry_that_waited_for_its_backoff_is_no_wait(stage: Stage) -> None:
    jobs = stage.queue()
    await tasks_of(jobs)["bad"].enqueue()
    metrics = WorkerMetrics()
    await burst(jobs, on_event=metrics)
    stage.wall.forward(7200)
    await burst(jobs, on_event=metrics)
    [figures] = metrics.figures().tasks
    assert (sum(figures.run.counts), sum(figures.wait.counts)) == (2, 1)
    assert figures.settled == {"retrying": 1, "dead": 1}


async def test_the_store_is_asked_when_somebody_scrapes(stage: Stage) -> None:
    jobs = stage.queue()
    tasks = tasks_of(jobs)
    await tasks["good"].options(delay=60).enqueue()
    await tasks["wrong"].enqueue()
    await burst(jobs)
    await tasks["good"].enqueue()
    await jobs.pause()
    registry = CollectorRegistry()
    metrics = StoreMetrics(jobs)
    registry.register(metrics)

    values = await asyncio.to_thread(read, metrics)
    states = {state: values[("surefoot_queue_jobs", "queue=jobs", f"state={state}")] for state in
              ("scheduled", "pending", "parked", "processing", "dead")}  # fmt: skip
    assert states == {"scheduled": 1, "pending": 1, "parked": 0, "processing": 0, "dead": 1}
    assert values[("surefoot_queue_paused", "queue=jobs")] == 1
    assert values[("surefoot_queue_up", "queue=jobs")] == 1
    assert values[("surefoot_queue_oldest_age_seconds", "queue=jobs")] >= 0


def test_a_store_that_is_away_is_told_as_a_value() -> None:
    gone = Queue("redis://127.0.0.1:1/0?timeout=0.2", name="gone")
    values = read(StoreMetrics(gone))
    assert values == {("surefoot_queue_up", "queue=gone"): 0}


def test_without_metrics_nothing_of_it_is_loaded() -> None:
    words = "import sys, surefoot, surefoot.worker, surefoot.cli.main; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


HISTOGRAMS = st.builds(
    Histogram, st.lists(st.integers(0, 1000), min_size=len(BOUNDS_S) + 1, max_size=len(BOUNDS_S) + 1), st.floats(0, 1e6)
)
COUNTS = st.dictionaries(st.sampled_from(["completed", "dead", "snoozed"]), st.integers(0, 1000))
FIGURES = st.builds(
    Figures,
    st.lists(
        st.builds(TaskFigures, st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]), COUNTS, COUNTS, HISTOGRAMS,
                  HISTOGRAMS),
        max_size=4,
    ),
    COUNTS,
)  # fmt: skip


@given(st.lists(FIGURES, max_size=4))
def test_figures_travel_and_add_up_in_any_order(many: list[Figures]) -> None:
    def totals(figures: Figures) -> list[Any]:
        rows = [(one.queue, one.task, one.settled, one.failed, one.run.counts, one.wait.counts)
                for one in figures.tasks]  # fmt: skip
        return sorted(rows, key=lambda row: row[:2])

    travelled = [decode(one.encode()) for one in many]
    whole = added(travelled)
    assert totals(whole) == totals(added(reversed(many))) == totals(added([added(many[:2]), added(many[2:])]))
    assert whole.trouble == added(reversed(many)).trouble


@given(st.lists(st.floats(0, 4000), max_size=50))
def test_a_bucket_counts_what_is_not_above_its_bound(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    for place, bound in enumerate(BOUNDS_S):
        assert sum(histogram.counts[: place + 1]) == sum(value <= bound for value in values)
    assert sum(histogram.counts) == len(values)
