"""`surefoot bench`: how fast a store is, from here and with this queue: enqueue, drain, pick-up.

On a server it works in a namespace of its own, on a file in a file of its own beside it; both are removed at the end.
"""

import asyncio
import os
import signal
import statistics
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from surefoot import chance, clock
from surefoot.cli.exits import AnswerIsNo
from surefoot.cli.options import scoped
from surefoot.cli.output import Output, counted
from surefoot.cli.target import Scope
from surefoot.core.errors import StoreError

if TYPE_CHECKING:
    from surefoot.client.queue import Queue
    from surefoot.client.task import AsyncTask
    from surefoot.worker import Worker

_MOST_BYTES: Final = 1 << 30
_MOST_PAYLOAD: Final = 1_000_000
_BATCH: Final = 500
_RATE: Final = 100
_SECONDS: Final = 3
_PATIENCE_S: Final = 30
_KEEPS: Final = {"log": "a log of every change on disk", "snapshots": "snapshots on disk", "nothing": "nothing on disk"}

_EXAMPLES: Final = """\b
Examples:
  surefoot bench --url redis://localhost:6379/0
  surefoot bench app:mail --jobs 50000 --concurrency 100 --payload 1000
  surefoot bench --url sqlite:///jobs.db --json

\b
It works in a namespace of its own on a server, and in a file of its own beside a SQLite file; both are removed at the
end, also after Ctrl-C. Producer and worker are this one process, and the jobs do nothing. A server does this work
beside its own, so a store that holds jobs already is asked about first; --yes does not ask.
Exit codes: 0 measured, 1 declined or not all jobs ran, 4 the store cannot be reached, 130 stopped by Ctrl-C.
"""


class Measured(NamedTuple):
    """What came of it; times in milliseconds. `ran` of `jobs` were seen to run, each once."""

    ran: int
    enqueue_per_second: float
    drain_per_second: float
    latency_p50_ms: float
    latency_p99_ms: float


@click.command("bench", epilog=_EXAMPLES, short_help="How fast this store is.")
@click.option("--jobs", metavar="N", type=click.IntRange(100), default=10_000, show_default=True, help="How many jobs.")
@click.option(
    "--concurrency", metavar="N", type=click.IntRange(1), default=50, show_default=True, help="How many run at once."
)
@click.option(
    "--payload", metavar="BYTES", type=click.IntRange(0, _MOST_PAYLOAD), default=100, show_default=True,
    help="The size of a job's argument.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask, also where the store holds jobs.")
@scoped(target=True)
def bench(out: Output, scope: Scope, *, jobs: int, concurrency: int, payload: int, yes: bool) -> int:
    """Measure a store from here: jobs a second in and out, and how soon a job starts."""
    if jobs * payload > _MOST_BYTES:
        raise click.UsageError(
            f"{jobs:,} jobs of {payload:,} bytes are more than 1 GiB at once; lower --jobs or --payload."
        )
    door = _door(scope)
    held = _held(door)
    if held and not yes:
        _ask(door, held)
    with _ground(door, out) as queue:
        found = _leaving(lambda: _measured(queue, jobs, concurrency, payload), queue)
        if isinstance(found, int):
            return found
    _tell(out, door, found, jobs=jobs, concurrency=concurrency, payload=payload)
    if found.ran != jobs:
        raise AnswerIsNo(f"only {found.ran:,} of {jobs:,} jobs ran once; that should not be: please report it.")
    return 0


# --- where ---


def _door(scope: Scope) -> "Queue":
    """A queue of the store that is meant."""
    from surefoot.client.queue import Queue

    queues = scope.queues()
    if len({id(queue.broker) for queue in queues}) > 1:
        raise click.UsageError(f"'{scope.application}' has queues in several stores; name one of them with --queue.")
    if queues:
        return queues[0]
    url = click.get_current_context().params.get("url") or os.environ["SUREFOOT_URL"]
    return Queue(url)  # a server that has none yet


def _held(door: "Queue") -> int:
    """How many jobs the store holds, in all namespaces."""
    from surefoot.brokers.broker import Queues, Stats

    [names] = door.sessions.ask_sync([Queues("")])
    found = door.sessions.ask_sync([Stats(name, 0) for name in names]) if names else []
    return sum(one.scheduled + one.pending + one.parked + one.processing + one.dead for one in found)


def _ask(door: "Queue", held: int) -> None:
    words = f"{door.broker.address} holds {counted(held, 'job')}, and a benchmark takes time from their workers"
    if not sys.stdin.isatty():
        raise click.UsageError(f"{words}; without a terminal to ask on this needs --yes.")
    if not click.confirm(f"{words}. Go on?", err=True):
        raise AnswerIsNo("nothing was measured.")


@contextmanager
def _ground(door: "Queue", out: Output) -> "Iterator[Queue]":
    """A queue of our own on the same server, or on the same disk; nothing of it is left."""
    from surefoot.brokers.connect import MEMORY
    from surefoot.brokers.sqlite.broker import SqliteBroker
    from surefoot.client.queue import Queue
    from surefoot.client.store import Store

    name = f"bench-{chance.token(4).hex()}"
    if isinstance(door.broker, SqliteBroker) and door.broker.path != MEMORY:
        path = f"{door.broker.path}.{name}"
        queue = Queue(f"sqlite:///{path}?synchronous={door.broker.synchronous}", name="bench", namespace=name)
        try:
            yield queue
        finally:
            queue.close_sync()
            for ending in ("", "-wal", "-shm", ".lock"):
                with suppress(FileNotFoundError):
                    os.unlink(path + ending)
        return
    queue = Queue(name="bench")
    queue.lend(Store(door.sessions, name))
    try:
        yield queue
    finally:
        try:
            asyncio.run(_removed(queue))
        except StoreError as fault:
            out.say(f"surefoot: {fault}")


async def _removed(queue: "Queue") -> None:
    """Take the keys of our namespace away by name: nothing is flushed, nothing is searched for."""
    from surefoot.brokers.redis.broker import RedisBroker
    from surefoot.brokers.redis.connection import Connections
    from surefoot.brokers.redis.names import key
    from surefoot.brokers.redis.scripts import scripts

    if not isinstance(queue.broker, RedisBroker):
        return
    keys = {key(queue.full_name, name) for script in scripts().values() for name in script.keys}
    connections = Connections(queue.broker.server)
    try:
        [answer] = await connections.send(("UNLINK", *sorted(keys)))
        if isinstance(answer, Exception):
            raise answer
    except Exception as met:
        raise StoreError(
            f"the keys {{{queue.full_name}}}:* were not removed ({str(met).rstrip('.')}); remove them by hand."
        ) from met
    finally:
        await connections.close()


# --- what ---


def _leaving(measure: Callable[[], Coroutine[Any, Any, Measured]], queue: "Queue") -> Measured | int:
    """What came of it, or the exit code of the signal that ended it early."""
    from surefoot.execution.loops import run_in_new_loop

    came: list[int] = []
    found: list[Measured] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(measure())

        def leave(number: int) -> None:
            came.append(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, leave, number)
        try:
            found.append(await task)
        except asyncio.CancelledError:
            if not came:
                raise
        finally:
            await queue.close()

    run_in_new_loop(run())
    return found[0] if found else 128 + came[0]


class _Runs:
    """The jobs' handler: which of them ran, and when."""

    def __init__(self, queue: "Queue") -> None:
        self.at: dict[int, float] = {}
        self.many = 0

        async def note(n: int, filling: str) -> None:
            self.many += 1
            self.at[n] = clock.monotonic()

        self.task: AsyncTask[[int, str], None] = queue.task(name="note")(note)


async def _measured(queue: "Queue", jobs: int, concurrency: int, payload: int) -> Measured:
    runs, filling = _Runs(queue), "x" * payload
    begun = clock.monotonic()
    for start in range(0, jobs, _BATCH):
        numbers = range(start, min(start + _BATCH, jobs))
        await queue.enqueue_many([runs.task.draft(n, filling) for n in numbers])
    stored = clock.monotonic()
    await _worker(queue, concurrency).serve(burst=True)
    drained = clock.monotonic() - min(runs.at.values(), default=stored)
    ran = runs.many if runs.many == len(runs.at) else min(len(runs.at), jobs - 1)
    late = await _latencies(queue, runs, filling, concurrency)
    ordered = sorted(1000 * one for one in late)
    return Measured(
        ran, jobs / (stored - begun), jobs / drained, statistics.median(ordered), ordered[int(0.99 * len(ordered))]
    )


def _worker(queue: "Queue", concurrency: int) -> "Worker":
    """One that starts on a server which may drop keys, too: nobody relies on these jobs."""
    from surefoot.worker import Worker

    worker = Worker(queue, concurrency=concurrency, drain=1, name="bench")
    worker.allow_eviction = True
    return worker


async def _latencies(queue: "Queue", runs: _Runs, filling: str, concurrency: int) -> list[float]:
    """Seconds from `enqueue` to the start of the run, at a fixed rate, the answers not waited for."""
    runs.at.clear()
    many = _RATE * _SECONDS
    sent: dict[int, float] = {}
    tasks: set[asyncio.Task[object]] = set()
    async with _worker(queue, concurrency):
        begun = clock.monotonic()
        for n in range(many):
            await clock.sleep(max(0.0, begun + n / _RATE - clock.monotonic()))
            sent[n] = clock.monotonic()
            tasks.add(asyncio.ensure_future(runs.task.enqueue(n, filling)))
        await asyncio.gather(*tasks)
        until = clock.monotonic() + _PATIENCE_S
        while len(runs.at) < many:
            if clock.monotonic() > until:
                raise AnswerIsNo(f"{len(runs.at):,} of {many:,} jobs started within {_PATIENCE_S} s; is it overloaded?")
            await clock.sleep(0.01)
    return [runs.at[n] - sent[n] for n in range(many)]


def _tell(out: Output, door: "Queue", found: Measured, **asked: int) -> None:
    facts = asyncio.run(door.broker.facts())
    if out.json:
        out.record({"url": door.broker.address, "software": facts.software, "keeps": facts.keeps, **asked,
                    **found._asdict()})  # fmt: skip
        return
    keeps = f", {_KEEPS[facts.keeps]}" if facts.keeps else ""
    out.say(
        f"{door.broker.address} ({facts.software}{keeps}): {counted(asked['jobs'], 'job')} of {asked['payload']:,} "
        f"bytes, {asked['concurrency']:,} at once."
    )
    out.facts(
        [
            ("enqueue", f"{found.enqueue_per_second:>9,.0f} jobs/s   {_BATCH} a call"),
            ("drain", f"{found.drain_per_second:>9,.0f} jobs/s   one worker, jobs that do nothing"),
            (
                "pick-up",
                f"{found.latency_p50_ms:>9.2f} ms       the median; 99 of 100 within {found.latency_p99_ms:.2f} ms, "
                f"at {_RATE} a second",
            ),
        ],
        indent="",
    )
