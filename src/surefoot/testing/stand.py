"""Where runs of a test happen: the worker's own lanes on the running loop, one run at a time. Knows no store."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Final

from surefoot import clock
from surefoot.core.errors import Signal
from surefoot.core.outcome import Interrupted, Outcome, Raised, TimedOut
from surefoot.engine.deadlines import Deadlines
from surefoot.execution.context import JobContext, Running
from surefoot.execution.loop import LoopLane
from surefoot.execution.middleware import CallNext
from surefoot.execution.threads import ThreadLane, call_plain
from surefoot.testing.twins import blocks

_LEAVE_S: Final = 1.0

home_loop: Final[contextvars.ContextVar[asyncio.AbstractEventLoop | None]] = contextvars.ContextVar(
    "surefoot_home_loop", default=None
)
"""The loop on which the run around this code was started: what its threads enqueue is run there too."""


class Ended:
    """How a run ended: its outcome, and the exception itself, if it raised one."""

    __slots__ = ("error", "outcome", "running")

    def __init__(self, running: Running, outcome: Outcome, error: BaseException | None) -> None:
        self.running: Running = running
        self.outcome: Outcome = outcome
        self.error: BaseException | None = error

    @property
    def failed(self) -> bool:
        """Whether it raised what is no signal, or was out of time."""
        return type(self.outcome) in (Raised, TimedOut)


class Stand:
    """Hosts runs on the running loop. Time is real in a run: timeouts are the worker's own."""

    def __init__(self, state: object, worker: str, now_ms: Callable[[], int]) -> None:
        self.state = state
        self.worker: Final = worker
        self.stopping: Final = False
        self.now_ms: Final = now_ms
        self._loop = asyncio.get_running_loop()
        self._coroutines = LoopLane(self._loop, self._done, self._began, (self._notice,))
        self._threads = ThreadLane(self._loop, _nobody, _nobody_began, 1)
        self._deadlines = Deadlines(self._loop, self._out_of_time)
        self._outcomes: dict[Running, Outcome] = {}
        self._errors: dict[str, BaseException] = {}

    # --- what a run sees ---

    def ms_at(self, monotonic: float) -> int:
        """The time stands still in a run."""
        return self.now_ms()

    def deadline_moved(self, running: Running) -> None:
        """A run gave itself another deadline; it may have said so from a thread."""
        self._loop.call_soon_threadsafe(self._watch, running)

    # --- one run ---

    async def run(self, running: Running) -> Ended:
        """Run it to its end. Cancelling this hands the job back, as a worker that leaves."""
        if running.run.spec.executor == "loop":
            self._coroutines.start(running)
        elif blocks.get():
            self._coroutines.spawn(running, lambda: self._here(running))
        else:  # the way with middleware: what the test has in its context is seen in the thread too
            self._coroutines.spawn(running, lambda: self._threads.call(running))
        work: asyncio.Task[None] = running.work
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:
            self._coroutines.stop(running, "drain")
            await asyncio.wait({work}, timeout=_LEAVE_S)
            raise
        finally:
            self._deadlines.forget(running)
        outcome = self._outcomes.pop(running, Interrupted(started=True))
        return Ended(running, outcome, self._errors.pop(running.run.leased.id, None))

    def close(self) -> None:
        """Let the thread go, and stop sweeping."""
        self._threads.close()
        self._deadlines.close()

    async def _here(self, running: Running) -> object:
        """A plain function in the thread of a test that blocks: what belongs to the thread, such as a database
        connection with an open transaction, is the test's own. The loop is hidden meanwhile, so that twins work.
        """
        home_loop.set(None)
        asyncio._set_running_loop(None)
        try:
            ended = call_plain(running)
        finally:
            asyncio._set_running_loop(self._loop)
        if running.deadline is not None and clock.monotonic() > running.deadline:
            running.stop = "timeout"  # nothing could interrupt it, but late is late
            raise TimeoutError
        if ended.error is not None:
            raise ended.error
        return ended.value

    async def _notice(self, job: JobContext, call_next: CallNext) -> object:
        home_loop.set(self._loop)
        try:
            return await call_next()
        except BaseException as error:
            self._errors[job.id] = error
            raise

    def cancel(self, running: Running, reason: str) -> None:
        """Somebody asks to cancel a run, from whatever thread."""
        running.cancel_reason = reason
        self._loop.call_soon_threadsafe(self._coroutines.stop, running, "cancel")

    def _began(self, running: Running) -> None:
        self._deadlines.watch(running)

    def _watch(self, running: Running) -> None:
        if not running.work.done():
            self._deadlines.watch(running)

    def _done(self, running: Running, outcome: Outcome) -> None:
        self._outcomes[running] = outcome

    def _out_of_time(self, running: Running) -> None:
        self._coroutines.stop(running, "timeout")


def _nobody(running: Running, outcome: Outcome) -> None:
    """Pieces that somebody awaits come back to them alone."""


def _nobody_began(running: Running) -> None:
    """As above."""


class Endless(AssertionError):
    """Jobs that would go on for ever: no matter of the job that meets it, but of the test."""


def is_for_the_test(error: BaseException | None) -> bool:
    """Whether an exception is no matter of the job: Ctrl-C, or what a test framework raises to fail or skip a test."""
    of_the_job = (Exception, Signal, asyncio.CancelledError, SystemExit, GeneratorExit, BaseExceptionGroup)
    return isinstance(error, Endless) or (error is not None and not isinstance(error, of_the_job))


def from_handler(error: BaseException) -> BaseException:
    """The exception with the traceback from the handler on, without the frames of the lanes."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("surefoot."):
        trace = trace.tb_next
    return error if trace is None else error.with_traceback(trace)
