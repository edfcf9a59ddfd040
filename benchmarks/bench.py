"""One command, one table: this queue beside the bare loop on each store, interleaved rounds, medians, ratios first.

python benchmarks/bench.py [--rounds 5] [--store sqlite | redis]
"""

import argparse
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent.parent
if str(HERE) not in sys.path:  # run as a file
    sys.path.insert(0, str(HERE))

from tests import servers  # noqa: E402


class Row(NamedTuple):
    """One line of the table. `jobs`: how many, by store. `bare`: the bare loop's options, where it has no such form."""

    name: str
    what: str
    options: tuple[str, ...]
    jobs: dict[str, int]
    bare: tuple[str, ...] | None = None


HUNDRED = ("--at-once", "100")
THREADS = (*HUNDRED, "--how", "thread")
KEPT = (*HUNDRED, "--keep", "300")
MANY = {"sqlite": 20_000, "redis": 20_000}
ROWS = (
    Row("drain, coroutines, 100 at once", "drain", HUNDRED, MANY),
    Row("drain, coroutines, 10 at once", "drain", ("--at-once", "10"), {"sqlite": 8_000, "redis": 8_000}),
    Row("drain, coroutines, 1 at once", "drain", ("--at-once", "1"), {"sqlite": 1_500, "redis": 2_000}),
    Row("drain, plain functions in threads, 100 at once", "drain", THREADS, MANY, bare=HUNDRED),
    Row("drain, a result kept for every job, 100 at once", "drain", KEPT, MANY, bare=HUNDRED),
    Row("enqueue, 500 a call", "enqueue", ("--how", "many"), {"sqlite": 40_000, "redis": 40_000}),
    Row("enqueue, 100 awaited together", "enqueue", ("--how", "together"), MANY),
    Row("enqueue, one by one", "enqueue", ("--how", "one"), {"sqlite": 2_000, "redis": 4_000}),
)


def rate(who: str, store: str, row: Row) -> float:
    """Jobs a second of one fresh process."""
    options = row.bare if who == "bare" and row.bare is not None else row.options
    command = [sys.executable, "-m", "benchmarks.one", who, store, row.what, *options, "--jobs", str(row.jobs[store])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    if done.returncode:
        sys.exit(f"{' '.join(command[1:])} failed:\n{done.stderr}")
    return float(done.stdout)


def line(name: str, bare: list[float], ours: list[float]) -> str:
    """One row: the median of the rounds' ratios with its spread, and the medians behind it."""
    ratios = sorted(mine / theirs for mine, theirs in zip(ours, bare, strict=True))
    spread = f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
    ratio = statistics.median(ratios)
    return f"{name:<50}{ratio:>6.2f}  {spread:<16}{statistics.median(ours):>10,.0f}{statistics.median(bare):>12,.0f}"


def about(store: str) -> str:
    """What the store is, in a few words."""
    if store == "sqlite":
        return f"SQLite {sqlite3.sqlite_version}, WAL, synchronous=FULL"
    with tempfile.TemporaryDirectory() as folder, servers.start(Path(folder)) as server:
        name = "Valkey" if "valkey_version" in server.info() else "Redis"
        return f"{name} {server.version} on {servers.HOST}, nothing on disk"


def main() -> None:
    """Run all rows in interleaved rounds and print a table for each store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--store", choices=["sqlite", "redis"])
    args = parser.parse_args()
    for store in [args.store] if args.store else ["sqlite", "redis"]:
        print(f"\n{about(store)}; Python {platform.python_version()}, {args.rounds} rounds\n")
        print(f"{'':<50}{'ratio':>6}  {'(spread)':<16}{'jobs/s':>10}{'bare loop':>12}")
        for row in ROWS:
            bare, ours = [], []
            for _ in range(args.rounds):
                bare.append(rate("bare", store, row))
                ours.append(rate("ours", store, row))
            print(line(row.name, bare, ours), flush=True)


if __name__ == "__main__":
    main()
