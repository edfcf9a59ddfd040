"""What every adapter shares: the commands, the ledger of runs, the clocks. Runs in the environment of each queue, so it
knows the standard library alone.

python benchmarks/peers/NAME.py versions | fill N | enqueue FORM N | work | send N RATE
"""

import asyncio
import json
import os
import platform
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

URL = os.environ.get("BENCH_URL", "")
LEDGER = os.environ.get("BENCH_LEDGER", os.devnull)
AT_ONCE = int(os.environ.get("BENCH_AT_ONCE", "100"))
PROCESSES = int(os.environ.get("BENCH_PROCESSES", "1"))
HOW = os.environ.get("BENCH_HOW", "loop")
"""loop: coroutines; thread: plain functions in threads; process: plain functions in child processes."""
JOB = os.environ.get("BENCH_JOB", "noop")
"""noop; kept: its result is kept; io: waits 10 ms; flaky: one in ten fails once."""
TEXT = os.environ.get("BENCH_TEXT") or "user@example.com"
IO_S = 0.01
BATCH = 500
TOGETHER = 100
LATE_NS = 2_000_000
_ROW = struct.Struct("<qq")
_FLUSH_S = 0.02


class Ledger:
    """Writes down number and moment of each run, in memory first: 16 bytes a run reach the file within 20 ms.

    `direct`: each at once, for processes that end without notice.
    """

    def __init__(self, path: str, *, direct: bool = False) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._direct = direct
        self._rows: list[tuple[int, int]] = []
        self._flushes = False
        os.register_at_fork(after_in_child=self._forked)

    def note(self, n: int) -> None:
        """Job n runs."""
        now = time.monotonic_ns()
        if self._direct:
            os.write(self._file, _ROW.pack(n, now))
            return
        self._rows.append((n, now))
        if not self._flushes:
            self._flushes = True
            threading.Thread(target=self._flush, daemon=True).start()

    def _flush(self) -> None:
        written = 0
        while True:
            time.sleep(_FLUSH_S)
            rows = self._rows[written:]  # nothing is ever taken out: whoever appends meanwhile loses nothing
            written += len(rows)
            os.write(self._file, b"".join([_ROW.pack(*row) for row in rows]))

    def _forked(self) -> None:
        self._rows, self._flushes = [], False


class Cannot(Exception):
    """What this queue does not have, in words for the table."""


class Peer:
    """One queue as the bench sees it. An adapter overrides what its queue can do."""

    packages: tuple[str, ...] = ()

    # --- blocking producers ---

    def put(self, n: int) -> None:
        """Enqueue one job."""
        raise Cannot("no blocking enqueue")

    def put_many(self, numbers: Sequence[int]) -> None:
        """Enqueue a list in one call."""
        raise Cannot("no bulk enqueue")

    # --- awaited producers ---

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect."""

    async def aput(self, n: int) -> None:
        """Enqueue one job."""
        raise Cannot("no awaited enqueue")

    async def aput_many(self, numbers: Sequence[int]) -> None:
        """Enqueue a list in one call."""
        raise Cannot("no bulk enqueue")

    # --- the worker ---

    def work(self) -> None:
        """Run this queue's own worker in this process until it is told to stop."""
        raise NotImplementedError  # abstract: every contender has its own

    # --- what the commands come to ---

    def has(self, name: str) -> bool:
        """Whether the adapter has a form of its own."""
        return getattr(type(self), name) is not getattr(Peer, name)

    def fill(self, numbers: Sequence[int]) -> None:
        """Store jobs the quickest way there is."""
        form = "many" if self.has("aput_many") or self.has("put_many") else "together" if self.has("aput") else "sync"
        self.timed(form, numbers)

    def timed(self, form: str, numbers: Sequence[int]) -> float:
        """Seconds to enqueue: `one` by one, 100 `together`, 500 a call (`many`), or blocking (`sync`)."""
        if form == "sync" or (form == "many" and not self.has("aput_many")):
            return self._blocking(self._put_all if form == "sync" else self._put_batches, numbers)
        if not self.has("aput"):
            raise Cannot("no awaited enqueue")
        return asyncio.run(
            self._awaited({"one": self._one, "together": self._together, "many": self._many}[form], numbers)
        )

    def _blocking(self, put: Callable[[Sequence[int]], None], numbers: Sequence[int]) -> float:
        begun = time.perf_counter()
        put(numbers)
        return time.perf_counter() - begun

    def _put_all(self, numbers: Sequence[int]) -> None:
        for n in numbers:
            self.put(n)

    def _put_batches(self, numbers: Sequence[int]) -> None:
        for start in range(0, len(numbers), BATCH):
            self.put_many(numbers[start : start + BATCH])

    async def _awaited(self, put: "Callable[[Sequence[int]], object]", numbers: Sequence[int]) -> float:
        await self.open()
        try:
            begun = time.perf_counter()
            await put(numbers)  # type: ignore[misc]  # each contender says what its own put gives; all are awaitable
            return time.perf_counter() - begun
        finally:
            await self.close()

    async def _one(self, numbers: Sequence[int]) -> None:
        for n in numbers:
            await self.aput(n)

    async def _together(self, numbers: Sequence[int]) -> None:
        waiting = iter(numbers)

        async def client() -> None:
            for n in waiting:
                await self.aput(n)

        await asyncio.gather(*(client() for _ in range(TOGETHER)))

    async def _many(self, numbers: Sequence[int]) -> None:
        for start in range(0, len(numbers), BATCH):
            await self.aput_many(numbers[start : start + BATCH])

    # --- an open loop: jobs go out by the clock, however long an answer takes ---

    def send(self, many: int, rate: float) -> list[int]:
        """Enqueue at a rate; the moment at which each job was to go out, or did, in nanoseconds.

        A job that a busy producer sends more than 2 ms late counts from the moment it was due.
        """
        if self.has("aput"):
            return asyncio.run(self._asend(many, rate))
        moments, start = [], time.monotonic_ns()
        for n in range(many):
            due = start + int(n * 1e9 / rate)
            time.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
            moments.append(_sent(due))
            self.put(n)
        return moments

    async def _asend(self, many: int, rate: float) -> list[int]:
        await self.open()
        moments, tasks, start = [], set(), time.monotonic_ns()
        for n in range(many):
            due = start + int(n * 1e9 / rate)
            await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
            moments.append(_sent(due))
            task = asyncio.ensure_future(self.aput(n))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        await self.close()
        return moments


def _sent(due: int) -> int:
    now = time.monotonic_ns()
    return due if now - due > LATE_NS else now


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of a queue and of what it stands on."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def main(peer: type[Peer]) -> None:
    """One command. Its answer is one JSON object on the last line of stdout."""
    command, *rest = sys.argv[1:]
    answer: object = {}
    try:
        if command == "versions":
            answer = versions(peer.packages)
        elif command == "work":
            peer().work()
        elif command == "fill":
            peer().fill(range(int(rest[0])))
        elif command == "enqueue":
            answer = {"seconds": peer().timed(rest[0], range(int(rest[1])))}
        elif command == "send":
            answer = {"moments": peer().send(int(rest[0]), float(rest[1]))}
        else:
            sys.exit(f"there is no command {command}")
    except Cannot as reason:
        answer = {"cannot": str(reason)}
    print(json.dumps(answer), flush=True)
