"""The store away, silent, full or refusing: running jobs go on, what finished is settled later, nothing runs twice."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from tests.engine.stage import PATIENCE_S, SHORT, Stage, Witness, burst, happens, known, serving, soon
from tests.engine.trouble import Mode, troubled

from surefoot import Queue, Retry, StoreError, Worker, current_job
from surefoot.brokers.broker import Claim, NoRoom, Prune, Settle, Verb
from surefoot.core.transition import Finish
from surefoot.engine import serve, turn

ONE_LOOP = pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": False})], ids=["asyncio"])


class Shop:
    """One queue behind trouble, with a task that is let go by hand."""

    def __init__(self, stage: Stage) -> None:
        direct = stage.queue()  # the same queue without the trouble: whoever enqueues and looks
        self.trouble = troubled(stage)
        self.jobs: Queue = stage.queue()
        self.direct: Queue = direct
        self.ran = Counter[str]()
        self.running = asyncio.Event()
        self.gate = asyncio.Event()

        @self.jobs.task(name="work", keep_result=60)
        async def work() -> str:
            self.ran[current_job().id] += 1
            self.running.set()
            await self.gate.wait()
            return "done"

        self.work = work


@pytest.fixture
async def shop(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(turn, "_REFUSED_S", 0.05)  # how long a worker lets a refusing store alone
    monkeypatch.setattr(serve, "_LOOK_AGAIN_S", 0.05)  # and one that is away at its start
    return Shop(stage)


@pytest.mark.parametrize("mode", ["away", "silent"])
async def test_a_job_goes_on_while_the_store_is_away_and_is_settled_once_later(shop: Shop, mode: Mode) -> None:
    job = await shop.work.enqueue()
    async with serving(shop.jobs, concurrency=2):
        await happens(shop.running)
        shop.trouble.mode = mode
        shop.gate.set()
        await shop.trouble.fails(3)
        assert await job.status() == "processing"
        shop.trouble.mode = "here"
        assert await job.result(timeout=PATIENCE_S) == "done"
        later = await shop.work.enqueue()
        assert await later.result(timeout=PATIENCE_S) == "done"
    assert shop.ran == {job.id: 1, later.id: 1}


async def test_W5_when_every_answer_is_lost_once_nothing_runs_or_ends_twice(shop: Shop) -> None:
    shop.gate.set()
    witness = Witness()
    shop.trouble.mode = "forgetful"
    handles = await shop.direct.enqueue_many([shop.work.draft() for _ in range(30)])
    async with serving(shop.jobs, concurrency=10, on_event=witness):
        await witness.sees("completed", count=30)
    assert shop.trouble.failed >= 4, "three claims and settles at least"
    assert shop.ran == {handle.id: 1 for handle in handles}
    assert Counter(event.job_id for event in witness.of("completed")) == shop.ran
    assert [await handle.status() for handle in handles] == ["completed"] * 30


async def test_nothing_is_claimed_while_the_store_refuses_claims(shop: Shop) -> None:
    def refuse(verb: Verb[object]) -> Exception | None:
        return StoreError("told to") if isinstance(verb, Claim) and verb.want else None

    shop.gate.set()
    job = await shop.work.enqueue()
    shop.trouble.refuse = refuse
    async with serving(shop.jobs):
        await shop.trouble.fails()
        assert await job.status() == "pending"
        shop.trouble.refuse = lambda verb: None
        assert await job.result(timeout=PATIENCE_S) == "done"


async def test_a_settle_that_the_store_refuses_becomes_unsettlable_and_blocks_nobody(shop: Shop) -> None:
    shop.gate.set()
    handles = await shop.jobs.enqueue_many([shop.work.draft() for _ in range(8)])
    bad = handles[3].id

    def refuse(verb: Verb[object]) -> Exception | None:
        if isinstance(verb, Settle):
            for step in verb.transitions:
                if step.id == bad and isinstance(step.to, Finish):
                    return StoreError("a string too long for this store")
        return None

    shop.trouble.refuse = refuse
    async with serving(shop.jobs):
        for handle in handles:
            if handle.id != bad:
                assert await handle.result(timeout=PATIENCE_S) == "done"
        async with asyncio.timeout(PATIENCE_S):
            while (await known(handles[3])).state != "dead":
                await asyncio.sleep(0.02)
    job = await known(handles[3])
    assert (job.reason, job.runs) == ("unsettlable", 1)
    assert job.error is not None and "too long" in job.error.message
    assert set(shop.ran.values()) == {1}


async def test_a_full_store_keeps_outcomes_until_there_is_room(shop: Shop) -> None:
    shop.gate.set()
    handles = await shop.jobs.enqueue_many([shop.work.draft() for _ in range(3)])
    full = True

    def refuse(verb: Verb[object]) -> Exception | None:
        return NoRoom("disk full") if full and isinstance(verb, Settle) else None

    shop.trouble.refuse = refuse
    async with serving(shop.jobs):
        await shop.trouble.fails(2)
        assert [await handle.status() for handle in handles] == ["processing"] * 3
        full = False
        for handle in handles:
            assert await handle.result(timeout=PATIENCE_S) == "done"
    assert set(shop.ran.values()) == {1}
    assert await shop.jobs.dead.count() == 0


async def test_a_refused_chore_harms_nothing(shop: Shop) -> None:
    shop.gate.set()
    shop.trouble.refuse = lambda verb: StoreError("told to") if isinstance(verb, Prune) else None
    job = await shop.work.enqueue()
    async with serving(shop.jobs):
        assert await job.result(timeout=PATIENCE_S) == "done"


@ONE_LOOP
@pytest.mark.parametrize("mode", ["away", "silent"])
async def test_a_drain_without_the_store_ends_and_the_leases_end_by_themselves(
    shop: Shop, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "_STRAGGLERS_S", 0.2)
    monkeypatch.setattr(serve, "_FAREWELL_S", 0.2)
    job = await shop.work.enqueue()
    worker = Worker(shop.jobs, drain=0)
    served = asyncio.create_task(worker.serve())
    await happens(shop.running)
    shop.trouble.mode = mode
    worker.stop()
    await soon(asyncio.wait_for(served, PATIENCE_S))
    assert await job.status() == "processing"
    assert shop.ran == {job.id: 1}


async def test_the_keeper_goes_on_after_trouble_of_every_kind(shop: Shop) -> None:
    @shop.jobs.task(name="tells", keep_result=60)
    async def tells() -> int:
        current_job().progress(1, 2)
        await shop.gate.wait()
        return current_job().attempt

    shop.trouble.keeper_mode = "away"
    job = await tells.enqueue()
    modes: tuple[Mode, ...] = ("away", "silent", "broken")
    async with serving(shop.jobs, lease=SHORT):
        for mode in modes:
            shop.trouble.keeper_mode = mode
            await shop.trouble.keeper_fails(2)
        shop.trouble.keeper_mode = "here"
        async with asyncio.timeout(PATIENCE_S):
            while (await known(job)).progress is None:
                await asyncio.sleep(0.02)
        shop.gate.set()
        await job.result(timeout=PATIENCE_S)


@pytest.mark.parametrize("who", ["waits", "renewals"])
async def test_a_worker_whose_waits_or_renewals_fail_takes_nobodys_lease(shop: Shop, who: str) -> None:
    """The store may be away between two turns: what ended meanwhile belongs to the living, who could not renew it."""
    claims: list[Claim] = []

    def watch(verb: Verb[object]) -> None:
        if isinstance(verb, Claim) and verb.want:
            claims.append(verb)

    async def claims_with(trust: bool) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not claims or (claims[-1].trust_ms > 0) != trust:
                await shop.direct.by_name("quick").enqueue()
                await asyncio.sleep(0.05)

    @shop.jobs.task(name="quick")
    async def quick() -> None: ...

    shop.trouble.refuse = watch
    await shop.work.enqueue()
    async with serving(shop.jobs, lease=SHORT):
        await happens(shop.running)  # without a job there is nothing to renew
        await claims_with(trust=True)
        if who == "waits":
            shop.trouble.wait_mode = "away"
        else:
            shop.trouble.keeper_mode = "away"
        await claims_with(trust=False)
        shop.trouble.wait_mode = shop.trouble.keeper_mode = "here"
        await claims_with(trust=True)
        shop.gate.set()


async def test_a_worker_whose_store_is_away_at_its_start_begins_when_it_comes(shop: Shop) -> None:
    shop.gate.set()
    job = await shop.work.enqueue()
    shop.trouble.mode = "away"
    async with serving(shop.jobs):
        await shop.trouble.fails(2)
        shop.trouble.mode = "here"
        assert await job.result(timeout=PATIENCE_S) == "done"


async def test_an_unforeseen_error_of_the_store_hands_running_jobs_back(shop: Shop) -> None:
    """A mistake nobody foresees ends the worker; its handlers must not go on without a lease."""
    cancelled = asyncio.Event()

    @shop.jobs.task(name="endless")
    async def endless() -> None:
        shop.running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await endless.enqueue()
    worker = Worker(shop.jobs, concurrency=2, drain=0)
    served = asyncio.create_task(worker.serve())
    await happens(shop.running)
    shop.trouble.mode = "broken"
    await shop.direct.by_name("endless").enqueue()  # its wake-up brings the next turn
    with pytest.raises(RuntimeError, match="a mistake of the broker itself"):
        await soon(asyncio.wait_for(served, PATIENCE_S))
    await asyncio.sleep(0)
    assert cancelled.is_set(), "its handler goes on without a keeper"


async def test_retries_wait_their_time_also_after_an_outage(shop: Shop) -> None:
    runs: list[int] = []

    @shop.jobs.task(name="fails", retry=Retry(max_attempts=2, base=3600, jitter=0))
    async def fails() -> None:
        runs.append(1)
        shop.running.set()
        await shop.gate.wait()
        raise ValueError("boom")

    job = await fails.enqueue()
    async with serving(shop.jobs):
        await happens(shop.running)
        shop.trouble.mode = "away"
        shop.gate.set()
        await shop.trouble.fails(2)
        shop.trouble.mode = "here"
        async with asyncio.timeout(PATIENCE_S):
            while (await known(job)).state != "scheduled":
                await asyncio.sleep(0.02)
    assert runs == [1]
    await burst(shop.jobs)
    assert runs == [1]
