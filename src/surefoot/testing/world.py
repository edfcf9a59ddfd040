"""What a sandbox holds: its store in memory, its clock, the queues that live in it meanwhile, who was enqueued when."""

import concurrent.futures
import weakref
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from surefoot.brokers import broker
from surefoot.brokers.answers import PutAnswer, Record
from surefoot.brokers.broker import Cancel, Configure, Find, Get, Move, Requeue, Settle, Tick, Verb
from surefoot.brokers.sqlite.broker import SqliteBroker
from surefoot.client.caller import only_reads
from surefoot.client.queue import Queue
from surefoot.client.records import job_of
from surefoot.client.session import Sessions, SyncSession
from surefoot.client.store import DEFAULT_NAMESPACE, Resident, Store, host_newcomers, residents
from surefoot.core.job import Job
from surefoot.core.spec import Spec
from surefoot.engine.served import Served
from surefoot.execution.context import in_job
from surefoot.testing.patience import Patience

_PAGE: Final = 1_000
_MAKE_DUE: Final = (broker.Put, Requeue, Move, Configure)
"""The verbs after which something may be due that was not before."""

End: TypeAlias = "concurrent.futures.Future[BaseException | None]"
"""Tells an enqueue that its job ended, and what it raised; from whatever thread or loop it ran on."""


class Put(msgspec.Struct, frozen=True):
    """A job on its way in: its queue by its full name, its id, and whether the store took it in as a new one."""

    queue: str
    id: str
    created: bool = False


class Ears(Protocol):
    """A worker of the sandbox, as it is told that a queue was written to."""

    def ring(self, queue: str) -> None: ...
    def cancel(self, queue: str, id: str, reason: str) -> None: ...


class _Memory(SqliteBroker):
    """A store that an application under test does not close with its queues: it would be gone."""

    async def close(self) -> None:
        """Nothing."""

    def close_sync(self) -> None:
        """Nothing."""

    def end(self) -> None:
        """The sandbox is left."""
        super().close_sync()


class World:
    """One store and its clock. Each Queue object lives in it under a name of its own, so that two queues of one name,
    in two test modules, do not meet.
    """

    def __init__(self, queues: Sequence[Queue], now_ms: int, run_now: "RunNow | None") -> None:
        self.now_ms = now_ms
        self.began_ms: Final = now_ms
        self.broker: Final = _Memory(":memory:", wall_ms=lambda: self.now_ms)
        self.ears: Final[weakref.WeakSet[Ears]] = weakref.WeakSet()
        self.ends: Final[dict[str, End]] = {}
        self.finished: Final[dict[tuple[str, str], int]] = {}
        """How many runs ended their job, by queue and task."""
        self.patience: Final = Patience()
        self._named = tuple(queues)
        self._sessions = _Sessions(self, run_now)
        self._own: Final = SyncSession(self.broker)
        self._before: dict[Queue, Store | None] = {}
        self._names: dict[Queue, str] = {}
        self._order: dict[str, int] = {}
        self._unhost: Callable[[], None] | None = None

    # --- who lives here ---

    @property
    def queues(self) -> list[Queue]:
        """The queues of this sandbox, in the order in which they were named or made."""
        if self._unhost is not None:
            for resident in residents():
                if isinstance(resident, Queue):
                    self._take_in(resident)
        return list(self._names)

    def enter(self) -> None:
        """The queues live here from now on."""
        if not self._named:
            self._unhost = host_newcomers(self._host)
        for queue in self._named or self.queues:
            self._take_in(queue)

    def leave(self) -> None:
        """Everybody back to where they lived; what is here is gone."""
        if self._unhost is not None:
            self._unhost()
            self._unhost = None
        for queue, before in self._before.items():
            queue.lend(before)
        self._before.clear()
        self.broker.end()

    def _host(self, resident: Resident) -> Store:
        assert isinstance(resident, Queue)
        self._take_in(resident)
        return resident.store

    def _take_in(self, queue: Queue) -> None:
        if queue in self._names:
            return
        same = sum(other.name == queue.name for other in self._names)
        namespace = DEFAULT_NAMESPACE if not same else f"{DEFAULT_NAMESPACE}.{same + 1}"
        self._names[queue] = f"{namespace}:{queue.name}"
        self._before[queue] = queue.lend(Store(self._sessions, namespace))

    def served(self) -> list[Served]:
        """The queues as a worker serves them."""
        return [Served(self._names[queue], queue.registry.specs, queue.registry.crons, 1) for queue in self.queues]

    def spec(self, name: str, task: str) -> Spec | None:
        """A task of a queue, by its full name, as its worker knows it."""
        for queue, full_name in self._names.items():
            if full_name == name:
                return queue.specs.get(task)
        return None

    def named(self, name: str) -> list[str]:
        """The full names of the queues of this name."""
        return [self._names[queue] for queue in self.queues if queue.name == name]

    def full_names(self) -> list[str]:
        """The full names of all queues."""
        return [self._names[queue] for queue in self.queues]

    def full_name(self, queue: object) -> str | None:
        """Under which name a queue lives here; None: it does not."""
        return self._names.get(queue) if isinstance(queue, Queue) and queue in self.queues else None

    # --- what is in it ---

    def jobs(self) -> list[tuple[str, Job]]:
        """All jobs that the store knows, in the order of their enqueue, each with its queue's full name."""
        found: list[tuple[int, int, str, Job]] = []
        for queue in self.queues:
            name = self._names[queue]
            for record in self.records(name):
                place = self._order.get(record.id, len(self._order))
                found.append((place, record.enqueued_ms, name, job_of(record, queue.name, queue.specs)))
        found.sort(key=lambda one: one[:2])
        return [one[2:] for one in found]

    def records(self, name: str, *, parked: bool = False) -> list[Record]:
        """What the store knows of the jobs of one queue, by its full name."""
        records: list[Record] = []
        find = Find(name, state="parked" if parked else None, limit=_PAGE)
        while True:
            [page] = self._own.ask([find])
            records += page.records
            if page.cursor is None:
                return records
            find = Find(name, find.state, page.cursor, _PAGE)

    def job(self, name: str, id: str) -> Job | None:
        """One job, by its queue's full name."""
        [[record]] = self._own.ask([Get(name, (id,))])
        label = name.partition(":")[2]
        for queue, full_name in self._names.items():
            if full_name == name and record is not None:
                return job_of(record, label, queue.specs)
        return None

    def note(self, verbs: Iterable[Verb[Any]]) -> list[Put]:
        """Remember who was enqueued when; what was put."""
        put: list[Put] = []
        for verb in verbs:
            match verb:
                case broker.Put(queue=queue, jobs=jobs):
                    put += [Put(queue, job.id) for job in jobs]
                    self._number(job.id for job in jobs)
                case Settle(transitions=transitions):
                    self._number(job.id for one in transitions for job in one.effects)
                case Tick(job=job):
                    self._number([job.id])
                case _:
                    pass
        return put

    def expect(self, id: str) -> End:
        """Will tell of the end of this job's run."""
        return self.ends.setdefault(id, concurrent.futures.Future())

    def ring(self, verbs: Iterable[Verb[Any]]) -> None:
        """These were said by somebody else than a worker of the sandbox: it must look again."""
        self.patience.moved()
        for ears in list(self.ears):
            for verb in verbs:
                ears.ring(verb.queue)
                if isinstance(verb, Cancel):
                    for id in verb.ids:
                        ears.cancel(verb.queue, id, verb.reason)

    def hope(self, verbs: Sequence[Verb[Any]], answers: Sequence[Any]) -> None:
        """Somebody asks for a job: refused once it is clear that they wait for what nobody will do."""
        inside = in_job()
        if self.ears and not inside:  # a worker is at work beside them
            return
        for verb, answer in zip(verbs, answers, strict=True):
            if isinstance(verb, Get) and len(verb.ids) == 1:
                record: Record | None = answer[0]
                self.patience.asked(verb.ids[0], None if record is None else record.state, in_job=inside)

    def _number(self, ids: Iterable[str]) -> None:
        for id in ids:
            self._order.setdefault(id, len(self._order))


class RunNow(Protocol):
    """Runs what was just stored, and raises what it raised."""

    def here(self, world: World, put: Sequence[Put]) -> Coroutine[Any, Any, None]: ...
    def blocking(self, world: World, put: Sequence[Put]) -> None: ...


class _Sessions(Sessions):
    """What queues in a sandbox say to its store; with `run_now` a job runs before its enqueue returns."""

    def __init__(self, world: World, run_now: RunNow | None) -> None:
        super().__init__(world.broker)
        self._world = world
        self._run_now = run_now

    def ask(self, verbs: Sequence[Verb[Any]]) -> Coroutine[Any, Any, list[Any]]:
        return self._ask(verbs)

    async def _ask(self, verbs: Sequence[Verb[Any]]) -> list[Any]:
        __tracebackhide__ = True
        put = self._expected(verbs)
        answers = await super().ask(verbs)
        self._heard(verbs, answers)
        if self._run_now is not None and isinstance(verbs[0], _MAKE_DUE):
            await self._run_now.here(self._world, _created(put, answers))
        return answers

    def ask_sync(self, verbs: Sequence[Verb[Any]]) -> list[Any]:
        __tracebackhide__ = True
        put = self._expected(verbs)
        answers = super().ask_sync(verbs)
        self._heard(verbs, answers)
        if self._run_now is not None and isinstance(verbs[0], _MAKE_DUE):
            self._run_now.blocking(self._world, _created(put, answers))
        return answers

    def _expected(self, verbs: Sequence[Verb[Any]]) -> list[Put]:
        put = self._world.note(verbs)
        if self._run_now is not None:  # before they are stored: somebody else may run them at once
            for one in put:
                self._world.expect(one.id)
        return put

    def _heard(self, verbs: Sequence[Verb[Any]], answers: Sequence[Any]) -> None:
        if not only_reads(verbs):
            self._world.ring(verbs)
        else:
            self._world.hope(verbs, answers)


def _created(put: Sequence[Put], answers: Sequence[Any]) -> list[Put]:
    """What was put, with the store's word for each."""
    words = [one.word for answer in answers if isinstance(answer, list) for one in answer if type(one) is PutAnswer]
    return [Put(one.queue, one.id, word in ("created", "replaced")) for one, word in zip(put, words, strict=True)]
