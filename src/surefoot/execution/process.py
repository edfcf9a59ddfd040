"""One child process of the process lane, seen from the worker: its socket, its page, the pipe that says we live."""

import asyncio
import contextlib
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec

from surefoot import clock
from surefoot.core.outcome import Outcome
from surefoot.execution.child import BEGUN, STOPS
from surefoot.execution.context import Running, Stop
from surefoot.execution.frames import Begin, Frames, FromChild, Work, frame
from surefoot.execution.kin import kill, kill_group

LEAVE_S: Final = 3.0
"""How long a child may take to end what its lifespan began."""
_EOF_S: Final = 1.0
_READ: Final = 1 << 16
_SOURCE: Final = Path(__file__).parents[2]
_PROGRAM: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); from surefoot.execution.child import main; "
    "main(*map(int, sys.argv[1:]))"
)


class Lane(Protocol):
    """Who hears what children say, and of their deaths."""

    def heard(self, child: "Process", record: FromChild) -> bool:
        """One record; False if it comes out of turn, or cannot be understood."""
        ...

    def died(self, child: "Process", status: int) -> None:
        """It has ended; `status` as subprocess gives it."""
        ...


class Process:
    """One child: its pipe ends, its page, and the job in its hands.

    `begun`, after its death: whether the handler of that job had begun.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, lane: Lane) -> None:
        self._loop = loop
        self._lane = lane
        self._frames = Frames()
        self._unsent = bytearray()
        self.state: Literal["starting", "idle", "busy", "leaving", "dying", "gone"] = "starting"
        self.running: Running | None = None
        self.future: asyncio.Future[Outcome] | None = None
        self.ready: bool = False
        self.jobs: int = 0
        self.killed: bool = False
        self.begun: bool = False
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._socket = ours
        life, self._life = os.pipe()
        page = _page_file()
        self._page = mmap.mmap(page, mmap.PAGESIZE)
        fds = (theirs.fileno(), life, page)
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(_SOURCE), *map(str, fds)],
                pass_fds=fds, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except BaseException:
            self._close()
            raise
        finally:
            theirs.close()
            os.close(life)
            os.close(page)
        self.pid: int = self._popen.pid
        loop.add_reader(ours, self._readable)
        threading.Thread(target=self._wait, name="surefoot-child", daemon=True).start()

    def say(self, record: Begin | Work) -> None:
        """Send a record; what the socket does not take now goes later."""
        self._unsent += frame(record)
        self._writable()

    def ask(self, why: Stop | None, *, stopping: bool) -> None:
        """Write what this worker wants of the run into the page."""
        self._page[0:2] = bytes((STOPS.index(why), stopping))

    def give(self, work: Work, running: Running, future: "asyncio.Future[Outcome] | None", *, stopping: bool) -> None:
        """One job, for an idle child."""
        self.state, self.running, self.future = "busy", running, future
        self._page[BEGUN] = 0
        self.ask(None, stopping=stopping)
        self.say(work)

    def taken(self) -> tuple[Running, "asyncio.Future[Outcome] | None"] | None:
        """The job that it has, which it has no more; it is idle now unless it goes."""
        running, future = self.running, self.future
        self.running = self.future = None
        if self.state == "busy":
            self.state = "idle"
        return None if running is None else (running, future)

    def kill(self) -> None:
        """Kill it and all it started. Its death is told of later."""
        if self.state != "gone" and not self.killed:
            self.killed = True
            kill(self.pid)

    def leave(self) -> None:
        """No more jobs: it ends what its lifespan began, and goes."""
        if self.state != "gone":
            self.state = "leaving"
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            clock.call_later(self._loop, LEAVE_S, self.kill)

    def resident(self) -> int:
        """Bytes of memory that it has in use now; 0 if nobody can say."""
        import psutil

        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def _writable(self) -> None:
        waited = len(self._unsent)
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            self._loop.add_writer(self._socket, self._writable)
            return
        except OSError:  # it is dying: its death is told of later
            self._unsent.clear()
        if waited:
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        """Hear all that the socket has. One that closes its end, or says what we do not know, is of no more use."""
        records: list[FromChild] = []
        useless = False
        try:
            while data := self._socket.recv(_READ):
                for record in self._frames.feed(data):
                    records.append(record)
            useless = True
        except BlockingIOError:
            pass
        except (OSError, ValueError, msgspec.MsgspecError):
            useless = True
        for record in records:
            useless = not self._lane.heard(self, record) or useless
        if useless:
            self._loop.remove_reader(self._socket)
            if self.state not in ("leaving", "dying"):
                clock.call_later(self._loop, _EOF_S, self.kill)  # most likely it is dying: then we shall hear of what

    def _wait(self) -> None:
        """A thread: tell of its death, but leave the number taken until its group is killed."""
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker has left
            self._loop.call_soon_threadsafe(self._died)

    def _died(self) -> None:
        kill_group(self.pid)  # what it left behind; before its number is free for others
        self.state = "dying"
        self._readable()  # what it said last
        self.begun = self._page[BEGUN] != 0
        self.state = "gone"
        status = self._popen.wait()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._close()
        self._lane.died(self, status)

    def _close(self) -> None:
        self._socket.close()
        os.close(self._life)
        self._page.close()


def _page_file() -> int:
    """A file of one page that is nowhere in the file system."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("surefoot")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, mmap.PAGESIZE)
    return descriptor
