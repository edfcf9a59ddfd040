"""The outside witness: a file with one line for each start and each end of a run. It asks the queue nothing.

Written by the worker processes, read by the story.
"""

import asyncio
import os
from collections import defaultdict
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from surefoot import CallNext, JobContext, clock

Ending: TypeAlias = Literal["returned", "raised", "stopped"]
"""How a run ended; stopped: by its timeout, or by a worker that had to leave."""


class Line(msgspec.Struct, frozen=True, array_like=True):
    """One thing that a worker process saw."""

    word: Literal["started"] | Ending
    job: str
    attempt: int
    pid: int
    at_ms: int


class Run(msgspec.Struct, frozen=True):
    """One run of a job. No ending: it is still going, or its process died."""

    attempt: int
    pid: int
    started_ms: int
    ending: Ending | None = None
    ended_ms: int | None = None


class Ledger:
    """Appends what happens to runs to one file. Each line is one write, so that processes do not mix theirs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def witness(self, job: JobContext, call_next: CallNext) -> object:
        """Middleware: writes down the start and the end of every run."""
        self._write("started", job)
        try:
            result = await call_next()
        except asyncio.CancelledError:
            self._write("stopped", job)
            raise
        except BaseException:
            self._write("raised", job)
            raise
        self._write("returned", job)
        return result

    def runs(self) -> dict[str, list[Run]]:
        """The runs of each job so far, in the order in which they began."""
        found: dict[str, list[Run]] = defaultdict(list)
        for text in self._path.read_bytes().splitlines():
            line = _decoder.decode(text)
            runs = found[line.job]
            if line.word == "started":
                runs.append(Run(line.attempt, line.pid, line.at_ms))
                continue
            # Two runs of a job can overlap: an ending belongs to the run of its own process.
            at = next(
                at
                for at, run in enumerate(runs)
                if (run.attempt, run.pid, run.ending) == (line.attempt, line.pid, None)
            )
            runs[at] = msgspec.structs.replace(runs[at], ending=line.word, ended_ms=line.at_ms)
        return found

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)

    def _write(self, word: Literal["started"] | Ending, job: JobContext) -> None:
        line = Line(word, job.id, job.attempt, os.getpid(), clock.wall_ms())
        os.write(self._file, msgspec.json.encode(line) + b"\n")


_decoder: Final = msgspec.json.Decoder(Line)
