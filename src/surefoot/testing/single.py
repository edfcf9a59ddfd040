"""One run by itself, and the inside of a job: no store, no sandbox, no other job."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar, final

import msgspec

from surefoot import chance, clock
from surefoot.brokers.answers import Record
from surefoot.client.operation import inside_loop
from surefoot.client.queue import Queue
from surefoot.client.records import job_of
from surefoot.client.store import residents
from surefoot.core.codec import Envelope, encode_envelope
from surefoot.core.errors import ConfigError, InvalidArguments, UsageError
from surefoot.core.job import Counts, Draft, Job, Leased, Progress
from surefoot.core.lifecycle import Run, admit, decide
from surefoot.core.names import State
from surefoot.core.outcome import Returned, TimedOut
from surefoot.core.signature import Signature
from surefoot.core.spec import Spec
from surefoot.core.transition import Bury, Delay, Finish, Transition
from surefoot.execution.context import JobContext, Running, enter_job
from surefoot.testing.records import Ran, error_in, value_after, word_of, word_unrun
from surefoot.testing.stand import Stand, from_handler, is_for_the_test
from surefoot.testing.twins import OwnLoop

R = TypeVar("R")

_WORKER: Final = "test"


async def run_job(draft: Draft[R], *, state: object = None, attempt: int = 1) -> Ran[R]:
    """One whole run of a draft, as a worker makes it: arguments through JSON and checked, context, timeout, outcome.

    Stores nothing and needs no store. `state`: what `current_job().state(...)` gives; `attempt`: which run it is; those
    before it failed.
    """
    __tracebackhide__ = True
    if not isinstance(draft, Draft):
        raise UsageError(f"run_job takes a draft, not {draft!r}: write run_job(welcome.draft(...)).")
    queue = _queue_of(draft)
    now_ms = clock.wall_ms()
    leased = _leased(draft.id, encode_envelope(draft, now_ms), now_ms, _attempt("run_job", attempt))
    admitted = admit(leased, queue.specs, now_ms, 0)
    if isinstance(admitted, Transition):
        return _unrun(draft, queue, leased, admitted)
    stand = Stand(state, _WORKER, clock.wall_ms)
    running = Running(admitted, f"test:{queue.name}", stand)
    try:
        ended = await stand.run(running)
    finally:
        stand.close()
    error = ended.error
    if is_for_the_test(error):
        assert error is not None
        raise from_handler(error)
    decided = decide(admitted, ended.outcome, clock.wall_ms(), chance.share(), running.started_ms)
    if type(ended.outcome) is TimedOut:
        error = TimeoutError(error_in(decided).message)
    value: Any = None
    if type(ended.outcome) is Returned:
        value, unkept = value_after(admitted.spec, queue.name, ended.outcome, decided)
        error = error or unkept
    return Ran(outcome=word_of(ended.outcome), value=value, error=error, job=_after(draft, queue, leased, decided))


def run_job_sync(draft: Draft[R], *, state: object = None, attempt: int = 1) -> Ran[R]:
    """The blocking twin of `run_job`."""
    __tracebackhide__ = True
    if asyncio._get_running_loop() is not None:
        raise inside_loop("run_job_sync", "run_job")
    loop = OwnLoop()
    try:
        return loop.run(run_job(draft, state=state, attempt=attempt))
    finally:
        loop.close()


@final
class Inside:
    """A job that is only said to run: what `current_job()` shows in an `inside_job` block, and levers for its flags."""

    def __init__(self, running: Running, host: "_Host") -> None:
        self._running = running
        self._host = host

    @property
    def context(self) -> JobContext:
        """What `current_job()` gives in the block."""
        return JobContext(self._running)

    @property
    def id(self) -> str:
        """The job's id."""
        return self._running.run.leased.id

    @property
    def attempt(self) -> int:
        """Which run it is."""
        return self._running.run.attempt

    @property
    def progress(self) -> Progress | None:
        """What the code last said about how far it is."""
        return self._running.note

    def cancel(self, reason: str = "") -> None:
        """Somebody asks to cancel the job: `job.cancelled`, and `job.check()` raises."""
        self._running.cancel_reason = reason
        self._running.stop = "cancel"

    def drain(self) -> None:
        """The worker is told to leave: `job.stopping`."""
        self._host.stopping = True


class _Host:
    """A worker that is only said to be there."""

    def __init__(self, state: object) -> None:
        self.state = state
        self.worker: Final = _WORKER
        self.stopping = False

    def now_ms(self) -> int:
        return clock.wall_ms()

    def ms_at(self, monotonic: float) -> int:
        return clock.wall_ms() - round((clock.monotonic() - monotonic) * 1000)

    def deadline_moved(self, running: Running) -> None:
        """There is no deadline."""


def _inside() -> None:
    """The function of a job that is only said to run."""


@contextmanager
def inside_job(*, state: object = None, attempt: int = 1, id: str = "test") -> Iterator[Inside]:
    """A block in which `current_job()` works, to call a function directly. No timeout, no store, no thread."""
    spec = Spec(name="test", function=_inside, signature=Signature(_inside, task="test", explicit_name=True))
    leased = _leased(id, b"", clock.wall_ms(), _attempt("inside_job", attempt))
    envelope = Envelope(1, id, "test", msgspec.Raw(b"{}"))
    host = _Host(state)
    running = Running(Run(leased, envelope, spec, None, attempt, None), "test:test", host)
    running.begin()
    token = enter_job(JobContext(running))
    try:
        yield Inside(running, host)
    finally:
        token.var.reset(token)


def _leased(id: str, body: bytes, now_ms: int, attempt: int) -> Leased:
    counts = Counts(runs=attempt - 1, failures=attempt - 1)
    return Leased(id, f"test.{attempt}", now_ms, body, counts)


def _attempt(door: str, attempt: object) -> int:
    if not isinstance(attempt, int) or isinstance(attempt, bool) or attempt < 1:
        raise ConfigError(f"{door}(attempt={attempt!r}): give a whole number >= 1.")
    return attempt


def _queue_of(draft: Draft[Any]) -> Queue:
    """The newest queue of the draft's name that has the code of its task; two different codes are refused."""
    found = [
        one
        for one in reversed(residents())
        if isinstance(one, Queue) and one.name == draft.queue and draft.task in one.specs
    ]
    if not found:
        raise UsageError(
            f"no queue '{draft.queue}' of this process has the code of {draft.task}: import its module first."
        )
    codes = {_place(one.specs[draft.task]) for one in found}
    if len(codes) > 1:
        raise UsageError(
            f"{len(codes)} queues of this process are named '{draft.queue}' and have a task {draft.task}, in "
            f"{', '.join(sorted(module for module, _ in codes))}; give the queues different names."
        )
    return found[0]


def _place(spec: Spec) -> tuple[str, str]:
    return spec.function.__module__, spec.function.__qualname__


def _unrun(draft: Draft[R], queue: Queue, leased: Leased, end: Transition) -> Ran[R]:
    word = word_unrun(end)
    if word is None:  # it would be parked: no worker with this code can run it
        raise UsageError(f"{draft.task} cannot be run with the code that is here.")
    error = None
    if word == "invalid":
        error = InvalidArguments(error_in(end).message or "", task=draft.task)
    return Ran(outcome=word, value=None, error=error, job=_after(draft, queue, leased, end))


def _after(draft: Draft[Any], queue: Queue, leased: Leased, end: Transition) -> Job:
    """The job as the store would know it after its settle."""
    now_ms = clock.wall_ms()
    counts = leased.counts
    state: State = "pending"
    due_ms: int | None = None
    reason: str | None = None
    result: bytes | None = None
    if end.bump is not None:
        bumped = {"runs": counts.runs + 1}
        if end.bump != "runs":
            bumped[end.bump] = getattr(counts, end.bump) + 1
        counts = msgspec.structs.replace(counts, **bumped)
    match end.to:
        case Finish(state=over, result=kept):
            state, result = over, kept
        case Bury(reason=why):
            state, reason = "dead", why
        case Delay(ms=ms):
            state, due_ms = "scheduled" if ms else "pending", now_ms + ms
        case _:
            pass
    record = Record(
        id=draft.id, state=state, enqueued_ms=leased.enqueued_ms, body=leased.body, priority=draft.priority,
        key=None, counts=counts, due_ms=due_ms, started_ms=leased.enqueued_ms, reason=reason, result=result,
        finished_ms=now_ms if state in ("completed", "dead", "cancelled", "expired") else None,
        errors=() if end.error is None else (end.error,),
    )  # fmt: skip
    return job_of(record, queue.name, queue.specs)
