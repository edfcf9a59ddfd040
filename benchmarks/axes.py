"""What is measured: the rows of the table by axis, with the number of jobs and of rounds. Data only; runs nothing."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from benchmarks.contenders import CONTENDERS, OURS

VALKEY = ("surefoot-valkey",)
ROUNDS = 3


class Row(NamedTuple):
    """One line of the table.

    `jobs`: how many for a contender that drains 40,000 a second; slower ones get fewer, down to `least`.
    `figure`: what is compared; `better`: more or less of it. `variants`: this queue against itself, in place of peers:
    the options of each beside the common ones; the ratio is to the first.
    """

    name: str
    title: str
    measure: str
    options: dict[str, Any]
    jobs: int
    figure: str = "rate"
    better: str = "more"
    least: int = 1_000
    peers: bool = True
    ours: tuple[str, ...] = OURS
    variants: Mapping[str, dict[str, Any]] = MappingProxyType({})
    fixed: bool = False
    """The number of jobs does not depend on who runs them."""


class Axis(NamedTuple):
    """Rows that answer one question."""

    name: str
    title: str
    rows: tuple[Row, ...]
    rounds: int = ROUNDS
    unit: str = "jobs/s"
    columns: tuple[tuple[str, str], ...] = ()
    """Further figures for the table: name and title."""


def _drain(name: str, title: str, jobs: int, **options: Any) -> Row:
    known = {name: options.pop(name) for name in tuple(options) if name in Row._fields}
    return Row(name, title, "drain", {"at_once": 100, "how": "loop", **options}, jobs, **known)


def _bare(name: str, title: str, what: str, words: str, sqlite: int, redis: int, bare: str | None = None) -> Row:
    options: dict[str, Any] = {"what": what, "words": words.split(), "sqlite": sqlite, "valkey": redis}
    if bare is not None:
        options["bare"] = bare.split()
    variants = {"bare": {"who": "bare"}, "ours": {"who": "ours"}}
    return Row(name, title, "bare", options, 0, peers=False, variants=variants, fixed=True)


HUNDRED = "--at-once 100"
COSTS = (
    ("worker_us", "worker, µs CPU a job"), ("server_us", "server, µs CPU a job"), ("round_trips", "round trips a job"),
    ("commands", "commands a job"),
)  # fmt: skip
TAIL = (("p50_ms", "p50, ms"), ("p99_ms", "p99, ms"), ("max_ms", "max, ms"))
BARE = Axis(
    "bare",
    "Beside the bare loop",
    (
        _bare("drain-100", "drain, coroutines, 100 at once", "drain", HUNDRED, 20_000, 20_000),
        _bare("drain-10", "drain, coroutines, 10 at once", "drain", "--at-once 10", 8_000, 8_000),
        _bare("drain-1", "drain, coroutines, 1 at once", "drain", "--at-once 1", 1_500, 2_000),
        _bare(
            "threads", "drain, plain functions in threads, 100 at once", "drain", f"{HUNDRED} --how thread",
            20_000, 20_000, bare=HUNDRED,
        ),
        _bare(
            "results", "drain, a result kept for every job, 100 at once", "drain", f"{HUNDRED} --keep 300",
            20_000, 20_000, bare=HUNDRED,
        ),
        _bare("enqueue-many", "enqueue, 500 a call", "enqueue", "--how many", 40_000, 40_000),
        _bare("enqueue-together", "enqueue, 100 awaited together", "enqueue", "--how together", 20_000, 20_000),
        _bare("enqueue-one", "enqueue, one by one", "enqueue", "--how one", 2_000, 4_000),
    ),
    rounds=5,
)  # fmt: skip

DRAIN = Axis(
    "drain",
    "Drain: no-op jobs that wait already",
    (
        _drain("drain-100", "100 at once", 60_000),
        _drain("drain-10", "10 at once", 20_000, at_once=10),
        _drain("drain-1", "1 at once", 4_000, at_once=1),
    ),
    columns=COSTS,
)
LANES = Axis(
    "lanes",
    "Plain functions, processes, jobs that wait",
    (
        _drain("threads-100", "plain functions in threads, 100 at once", 40_000, how="thread"),
        _drain("processes", "plain functions in 2 child processes", 10_000, how="process", at_once=20, peers=False),
        _drain("io", "jobs that wait 10 ms, 100 at once", 20_000, job="io", peers=False),
    ),
    columns=COSTS,
)
RESULTS = Axis(
    "results", "A result kept for each job", (_drain("kept-100", "100 at once", 40_000, job="kept"),), columns=COSTS
)
RETRIES = Axis(
    "retries",
    "One job in ten fails once",
    (_drain("flaky-100", "100 at once", 30_000, job="flaky", peers=False),),
    columns=COSTS,
)
ENQUEUE = Axis(
    "enqueue",
    "Enqueue",
    (
        Row("one", "awaited one by one", "enqueue", {"form": "one", "at_once": 10, "how": "loop"}, 8_000),
        Row("together", "100 awaited together", "enqueue", {"form": "together", "at_once": 10, "how": "loop"}, 40_000),
        Row("many", "500 a call", "enqueue", {"form": "many", "at_once": 10, "how": "loop"}, 60_000),
        Row("sync", "blocking, one by one", "enqueue", {"form": "sync", "at_once": 10, "how": "loop"}, 8_000),
    ),
)
LATENCY = Axis(
    "latency",
    "From enqueue to start",
    (
        Row(
            "latency-100", "100 a second, p50", "latency", {"rate": 100, "at_once": 10, "how": "loop"}, 1_000, "p50_ms",
            "less", fixed=True,
        ),
        Row(
            "latency-1000", "1,000 a second, p50", "latency", {"rate": 1_000, "at_once": 100, "how": "loop"}, 5_000,
            "p50_ms", "less", peers=False, fixed=True,
        ),
    ),
    unit="ms",
    rounds=2,
    columns=TAIL,
)  # fmt: skip
DELAYED = Axis(
    "delayed",
    "How late delayed jobs start",
    (
        Row(
            "spread", "400 jobs over 10 s", "lateness", {"first_s": 3, "over_s": 10, "at_once": 100}, 400, "p50_ms",
            "less", peers=False, fixed=True,
        ),
        Row(
            "instant", "2,000 due at one instant", "lateness", {"first_s": 3, "over_s": 0, "at_once": 100}, 2_000,
            "max_ms", "less", peers=False, fixed=True,
        ),
    ),
    unit="ms",
    rounds=2,
    columns=TAIL,
)  # fmt: skip
MEMORY = Axis(
    "memory",
    "Memory of a pending job, 200 bytes of arguments",
    (Row("memory", "bytes a job", "memory", {"text": "x" * 178}, 5_000, "bytes", "less", fixed=True),),
    rounds=1,
    unit="bytes",
)
IDLE = Axis(
    "idle",
    "An idle worker",
    (
        Row("idle", "nothing to do", "idle", {"at_once": 10, "how": "loop"}, 20, "commands", "less", fixed=True),
    ),
    rounds=1,
    unit="commands a second",
    columns=(("worker_percent", "worker, % CPU"), ("server_percent", "server, % CPU")),
)  # fmt: skip
STARTUP = Axis(
    "startup",
    "From the worker's start to its first job",
    (Row("startup", "over an empty Python or Node", "startup", {"at_once": 10, "how": "loop"}, 1, "seconds", "less",
         fixed=True),),
    unit="s",
)  # fmt: skip
GROWTH = Axis(
    "growth",
    "With a full store beside it",
    (
        _drain(
            "growth", "drain, 100 at once", 20_000, peers=False, fixed=True,
            variants={
                "empty": {},
                "100,000 scheduled": {"ballast": (0, 100_000, 0, 0)},
                "100,000 dead": {"ballast": (0, 0, 100_000, 0)},
                "10,000 leases": {"ballast": (0, 0, 0, 10_000)},
                "1,000,000 pending and all of these": {"ballast": (1_000_000, 100_000, 100_000, 10_000)},
            },
        ),
    ),
    rounds=1,
)  # fmt: skip
PROCESSES = Axis(
    "processes",
    "Worker processes",
    (
        _drain(
            "workers", "drain, 100 at once each", 60_000, peers=False, fixed=True,
            variants={f"{many} processes" if many > 1 else "1 process": {"processes": many} for many in (1, 2, 4)},
        ),
    ),
    rounds=2,
    columns=COSTS,
)  # fmt: skip
NETWORK = Axis(
    "network",
    "A network between",
    tuple(
        _drain(
            f"network-{at_once}", f"drain, {at_once} at once, through a proxy", jobs, peers=False, fixed=True,
            ours=VALKEY, at_once=at_once, variants={"no delay": {"delay_ms": 0}, "1 ms both ways": {"delay_ms": 1}},
        )
        for at_once, jobs in ((100, 20_000), (10, 5_000), (1, 1_000))
    ),
    rounds=2,
    columns=COSTS[2:3],
)  # fmt: skip
MACHINE = Axis(
    "machine",
    "What this machine can",
    (
        Row("machine", "limits", "machine", {}, 0, "value", peers=False, ours=("machine",), fixed=True),
    ),
)  # fmt: skip

AXES = {
    axis.name: axis
    for axis in (
        MACHINE, BARE, DRAIN, LANES, RESULTS, RETRIES, ENQUEUE, LATENCY, DELAYED, MEMORY, IDLE, STARTUP, GROWTH,
        PROCESSES, NETWORK,
    )
}  # fmt: skip


class Run(NamedTuple):
    """One measurement: a row, who, which variant of it, and with what options and how many jobs."""

    axis: str
    row: Row
    who: str
    variant: str
    options: dict[str, Any]
    jobs: int
    cannot: str = ""
    note: str = ""


def runs_of(axis: Axis, row: Row, *, peers: bool, share: float = 1.0) -> list[Run]:
    """All measurements of a row in one round, in the order in which they are made. `share`: of the jobs, to try it."""
    if row.measure == "machine":
        return [Run(axis.name, row, "machine", "", {}, 0)]
    found = []
    for name, contender in CONTENDERS.items():
        if not (name in row.ours or (peers and row.peers and name not in OURS)):
            continue
        for variant, more in (row.variants or {"": {}}).items():
            options = {**row.options, **more}
            jobs = _jobs(row, options, name, share)
            if share < 1 and "ballast" in options:
                options["ballast"] = tuple(int(many * share * share) for many in options["ballast"])
            if share < 1 and options.get("over_s"):
                options["over_s"] = 1
            cannot, note = "", contender.note
            for word in [f"{option}={value}" for option, value in options.items()]:
                if reason := contender.cannot.get(word):
                    if word == "how=loop":
                        options["how"] = "thread"
                        note = "; ".join(filter(None, [reason, note])) if row.measure == "drain" else note
                    else:
                        cannot = reason
            found.append(Run(axis.name, row, name, variant, options, jobs, cannot, note))
    return found


def _jobs(row: Row, options: dict[str, Any], name: str, share: float) -> int:
    contender = CONTENDERS[name]
    jobs = options[contender.store] if row.measure == "bare" else row.jobs
    if not row.fixed:
        jobs = int(jobs * min(1.0, contender.pace / 40_000 * (1.5 if name not in OURS else 1)))
        jobs = max(row.least, jobs)
    if share < 1 and row.measure != "startup":
        jobs = 3 if row.measure == "idle" else max(50, int(jobs * share))
    return jobs
