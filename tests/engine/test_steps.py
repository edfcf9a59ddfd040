"""The step functions of the engine with explicit times and answers: turn, waiter, deadlines, keeper."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from surefoot import clock
from surefoot.brokers.answers import Claimed, Hold
from surefoot.brokers.broker import Beat, Claim, Extend, NoRoom, Prune, Settle, Verb
from surefoot.core.codec import Envelope, decode_envelope, run_begun
from surefoot.core.errors import StoreError, StoreUnavailable
from surefoot.core.job import Counts, Leased
from surefoot.core.lifecycle import Run
from surefoot.core.outcome import Interrupted, Lost, Outcome, Returned
from surefoot.core.signature import Signature
from surefoot.core.spec import Spec
from surefoot.core.transition import Bury, Delay, Finish, Return
from surefoot.engine.crons import Crons
from surefoot.engine.deadlines import Deadlines
from surefoot.engine.drain import Drain
from surefoot.engine.keeper import BEAT_S, Keeper, News
from surefoot.engine.report import Report
from surefoot.engine.served import Served
from surefoot.engine.shares import Fair
from surefoot.engine.trust import Trust
from surefoot.engine.turn import Limits, Turn
from surefoot.engine.unsettled import Unsettled
from surefoot.engine.waiter import Waiter
from surefoot.execution.context import Running

QUEUE = "test:jobs"
STORE_MS = 1_800_000_000_000


async def work() -> int:
    return 1


SPEC = Spec(name="work", function=work, signature=Signature(work, task="work", explicit_name=True), executor="loop")


def leased(id: str, token: str = "me.1", task: str = "work", counts: Counts | None = None) -> Leased:
    body = b'{"version":1,"id":"%s","task":"%s","payload":{}}' % (id.encode(), task.encode())
    return Leased(id, token, STORE_MS, body, counts or Counts())


class Wait:
    """A broker that only waits, and is told how each wait ends."""

    def __init__(self, *ends: bool | Exception, listens_again: Callable[[], None] = lambda: None) -> None:
        self.ends = list(ends)
        self.waits = 0
        self.listens_again = listens_again

    async def wait(self, queues: Sequence[str], seconds: float, *, listener: object = None) -> bool:
        self.waits += 1
        if self.waits > 1:
            self.listens_again()
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


class Host:
    worker = "me"
    state: object = None
    stopping = False

    def __init__(self) -> None:
        self.moved: list[Running] = []

    def now_ms(self) -> int:
        return STORE_MS

    def ms_at(self, monotonic: float) -> int:
        return STORE_MS

    def deadline_moved(self, running: Running) -> None:
        self.moved.append(running)


def running_of(job: Leased, timeout_ms: int | None = 60_000) -> Running:
    envelope: Envelope = decode_envelope(job.body)
    return Running(Run(job, envelope, SPEC, None, 1, timeout_ms), QUEUE, Host())


class Desk:
    """A turn whose answers are given by hand."""

    def __init__(self, concurrency: int = 4, drain: float = 25, lease_ms: int = 10_000) -> None:
        self.served = Served(QUEUE, {"work": SPEC}, (), 1)
        self.unsettled = Unsettled([QUEUE])
        self.waiter = Waiter(Wait(), lambda: None, lambda: None)  # type: ignore[arg-type]  # it only ever waits
        self.drain = Drain(drain)
        self.started: list[Running] = []
        self.turn = Turn(
            [self.served], self.unsettled, limits=Limits(concurrency=concurrency, lease_ms=lease_ms, floor_ms=12_000),
            deal=Fair([1]), trust=Trust(lease_ms, 0.0), waiter=self.waiter, crons=Crons({}), drain=self.drain,
            report=Report(None), start=self.start,
        )  # fmt: skip

    def start(self, run: Run, served: Served) -> None:
        running = Running(run, served.queue, Host())
        self.unsettled.begin(running)
        self.started.append(running)

    def claim(self, now: float) -> Claim:
        [claim] = [verb for verb in self.turn.plan(now) if isinstance(verb, Claim)]
        return claim

    def hears(self, verb: Verb[Any], answer: Any, now: float) -> None:
        self.turn.heard([verb], [answer], now, now)

    def gets(self, *jobs: Leased, now: float = 1.0, wait_ms: int = 12_000, chores: bool = False) -> None:
        claim = self.claim(now)
        store_ms = STORE_MS + round(now * 1000)
        self.hears(claim, Claimed(store_ms, wait_ms, False, list(jobs), chores=chores), now)

    def ends(self, running: Running, outcome: Outcome | None = None) -> None:
        self.turn.ended(running, outcome or Returned(1), STORE_MS)

    def settles(self, now: float) -> Settle:
        [settle] = [verb for verb in self.turn.plan(now) if isinstance(verb, Settle)]
        return settle


class TestTurn:
    def test_it_claims_what_is_free_and_carries_what_has_finished_in_the_same_call(self) -> None:
        desk = Desk(concurrency=2)
        desk.gets(leased("a"), leased("b"))
        assert desk.turn.free() == 0 and desk.turn.plan(1.1) == []
        desk.ends(desk.started[0])
        settle, claim = desk.turn.plan(1.2)
        assert isinstance(settle, Settle) and isinstance(claim, Claim)
        assert [step.id for step in settle.transitions] == ["a"] and claim.want == 1

    def test_an_empty_queue_is_asked_again_only_when_its_timer_is_due(self) -> None:
        desk = Desk()
        desk.gets(now=1.0, wait_ms=5_000)
        assert desk.turn.plan(5.9) == []
        assert desk.turn.next_in(2.0) == pytest.approx(4.0)
        assert desk.claim(6.0).want == 4

    def test_whatever_call_waited_out_an_outage_shakes_the_trust_in_the_clock(self) -> None:
        """Nobody could renew in it: the claim that comes after it must not take over what the living hold."""
        desk = Desk()
        desk.gets(now=1.0, wait_ms=1)
        assert desk.claim(20.0).trust_ms > 0
        desk.turn.heard([Prune(QUEUE)], [0], 21.0, 30.0)
        assert desk.claim(30.1).trust_ms == 0
        assert desk.claim(40.1).trust_ms > 0

    def test_a_claim_of_nothing_does_not_make_a_queue_known_to_be_empty(self) -> None:
        desk = Desk(concurrency=1)
        desk.gets(leased("a"))
        assert not desk.served.empty
        desk.hears(desk.turn.last_words()[0], Claimed(STORE_MS + 1_000, 12_000, False, []), 1.0)
        assert not desk.served.empty, "want=0 asks for nothing, so nothing is no answer"

    def test_what_was_read_a_lease_after_it_was_asked_for_is_handed_back_not_started(self) -> None:
        """The loop was blocked, the process frozen or its machine asleep: nobody renewed, so it may run elsewhere."""
        desk = Desk()
        claim = desk.claim(1.0)
        desk.turn.heard([claim], [Claimed(STORE_MS, 12_000, False, [leased("a")])], 1.0, 11.1)
        assert not desk.started
        [step] = desk.settles(11.2).transitions
        assert (step.id, type(step.to), step.bump) == ("a", Return, None)

    def test_what_comes_when_the_worker_leaves_is_handed_back_uncharged(self) -> None:
        desk = Desk()
        claim = desk.claim(1.0)
        desk.drain.stop(1.0)
        desk.hears(claim, Claimed(STORE_MS, 12_000, False, [leased("a")]), 1.1)
        assert desk.started == []
        [step] = desk.settles(1.2).transitions
        assert (type(step.to), step.bump) == (Return, None)
        assert not any(isinstance(verb, Claim) for verb in desk.turn.plan(1.3))

    def test_nothing_is_said_for_a_second_after_a_refusal_and_what_finished_goes_first_then(self) -> None:
        desk = Desk()
        desk.gets(leased("a"), leased("b"))
        desk.ends(desk.started[0])
        first = desk.settles(1.1)
        desk.ends(desk.started[1])
        desk.turn.unheard([first], 1.2)
        assert desk.turn.plan(2.1) == [] and desk.turn.next_in(2.1) == pytest.approx(0.1)
        assert [step.id for step in desk.settles(2.3).transitions] == ["a", "b"]

    def test_a_refused_batch_is_settled_one_by_one_and_the_bad_one_buried(self) -> None:
        desk = Desk()
        desk.gets(*[leased(id) for id in "abc"])
        for running in desk.started:
            desk.ends(running)
        desk.hears(desk.settles(1.1), StoreError("no"), 1.2)
        first = desk.settles(1.3)
        assert [step.id for step in first.transitions] == ["a"]
        desk.hears(first, ["applied"], 1.3)
        second = desk.settles(1.4)
        desk.hears(second, StoreError("no"), 1.4)
        [buried] = desk.settles(2.5).transitions
        assert (buried.id, buried.to, buried.bump) == ("b", Bury("unsettlable"), "runs")

    def test_a_full_store_buries_nothing(self) -> None:
        desk = Desk()
        desk.gets(leased("a"))
        desk.ends(desk.started[0])
        for now in (1.1, 2.2, 3.3):
            desk.hears(desk.settles(now), NoRoom("full"), now)
        [step] = desk.settles(4.4).transitions
        assert isinstance(step.to, Finish)

    def test_a_lost_lease_settles_nothing(self) -> None:
        desk = Desk()
        desk.gets(leased("a"))
        desk.ends(desk.started[0], Lost())
        assert desk.turn.free() == 4 and not desk.unsettled

    def test_chores_are_done_until_less_than_the_limit_moved(self) -> None:
        desk = Desk()
        desk.gets(chores=True)
        [prune] = [verb for verb in desk.turn.plan(2.0) if isinstance(verb, Prune)]
        desk.hears(prune, 100, 2.0)
        [prune] = [verb for verb in desk.turn.plan(2.1) if isinstance(verb, Prune)]
        desk.hears(prune, 99, 2.1)
        assert desk.turn.plan(2.2) == []

    def test_a_second_suspect_waits_while_the_first_one_runs(self) -> None:
        desk = Desk()
        twice = Counts(runs=2, crashes=2)
        desk.gets(leased("a", counts=twice), leased("b", counts=twice), leased("c"))
        assert [running.run.leased.id for running in desk.started] == ["c"]
        settle, mark = desk.turn.plan(1.1)
        assert isinstance(settle, Settle) and isinstance(mark, Extend)
        [step] = settle.transitions
        assert step.id == "b" and step.bump is None
        assert [run_begun(lease.note) for lease in mark.leases] == [3], "it says that it begins, before it begins"
        desk.hears(mark, [Hold(True)], 1.2)
        assert [running.run.leased.id for running in desk.started] == ["c", "a"]

    def test_who_set_a_job_apart_lets_another_worker_look_when_it_is_due(self) -> None:
        """As the watcher it would take all that come back, start one of them, and send the others away again."""
        desk = Desk()
        twice = Counts(runs=2, crashes=2)
        desk.gets(leased("a", counts=twice), *(leased(f"b{n}", counts=twice) for n in range(3)))
        settle, mark = desk.turn.plan(1.1)
        assert isinstance(settle, Settle)
        delays = [step.to.ms for step in settle.transitions if isinstance(step.to, Delay)]
        assert len(set(delays)) == 3, "those who go together do not come back together"
        desk.turn.heard([settle, mark], [["applied"] * 3, [Hold(True)]], 1.1, 1.2)
        assert [desk.claim(1.3).want, desk.claim(1.4).want] == [0, 3]

    def test_an_outage_breaks_the_trust_in_leases_that_ended_meanwhile(self) -> None:
        desk = Desk(lease_ms=10_000)
        desk.gets(now=1.0)
        desk.gets(now=13.0)
        assert desk.turn.trust.until_ms(13.0) > 0
        claim = desk.claim(25.0)
        assert claim.trust_ms > 0
        desk.turn.unheard([claim], 625.0)  # ten minutes without an answer
        again = desk.claim(626.5)
        assert again.trust_ms == 0, "whoever lives must renew before anybody takes over"

    def test_refused_claims_break_the_trust_too(self) -> None:
        desk = Desk(lease_ms=10_000)
        desk.gets(now=1.0)
        desk.gets(now=13.0)
        now = 25.0
        while now < 60.0:
            desk.hears(desk.claim(now), StoreError("loading"), now)
            now += 1.1
        assert desk.claim(now).trust_ms == 0


async def turned(times: int = 3) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


class TestWaiter:
    async def test_a_wake_up_rings_and_is_remembered_until_it_is_cleared(self) -> None:
        rings: list[int] = []
        waiter = Waiter(Wait(True), lambda: rings.append(1), lambda: None)  # type: ignore[arg-type]
        waiter.listen(QUEUE, 12)
        waiter.listen(QUEUE, 12)
        await turned()
        assert rings == [1] and waiter.rung(QUEUE)
        waiter.clear(QUEUE)
        assert not waiter.rung(QUEUE)

    @pytest.mark.parametrize("end", [False, StoreUnavailable("away")], ids=["time over", "store away"])
    async def test_a_worker_that_rests_is_never_without_an_open_wait(self, end: bool | Exception) -> None:
        """It rests until something rings; if a wait that ended rang nothing, nobody would listen for the next job."""
        alive = asyncio.Event()
        failed: list[int] = []
        broker = Wait(end, True, listens_again=alive.set)
        waiter = Waiter(broker, alive.set, lambda: failed.append(1))  # type: ignore[arg-type]
        waiter.listen(QUEUE, 0)
        async with asyncio.timeout(2):
            await alive.wait()
        assert len(failed) == (end is not False), "a wait that failed is contact that was lost"


class TestDeadlines:
    async def test_the_earliest_of_many_is_told_and_an_ended_one_is_not(self) -> None:
        told: list[str] = []
        first = asyncio.Event()

        def expired(running: Running) -> None:
            told.append(running.run.leased.id)
            first.set()

        deadlines = Deadlines(asyncio.get_running_loop(), expired)
        slow, quick, ended, free = (
            running_of(leased(id), limit)
            for id, limit in (("slow", 60_000), ("quick", 50), ("ended", 10), ("free", None))
        )
        for running in (slow, quick, ended, free):
            running.begin()
            deadlines.watch(running)
        deadlines.forget(ended)
        async with asyncio.timeout(10):
            await first.wait()
        deadlines.close()
        assert told == ["quick"]

    async def test_a_deadline_that_moved_is_met_at_its_new_time(self) -> None:
        told: list[float] = []
        first = asyncio.Event()

        def expired(running: Running) -> None:
            told.append(clock.monotonic())
            first.set()

        deadlines = Deadlines(asyncio.get_running_loop(), expired)
        running = running_of(leased("a"), 30)
        running.begin()
        deadlines.watch(running)
        assert running.deadline is not None
        running.deadline += 0.1
        deadlines.watch(running)
        async with asyncio.timeout(10):
            await first.wait()
        deadlines.close()
        assert told[0] >= running.deadline


class TestKeeper:
    def keeper(self, *, lease_ms: int = 10_000) -> tuple[Keeper, Unsettled]:
        unsettled = Unsettled([QUEUE])
        return Keeper(unsettled, [QUEUE], lease_ms, lambda queue, left: b"{}", lambda: "me"), unsettled

    def test_it_renews_at_a_quarter_of_the_lease_and_beats_every_15_seconds(self) -> None:
        keeper, unsettled = self.keeper()
        unsettled.begin(running_of(leased("a")))
        [extend], [beat] = keeper.calls(100.0)
        assert isinstance(extend, Extend) and isinstance(beat, Beat)
        assert keeper.next_in(100.0) == 2.5
        assert keeper.calls(102.4) == []
        [[again]] = keeper.calls(102.5)
        assert again == extend == Extend(QUEUE, extend.leases, 10_000)
        assert [beat for [beat] in keeper.calls(100.0 + BEAT_S) if isinstance(beat, Beat)]
        keeper.beat_soon()
        assert keeper.next_in(101.0) == 0.0

    def test_it_renews_what_has_finished_and_is_not_settled_yet(self) -> None:
        desk = Desk()
        keeper = Keeper(desk.unsettled, [QUEUE], 10_000, lambda queue, left: b"{}", lambda: "me")
        desk.gets(leased("runs"), leased("waits"), leased("sent"))
        _, waits, sent = desk.started
        desk.ends(sent)
        desk.settles(1.1)
        desk.ends(waits)
        [extend], _ = keeper.calls(100.0)
        assert isinstance(extend, Extend)
        assert sorted(lease.id for lease in extend.leases) == ["runs", "sent", "waits"]

    def test_many_leases_travel_in_calls_of_at_most_1000(self) -> None:
        keeper, unsettled = self.keeper()
        for number in range(2_300):
            unsettled.begin(running_of(leased(str(number))))
        *rounds, _ = keeper.calls(100.0)
        assert [len(extend.leases) for [extend] in rounds if isinstance(extend, Extend)] == [1_000, 1_000, 300]

    def test_its_news_are_lost_leases_and_cancels_of_what_still_runs(self) -> None:
        desk = Desk()
        keeper = Keeper(desk.unsettled, [QUEUE], 10_000, lambda queue, left: b"{}", lambda: "me")
        desk.gets(leased("held"), leased("lost"), leased("asked"), leased("over"))
        held, lost, asked, over = desk.started
        desk.ends(over, Interrupted(started=True))
        [extend], _ = keeper.calls(100.0)
        assert isinstance(extend, Extend)
        holds = {"held": Hold(True), "lost": Hold(False), "asked": Hold(True, "why"), "over": Hold(False)}
        news = keeper.heard([extend], [[holds[lease.id] for lease in extend.leases]])
        assert news == [News(lost, Hold(False), None), News(asked, Hold(True, "why"), None)]
        assert held not in [one.running for one in news]

    def test_where_no_lease_is_held_any_more_it_asks_at_once_whether_it_is_the_same_store(self) -> None:
        keeper, unsettled = self.keeper()
        for name in ("one", "two"):
            unsettled.begin(running_of(leased(name)))
        [extend], _ = keeper.calls(100.0)
        keeper.heard([extend], [[Hold(True), Hold(False)]])
        assert keeper.next_in(101.0) > 0
        keeper.heard([extend], [[Hold(False), Hold(False)]])
        assert keeper.next_in(101.0) == 0.0
        assert isinstance(keeper.calls(101.0)[0][0], Beat)

    def test_another_epoch_is_said_once(self, caplog: pytest.LogCaptureFixture) -> None:
        keeper, _ = self.keeper()
        beat = Beat(QUEUE, "me", b"{}")
        for epoch in ("one", "one", "two", "two"):
            keeper.heard([beat], [epoch])
        assert caplog.text.count("the store was emptied or replaced") == 1
