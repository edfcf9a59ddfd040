"""Calls are said until they are answered, each once: numbering, resending, merging, forks."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.client.kinds import Kind
from tests.client.shop import Hand, Wire, meanwhile, queue_on, store

from surefoot import Key, OutcomeUnknown, Queue, StoreError, StoreUnavailable, StoreUnsuitable
from surefoot.brokers.answers import PutAnswer
from surefoot.brokers.broker import Cancel, Claim, Configure, Get, NoAnswer, NoRoom, Put, Refused, Stats, Verb
from surefoot.client.caller import Caller, exchange, new_caller
from surefoot.client.line import Parcel
from surefoot.client.session import Session, Sessions, SyncSession, new_id, sessions_with
from surefoot.core.job import NewJob, Unique

QUEUE = "test:mail"


def job(id: str = "", unique: Unique | None = None, size: int = 2) -> NewJob:
    return NewJob(id or new_id(), b"{}".ljust(size), None, 5, unique)


def put(*jobs: NewJob, **options: Any) -> Put:
    return Put(QUEUE, jobs, **options)


async def welcome(address: str) -> str:
    return address


# What travels together.


async def test_enqueues_awaited_together_travel_together(mail: Queue, wire: Wire) -> None:
    task = mail.task(welcome)
    handles = await asyncio.gather(*(task.enqueue(str(n)) for n in range(100)))
    [ids] = wire.puts()
    assert ids == [handle.id for handle in handles], "and in their order"
    assert (await mail.stats()).pending == 100


async def test_what_is_asked_for_during_a_call_travels_in_the_next(wire: Wire) -> None:
    session = Session(wire)
    first = asyncio.ensure_future(session.ask([put(job("a"))]))
    await wire.heard()
    others = [session.ask([put(job(id))]) for id in "bcd"]
    pause = session.ask([Configure(QUEUE, paused="why")])
    cancel = session.ask([Cancel(QUEUE, ("a",))])
    await asyncio.gather(first, *others, pause, cancel)
    assert [[type(verb) for verb in call.verbs] for call in wire.calls] == [[Put], [Put, Configure, Cancel]]
    assert wire.puts() == [["a"], ["b", "c", "d"]]
    assert [call.number for call in wire.calls] == [1, 2]
    assert len({call.tag for call in wire.calls}) == 2


async def test_one_verb_of_a_kind_a_queue_in_a_call(wire: Wire) -> None:
    session = Session(wire)
    both = [session.ask([Cancel(QUEUE, (id,))]) for id in "ab"]
    other = session.ask([Cancel("test:other", ("c",))])
    answers = await asyncio.gather(*both, other)
    assert answers == [[["finished"]]] * 3
    assert [[verb.ids for verb in call.verbs] for call in wire.calls] == [[("a",), ("c",)], [("b",)]]  # type: ignore[attr-defined]


async def test_puts_that_differ_do_not_become_one_and_keep_their_order(wire: Wire) -> None:
    session = Session(wire)
    asked = [put(job("a")), put(job("b"), max_length=5), put(job("c")), put(job("d"), keep_ms=1)]
    await asyncio.gather(*(session.ask([one]) for one in asked))
    assert wire.puts() == [["a"], ["b"], ["c"], ["d"]]


async def test_a_merged_put_has_at_most_500_jobs_and_4_mebibytes(wire: Wire) -> None:
    session = Session(wire)
    await asyncio.gather(*(session.ask([put(*(job() for _ in range(200)))]) for _ in range(4)))
    assert [len(ids) for ids in wire.puts()] == [400, 400]
    wire.calls.clear()
    await asyncio.gather(*(session.ask([put(job(size=1 << 20))]) for _ in range(6)))
    assert [len(ids) for ids in wire.puts()] == [4, 2]


def test_a_replacement_never_travels_with_what_it_replaces() -> None:
    plain, later = Unique("t k"), Unique("t k", replace=True)
    parcel = Parcel()
    assert parcel.add([job("a", plain)])
    assert parcel.add([job("b", plain), job("c", Unique("t other", replace=True))])
    assert not parcel.add([job("d"), job("e", later)])
    assert [one.id for one in parcel.jobs] == ["a", "b", "c"]
    assert Parcel().add([job("e", later)])


async def test_replacements_awaited_together_come_one_after_the_other(mail: Queue) -> None:
    task = mail.task(welcome).options(key=Key("k", duplicate="replace"))
    handles = await asyncio.gather(task.enqueue("a"), task.enqueue("b"), task.enqueue("c"))
    assert [await handle.status() for handle in handles] == ["cancelled", "cancelled", "pending"]


async def test_cancelling_one_enqueue_leaves_the_others_alone(mail: Queue, wire: Wire) -> None:
    task = mail.task(welcome)
    tasks = [asyncio.ensure_future(task.enqueue(str(n))) for n in range(5)]
    await wire.heard()
    tasks[2].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one).__name__ for one in done] == [
        "JobHandle",
        "JobHandle",
        "CancelledError",
        "JobHandle",
        "JobHandle",
    ]
    assert (await mail.stats()).pending == 5, "the call was on its way: its job may be stored, and here it is"


async def test_a_cancelled_enqueue_that_is_still_in_line_is_not_sent(wire: Wire) -> None:
    session = Session(wire)
    first = asyncio.ensure_future(session.ask([put(job("a"))]))
    await wire.heard()
    second = asyncio.ensure_future(session.ask([put(job("b"))]))
    third = asyncio.ensure_future(session.ask([put(job("c"))]))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, third)
    assert wire.puts() == [["a"], ["c"]]


async def test_a_whole_list_is_one_call_beside_single_ones(mail: Queue, wire: Wire) -> None:
    task = mail.task(welcome)
    await asyncio.gather(mail.enqueue_many([task.draft("a"), task.draft("b")]), task.enqueue("c"))
    assert [len(ids) for ids in wire.puts()] == [3]


async def test_reads_do_not_stand_in_line(wire: Wire) -> None:
    session = Session(wire)
    wire.losses = [("before", StoreUnavailable("away"))] * 3
    write = asyncio.ensure_future(session.ask([put(job("a"))]))
    await wire.heard()
    [[record]] = await session.ask([Get(QUEUE, ("a",))])
    assert record is None and not write.done(), "the read is answered while the write still tries"
    await write
    assert [call.number for call in wire.calls if call.tag] == [1, 1, 1, 1]


# What is said again.


def test_a_lost_reply_does_not_double_a_job(mail: Queue, wire: Wire) -> None:
    wire.losses = [("after", NoAnswer()), ("after", NoAnswer())]
    handle = mail.task(welcome).enqueue_sync("a")
    assert not handle.duplicate, "the stored answer of the first sending, not `exists`"
    assert mail.stats_sync().pending == 1
    writes = [call for call in wire.calls if call.tag]
    assert len(writes) == 3
    assert writes[0] == writes[1] == writes[2], "the same call: caller, number, tag and verbs"


async def test_the_same_on_a_loop(mail: Queue, wire: Wire) -> None:
    wire.losses = [("after", NoAnswer()), ("before", StoreUnavailable("away"))]
    handles = await asyncio.gather(*(mail.task(welcome).enqueue(str(n)) for n in range(3)))
    assert not any(handle.duplicate for handle in handles)
    writes = [call for call in wire.calls if call.tag]
    assert len(writes) == 3 and writes[0] == writes[1] == writes[2]


def test_nobody_knows_if_no_answer_ever_comes(wire: Wire) -> None:
    queue = queue_on(wire, timeout=0.2)
    draft = queue.task(welcome).draft("a")
    wire.losses = [("after", NoAnswer()), *[("before", StoreUnavailable("connection refused"))] * 99]
    with pytest.raises(OutcomeUnknown) as unknown:
        queue.enqueue_sync(draft)
    assert unknown.value.job_ids == (draft.id,)
    assert unknown.value.accepted == ()
    assert str(unknown.value) == (
        f"no answer from {wire.address} within 0.2 s; it may or may not have been stored. Enqueue the same draft "
        "again: it is stored once."
    )
    wire.losses = []
    again = queue.enqueue_sync(draft)
    assert (again.id, again.duplicate, queue.stats_sync().pending) == (draft.id, True, 1)


async def test_each_of_a_merged_call_is_told_of_its_own_jobs(wire: Wire) -> None:
    queue = queue_on(wire, timeout=0.1)
    task = queue.task(welcome)
    drafts = [task.draft("a"), task.draft("b")]
    wire.losses = [("before", NoAnswer())] * 99
    told = await asyncio.gather(*(queue.enqueue(draft) for draft in drafts), return_exceptions=True)
    assert [one.job_ids for one in told if isinstance(one, OutcomeUnknown)] == [(drafts[0].id,), (drafts[1].id,)]


def test_not_accepted_if_the_store_was_never_reached(wire: Wire) -> None:
    wire.address = "redis://cache:6379/0"
    queue = queue_on(wire, timeout=0.1)
    wire.losses = [("before", StoreUnavailable("connection refused"))] * 99
    with pytest.raises(StoreUnavailable) as away:
        queue.task(welcome).enqueue_sync("a")
    assert type(away.value) is StoreUnavailable
    assert str(away.value) == (
        "cannot reach redis://cache:6379/0 (connection refused); the job was not accepted. Is the server running? "
        "Try `surefoot doctor`."
    )
    assert len(wire.calls) > 1, "it was tried again within the time"


def test_a_sentence_of_the_broker_stands(wire: Wire) -> None:
    queue = queue_on(wire, timeout=0.05)
    wire.losses = [("before", StoreUnavailable("jobs.db is locked; nothing was stored."))] * 99
    with pytest.raises(StoreUnavailable, match=r"^jobs\.db is locked; nothing was stored\.$"):
        queue.task(welcome).enqueue_sync("a")


def test_a_list_says_what_was_accepted_before_the_store_went_away(wire: Wire) -> None:
    queue = queue_on(wire, timeout=0.1)
    task = queue.task(welcome)
    drafts = [task.draft("a") for _ in range(1100)]
    wire.losses = [("", None), *[("before", StoreUnavailable("away"))] * 99]
    with pytest.raises(StoreUnavailable) as away:
        queue.enqueue_many_sync(drafts)
    assert away.value.accepted == tuple(draft.id for draft in drafts[:500])
    wire.losses = [("", None), *[("before", NoAnswer())] * 99]
    fresh = [task.draft("a") for _ in range(600)]
    with pytest.raises(OutcomeUnknown) as unknown:
        queue.enqueue_many_sync(fresh)
    assert unknown.value.accepted == tuple(draft.id for draft in fresh[:500])
    assert unknown.value.job_ids == tuple(draft.id for draft in fresh[500:])


def test_a_store_that_must_not_be_used_is_not_tried_again(wire: Wire) -> None:
    wire.losses = [("before", StoreUnsuitable("too old."))]
    with pytest.raises(StoreUnsuitable, match="too old"):
        SyncSession(wire).ask([put(job())])
    assert len(wire.calls) == 1


def test_a_full_store_after_a_repeat_does_not_mean_that_nothing_is_stored() -> None:
    """It remembers nothing of what it refuses: the first sending may still come, when there is room again."""
    once = exchange(Caller(), [put(job("a"))], 5, "here")
    next(once)
    with pytest.raises(StopIteration) as told:
        once.send([NoRoom("full")])
    assert type(told.value.value[0]) is NoRoom, "sent once, and refused: certainly not stored"
    twice = exchange(Caller(), [put(job("a"))], 5, "here")
    next(twice)
    assert isinstance(twice.throw(NoAnswer()), float)
    next(twice)
    with pytest.raises(StopIteration) as told:
        twice.send([NoRoom("full")])
    [unknown] = told.value.value
    assert type(unknown) is OutcomeUnknown
    assert unknown.job_ids == ("a",)


def test_no_call_is_said_for_more_than_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("surefoot.clock.with_suspend", lambda: now[0])
    steps = exchange(Caller(), [put(job())], 1e9, "here")
    next(steps)
    pauses: list[float] = []
    with pytest.raises(StoreUnavailable):
        while True:
            pause = steps.throw(StoreUnavailable("away"))
            assert isinstance(pause, float)
            pauses.append(pause)
            now[0] += pause
            next(steps)
    assert 599 < sum(pauses) <= 600.001
    assert max(pauses) <= 1


# Who speaks.


def test_a_clone_takes_another_name_and_says_it_again(wire: Wire) -> None:
    """Two machines started from one image: the second is refused, becomes somebody else, and nothing is lost."""
    first, second = SyncSession(wire), SyncSession(wire)
    second._caller.name = first.caller
    [[answer]] = first.ask([put(job("a"))])
    [[other]] = second.ask([put(job("b"))])
    assert (answer.word, other.word) == ("created", "created")
    assert second.caller != first.caller
    assert second._caller.number == 1
    [[again]] = first.ask([put(job("c"))])
    assert again.word == "created"


def test_a_number_that_came_late_at_once_is_said_under_another_name(wire: Wire) -> None:
    session = SyncSession(wire)
    session._caller.number = 7
    session.ask([put(job("a"))])
    session._caller.number = 3
    name = session.caller
    [[answer]] = session.ask([put(job("b"))])
    assert answer.word == "created" and session.caller != name


def test_a_number_that_came_late_after_a_repeat_is_unknown(wire: Wire) -> None:
    session = SyncSession(wire)
    wire.losses = [("before", NoAnswer()), ("instead", [Refused("STALE")])]
    with pytest.raises(OutcomeUnknown) as unknown:
        session.ask([put(job("a"))])
    assert unknown.value.job_ids == ("a",)


async def test_unknown_in_a_merged_call_names_each_ones_own_jobs(wire: Wire) -> None:
    session = Session(wire)
    wire.losses = [("before", NoAnswer()), ("instead", [Refused("STALE")])]
    told = await asyncio.gather(*(session.ask([put(job(id))]) for id in "ab"), return_exceptions=True)
    assert len(wire.verbs(Put)[0].jobs) == 2
    assert [one.job_ids for one in told if isinstance(one, OutcomeUnknown)] == [("a",), ("b",)]


def test_what_a_clone_made_impossible_was_never_executed(wire: Wire) -> None:
    """No answer, then refused for a clone: had our call been executed, the clone's would have been refused."""
    wire.losses = [
        ("before", NoAnswer()),
        ("instead", [Refused("CALLER")]),
        *[("before", StoreUnavailable("away"))] * 99,
    ]
    with pytest.raises(StoreUnavailable) as away:
        SyncSession(wire, 0.2).ask([put(job("a"))])
    assert type(away.value) is StoreUnavailable


def test_only_what_was_refused_is_said_again(wire: Wire) -> None:
    session = SyncSession(wire)
    claimed = object()
    wire.losses = [("instead", [claimed, Refused("CALLER")])]
    answers = session.ask([Claim(QUEUE, 1, 1000, 0), put(job("a"))])
    assert answers[0] is claimed
    assert answers[1] == [PutAnswer("created")]
    assert [[type(verb) for verb in call.verbs] for call in wire.calls] == [[Claim, Put], [Put]]


def test_a_store_that_always_refuses_is_given_up(wire: Wire) -> None:
    wire.losses = [("instead", [Refused("CALLER")])] * 99
    with pytest.raises(StoreUnavailable):
        SyncSession(wire, 0.1).ask([put(job("a"))])


def test_callers_are_16_letters_of_chance() -> None:
    names = {new_caller() for _ in range(100)}
    assert len(names) == 100
    assert {len(name) for name in names} == {16}
    assert all(name.isalnum() and name == name.lower() for name in names)


# Apart, and single exceptions.


async def test_a_call_apart_carries_exactly_its_verbs(wire: Wire) -> None:
    session = Session(wire)
    verbs: Sequence[Verb[Any]] = [Claim(QUEUE, 1, 1000, 0), put(job("a")), Claim("test:b", 1, 1000, 0)]
    beside = asyncio.ensure_future(session.ask([put(job("b"))]))
    answers = await session.ask(verbs, apart=True)
    await beside
    assert answers[1] == [PutAnswer("created")]
    assert tuple(verbs) in [call.verbs for call in wire.calls]
    assert session.caller == wire.calls[0].caller


async def test_apart_gives_exceptions_as_values_and_else_they_are_raised(wire: Wire) -> None:
    session = Session(wire)
    trouble = StoreError("only this verb")
    wire.losses = [("instead", [[], trouble])]
    assert await session.ask([put(), Claim(QUEUE, 1, 1000, 0)], apart=True) == [[], trouble]
    wire.losses = [("instead", [trouble])]
    with pytest.raises(StoreError, match="only this verb"):
        await session.ask([put(job())])


async def test_cancelling_a_call_apart_ends_it(wire: Wire) -> None:
    session = Session(wire)
    wire.losses = [("before", StoreUnavailable("away"))] * 999
    asking = asyncio.ensure_future(session.ask([put(job("a"))], deadline=600, apart=True))
    await wire.heard(2)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    wire.losses = []
    await session.ask([put(job("b"))])
    assert wire.calls[-1].number == 2, "a given-up number is not used again"


def test_a_loop_that_ends_in_the_middle_leaves_nobody_waiting(wire: Wire) -> None:
    wire.losses = [("before", StoreUnavailable("away"))] * 999
    ends: list[str] = []

    async def main() -> None:
        session = Session(wire)

        async def one() -> None:
            try:
                await session.ask([put(job())])
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        _tasks = [asyncio.ensure_future(one()) for _ in range(3)]
        await wire.heard()
        main.tasks = _tasks  # type: ignore[attr-defined]  # asyncio keeps tasks weakly

    asyncio.run(main())
    assert ends == ["cancelled"] * 3


async def test_if_nobody_carries_any_more_nobody_waits_for_ever(wire: Wire) -> None:
    session = Session(wire)
    wire.losses = [("before", StoreUnavailable("away"))] * 999
    first = asyncio.ensure_future(session.ask([put(job())]))
    await wire.heard()
    behind = asyncio.ensure_future(session.ask([put(job())]))
    await asyncio.sleep(0)
    assert session._carrier is not None
    session._carrier.cancel()
    told = await asyncio.gather(first, behind, return_exceptions=True)
    assert [type(one) for one in told] == [asyncio.CancelledError] * 2
    wire.losses = []
    [[answer]] = await session.ask([put(job())])
    assert answer.word == "created"


# Pools, loops, threads, forks.


def test_queues_of_one_store_share_their_sessions(wire: Wire) -> None:
    assert sessions_with(wire) is sessions_with(wire)
    with store() as other:
        assert sessions_with(other) is not sessions_with(wire)


def test_each_loop_has_its_own_session_and_it_goes_with_the_loop(wire: Wire) -> None:
    sessions = Sessions(wire)

    async def here() -> str:
        assert sessions.here() is sessions.here()
        await sessions.ask([put(job())])
        return sessions.here().caller

    assert asyncio.run(here()) != asyncio.run(here())


def test_threads_do_not_queue_behind_each_other(wire: Wire) -> None:
    sessions = Sessions(wire)
    inner: list[str] = []

    def one_more() -> None:
        sessions.ask_sync([put(job("b"))])
        inner.append(wire.calls[-1].caller)

    class Slow(Wire):
        def run_sync(self, call: Any, *, urgent: bool = False) -> list[Any]:
            if not inner:
                with meanwhile(one_more):
                    pass
            return super().run_sync(call, urgent=urgent)

    slow = Slow(wire.broker)
    session = SyncSession(slow)
    sessions._free.append(session)
    sessions.ask_sync([put(job("a"))])
    assert inner, "the second thread was answered while the first waited"
    assert len(sessions._free) == 2
    sessions.ask_sync([put(job("c"))])
    assert len(sessions._free) == 2, "sessions are used again"


def _enqueue_in_child(queue: Queue, connection: Any) -> None:
    handle = queue.enqueue_sync(queue.tasks["welcome"].draft("from the child"))
    session = queue.sessions._free[-1]
    connection.send_bytes(f"{handle.id} {session.caller} {session._caller.number}".encode())
    connection.close()
    os._exit(0)


def test_a_forked_child_speaks_under_its_own_name(kind: Kind, tmp_path: Path) -> None:
    with store(kind, str(tmp_path / "jobs.db")) as wire:
        queue = queue_on(wire)
        task = queue.task(welcome)
        task.enqueue_sync("from the parent")
        parent = queue.sessions._free[-1]
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_enqueue_in_child, args=(queue, theirs))
        child.start()
        assert ours.poll(30), "the child enqueues"
        id, caller, number = ours.recv_bytes().decode().split()
        child.join(30)
        assert (caller != parent.caller, number) == (True, "1")
        task.enqueue_sync("from the parent again")
        assert parent._caller.number == 2
        assert {leased.id for leased in Hand(queue).claim()} >= {id}
        assert queue.stats_sync().processing == 3


async def test_a_forked_child_drops_what_the_parent_has_in_line(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(wire)
    wire.losses = [("before", StoreUnavailable("away"))]
    waiting = asyncio.ensure_future(session.ask([put(job("a"))]))
    await wire.heard()
    name = session.caller
    behind = asyncio.ensure_future(session.ask([put(job("b"))]))
    await asyncio.sleep(0)
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)  # as the child sees it
    [[answer]] = await session.ask([put(job("c"))])
    assert answer.word == "created" and session.caller != name
    with pytest.raises(StoreUnavailable, match="forked"):
        await waiting
    assert [ids for ids in wire.puts() if ids != ["a"]] == [["c"]], "what stood in line is the parent's to say"
    behind.cancel()


async def test_stats_and_get_are_one_round_trip(mail: Queue, wire: Wire) -> None:
    handle = await mail.task(welcome).enqueue("a")
    wire.calls.clear()
    await handle.explain()
    assert [[type(verb) for verb in call.verbs] for call in wire.calls] == [[Get, Stats]]
