"""One command, one table: this queue beside the bare loop, interleaved rounds, medians, ratios first.

python benchmarks/bench.py [--rounds 5]
"""

import argparse
import platform
import sqlite3
import statistics
import subprocess
import sys
from pathlib import Path

ROWS: tuple[tuple[str, str, list[str]], ...] = (
    ("drain, coroutines, 100 at once", "drain", ["--at-once", "100", "--jobs", "30000"]),
    ("drain, coroutines, 10 at once", "drain", ["--at-once", "10", "--jobs", "12000"]),
    ("drain, coroutines, 1 at once", "drain", ["--at-once", "1", "--jobs", "2000"]),
    ("enqueue, 500 a call", "enqueue", ["--how", "many", "--jobs", "50000"]),
    ("enqueue, 100 awaited together", "enqueue", ["--how", "together", "--jobs", "30000"]),
    ("enqueue, one by one", "enqueue", ["--how", "one", "--jobs", "3000"]),
)
AGAINST_FIRST: tuple[tuple[str, list[str]], ...] = (
    ("drain, plain functions in threads, 100 at once", ["--how", "thread", "--jobs", "30000"]),
    ("drain, a result kept for every job, 100 at once", ["--keep", "300", "--jobs", "30000"]),
)
"""Rows that the bare loop has no form of: compared with its coroutines, 100 at once."""


def rate(who: str, what: str, options: list[str]) -> float:
    """Jobs a second of one fresh process."""
    command = [sys.executable, "-m", "benchmarks.one", who, what, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent)
    if done.returncode:
        sys.exit(f"{' '.join(command[1:])} failed:\n{done.stderr}")
    return float(done.stdout)


def line(name: str, bare: list[float], ours: list[float]) -> str:
    """One row: the median of the rounds' ratios with its spread, and the medians behind it."""
    ratios = sorted(mine / theirs for mine, theirs in zip(ours, bare, strict=True))
    spread = f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
    ratio = statistics.median(ratios)
    return f"{name:<50}{ratio:>6.2f}  {spread:<16}{statistics.median(ours):>10,.0f}{statistics.median(bare):>12,.0f}"


def main() -> None:
    """Run all rows in interleaved rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, WAL, synchronous=FULL, {rounds} rounds\n"
    )
    print(f"{'':<50}{'ratio':>6}  {'(spread)':<16}{'jobs/s':>10}{'bare loop':>12}")
    for name, what, options in ROWS:
        bare, ours = [], []
        for _ in range(rounds):
            bare.append(rate("bare", what, options))
            ours.append(rate("ours", what, options))
        print(line(name, bare, ours), flush=True)
    for name, options in AGAINST_FIRST:
        bare, ours = [], []
        for _ in range(rounds):
            bare.append(rate("bare", "drain", ROWS[0][2]))
            ours.append(rate("ours", "drain", options))
        print(line(name, bare, ours), flush=True)


if __name__ == "__main__":
    main()
