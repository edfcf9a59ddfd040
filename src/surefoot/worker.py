"""Worker: puts an application's worker together from its queues, the engine's parts and the lanes. No rule about
jobs lives here.
"""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from functools import partial
from importlib.metadata import version
from types import FrameType, TracebackType
from typing import Any, Final, Literal, Self

from surefoot import clock
from surefoot.brokers.broker import Broker
from surefoot.client.options import check_options
from surefoot.client.presence import PresenceInfo
from surefoot.client.queue import Queue
from surefoot.client.session import Session, SyncSession
from surefoot.core.errors import ConfigError, Seconds, UsageError, duration
from surefoot.core.events import Event
from surefoot.core.names import is_name
from surefoot.engine.drain import Drain
from surefoot.engine.fitness import Fitness
from surefoot.engine.keeper import Keeper, KeeperThread, News, Pulse
from surefoot.engine.modules import load_modules
from surefoot.engine.options import callable_or_none, count, cpus, found_by_name, limits_of, patterns, weights_of
from surefoot.engine.report import Report
from surefoot.engine.rescue import Rescue
from surefoot.engine.serve import Serving
from surefoot.engine.served import Served
from surefoot.engine.shares import Fair, strict
from surefoot.engine.unsettled import Unsettled
from surefoot.engine.wear import Wear
from surefoot.execution.context import Running
from surefoot.execution.loops import run_in_new_loop
from surefoot.execution.middleware import CallNext as CallNext
from surefoot.execution.middleware import Middleware as Middleware
from surefoot.execution.outfit import log_plainly
from surefoot.execution.processes import Plan, homes

log: Final = logging.getLogger("surefoot.worker")


class Worker:
    """Serves one or more queues of one store; the place where an application's worker is put together.

    `concurrency`: all running jobs; `threads`: how many of them are plain functions, `process_pool`: how many run in
    child processes (one a processor). `drain`: seconds given to running jobs after a stop. `lease`: seconds a silent
    worker keeps its jobs. `order`: free slots are dealt "fair" by `weights`, or "strict" to the first queue that may
    have work. `dead_max` (a count) and `dead_age` (seconds): only where given do the oldest dead letters go.
    `unknown_ttl`: a job parked for a task that nobody knows for so long is dead. Attributes to set before the start:
    `on_event`; `allow_eviction`, True: start although the server may drop jobs when its memory is full;
    `recycle_after` (jobs) and `recycle_at` (MiB of resident memory): then the worker drains and returns, and a child
    process is replaced; `on_started`: called once it serves.
    """

    @check_options("Worker")
    def __init__(
        self,
        *queues: Queue,
        concurrency: int = 50,
        threads: int = 20,
        process_pool: int | None = None,
        imports: Sequence[str] = (),
        lifespan: Callable[[], AbstractAsyncContextManager[object]] | None = None,
        process_lifespan: Callable[[], AbstractContextManager[object]] | None = None,
        middleware: Sequence[Middleware] = (),
        on_event: Callable[[Event], None] | None = None,
        order: Literal["fair", "strict"] = "fair",
        weights: Mapping[Queue, int] | None = None,
        drain: Seconds = 25,
        lease: Seconds = 10,
        unknown_ttl: Seconds = 86_400,
        dead_max: int | None = None,
        dead_age: Seconds | None = None,
        name: str | None = None,
    ) -> None:
        if not queues:
            raise UsageError("a Worker serves at least one queue: write Worker(mail).")
        for queue in queues:
            if not isinstance(queue, Queue):
                raise UsageError(f"Worker serves queues, not {queue!r}: write Worker(mail).")
        if order not in ("fair", "strict"):
            raise ConfigError(f'Worker(order={order!r}): give "fair" or "strict".')
        self.queues: Final = tuple(dict.fromkeys(queues))
        self.concurrency: Final = count("concurrency", concurrency)
        self.threads: Final = min(count("threads", threads), self.concurrency)
        self.process_pool: Final = cpus() if process_pool is None else count("process_pool", process_pool)
        self.drain: Final = duration(drain, "Worker(drain)", least=0)
        self.lease: Final = duration(lease, "Worker(lease)")
        self._limits = limits_of(self.concurrency, self.lease, unknown_ttl, dead_max, dead_age)
        self._weights = weights_of(self.queues, weights)
        self._order = order
        self._imports = patterns(imports)
        self._lifespan = callable_or_none("lifespan", lifespan)
        self._process_lifespan = (
            None if process_lifespan is None else found_by_name("process_lifespan", process_lifespan)
        )
        self._middleware = tuple(middleware)
        for layer in self._middleware:
            callable_or_none("middleware", layer)
        self.on_event: Callable[[Event], None] | None = callable_or_none("on_event", on_event)
        self._name = name if name is not None else socket.gethostname()
        if name is not None and not is_name(name):
            raise ConfigError(f"Worker(name={name!r}): give 1 to 128 letters, digits or _ . : -")
        self._serving: Serving | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stops = 0
        self._inner: asyncio.Task[None] | None = None
        self._background: asyncio.Task[None] | None = None
        self._started: asyncio.Event | None = None
        self.allow_eviction = False
        self.recycle_after: int | None = None
        self.recycle_at: float | None = None
        self.on_started: Callable[[], object] | None = None
        self.exit_code: int = 0

    @property
    def name(self) -> str:
        """The name for people: what was given, else the host's. Nothing is ever decided by it."""
        return self._name

    @property
    def id(self) -> str | None:
        """The random id of this start, as `workers()` and log lines show it; None while it does not serve."""
        return None if self._serving is None else self._serving.worker

    def run(self, *, burst: bool = False) -> None:
        """Serve until SIGTERM or SIGINT was drained; blocks. With `burst`: until there is nothing to do.

        A second signal hands everything back at once and leaves with 130 or 143 (SystemExit), a third one leaves as
        it is.
        """
        log_plainly()
        with _signals(self):
            run_in_new_loop(self.serve(burst=burst))
        if self.exit_code:
            raise SystemExit(self.exit_code)

    async def serve(self, *, burst: bool = False) -> None:
        """Serve in the running loop, without touching signals; returns after `stop()` was drained."""
        if self._loop is not None:
            raise UsageError("this Worker serves already; make a second one.")
        self._loop = asyncio.get_running_loop()
        self.exit_code = 0
        inner = self._inner = self._loop.create_task(self._serve(burst))
        try:
            await asyncio.shield(inner)
        except asyncio.CancelledError:
            if inner.cancelled() and self._stops:  # two stops before it had begun
                return
            if inner.done():
                raise
            self.stop()
            self.stop()  # no time for a drain: whoever cancelled us waits
            await inner
            raise
        finally:
            self._loop = self._inner = None
            self._serving = None

    def stop(self) -> None:
        """Start the drain; a second call cuts it short. From any thread."""
        self._stops += 1
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._stop_here)

    def tell(self) -> None:
        """Log what runs here and for how long. From any thread."""
        loop, serving = self._loop, self._serving
        if loop is not None and serving is not None:
            loop.call_soon_threadsafe(serving.tell)

    def _stop_here(self) -> None:
        if self._serving is not None:
            self._serving.stop()
        elif self._stops > 1 and self._inner is not None:
            self._inner.cancel()  # its lifespan does not open

    async def __aenter__(self) -> Self:
        self._started = asyncio.Event()
        self._background = asyncio.get_running_loop().create_task(self.serve())
        begun = asyncio.get_running_loop().create_task(self._started.wait())
        try:
            await asyncio.wait({begun, self._background}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            begun.cancel()
            self._background.cancel()
            await asyncio.gather(self._background, return_exceptions=True)
            raise
        if not begun.done():
            begun.cancel()
            await self._background  # it failed to start: its error is ours
        self._background.add_done_callback(_tell_death)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._background is not None
        self._background.remove_done_callback(_tell_death)  # from here on its error is told by being raised
        self.stop()
        await self._background

    def load(self) -> list[Served]:
        """Load `imports` and find out what each queue serves; raises what a start would raise, opens nothing."""
        load_modules(self._imports)
        self._processes()
        return [self._served(queue) for queue in self.queues]

    async def _serve(self, burst: bool) -> None:
        served = self.load()
        broker = self._one_store()
        fitness = Fitness(broker, [one.queue for one in served], allow_eviction=self.allow_eviction)
        await fitness.look()
        report = Report(self.on_event)
        drain = Drain(self.drain)
        unsettled = Unsettled([one.queue for one in served])
        async with AsyncExitStack() as stack:
            state = None if self._lifespan is None else await stack.enter_async_context(self._lifespan())
            session = Session(broker)
            serving = Serving(
                broker, session, served, unsettled, fitness=fitness, limits=self._limits,
                deal=strict if self._order == "strict" else Fair([one.weight for one in served]),
                drain=drain, report=report, threads=self.threads, middleware=self._middleware, state=state,
                processes=self._processes(), wear=self._wear(),
            )  # fmt: skip
            report.worker, report.now_ms = serving.worker, lambda: serving.now_ms() or clock.wall_ms()
            keeper = self._keeper(broker, serving, unsettled, drain, report, served)
            drain.began = keeper.beat_soon
            self._serving = serving
            for _ in range(self._stops):
                serving.stop()
            await serving.open()
            keeper.start()
            report.event("worker_started", name=self._name, concurrency=self.concurrency)
            if self._started is not None:
                self._started.set()
            if self.on_started is not None:
                self.on_started()
            try:
                await serving.run(burst=burst)
            finally:
                keeper.stop()
                await asyncio.get_running_loop().run_in_executor(None, keeper.goodbye)
                self._stops = 0
                report.event("worker_stopped", name=self._name)
                self.exit_code = self.exit_code or serving.exit_code

    def _processes(self) -> Plan | None:
        """How the process lane finds its tasks; None if no task wants it."""
        wanted = [
            (queue.name, name, spec.function)
            for queue in self.queues
            for name, spec in queue.registry.specs.items()
            if spec.executor == "process"
        ]
        if not wanted:
            return None
        return Plan(
            finder="surefoot.client.registry:find_spec", homes=homes(wanted), lifespan=self._process_lifespan,
            most=self.process_pool, recycle_jobs=self.recycle_after, recycle_bytes=self._recycle_bytes,
        )  # fmt: skip

    @property
    def _recycle_bytes(self) -> int | None:
        return None if self.recycle_at is None else round(self.recycle_at * (1 << 20))

    def _wear(self) -> Wear | None:
        if self.recycle_after is None and self.recycle_at is None:
            return None
        return Wear(self.recycle_after, self._recycle_bytes)

    def _one_store(self) -> Broker:
        first = self.queues[0]
        broker = first.broker
        if len({queue.full_name for queue in self.queues}) < len(self.queues):
            names = ", ".join(sorted(queue.name for queue in self.queues))
            raise ConfigError(f"two queues of this Worker have one name ({names}); make one Queue, and import it.")
        for queue in self.queues[1:]:
            if queue.broker is not broker:
                raise ConfigError(
                    f"queues '{first.name}' and '{queue.name}' live in different stores ({broker.address}, "
                    f"{queue.broker.address}); a Worker serves one store: make two workers."
                )
        return broker

    def _served(self, queue: Queue) -> Served:
        registry = queue.registry
        return Served(queue.full_name, registry.specs, registry.crons, self._weights[queue])

    def _keeper(
        self,
        broker: Broker,
        serving: Serving,
        unsettled: Unsettled,
        drain: Drain,
        report: Report,
        served: Sequence[Served],
    ) -> KeeperThread:
        loop = asyncio.get_running_loop()
        lease_ms = self._limits.lease_ms
        queues = [one.queue for one in served]
        session = SyncSession(broker)
        started_ms = clock.wall_ms()
        tasks = {one.queue: tuple(sorted(one.specs)) for one in served}
        schemas = {
            one.queue: {name: spec.schema for name, spec in one.specs.items() if spec.schema > 1} for one in served
        }
        lines = {one.queue: tuple(entry.line() for entry in one.crons) for one in served}

        def presence(queue: str, left: bool) -> bytes:
            return PresenceInfo(
                name=self._name,
                host=socket.gethostname(),
                pid=os.getpid(),
                version=version("surefoot"),
                queues=tuple(one.partition(":")[2] for one in queues),
                tasks=tasks[queue],
                schemas=schemas[queue],
                crons=tuple(line.name for line in lines[queue]),
                cron_lines=lines[queue],
                concurrency=self.concurrency,
                running=len(unsettled.running),
                draining=drain.leaving,
                left=left,
                started_ms=started_ms,
            ).encode()

        def culprit() -> Running | None:
            return serving.coroutines.current()

        def news(found: list[News]) -> None:
            loop.call_soon_threadsafe(serving.news, found)

        def blocked(seconds: float, stack: str) -> None:
            running = culprit()
            job, task = (None, None) if running is None else (running.run.leased.id, running.run.spec.name)
            report.event("loop_blocked", job=job, task=task, seconds=round(seconds, 3), stack=stack)

        rescue = Rescue(unsettled, queues, session, culprit, serving.now_ms)
        keeper = Keeper(unsettled, queues, lease_ms, presence, lambda: serving.worker)
        pulse = Pulse(loop, min(self.lease / 8, 0.5))
        return KeeperThread(
            keeper, session, pulse, lease_ms=lease_ms, on_news=news,
            on_away=partial(loop.call_soon_threadsafe, serving.lost_contact), on_blocked=blocked, on_gone=rescue.judge,
        )  # fmt: skip


def _tell_death(background: asyncio.Task[None]) -> None:
    """A worker inside an application died: its error is raised where the block ends, which may be days later."""
    error = None if background.cancelled() else background.exception()
    if error is not None:
        log.error(
            "the worker in the background has stopped, and no job runs here any more: %s: %s",
            type(error).__name__, error, exc_info=error,
        )  # fmt: skip


class _signals:
    """SIGTERM and SIGINT while a worker runs: the first drains, the second hands back at once, the third leaves as
    it is. SIGUSR1: log what runs.

    Plain handlers, not the loop's: they run even while a handler blocks the loop.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._before: dict[int, Any] = {}
        self._count = 0

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._came)
            self._before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, lambda *_: self._worker.tell())

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _came(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 2:
            os._exit(128 + number)
        if self._count == 2:
            self._worker.exit_code = 128 + number
        self._worker.stop()
