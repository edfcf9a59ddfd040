"""How drafts get into a queue: in order, many a round trip, each stored or refused by itself. Accepted, or an error."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, TypeVar

from msgspec import UNSET

from surefoot import clock
from surefoot.brokers.answers import PutAnswer, QueueStats
from surefoot.brokers.broker import Put, Stats
from surefoot.client.drafts import not_a_draft
from surefoot.client.handle import Home, JobHandle
from surefoot.client.line import Parcel, new_job
from surefoot.client.operation import Ask, Sleep, Steps
from surefoot.core.errors import DuplicateJob, NotReplicated, QueueFull, StoreUnavailable, UsageError
from surefoot.core.job import Draft, NewJob

R = TypeVar("R")

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_PATIENCE_S: Final = 30.0

BeforeEnqueue = Callable[[Draft[Any]], Draft[Any]]


class Intake:
    """The way into one queue. A list may be stored in part: then its error names what is stored.

    `durable`: how many replicas must confirm each put, `within` so many seconds.
    """

    def __init__(
        self,
        home: Home,
        *,
        max_length: int | None,
        when_full: Literal["reject", "wait"],
        durable: int,
        within: Callable[[], float],
        before_enqueue: Sequence[BeforeEnqueue],
    ) -> None:
        self._home = home
        self._max_length = max_length
        self._waits = when_full == "wait"
        self._durable = durable
        self._within = within
        self._before = tuple(before_enqueue)

    def one(self, draft: Draft[R]) -> Steps[JobHandle[R]]:
        """Store one job."""
        ready = self._ready(draft)
        [[answer]] = yield Ask((self._put((new_job(ready, clock.wall_ms()),)),))
        if answer.word == "created" and answer.confirmed is None:
            return JobHandle(self._home, ready.id, ready.task, False, ready.options.get("keep_result_ms", UNSET))
        listed = _List(self._home, [ready])
        self._check_replicas(listed, [0], [answer])
        listed.heard([0], [answer])
        yield from self._rest(listed)
        handle: JobHandle[R] = listed.handles()[0]
        return handle

    def many(self, drafts: Iterable[Draft[R]]) -> Steps[list[JobHandle[R]]]:
        """Store jobs in their order."""
        listed = _List(self._home, [self._ready(draft) for draft in drafts])
        yield from self._rest(listed)
        return listed.handles()

    def _rest(self, listed: "_List") -> Steps[None]:
        """Store what of a list is not stored yet; a queue that is full is waited for, or refuses."""
        until = clock.monotonic() + _PATIENCE_S
        pause = _FIRST_PAUSE_S
        while True:
            if listed.full:
                if not self._waits or clock.monotonic() >= until:
                    raise (yield from self._queue_full(listed))
                yield Sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            places, jobs = listed.next_parcel()
            if not places:
                break
            try:
                [answers] = yield Ask((self._put(tuple(jobs)),))
            except StoreUnavailable as away:
                away.accepted = tuple(listed.accepted)
                raise
            self._check_replicas(listed, places, answers)
            listed.heard(places, answers)
        listed.refuse_duplicates()

    def _put(self, jobs: tuple[NewJob, ...]) -> Put:
        home = self._home
        if not self._durable:
            return Put(home.full_name, jobs, self._max_length)
        within_ms = max(1, round(self._within() * 1000))
        return Put(home.full_name, jobs, self._max_length, replicas=self._durable, within_ms=within_ms)

    def _check_replicas(self, listed: "_List", places: Sequence[int], answers: Sequence[PutAnswer]) -> None:
        """NotReplicated for what is stored, its key's holder included, and not confirmed by as many as asked for."""
        short = [(place, answer) for place, answer in zip(places, answers, strict=True) if answer.confirmed is not None]
        stored = [listed.id_of(place, answer) for place, answer in short if answer.word != "full"]
        if stored:
            raise NotReplicated(
                queue=self._home.name,
                job_ids=stored,
                confirmed=min(answer.confirmed or 0 for _, answer in short),
                wanted=self._durable,
                within=self._within(),
                accepted=listed.accepted,
            )

    def _queue_full(self, listed: "_List") -> Steps[QueueFull]:
        [stats] = yield Ask((Stats(self._home.full_name, 0),))
        assert isinstance(stats, QueueStats)
        limit = self._max_length if self._max_length is not None else stats.max_length
        length = stats.scheduled + stats.pending + stats.parked
        return QueueFull(
            queue=self._home.name,
            length=length,
            limit=length if limit is None else limit,
            accepted=listed.accepted,
            asked=listed.asked,
            oldest=None if stats.oldest_ms is None else stats.oldest_ms / 1000,
        )

    def _ready(self, draft: Draft[R]) -> Draft[R]:
        home = self._home
        if not isinstance(draft, Draft):
            raise not_a_draft(home, draft)
        if draft.queue != home.name:
            raise UsageError(
                f"the draft {draft.id} of {draft.task} is for queue '{draft.queue}', not for '{home.name}'; write "
                f"{draft.task}.options(queue={home.name}).draft(...)."
            )
        for function in self._before:
            made: object = function(draft)
            if not isinstance(made, Draft):
                raise UsageError(f"before_enqueue: {function!r} returned {made!r}; it must return a draft.")
            draft = made
        return draft


class _List:
    """A list of drafts on its way in: which are stored, which were refused, which wait."""

    def __init__(self, home: Home, drafts: Sequence[Draft[Any]]) -> None:
        now_ms = clock.wall_ms()
        self._home = home
        self._drafts = drafts
        self._jobs: list[NewJob] = [new_job(draft, now_ms) for draft in drafts]
        self._handles: list[JobHandle[Any] | None] = [None] * len(drafts)
        self._waiting = list(range(len(drafts)))
        self._duplicate: tuple[str, str] | None = None
        self.accepted: list[str] = []
        self.full = False

    @property
    def asked(self) -> int:
        """How many drafts there are."""
        return len(self._drafts)

    def handles(self) -> list[JobHandle[Any]]:
        """A handle for each draft, in order."""
        return [handle for handle in self._handles if handle is not None]

    def id_of(self, place: int, answer: PutAnswer) -> str:
        """The job that the enqueue of this draft came to: its own, or the holder of its key."""
        return answer.other if answer.word == "taken" and answer.other is not None else self._drafts[place].id

    def next_parcel(self) -> tuple[list[int], list[NewJob]]:
        """The places of the drafts that go in the next Put, and their jobs."""
        parcel = Parcel()
        places: list[int] = []
        for place in self._waiting:
            if not parcel.add((self._jobs[place],)):
                break
            places.append(place)
        return places, parcel.jobs

    def heard(self, places: Sequence[int], answers: Sequence[PutAnswer]) -> None:
        """What the store said of the drafts at these places, the first of those that wait."""
        full: list[int] = []
        for place, answer in zip(places, answers, strict=True):
            if answer.word == "full":
                full.append(place)
            else:
                self._handles[place] = self._handle(self._drafts[place], answer)
        self._waiting = full + self._waiting[len(places) :]
        self.full = bool(full)

    def refuse_duplicates(self) -> None:
        """DuplicateJob if a draft that asked for it met its key taken; all others are stored."""
        if self._duplicate is not None:
            holder, key = self._duplicate
            raise DuplicateJob(queue=self._home.name, job_id=holder, key=key, accepted=self.accepted)

    def _handle(self, draft: Draft[Any], answer: PutAnswer) -> JobHandle[Any]:
        if answer.word == "taken" and answer.other is not None:
            assert draft.key is not None
            if draft.key.duplicate == "raise" and self._duplicate is None:
                self._duplicate = (answer.other, draft.key.value)
            return JobHandle(self._home, answer.other, draft.task, True)
        self.accepted.append(draft.id)
        keep = draft.options.get("keep_result_ms", UNSET)
        return JobHandle(self._home, draft.id, draft.task, answer.word == "exists", keep)
