"""The model and a broker, driven together by everything that can happen to a queue, and compared after each step.

A repeat, a lost reply, a late or a cloned call, a stale token, a clock that steps back, a restart: all are steps here.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from tests.conformance import drawing as draw
from tests.conformance.compare import assert_same, seen_record, seen_stats
from tests.conformance.model import Model
from tests.conformance.model_state import Queue as ModelQueue
from tests.conformance.stores import KINDS, MODEL, QUEUE, START_MS, Kind, Runner, Store

from surefoot.brokers.answers import Lease
from surefoot.brokers.broker import (
    NUMBERED,
    Amend,
    Call,
    Cancel,
    Changes,
    Claim,
    Delete,
    Extend,
    Find,
    Get,
    Move,
    Put,
    Repair,
    Requeue,
    Settle,
    Stats,
    Tick,
    Verb,
)
from surefoot.core.job import NewJob
from surefoot.core.names import State

CALLERS = ("alice", "bob", "carol")
REMEMBERED_MS = 3_600_000
"""For so long a store surely remembers a caller."""
RING_SECONDS = 2
CLAIMS_MOST = 12

callers = st.sampled_from(CALLERS)


class QueueMachine(RuleBasedStateMachine):
    """One queue in one store beside its model. `kind` is set by the test."""

    kind: Kind

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="surefoot-"))
        self.store = Store(self.kind, self.place)
        self.queue = ModelQueue(epoch=f"{CALLERS[0]}.{START_MS}")
        self.model = Model(ties=self.kind.ties, queues={QUEUE: self.queue}, watched=self.kind.server is not None)
        self.loop = asyncio.new_event_loop()
        self.numbers = dict.fromkeys(CALLERS, 0)
        self.last: dict[str, tuple[Call, bool]] = {}  # what a caller said last, and whether to the newer release
        self.claimed: list[tuple[str, str]] = []  # job and token of the last claims, good or stale
        self.newer: tuple[Model, Runner] | None = None

    def teardown(self) -> None:
        self.leave()
        try:
            self.store.close()
        finally:
            self.loop.close()
            shutil.rmtree(self.place)

    def leave(self) -> None:
        """What was opened on the loop is closed there."""
        self.loop.run_until_complete(self.store.broker.close())

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
                self.claimed = [*((job.id, job.token) for job in answer.jobs), *self.claimed][:CLAIMS_MOST]
        if not repeated:
            self.last[call.caller] = (call, newer)
        if self.queue.token and runner is self.store.runner:
            assert self.listen(RING_SECONDS), f"{call} made something claimable and woke nobody"
        self.queue.token = False
        self.compare()

    def listen(self, seconds: float) -> bool:
        return self.loop.run_until_complete(self.store.broker.wait((QUEUE,), seconds))

    def forget_what_is_over(self) -> None:
        """A store drops kept outcomes some time after their time: the model follows what it sees."""
        if over := self.over():
            (records,) = self.read(Get(QUEUE, over))
            for id, record in zip(over, records, strict=True):
                if record is None:
                    del self.queue.jobs[id]

    def over(self) -> tuple[str, ...]:
        return tuple(id for id, job in self.queue.jobs.items() if job.forget_ms <= self.store.now)

    def read(self, *verbs: Verb[Any], of: Runner | None = None) -> list[Any]:
        return (of or self.store.runner).run_sync(Call("reader", 1, "read", verbs, self.store.now))

    def compare(self) -> None:
        """Every record, every place, every number."""
        self.forget_what_is_over()
        get, stats, changes = Get(QUEUE, draw.IDS), Stats(QUEUE, 1_440, draw.CRONS, hours=720), Changes(QUEUE, 30)
        records, numbers, trail, page = self.read(get, stats, changes, Find(QUEUE))
        expected, counts, changed = self.read(get, stats, changes, of=self.model)
        assert trail == changed
        for wanted, record in zip(expected, records, strict=True):
            assert seen_record(record) == seen_record(wanted)
        assert seen_stats(numbers) == seen_stats(counts)
        standing = sorted((record.id, record.state) for record in page.records)
        assert standing == sorted((record.id, record.state) for record in expected if record), "one job, one place"

    # What happens

    @initialize(jobs=st.lists(draw.jobs, min_size=3, max_size=6))
    def begin(self, jobs: list[NewJob]) -> None:
        self.open_newer()
        self.say(CALLERS[0], Put(QUEUE, tuple(jobs)))
        self.say(CALLERS[1], Claim(QUEUE, 2, 10_000, 0))

    def open_newer(self) -> None:
        """A second release on the same store, where the store can have two."""
        if self.kind.shared:
            newer = Model(2, self.kind.ties, self.model.queues, watched=self.model.watched)
            self.newer = (newer, self.store.open(understands=2))

    def within(self, *states: State) -> list[str]:
        return [id for id, job in self.queue.jobs.items() if job.state in states]

    def some(self, data: st.DataObject, *states: State) -> tuple[str, ...]:
        """A few ids, most of them of jobs in these states."""
        fitting = st.sampled_from(self.within(*states) or draw.IDS)
        return tuple(data.draw(st.lists(st.one_of(fitting, fitting, draw.ids), min_size=1, max_size=3)))

    @rule(
        caller=callers,
        jobs=st.lists(draw.jobs, min_size=1, max_size=4),
        most=st.sampled_from((None, None, None, None, 0, 3)),
        keep=draw.keeps,
    )
    def put(self, caller: str, jobs: list[NewJob], most: int | None, keep: int | None) -> None:
        self.say(caller, Put(QUEUE, tuple(jobs), most, keep))

    @rule(caller=callers, data=st.data(), newer=st.booleans(), later_ms=draw.pauses_ms)
    def claim(self, caller: str, data: st.DataObject, newer: bool, later_ms: int) -> None:
        self.store.later(later_ms)
        self.say(caller, self.draw_claim(data, newer), newer=newer)

    @rule(caller=callers, data=st.data(), newer=st.booleans(), later_ms=draw.pauses_ms)
    def take_a_turn(self, caller: str, data: st.DataObject, newer: bool, later_ms: int) -> None:
        """What a worker says all day: settle what finished, claim what is free."""
        self.store.later(later_ms)
        settle = [self.draw_settle(data)] if self.claimed else []
        self.say(caller, *settle, self.draw_claim(data, newer), newer=newer)

    @precondition(lambda self: self.leases())
    @rule(caller=callers, data=st.data())
    def settle(self, caller: str, data: st.DataObject) -> None:
        self.say(caller, self.draw_settle(data))

    def draw_claim(self, data: st.DataObject, newer: bool) -> Claim:
        served = draw.REASONS if newer and self.newer else draw.REASONS[:2]
        now = self.store.now
        return Claim(
            QUEUE,
            want=data.draw(st.sampled_from((3, 2, 1, 0))),
            lease_ms=data.draw(draw.leases_ms),
            trust_ms=data.draw(st.sampled_from((now, now, now - 5_000, 0))),
            reasons=tuple(data.draw(st.lists(st.sampled_from(served), unique=True))),
        )

    def draw_settle(self, data: st.DataObject) -> Settle:
        steps = draw.transitions(self.leases(), self.claimed, set(self.over()))
        return Settle(QUEUE, tuple(data.draw(st.lists(steps, min_size=1, max_size=3))), data.draw(draw.times))

    def leases(self) -> list[tuple[str, str]]:
        """The leases that are good, whether their time is over or not."""
        jobs = self.queue.jobs.values()
        return [(job.id, job.token) for job in jobs if job.token is not None]

    @precondition(lambda self: self.claimed)
    @rule(caller=callers, data=st.data(), note=st.one_of(st.none(), draw.bodies))
    def extend(self, caller: str, data: st.DataObject, note: bytes | None) -> None:
        held = data.draw(st.lists(draw.claims(self.leases(), self.claimed), min_size=1, max_size=3))
        leases = tuple(Lease(id, token, note) for id, token in held)
        self.say(caller, Extend(QUEUE, leases, data.draw(draw.leases_ms)))

    @rule(caller=callers, data=st.data(), what=st.sampled_from(("cancel", "move", "tick", "delete", "repair", "house")))
    def act_by_hand(self, caller: str, data: st.DataObject, what: str) -> None:
        match what:
            case "cancel":
                ids = self.some(data, "processing", "pending", "scheduled", "parked")
                why, keep, who = data.draw(st.sampled_from(("", "enough"))), data.draw(draw.keeps), "ann@web 1"
                verb: Verb[Any] = Cancel(QUEUE, ids, why, keep, who)
            case "move":
                verb = Move(QUEUE, self.some(data, "pending", "scheduled", "parked"), data.draw(draw.dues))
            case "tick":
                tick_ms = self.store.now + data.draw(st.sampled_from((0, -9_000, 60_000, 60_001)))
                verb = Tick(QUEUE, data.draw(st.sampled_from(draw.CRONS)), tick_ms, data.draw(draw.jobs))
            case "delete":
                verb = Delete(QUEUE, self.some(data, "dead", "completed"))
            case "repair":  # of what is whole: it changes nothing
                verb = Repair(QUEUE, draw.IDS, draw.KEYS)
            case _:
                verb = data.draw(draw.house_verbs(QUEUE, CALLERS))
        self.say(caller, verb)

    @precondition(lambda self: self.within("dead"))
    @rule(caller=callers, data=st.data(), body=st.one_of(st.none(), st.none(), draw.bodies))
    def mend_the_dead(self, caller: str, data: st.DataObject, body: bytes | None) -> None:
        ids = self.some(data, "dead")
        every_us, first_ms = data.draw(st.sampled_from(((0, 0), (0, 0), (1_500, 0), (400, 2), (2_500_000, 700))))
        again = Requeue(QUEUE, ids, "ann@web", every_us, first_ms)
        self.say(caller, again if body is None else Amend(QUEUE, ids[0], body))

    # What goes wrong

    def remembered(self, caller: str) -> tuple[Call, bool] | None:
        """The last call of this caller, if all of it is numbered and the store still has to know it."""
        call, newer = self.last.get(caller, (None, False))
        if call is None or call.now is None or self.store.now - call.now >= REMEMBERED_MS:
            return None
        return (call, newer) if all(isinstance(verb, NUMBERED) for verb in call.verbs) else None

    @rule(caller=callers, fault=st.sampled_from(("lost reply", "clone", "late")))
    def say_again(self, caller: str, fault: str) -> None:
        """The reply was lost; or two senders use one caller; or a request arrives after it was given up."""
        if said := self.remembered(caller):
            call, newer = said
            tag = "else" if fault == "clone" else call.tag
            number = call.number - 1 if fault == "late" else call.number
            again = Call(caller, number, tag, call.verbs, self.store.now)
            self.send(again, newer=newer, repeated=True)

    @rule(ms=draw.steps_ms)
    def let_time_pass(self, ms: int) -> None:
        self.store.later(ms)
        self.compare()

    @precondition(lambda self: self.kind.shared)
    @rule()
    def restart(self) -> None:
        self.leave()
        self.store.restart()
        self.open_newer()
        self.compare()


@pytest.mark.timeout(3_600)  # a failure is made as short as it can be before it is shown, and the full profile is long
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not MODEL], ids=lambda kind: kind.name)
def test_the_store_does_what_the_model_does(kind: Kind) -> None:
    machine = type(f"{QueueMachine.__name__} on {kind.name}", (QueueMachine,), {"kind": kind})
    # What explains a failure takes minutes here, and says less than the shortest example.
    phases = [phase for phase in Phase if phase is not Phase.explain]
    run_state_machine_as_test(machine, settings=settings(settings.default, phases=phases))
