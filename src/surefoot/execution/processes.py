"""The lane for jobs that must be killable: child processes, each with a socket, a session and one job at a time.

A child is killed with everything it started: at its job's deadline, for a lost lease, at a drain's end, some seconds
after a cancel request. One that dies by itself takes one job along, which knows by what; the others go on.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing import spawn
from typing import Any, Final

import msgspec

from surefoot import clock
from surefoot.core.errors import ConfigError, ErrorInfo
from surefoot.core.outcome import Cancelled, Crashed, Interrupted, Lost, Outcome, Returned, TimedOut
from surefoot.execution.context import Host, Running, Stop
from surefoot.execution.frames import Begin, Ended, Extended, FromChild, Home, Noted, Ready, Work, outcome_of
from surefoot.execution.kin import cause_of_death
from surefoot.execution.middleware import EndedApart
from surefoot.execution.outfit import errands_now
from surefoot.execution.process import LEAVE_S, Process

log: Final = logging.getLogger("surefoot.worker")

CANCEL_S: Final = 5.0
"""How long a job that was asked to cancel may go on before its process is killed."""
_BACKOFF_S: Final = (0.1, 4.0)
_MOST_TRIES: Final = 3
"""So often a job may meet a child that dies before it has begun; then it is held against the job."""
_PREPARED: Final = ("sys_path", "sys_argv", "dir", "orig_dir", "init_main_from_name", "init_main_from_path")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How children find the application, how many there are, and when one is replaced by a new one.

    `recycle_jobs`: after so many jobs; `recycle_bytes`: when its resident memory is above this after a job.
    """

    finder: str
    homes: tuple[Home, ...]
    lifespan: str | None
    most: int
    recycle_jobs: int | None = None
    recycle_bytes: int | None = None


class ProcessLane:
    """Runs jobs in at most `plan.most` children, started when there is work for them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        host: Host,
        done: Callable[[Running, Outcome], None],
        began: Callable[[Running], None],
        plan: Plan,
    ) -> None:
        self._loop = loop
        self._host = host
        self._done = done
        self._began = began
        self._plan = plan
        self._waiting: deque[tuple[Running, asyncio.Future[Outcome] | None]] = deque()
        self._failed_starts = 0
        self._again: asyncio.TimerHandle | None = None
        self._first: asyncio.Future[None] | None = None
        self._empty = asyncio.Event()
        self._closing = False
        self.children: list[Process] = []

    async def open(self) -> None:
        """Start the first child: one that cannot load the application is found before any job is taken."""
        self._first = self._loop.create_future()
        self._new_child()
        try:
            await self._first
        except BaseException:
            await self.close()
            raise
        finally:
            self._first = None

    def start(self, running: Running) -> None:
        """Give it to an idle child, or let it wait for one."""
        self._waiting.append((running, None))
        self._deal()

    async def call(self, running: Running) -> object:
        """Run `running` and wait for its value; cancelling kills. Anything but a value comes as EndedApart."""
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiting.append((running, future))
        self._deal()
        try:
            outcome = await asyncio.shield(future)
        except asyncio.CancelledError:
            if self._take_back(running) is None:
                self._kill(running)
                await asyncio.wait({future}, timeout=LEAVE_S)
            raise
        if type(outcome) is Returned:
            assert isinstance(outcome.value, msgspec.Raw)
            return running.run.spec.signature.decode_result(bytes(outcome.value))
        raise EndedApart(outcome)

    def stop(self, running: Running, why: Stop) -> None:
        """Take a job back that no child has; kill the child of another, or ask first where it is only cancelled."""
        if running.stop is None or why == "lost":
            running.stop = why
        if self._take_back(running) is not None:
            self._done(running, Lost() if why == "lost" else Interrupted(started=False))
            return
        child = self._child_of(running)
        if child is None:
            return
        child.ask(running.stop, stopping=self._host.stopping)
        if running.stop == "cancel" and why == "cancel":
            clock.call_later(self._loop, CANCEL_S, lambda: self._kill(running))
        else:
            child.kill()

    def waiting(self) -> list[Running]:
        """The jobs that no child has begun."""
        return [running for running, future in self._waiting if future is None]

    def drain(self) -> None:
        """The worker drains: what no child has goes back, handlers that ask `stopping` are told."""
        for running in self.waiting():
            self.stop(running, "drain")
        for child in self.children:
            if child.running is not None:
                child.ask(child.running.stop, stopping=True)

    async def close(self) -> None:
        """Let the children end what their lifespan began, and see them go; who does not is killed."""
        self._closing = True
        if self._again is not None:
            self._again.cancel()
        self._empty.clear()
        for child in self.children:
            child.leave() if child.running is None else child.kill()
        if self.children:
            await asyncio.wait({self._loop.create_task(self._empty.wait())}, timeout=2 * LEAVE_S)

    # --- what children say ---

    def heard(self, child: Process, record: FromChild) -> bool:
        """One record from a child; False if it comes out of turn, or cannot be understood."""
        running = child.running
        match record:
            case Ready(error=None):
                self._failed_starts = 0
                child.ready = True
                child.state = "idle"
                self._tell_first(None)
                self._deal()
            case Ready(error=error):
                assert error is not None
                self._not_started(error)
            case Noted(progress=progress) if running is not None:
                running.note = progress
            case Extended(deadline=deadline) if running is not None:
                running.deadline = deadline
                self._host.deadline_moved(running)
            case Ended() if running is not None:
                try:
                    outcome = outcome_of(record)
                except (KeyError, msgspec.MsgspecError):
                    return False
                child.jobs += 1
                self._release(child, Lost() if running.stop == "lost" else outcome)
                self._recycle(child)
                self._deal()
            case _:
                return False
        return True

    def died(self, child: Process, status: int) -> None:
        """A child has ended, for whatever reason."""
        self.children.remove(child)
        running = child.running
        if running is None:
            if not child.ready and not self._closing:
                self._not_started(None, cause_of_death(status))
        elif child.begun or running.stop is not None or running.work == _MOST_TRIES:
            self._release(child, _outcome(running, cause_of_death(status, killed=child.killed), child.pid))
        else:
            self._again_elsewhere(child)
        if not self.children:
            self._empty.set()
        self._deal()

    def _again_elsewhere(self, child: Process) -> None:
        """The job of a child that died before it had begun: nothing is held against it, unless that goes on."""
        item = child.taken()
        assert item is not None
        running, _ = item
        running.work = (running.work or 0) + 1
        running.started, running.deadline = 0.0, None
        self._waiting.appendleft(item)

    # --- dealing ---

    def _deal(self) -> None:
        """Give what waits to who is idle; start another child for the rest."""
        if self._closing:
            return
        idle = deque(child for child in self.children if child.state == "idle")
        while self._waiting and idle:
            running, future = self._waiting.popleft()
            self._give(idle.popleft(), running, future)
        starting = sum(child.state == "starting" for child in self.children)
        if len(self._waiting) > starting and len(self.children) < self._plan.most and self._again is None:
            self._new_child()

    def _give(self, child: Process, running: Running, future: "asyncio.Future[Outcome] | None") -> None:
        run = running.run
        if future is None:
            running.begin()
            self._began(running)
        now = clock.monotonic()
        ahead_ms = self._host.ms_at(now) - round(now * 1000)
        work = Work(running.queue, run.leased, run.attempt, run.timeout_ms, ahead_ms)
        child.give(work, running, future, stopping=self._host.stopping)

    def _release(self, child: Process, outcome: Outcome) -> None:
        """A child's job is over."""
        item = child.taken()
        assert item is not None
        running, future = item
        if future is None:
            self._done(running, outcome)
        elif not future.done():
            future.set_result(outcome)

    def _recycle(self, child: Process) -> None:
        plan = self._plan
        worn = plan.recycle_jobs is not None and child.jobs >= plan.recycle_jobs
        fat = plan.recycle_bytes is not None and child.resident() > plan.recycle_bytes
        if worn or fat:
            child.leave()

    def _new_child(self) -> None:
        try:
            child = Process(self._loop, self)
        except OSError as error:  # no memory, no descriptors, no more processes
            self._not_started(None, f"could not be started: {error}")
            return
        self.children.append(child)
        plan = self._plan
        child.say(Begin(_preparation(), plan.finder, plan.homes, plan.lifespan, self._host.worker, errands_now()))

    def _not_started(self, error: ErrorInfo | None, cause: str = "") -> None:
        """A child never came to work: tell who waits for the first one, else try again a little later each time."""
        words = cause if error is None else f"{error.kind}: {error.message}"
        if self._first is not None:
            self._tell_first(ConfigError(f'a process for tasks with executor="process" cannot start: {words}.'))
            return
        if self._closing or self._again is not None:
            return
        first, most = _BACKOFF_S
        pause = min(most, first * 2**self._failed_starts)
        self._failed_starts += 1
        log.error("a process for jobs cannot start (%s); the next try is in %.1f s", words, pause)
        self._again = clock.call_later(self._loop, pause, self._try_again)

    def _try_again(self) -> None:
        self._again = None
        self._deal()

    def _tell_first(self, error: ConfigError | None) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_result(None) if error is None else self._first.set_exception(error)

    def _take_back(self, running: Running) -> "tuple[Running, asyncio.Future[Outcome] | None] | None":
        for item in self._waiting:
            if item[0] is running:
                self._waiting.remove(item)
                return item
        return None

    def _child_of(self, running: Running) -> Process | None:
        return next((child for child in self.children if child.running is running), None)

    def _kill(self, running: Running) -> None:
        child = self._child_of(running)
        if child is not None:
            child.kill()


def _outcome(running: Running, cause: str, pid: int) -> Outcome:
    """What the death of its process means for a job: what it was told to stop for, else a crash."""
    match running.stop:
        case "lost":
            return Lost()
        case "timeout":
            return TimedOut(running.limit or 0.0)
        case "cancel":
            return Cancelled(running.cancel_reason)
        case "drain":
            return Interrupted(started=True)
        case _:
            message = f"the process that ran {running.run.spec.name} (pid {pid}) {cause}"
            return Crashed(ErrorInfo(kind="ProcessDied", kinds=("ProcessDied",), message=message))


def _preparation() -> dict[str, Any]:
    """What multiprocessing tells a spawned child so that it finds the same modules, the main one too."""
    told = spawn.get_preparation_data("surefoot-job")
    return {word: told[word] for word in _PREPARED if word in told}


def homes(specs: Sequence[tuple[str, str, Callable[..., object]]]) -> tuple[Home, ...]:
    """Where children find these functions; ConfigError for one that no other process could find by its name."""
    found = []
    for queue, task, function in specs:
        if "<locals>" in function.__qualname__:
            raise ConfigError(
                f"task '{task}' of queue '{queue}' wants executor=\"process\" and is an inner function, which another "
                "process cannot find; move it to the top of its module."
            )
        found.append(Home(queue, task, function.__module__, function.__qualname__))
    return tuple(found)
