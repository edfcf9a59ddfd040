"""The model and a broker, driven together by everything that can happen to a queue, and compared after each step.

A repeat, a lost reply, a late or a cloned call, a stale token, a clock that steps back, a restart: all are steps here.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from msgspec import UNSET
from tests.conformance import drawing as draw
from tests.conformance.compare import assert_same, seen_record, seen_stats
from tests.conformance.model import Model
from tests.conformance.stores import KINDS, MODEL, QUEUE, Kind, Runner, Store

from surefoot.brokers.broker import (
    NUMBERED,
    Amend,
    Beat,
    Call,
    Cancel,
    Claim,
    Configure,
    Delete,
    Extend,
    Find,
    Get,
    Lease,
    Move,
    Prune,
    Put,
    Requeue,
    Settle,
    Stats,
    Tick,
    Verb,
)
from surefoot.core.job import Due, NewJob

CALLERS = ("alice", "bob", "carol")
REMEMBERED_MS = 3_600_000
"""For so long a store surely remembers a caller."""
RING_SECONDS = 30
HELD_MOST = 12

callers = st.sampled_from(CALLERS)


class QueueMachine(RuleBasedStateMachine):
    """One queue in one store beside its model. `kind` is set by the test."""

    kind: Kind

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="surefoot-"))
        self.store = Store(self.kind, self.place)
        self.model = Model(ties=self.kind.ties)
        self.loop = asyncio.new_event_loop()
        self.numbers = dict.fromkeys(CALLERS, 0)
        self.last: dict[str, tuple[Call, bool]] = {}  # what a caller said last, and whether to the newer release
        self.held: list[tuple[str, str]] = []  # job and token of the last claims, good or stale
        self.newer: tuple[Model, Runner] | None = None

    def teardown(self) -> None:
        self.store.close()
        self.loop.close()
        shutil.rmtree(self.place)

    # Saying a call to both

    def say(self, caller: str, *verbs: Verb[Any], newer: bool = False) -> None:
        self.numbers[caller] += 1
        tag = f"t{self.numbers[caller]:03}"
        self.send(Call(caller, self.numbers[caller], tag, verbs, self.store.now), newer=newer)

    def send(self, call: Call, *, newer: bool = False, repeated: bool = False) -> None:
        self.forget_what_is_over()
        model, runner = self.newer if newer and self.newer else (self.model, self.store.runner)
        self.listen(0)
        expected, got = model.run_sync(call), runner.run_sync(call)
        assert len(got) == len(expected)
        for verb, wanted, answer in zip(call.verbs, expected, got, strict=True):
            assert_same(verb, wanted, answer, repeated=repeated)
            if isinstance(verb, Claim) and not isinstance(answer, Exception):
                self.held = [*((job.id, job.token) for job in answer.jobs), *self.held][:HELD_MOST]
        if not repeated:
            self.last[call.caller] = (call, newer)
        if self.model.queues[QUEUE].token and runner is self.store.runner:
            assert self.listen(RING_SECONDS), f"{call} made something claimable and woke nobody"
        self.model.queues[QUEUE].token = False
        self.compare()

    def listen(self, seconds: float) -> bool:
        return self.loop.run_until_complete(self.store.broker.wait((QUEUE,), seconds))

    def forget_what_is_over(self) -> None:
        """A store drops kept outcomes some time after their time: the model follows what it sees."""
        queue = self.model.queues.get(QUEUE)
        over = [id for id, job in queue.jobs.items() if job.forget_ms <= self.store.now] if queue else []
        records = self.read(Get(QUEUE, tuple(over)))
        for id, record in zip(over, records, strict=True):
            if queue and record is None:
                del queue.jobs[id]

    def read(self, verb: Verb[Any]) -> Any:
        (answer,) = self.store.runner.run_sync(Call("reader", 1, "read", (verb,), self.store.now))
        return answer

    def compare(self) -> None:
        """Every record, every place, every number."""
        self.forget_what_is_over()
        reads = (Get(QUEUE, draw.IDS), Stats(QUEUE, 1_440, draw.CRONS), Find(QUEUE))
        call = Call("reader", 1, "read", reads, self.store.now)
        records, stats, page = self.store.runner.run_sync(call)
        (expected, counts) = self.model.run_sync(msgspec.structs.replace(call, verbs=reads[:2]))
        for wanted, record in zip(expected, records, strict=True):
            assert seen_record(record) == seen_record(wanted)
        assert seen_stats(stats) == seen_stats(counts)
        standing = sorted((record.id, record.state) for record in page.records)
        assert standing == sorted((record.id, record.state) for record in expected if record), "one job, one place"

    # What happens

    @initialize()
    def begin(self) -> None:
        if self.kind.shared:
            self.newer = (Model(2, self.kind.ties, self.model.queues), self.store.open(understands=2))
        self.say("alice", Put(QUEUE, ()))

    @rule(
        caller=callers,
        jobs=st.lists(draw.jobs, max_size=4),
        most=st.sampled_from((None, None, None, 0, 2, 5)),
        keep=draw.keeps,
    )
    def put(self, caller: str, jobs: list[NewJob], most: int | None, keep: int | None) -> None:
        self.say(caller, Put(QUEUE, tuple(jobs), most, keep))

    @rule(caller=callers, want=st.integers(0, 3), data=st.data(), newer=st.booleans(), also=st.booleans())
    def claim(self, caller: str, want: int, data: st.DataObject, newer: bool, also: bool) -> None:
        newer = newer and self.newer is not None
        served = draw.REASONS if newer else draw.REASONS[:2]
        reasons = data.draw(st.lists(st.sampled_from(served), unique=True))
        lease_ms = data.draw(st.sampled_from((1_000, 10_000)))
        trust_ms = data.draw(st.sampled_from((0, self.store.now, self.store.now, self.store.now - 5_000)))
        claim = Claim(QUEUE, want, lease_ms, trust_ms, reasons=tuple(reasons))
        if also and self.held:
            self.say(caller, self.draw_settle(data), claim, newer=newer)
        else:
            self.say(caller, claim, newer=newer)

    def draw_settle(self, data: st.DataObject) -> Settle:
        return Settle(QUEUE, tuple(data.draw(st.lists(draw.transitions(self.held), min_size=1, max_size=3))))

    @precondition(lambda self: self.held)
    @rule(caller=callers, data=st.data())
    def settle(self, caller: str, data: st.DataObject) -> None:
        self.say(caller, self.draw_settle(data))

    @precondition(lambda self: self.held)
    @rule(caller=callers, data=st.data(), note=st.one_of(st.none(), draw.bodies), swap=st.integers(0, 5))
    def extend(self, caller: str, data: st.DataObject, note: bytes | None, swap: int) -> None:
        held = data.draw(st.lists(st.sampled_from(self.held), min_size=1, max_size=3))
        leases = [Lease(id, held[0][1] if swap == 0 else token, note) for id, token in held]
        self.say(caller, Extend(QUEUE, tuple(leases), data.draw(st.sampled_from((1_000, 10_000)))))

    @rule(caller=callers, ids=draw.some_ids, reason=st.sampled_from(("", "enough")), keep=draw.keeps)
    def cancel(self, caller: str, ids: tuple[str, ...], reason: str, keep: int | None) -> None:
        self.say(caller, Cancel(QUEUE, ids, reason, keep))

    @rule(caller=callers, ids=draw.some_ids)
    def requeue(self, caller: str, ids: tuple[str, ...]) -> None:
        self.say(caller, Requeue(QUEUE, ids))

    @rule(caller=callers, ids=draw.some_ids, due=draw.dues)
    def move(self, caller: str, ids: tuple[str, ...], due: Due) -> None:
        self.say(caller, Move(QUEUE, ids, due))

    @rule(caller=callers, id=draw.ids, body=draw.bodies)
    def amend(self, caller: str, id: str, body: bytes) -> None:
        self.say(caller, Amend(QUEUE, id, body))

    @rule(caller=callers, ids=draw.some_ids)
    def delete(self, caller: str, ids: tuple[str, ...]) -> None:
        self.say(caller, Delete(QUEUE, ids))

    @rule(
        caller=callers,
        name=st.sampled_from(draw.CRONS),
        ahead=st.sampled_from((-9_000, 0, 60_000, 60_001)),
        job=draw.jobs,
    )
    def tick(self, caller: str, name: str, ahead: int, job: NewJob) -> None:
        self.say(caller, Tick(QUEUE, name, self.store.now + ahead, job))

    @rule(
        caller=callers,
        paused=st.sampled_from((UNSET, None, None, "", "night")),
        most=st.sampled_from((UNSET, None, None, 3)),
        cron=st.sampled_from((UNSET, ("nightly", "x"), ("nightly", None), ("hourly", ""))),
    )
    def configure(self, caller: str, paused: Any, most: Any, cron: Any) -> None:
        self.say(caller, Configure(QUEUE, paused, most, cron))

    @rule(caller=callers, dead_max=st.sampled_from((None, 0, 1)), age=st.sampled_from((None, 5_000)))
    def prune(self, caller: str, dead_max: int | None, age: int | None) -> None:
        self.say(caller, Prune(QUEUE, dead_max, age, unknown_ms=60_000))

    @rule(caller=callers, presence=draw.bodies)
    def beat(self, caller: str, presence: bytes) -> None:
        self.say(caller, Beat(QUEUE, caller, presence))

    # What goes wrong

    def remembered(self, caller: str) -> tuple[Call, bool] | None:
        """The last call of this caller, if all of it is numbered and the store still has to know it."""
        call, newer = self.last.get(caller, (None, False))
        if call is None or call.now is None or self.store.now - call.now >= REMEMBERED_MS:
            return None
        return (call, newer) if all(isinstance(verb, NUMBERED) for verb in call.verbs) else None

    @rule(caller=callers)
    def repeat(self, caller: str) -> None:
        """The reply was lost, on the way or with the process that should have read it: the same call again."""
        if said := self.remembered(caller):
            call, newer = said
            self.send(msgspec.structs.replace(call, now=self.store.now), newer=newer, repeated=True)

    @rule(caller=callers)
    def clone(self, caller: str) -> None:
        """Two senders think that they are this caller."""
        if said := self.remembered(caller):
            self.send(msgspec.structs.replace(said[0], tag="else", now=self.store.now), repeated=True)

    @rule(caller=callers)
    def come_late(self, caller: str) -> None:
        """A request arrives after its successor, out of a connection that was given up."""
        if said := self.remembered(caller):
            call = said[0]
            self.send(msgspec.structs.replace(call, number=call.number - 1, now=self.store.now), repeated=True)

    @rule(ms=draw.steps_ms)
    def let_time_pass(self, ms: int) -> None:
        self.store.later(ms)
        self.compare()

    @precondition(lambda self: self.kind.shared)
    @rule()
    def restart(self) -> None:
        self.store.restart()
        self.newer = (Model(2, self.kind.ties, self.model.queues), self.store.open(understands=2))
        self.compare()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not MODEL], ids=lambda kind: kind.name)
def test_the_store_does_what_the_model_does(kind: Kind) -> None:
    machine = type(f"{QueueMachine.__name__} on {kind.name}", (QueueMachine,), {"kind": kind})
    run_state_machine_as_test(machine)
