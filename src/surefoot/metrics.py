"""Prometheus: what workers counted, and what the store holds, as collectors for any registry and as a page of text.

Names follow its conventions (https://prometheus.io/docs/practices/naming/). No job id is ever a label.
"""

from collections.abc import Iterator, Mapping
from typing import Final

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    from prometheus_client.registry import Collector
except ImportError as _why:
    raise ImportError("surefoot.metrics needs the client of Prometheus: pip install surefoot[metrics]") from _why

from surefoot.client.queue import Queue
from surefoot.core.errors import StoreUnavailable
from surefoot.engine.meter import BOUNDS_S, Figures, Histogram, Meter
from surefoot.health import Page

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily

_STATES: Final = ("scheduled", "pending", "parked", "processing", "dead")


class WorkerMetrics(Meter, Collector):
    """Counts what a worker does: `Worker(..., on_event=metrics)` and `registry.register(metrics)`.

    `surefoot worker --health` has this built in.
    """

    def collect(self) -> Iterator[Family]:
        """The figures so far; asked for by the registry."""
        return _families(self.figures())


class StoreMetrics(Collector):
    """What is in the store: each scrape asks it, with two calls a queue and none in between."""

    def __init__(self, *queues: Queue) -> None:
        self._queues = queues

    def collect(self) -> Iterator[Family]:
        """Ask the store; a queue whose store does not answer has `surefoot_queue_up` 0 and nothing else."""
        up = GaugeMetricFamily("surefoot_queue_up", "Whether the store answered for this queue.", labels=["queue"])
        jobs = GaugeMetricFamily("surefoot_queue_jobs", "Jobs in the queue by state.", labels=["queue", "state"])
        oldest = GaugeMetricFamily(
            "surefoot_queue_oldest_age_seconds", "Age of the oldest pending job; 0 if none waits.", labels=["queue"]
        )
        paused = GaugeMetricFamily("surefoot_queue_paused", "1 while the queue is paused.", labels=["queue"])
        workers = GaugeMetricFamily("surefoot_queue_workers", "Workers alive on this queue.", labels=["queue"])
        slots = GaugeMetricFamily(
            "surefoot_worker_slots", "Slots of the workers alive on this queue.", labels=["queue", "state"]
        )
        for queue in self._queues:
            try:
                stats, alive = queue.stats_sync(), queue.workers_sync()
            except StoreUnavailable:
                up.add_metric([queue.name], 0)
                continue
            up.add_metric([queue.name], 1)
            for state in _STATES:
                jobs.add_metric([queue.name, state], getattr(stats, state))
            oldest.add_metric([queue.name], stats.oldest_pending or 0)
            paused.add_metric([queue.name], stats.paused is not None)
            workers.add_metric([queue.name], stats.workers)
            busy = sum(one.running for one in alive)
            slots.add_metric([queue.name, "busy"], busy)
            slots.add_metric([queue.name, "free"], max(0, sum(one.concurrency for one in alive) - busy))
        yield from (up, jobs, oldest, paused, workers, slots)

    def describe(self) -> Iterator[Family]:
        """Nothing: to be registered asks the store nothing."""
        return iter(())


def page_of(figures: Figures) -> Page:
    """The figures of workers as an answer to a scrape."""

    class Once(Collector):
        def collect(self) -> Iterator[Family]:
            return _families(figures)

    return page(Once())


def page(*collectors: Collector) -> Page:
    """What these collect, as an answer to a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    for one in collectors:
        registry.register(one)
    return 200, CONTENT_TYPE_LATEST, generate_latest(registry)


def _families(figures: Figures) -> Iterator[Family]:
    task = ["queue", "task"]
    settled = CounterMetricFamily(
        "surefoot_jobs_settled", "Runs and other ends of jobs, by what became of the job.", labels=[*task, "outcome"]
    )
    failed = CounterMetricFamily(
        "surefoot_attempts_failed", "Runs that raised, timed out, or took their process with them.",
        labels=[*task, "kind"],
    )  # fmt: skip
    lost = CounterMetricFamily("surefoot_leases_lost", "Runs whose job another worker had by then.", labels=task)
    run = HistogramMetricFamily("surefoot_job_duration_seconds", "Time from a run's start to its end.", labels=task)
    wait = HistogramMetricFamily(
        "surefoot_job_wait_seconds", "Time from when a job was due to the start of its first run.", labels=task
    )
    trouble = CounterMetricFamily(
        "surefoot_worker_trouble", "Event loops blocked, threads stuck, worker processes that died.", labels=["kind"]
    )
    for one in figures.tasks:
        names = [one.queue, one.task]
        for outcome, number in one.settled.items():
            settled.add_metric([*names, outcome], number)
        for kind, number in one.failed.items():
            failed.add_metric([*names, kind], number)
        lost.add_metric(names, one.settled.get("lease_lost", 0))
        run.add_metric(names, _buckets(one.run), one.run.sum)
        wait.add_metric(names, _buckets(one.wait), one.wait.sum)
    for kind, number in _all_kinds(figures.trouble).items():
        trouble.add_metric([kind], number)
    yield from (settled, failed, lost, run, wait, trouble, _build_info())


def _all_kinds(trouble: Mapping[str, int]) -> dict[str, int]:
    """Those that did not happen too: an alert on a counter needs to see it at 0 before."""
    return dict.fromkeys(("loop_blocked", "thread_stuck", "worker_died"), 0) | dict(trouble)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    total, buckets = 0, []
    for bound, number in zip((*map(str, BOUNDS_S), "+Inf"), histogram.counts, strict=True):
        total += number
        buckets.append((bound, float(total)))
    return buckets


def _build_info() -> GaugeMetricFamily:
    from importlib.metadata import version

    info = GaugeMetricFamily("surefoot_build_info", "1; the version is its label.", labels=["version"])
    info.add_metric([version("surefoot")], 1)
    return info
