"""The lane for coroutines: one task a job on the worker's loop. Catches whatever a handler raises inside the task."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from surefoot.core.outcome import Interrupted, Lost, Outcome
from surefoot.execution.context import JobContext, Running, Stop, enter_job
from surefoot.execution.middleware import Middleware, raised, returned, wrap


class Lane(Protocol):
    """Where runs happen. Every started run comes back exactly once through the lane's `done`."""

    def start(self, running: Running) -> None:
        """Run it as soon as there is room."""
        ...

    def stop(self, running: Running, why: Stop) -> None:
        """Make a run end, as far as the lane can; its outcome comes back through `done`."""
        ...


class LoopLane:
    """Runs coroutines as tasks. A cancelled task may take its time; it comes back when it really ended."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        done: Callable[[Running, Outcome], None],
        began: Callable[[Running], None],
        middleware: Sequence[Middleware],
    ) -> None:
        self._loop = loop
        self._done = done
        self._began = began
        self._middleware = middleware
        self.tasks: dict[asyncio.Task[None], Running] = {}

    def start(self, running: Running) -> None:
        """One task for this run."""
        spec = running.run.spec
        self.spawn(running, partial(spec.signature.call, spec.function, running.run.arguments))

    def spawn(self, running: Running, handler: Callable[[], Any]) -> None:
        """One task that runs `handler`, an awaitable's maker, inside the middleware."""
        task = running.work = self._loop.create_task(self._run(running, handler))
        self.tasks[task] = running

    def stop(self, running: Running, why: Stop) -> None:
        """Cancel the task; one that has not begun sees `stop` at its first line instead.

        A second stop cancels again but keeps the first reason, except that a lost lease outdoes all.
        """
        if running.stop is None or why == "lost":
            running.stop = why
        # A plain function inside middleware is only told, like one without: its thread sees it in check().
        told_only = running.run.spec.executor == "thread" and why in ("cancel", "lost")
        if running.started and not told_only:
            running.work.cancel()

    def current(self) -> Running | None:
        """The run that the loop executes at this moment, if any; may be asked from another thread."""
        task = asyncio.current_task(self._loop)
        return None if task is None else self.tasks.get(task)

    async def _run(self, running: Running, handler: Callable[[], Any]) -> None:
        outcome: Outcome
        if running.stop is not None:
            outcome = Lost() if running.stop == "lost" else Interrupted(started=False)
        else:
            running.begin()
            self._began(running)
            job = JobContext(running)
            enter_job(job)
            call = wrap(self._middleware, job, handler) if self._middleware else handler
            try:
                outcome = returned(running, await call())
            except BaseException as error:
                # SystemExit and KeyboardInterrupt too: raised out of a task they would stop the whole loop.
                outcome = raised(running, error)
        del self.tasks[running.work]
        self._done(running, outcome)
