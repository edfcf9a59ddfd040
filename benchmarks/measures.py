"""The measurements: each takes a contender and a row's options, works on a fresh store, and gives its figures.

What ran is counted outside the queue: every number exactly once, or the figures say how many were lost or doubled.
"""

import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import stores
from benchmarks.contenders import Contender, Crew, cpu_s
from benchmarks.stores import Store

Figures = dict[str, Any]
SETTLE_S = 0.5
WAITS_S = 2.0


@contextmanager
def ground(contender: Contender, options: dict[str, Any]) -> Iterator[tuple[Store, Crew]]:
    """A fresh store and the contender's processes on it, perhaps with a proxy between."""
    known = {name: options[name] for name in ("at_once", "how", "job", "text", "processes") if name in options}
    with stores.opened(contender.store) as store, tempfile.TemporaryDirectory() as folder:
        if "delay_ms" not in options:
            yield store, Crew(contender, store.url, Path(folder), **known)
            return
        from tests.faults.proxy import Proxy

        assert isinstance(store, stores.Valkey)
        with Proxy(store.server.port) as proxy:
            proxy.latency(options["delay_ms"] / 2000)  # once on the way there, once on the way back
            yield store, Crew(contender, f"{proxy.url()}/0", Path(folder), **known)


def counted(numbers: Sequence[int], jobs: int) -> Figures:
    """Whether each of the numbers 0 to jobs - 1 ran exactly once."""
    runs = Counter(numbers)
    return {"lost": sum(n not in runs for n in range(jobs)), "doubled": sum(runs.values()) - len(runs)}


def spread(values_ms: Sequence[float], prefix: str = "") -> Figures:
    """p50, p99 and max."""
    ordered = sorted(values_ms)
    return {
        f"{prefix}p50_ms": statistics.median(ordered),
        f"{prefix}p99_ms": ordered[max(0, math.ceil(0.99 * len(ordered)) - 1)],
        f"{prefix}max_ms": ordered[-1],
    }


def served(contender: Contender, before: stores.Figures, after: stores.Figures, over: float) -> Figures:
    """What the server did for each of `over` (jobs, or seconds), as far as this kind of store counts it."""
    found: Figures = {}
    if contender.store != "sqlite":
        found["server_us"] = (after.cpu_s - before.cpu_s) / over * 1e6
    if contender.store == "valkey":
        found["commands"] = (after.commands - before.commands) / over
        found["round_trips"] = (after.reads - before.reads) / over
    return found


def drain(contender: Contender, options: dict[str, Any], jobs: int) -> Figures:
    """Jobs a second from the first run to the last, all stored before the worker starts; what a job costs."""
    with ground(contender, options) as (store, crew):
        if ballast := options.get("ballast"):
            crew.ask("ballast", *ballast, seconds=1_800)
        crew.ask("fill", jobs)
        before = store.figures()
        with crew.working() as worker:
            crew.ran(1, worker)
            cpu_before = cpu_s(worker)
            crew.ran(jobs, worker)
            cpu = cpu_s(worker) - cpu_before
            time.sleep(SETTLE_S)
            after = store.figures()
        rows = crew.rows()
        seconds = (max(rows[1::2]) - min(rows[1::2])) / 1e9
        return {
            "rate": (jobs - 1) / seconds,
            **counted(rows[::2], jobs),
            "left": store.left(),
            "worker_us": cpu / jobs * 1e6,
            **served(contender, before, after, jobs),
        }


def enqueue(contender: Contender, options: dict[str, Any], jobs: int) -> Figures:
    """Jobs a second into the store; then a worker shows that each is there once."""
    with ground(contender, options) as (store, crew):
        answer = crew.ask("enqueue", options["form"], jobs)
        if "cannot" in answer:
            return answer
        held = store.left()
        with crew.working() as worker:
            crew.ran(jobs, worker)
            time.sleep(SETTLE_S)
        return {"rate": jobs / answer["seconds"], "left": held, **counted(crew.rows()[::2], jobs)}


@contextmanager
def awake(contender: Contender, options: dict[str, Any]) -> Iterator[tuple[Store, Crew, Any]]:
    """A worker that has run a job and now waits; that job is in the ledger, as its first row."""
    with ground(contender, options) as (store, crew):
        crew.ask("fill", 1)
        with crew.working() as worker:
            crew.ran(1, worker)
            time.sleep(WAITS_S)
            yield store, crew, worker


def latency(contender: Contender, options: dict[str, Any], jobs: int) -> Figures:
    """Milliseconds from the enqueue to the start of the run, at a fixed rate; the producer waits for nobody."""
    with awake(contender, options) as (_, crew, worker):
        moments = crew.ask("send", jobs, options["rate"])["moments"]
        crew.ran(jobs + 1, worker)
        rows = crew.rows()[2:]
    started = dict(zip(rows[::2], rows[1::2], strict=True))
    late = [(started[n] - moment) / 1e6 for n, moment in enumerate(moments)]
    return {**spread(late), **counted(rows[::2], jobs)}


def lateness(contender: Contender, options: dict[str, Any], jobs: int) -> Figures:
    """Milliseconds from a delayed job's time to the start of its run. `over_s` 0: all are due at one instant."""
    with awake(contender, options) as (_, crew, worker):
        moments = crew.ask("delay", jobs, options["first_s"], options["over_s"])["moments"]
        crew.ran(jobs + 1, worker)
        rows = crew.rows()[2:]
    started = dict(zip(rows[::2], rows[1::2], strict=True))
    late = [(started[n] - moment) / 1e6 for n, moment in enumerate(moments)]
    return {**spread(late), **counted(rows[::2], jobs), "early": sum(ms < -1 for ms in late)}


def memory(contender: Contender, options: dict[str, Any], jobs: int) -> Figures:
    """Bytes of the store for one pending job, its arguments 200 bytes of JSON."""
    with ground(contender, options) as (store, crew):
        crew.ask("fill", 1)
        time.sleep(SETTLE_S)
        before = store.figures().bytes
        crew.ask("fill", jobs)
        time.sleep(SETTLE_S)
        return {"bytes": (store.figures().bytes - before) / jobs, "left": store.left()}


def idle(contender: Contender, options: dict[str, Any], jobs: int) -> Figures:
    """What a worker with nothing to do asks of the store and of the processor. `jobs`: for so many seconds."""
    with awake(contender, options) as (store, _, worker):
        before, cpu_before, begun = store.figures(), cpu_s(worker), time.monotonic()
        time.sleep(jobs)
        after, cpu, seconds = store.figures(), cpu_s(worker) - cpu_before, time.monotonic() - begun
    found = served(contender, before, after, seconds)
    if "commands" in found:
        found["commands"] -= 1 / seconds  # our own question
    if "server_us" in found:
        found["server_percent"] = found.pop("server_us") / 1e4
    return {**found, "worker_percent": 100 * cpu / seconds}


def startup(contender: Contender, options: dict[str, Any], jobs: int) -> Figures:
    """Seconds from the start of a worker's process to its first job, over what an empty Python or Node takes."""
    with ground(contender, options) as (_, crew):
        crew.ask("fill", 1)
        empty = ["node", "-e", "0"] if contender.on_node else [crew.command()[0], "-c", "pass"]
        begun = time.monotonic_ns()
        subprocess.run(empty, check=True)
        bare_s = (time.monotonic_ns() - begun) / 1e9
        begun = time.monotonic_ns()
        with crew.working() as worker:
            crew.ran(1, worker)
        return {"seconds": (crew.rows()[1] - begun) / 1e9 - bare_s, "empty_s": bare_s}


def bare(contender: Contender, options: dict[str, Any], jobs: int) -> Figures:
    """Jobs a second of this queue or of the bare loop, both measured by the same few lines in a fresh process."""
    store = "sqlite" if contender.store == "sqlite" else "redis"
    who = options["who"]
    words = options.get("bare", options["words"]) if who == "bare" else options["words"]
    command = [sys.executable, "-m", "benchmarks.one", who, store, options["what"], *words, "--jobs", str(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=stores.ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr}")
    return {"rate": float(done.stdout)}


MEASURES: dict[str, Callable[[Contender, dict[str, Any], int], Figures]] = {
    measure.__name__: measure for measure in (drain, enqueue, latency, lateness, memory, idle, startup, bare)
}
