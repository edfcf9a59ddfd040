"""The worker processes of the story: started, killed and stopped by their own pid, each with a log file."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

COMMAND = (sys.executable, "-m", "surefoot.cli.demo.app")
FAREWELL_S = 10.0


class Crew:
    """Starts workers, remembers how each was told to leave. Each has a session of its own: Ctrl-C reaches only us."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._started = 0
        self.killed: set[int] = set()
        self.drained: set[int] = set()

    @property
    def pids(self) -> list[int]:
        """The processes that should be alive."""
        return list(self._running)

    async def start(self) -> int:
        """One more worker; returns its pid at once, long before it serves."""
        self._started += 1
        with (self._folder / f"worker-{self._started}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                cwd=self._folder,  # nothing in the user's folder may stand before a module that a worker imports
                env=self._environment,
                stdin=asyncio.subprocess.PIPE,  # never written to: see leave_when_alone
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running[process.pid] = process
        return process.pid

    def check(self) -> str | None:
        """A sentence about a worker that left although nobody told it to, or None."""
        for pid, process in self._running.items():
            if process.returncode is not None:
                return f"worker {pid} left by itself, exit code {process.returncode}"
        return None

    async def kill(self, pid: int) -> int:
        """SIGKILL: the process gets no chance to say anything. Returns its exit code."""
        self.killed.add(pid)
        return await self._send(pid, signal.SIGKILL)

    async def drain(self, pid: int) -> int:
        """SIGTERM: the worker finishes what it can and hands back the rest. Returns its exit code."""
        self.drained.add(pid)
        return await self._send(pid, signal.SIGTERM)

    async def close(self) -> None:
        """Leave no process behind, whatever happened: SIGTERM, and SIGKILL for those that do not go."""
        await asyncio.gather(*(self._dismiss(pid) for pid in self.pids))

    async def _dismiss(self, pid: int) -> None:
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self.drain(pid)
        except TimeoutError:
            await self.kill(pid)

    async def _send(self, pid: int, number: signal.Signals) -> int:
        process = self._running[pid]
        if process.returncode is None:
            process.send_signal(number)
        code = await process.wait()
        del self._running[pid]
        return code


def leave_when_alone() -> None:
    """In a worker: drain when the process that started it is gone, however that ended. Its end of our stdin closes."""

    def listen() -> None:
        os.read(sys.stdin.fileno(), 1)  # below Python's own buffer, whose lock an exit would wait for
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=listen, name="lifeline", daemon=True).start()
