"""The program of a child process of the process lane: loads the application, runs one job after the other, says how
each ended.

It knows no store: progress and a moved deadline go to the worker as frames, what the worker asks for stands in a page
of memory that both see.
"""

import asyncio
import contextlib
import contextvars
import mmap
import os
import pkgutil
import socket
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from multiprocessing import spawn
from typing import Any, Final

from surefoot import clock
from surefoot.core.codec import decode_envelope
from surefoot.core.job import Progress
from surefoot.core.lifecycle import Run, upcast
from surefoot.core.outcome import Outcome, Raised, Returned
from surefoot.core.spec import Spec
from surefoot.execution.context import JobContext, Running, Stop, enter_job
from surefoot.execution.frames import (
    HEAD,
    Begin,
    Extended,
    FromChild,
    Noted,
    Ready,
    ToChild,
    Work,
    ended,
    frame,
    length_of,
    to_child,
)
from surefoot.execution.kin import die_with
from surefoot.execution.loops import new_loop
from surefoot.execution.middleware import in_words, raised, returned
from surefoot.execution.outfit import fitted, run_errand

STOPS: Final[tuple[Stop | None, ...]] = (None, "timeout", "cancel", "drain", "lost")
"""What the first byte of the page says; the second says whether the worker drains."""
BEGUN: Final = 2
"""The byte of the page that the child sets when the handler of its job begins."""
_NOTE_EVERY_S: Final = 0.1


class Leave(Exception):
    """The worker has closed the socket: this child is not needed any more."""


class Line:
    """The child's end of the socket. Blocking; one thread uses it, but progress may be said from any."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def hear(self) -> ToChild:
        """The next record; Leave when there will be none."""
        return to_child(self._exactly(length_of(self._exactly(HEAD))))

    def say(self, record: FromChild) -> None:
        """One record; a frame is small or sent by a single call, so that two threads do not mix theirs."""
        try:
            self._socket.sendall(frame(record))
        except OSError:
            raise Leave from None

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            try:
                more = self._socket.recv(count - len(parts))
            except OSError:
                more = b""
            if not more:
                raise Leave
            parts += more
        return bytes(parts)


class Host:
    """What a run sees of its worker, from inside a child."""

    def __init__(self, line: Line, page: mmap.mmap, worker: str, state: object) -> None:
        self.state = state
        self._line = line
        self._page = page
        self._worker = worker
        self.ahead_ms = 0

    @property
    def worker(self) -> str:
        """The worker's id."""
        return self._worker

    @property
    def stopping(self) -> bool:
        """Whether the worker drains."""
        return self._page[1] != 0

    def begins(self) -> None:
        """From here on a death is held against the job."""
        self._page[BEGUN] = 1

    @property
    def asked(self) -> Stop | None:
        """What the worker wants of the run here."""
        return STOPS[self._page[0]]

    def now_ms(self) -> int:
        """The store's time, as far as the worker knows it."""
        return self.ms_at(clock.monotonic())

    def ms_at(self, monotonic: float) -> int:
        """The store's time at a moment of the monotonic clock."""
        return self.ahead_ms + round(monotonic * 1000)

    def deadline_moved(self, running: Running) -> None:
        """A run gave itself another deadline."""
        if running.deadline is not None:
            self._line.say(Extended(running.deadline))

    def noted(self, progress: Progress) -> None:
        """A run said how far it is."""
        self._line.say(Noted(progress))


class ChildRunning(Running):
    """A run in a child: what it is told stands in the page, and its progress goes to the worker."""

    __slots__ = ("_here", "_noted_at")

    def __init__(self, run: Run, queue: str, host: Host) -> None:
        super().__init__(run, queue, host)
        self._here = host
        self._noted_at = 0.0

    def told(self) -> Stop | None:
        """What the worker wants of this run now."""
        self.stop = self._here.asked
        return self.stop

    def say(self, progress: Progress) -> None:
        """Tell the worker how far this run is."""
        now = clock.monotonic()
        if now - self._noted_at >= _NOTE_EVERY_S:
            self._noted_at = now
            self._here.noted(progress)


class Child:
    """Runs the jobs that come over the line, one at a time."""

    def __init__(self, line: Line, host: Host, specs: dict[tuple[str, str], Spec]) -> None:
        self._line = line
        self._host = host
        self._specs = specs
        self._runner: asyncio.Runner | None = None

    def serve(self) -> None:
        """Until the worker has no more use for this child."""
        try:
            with contextlib.suppress(Leave):
                self._serve()
        finally:
            if self._runner is not None:
                self._runner.close()

    def _serve(self) -> None:
        while True:
            work = self._line.hear()
            assert isinstance(work, Work)
            outcome, encoded = self._run(work)
            self._line.say(ended(outcome, encoded))

    def _run(self, work: Work) -> tuple[Outcome, bytes | None]:
        self._host.ahead_ms = work.ahead_ms
        envelope = decode_envelope(work.leased.body)
        spec = self._specs[work.queue.partition(":")[2], envelope.task]
        try:
            arguments = spec.signature.load(upcast(envelope, spec))
        except BaseException as error:  # the worker could read them: the application says something else here
            return Raised(in_words(error), spec.retry.tries(error)), None
        run = Run(work.leased, envelope, spec, arguments, work.attempt, work.timeout_ms)
        running = ChildRunning(run, work.queue, self._host)
        running.begin()
        self._host.begins()
        outcome = contextvars.copy_context().run(self._outcome, running)
        if type(outcome) is Returned:
            return outcome, spec.signature.encode_result(outcome.value)
        return outcome, None

    def _outcome(self, running: Running) -> Outcome:
        spec = running.run.spec
        enter_job(JobContext(running))
        try:
            value = spec.signature.call(spec.function, running.run.arguments)
            if spec.signature.is_async:
                value = self._awaited(value)
        except BaseException as error:
            running.told()
            return raised(running, error)
        running.told()
        return returned(running, value)

    def _awaited(self, coroutine: Coroutine[Any, Any, object]) -> object:
        if self._runner is None:
            self._runner = asyncio.Runner(loop_factory=new_loop)
        return self._runner.run(coroutine, context=contextvars.copy_context())


def main(line_fd: int, life_fd: int, page_fd: int) -> None:
    """The program. It leads a session of its own, so that all it starts can be killed with it."""
    die_with(life_fd)
    line = Line(socket.socket(fileno=line_fd))
    page = mmap.mmap(page_fd, mmap.PAGESIZE)
    os.close(page_fd)
    with contextlib.suppress(Leave):
        begin = line.hear()
        assert isinstance(begin, Begin)
        try:
            specs, lifespan = _loaded(begin)
            with lifespan as state:
                line.say(Ready())
                Child(line, Host(line, page, begin.worker, state), specs).serve()
        except Leave:
            raise
        except BaseException as error:
            line.say(Ready(in_words(error)))
            raise SystemExit(1) from None


def _loaded(begin: Begin) -> tuple[dict[tuple[str, str], Spec], AbstractContextManager[object]]:
    """The application's tasks, as the worker's process has loaded them, and what its lifespan makes."""
    sys.path[:] = begin.preparation.get("sys_path", sys.path)
    for errand in begin.errands:
        run_errand(errand)
    spawn.prepare(begin.preparation)
    find: Callable[..., Spec] = pkgutil.resolve_name(begin.finder)
    specs = {
        (home.queue, home.task): fitted(find(home.queue, home.task, home.module, home.function)) for home in begin.homes
    }
    if begin.lifespan is None:
        return specs, contextlib.nullcontext()
    return specs, pkgutil.resolve_name(begin.lifespan)()
