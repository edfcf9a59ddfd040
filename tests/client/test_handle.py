"""A handle holds an id and no state: results in each state, waiting, cancelling, moving."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.client.shop import LEASE_MS, Hand, Wire, meanwhile, queue_on

from surefoot import (
    ConfigError,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    Queue,
    ResultNotKept,
    ResultTimeout,
    UsageError,
)
from surefoot.brokers.broker import Get
from surefoot.core.transition import Bury, Delay, Finish, Park


@dataclass
class Size:
    width: int
    height: int


def measure(path: str) -> Size:
    return Size(1, 2)


def resize(path: str) -> None: ...


async def welcome(address: str) -> str:
    return address


# Results.


def test_a_result_comes_back_as_its_annotation_says(mail: Queue) -> None:
    handle = mail.task(measure).enqueue_sync("a")
    Hand(mail).complete(b'{"width":3,"height":4}')
    assert handle.result_sync() == Size(3, 4)
    assert mail.handle(handle.id).result_sync() == Size(3, 4), "also where only the id is known"
    other = queue_on(mail.broker)
    assert other.handle(handle.id).result_sync() == {"width": 3, "height": 4}, "without the code it is plain JSON"


def test_a_declared_task_decodes_its_results(mail: Queue) -> None:
    handle = mail.declare(measure).enqueue_sync("a")
    Hand(mail).complete(b'{"width":3,"height":4}')
    assert handle.result_sync() == Size(3, 4)


def test_a_result_that_could_not_be_sent_says_so(mail: Queue) -> None:
    task = mail.task(welcome)
    handle = task.enqueue_sync("a")
    assert task.spec is not None
    Hand(mail).complete(task.spec.signature.encode_result(object()))
    with pytest.raises(ResultNotKept, match=r"^welcome\(\) returned an object that cannot travel as JSON"):
        handle.result_sync()


def test_a_result_that_no_longer_fits_says_so(mail: Queue) -> None:
    handle = mail.task(welcome).enqueue_sync("a")
    Hand(mail).complete(b"[1]")
    with pytest.raises(ResultNotKept, match=r"the result of welcome\(\)"):
        handle.result_sync()


def test_a_dead_job_raises_its_error(mail: Queue) -> None:
    handle = mail.task(welcome).enqueue_sync("a")
    Hand(mail).kill("no such address", "SMTPError")
    with pytest.raises(JobFailed) as failed:
        handle.result_sync()
    error = failed.value
    assert str(error) == f"job {handle.id} (welcome) is dead (exhausted) after 1 run: SMTPError: no such address"
    assert (error.job_id, error.queue, error.task, error.failures, error.crashes) == (
        handle.id,
        "mail",
        "welcome",
        1,
        0,
    )
    assert error.error.matches("Exception") and not error.error.matches(OSError)


def test_a_death_without_an_error_is_told_by_its_reason(mail: Queue) -> None:
    handle = mail.task(welcome).enqueue_sync("a")
    hand = Hand(mail)
    [leased] = hand.claim()
    hand.settle(leased, Bury("crash_loop"), None, b'{"reason":"crash_loop"}')
    with pytest.raises(JobFailed) as failed:
        handle.result_sync()
    assert failed.value.error.kind == "crash_loop"


def test_cancelled_and_expired_are_told(mail: Queue) -> None:
    task = mail.task(welcome)
    cancelled, silent, expired = task.enqueue_sync("a"), task.enqueue_sync("b"), task.enqueue_sync("c")
    assert cancelled.cancel_sync("too late") == "cancelled"
    assert silent.cancel_sync() == "cancelled"
    hand = Hand(mail)
    [leased] = hand.claim()
    hand.settle(leased, Finish("expired"), None)
    with pytest.raises(JobCancelled) as told:
        cancelled.result_sync()
    assert (told.value.reason, str(told.value)) == (
        "too late",
        f"job {cancelled.id} (welcome) was cancelled: too late.",
    )
    with pytest.raises(JobCancelled) as told:
        silent.result_sync()
    assert told.value.reason is None
    with pytest.raises(JobExpired):
        expired.result_sync()


def test_an_unkept_outcome_is_said_before_anything_is_asked(wire: Wire) -> None:
    images = queue_on(wire, "images")
    handle = images.task(resize).enqueue_sync("a")
    wire.calls.clear()
    with pytest.raises(ResultNotKept) as unkept:
        handle.result_sync()
    assert str(unkept.value) == (
        "resize returns None, so its outcome is not kept; to wait for it write @images.task(keep_result=60)."
    )
    own = images.task(keep_result=0)(welcome)
    with pytest.raises(ResultNotKept, match=r"^welcome keeps no outcome \(keep_result=0\); to wait for it write"):
        own.handle("x").result_sync()
    assert wire.calls == []


def test_what_one_job_says_of_its_outcome_counts(mail: Queue) -> None:
    task = mail.task(resize)
    kept = task.options(keep_result=60).enqueue_sync("a")
    Hand(mail).complete()
    assert kept.result_sync() is None
    assert task.options(keep_result=60).handle(kept.id).result_sync() is None
    with pytest.raises(ResultNotKept):
        mail.task(welcome).options(keep_result=0).enqueue_sync("a").result_sync()


def test_an_unknown_job_is_not_found(mail: Queue, wire: Wire) -> None:
    with pytest.raises(JobNotFound) as unknown:
        mail.handle("nobody").result_sync()
    assert (unknown.value.job_id, unknown.value.queue, unknown.value.task) == ("nobody", "mail", None)
    assert str(unknown.value).startswith("queue 'mail' does not know job nobody")
    assert mail.handle("nobody").status_sync() is None
    assert mail.handle("nobody").job_sync() is None
    with pytest.raises(JobNotFound):
        mail.handle("nobody").explain_sync()


def test_a_result_that_takes_too_long_leaves_the_job_alone(mail: Queue) -> None:
    handle = mail.task(welcome).enqueue_sync("a")
    with pytest.raises(ResultTimeout) as late:
        handle.result_sync(timeout=0.05)
    assert str(late.value) == f"job {handle.id} is still pending after 0.05 s; it goes on."
    assert (late.value.state, handle.status_sync()) == ("pending", "pending")
    with pytest.raises(ResultTimeout):
        handle.result_sync(timeout=0)
    with pytest.raises(ConfigError, match="timeout=-1 is not a duration"):
        handle.result_sync(timeout=-1)


def test_the_twin_asks_again_until_it_is_there(mail: Queue) -> None:
    handle = mail.task(welcome).enqueue_sync("a")
    with meanwhile(lambda: Hand(mail).complete(b'"done"')):
        assert handle.result_sync(timeout=30) == "done"


async def test_waiting_is_woken_by_the_end(mail: Queue, wire: Wire) -> None:
    handle = await mail.task(welcome).enqueue("a")
    waiting = asyncio.ensure_future(handle.result(timeout=30))
    await wire.heard(3)
    with meanwhile(lambda: Hand(mail).complete(b'"done"')):
        assert await waiting == "done"
    assert len(wire.verbs(Get)) <= 4, "asked on the end, not again and again"


async def test_a_job_forgotten_while_somebody_waits_is_not_found(mail: Queue, wire: Wire) -> None:
    handle = await mail.task(welcome).enqueue("a")
    waiting = asyncio.ensure_future(handle.result(timeout=30))
    await wire.heard(3)
    with meanwhile(lambda: Hand(mail).complete(keep_ms=0)), pytest.raises(JobNotFound, match="no longer knows job"):
        await waiting


async def test_waiting_goes_on_when_the_hint_comes_early_or_fails(
    mail: Queue, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    hints: list[str] = []

    async def ended(queue: str, id: str, seconds: float) -> None:
        hints.append(id)
        if len(hints) < 3:
            return
        raise OSError("no channel")

    monkeypatch.setattr(wire, "ended", ended)
    handle = await mail.task(welcome).enqueue("a")
    with pytest.raises(ResultTimeout):
        await handle.result(timeout=0.05)
    assert len(hints) >= 3 and set(hints) == {handle.id}


# Steering one job.


def test_a_running_job_is_asked_to_cancel(mail: Queue) -> None:
    handle = mail.task(welcome).enqueue_sync("a")
    hand = Hand(mail)
    [leased] = hand.claim()
    assert handle.cancel_sync("stop") == "requested"
    assert "it was asked to cancel" in handle.explain_sync().sentence
    assert hand.settle(leased, Delay(1000, "retry")) == "cancelled"
    assert handle.cancel_sync() == "finished"
    assert mail.handle("nobody").cancel_sync() == "finished"


def test_a_cancelled_job_is_told_of_even_if_its_task_keeps_nothing(mail: Queue) -> None:
    task = mail.task(resize)
    first, second = task.enqueue_sync("a"), task.options(keep_result=0).enqueue_sync("b")
    assert (mail.handle(first.id).cancel_sync(), second.cancel_sync()) == ("cancelled", "cancelled")
    assert (first.status_sync(), second.status_sync()) == ("cancelled", "cancelled")


def test_a_waiting_job_is_rescheduled(mail: Queue) -> None:
    handle = mail.task(welcome).enqueue_sync("a")
    at = datetime(2090, 1, 1, tzinfo=UTC)
    assert handle.reschedule_sync(at=at) is True
    job = handle.job_sync()
    assert job is not None and (job.state, job.due_at) == ("scheduled", at)
    assert handle.reschedule_sync(delay=timedelta(0)) is True
    assert handle.status_sync() == "pending"
    Hand(mail).claim()
    assert handle.reschedule_sync(delay=5) is False
    assert mail.handle("nobody").reschedule_sync(delay=5) is False
    with pytest.raises(UsageError, match="exactly one of them"):
        handle.reschedule_sync()
    with pytest.raises(ConfigError, match="give one of them, not both"):
        handle.reschedule_sync(delay=1, at=at)


def test_a_job_tells_all_that_is_known(mail: Queue) -> None:
    task = mail.task(welcome)
    handle = task.options(key="k", headers={"n": "1"}, priority="high").enqueue_sync("a")
    hand = Hand(mail)
    [leased] = hand.claim()
    job = handle.job_sync()
    assert job is not None
    assert (job.state, job.worker, job.key, job.priority) == ("processing", hand.session.caller, "k", 2)
    assert job.started_at is not None and job.finished_at is None
    hand.settle(
        leased, Delay(LEASE_MS, "retry"), "failures", b'{"kind":"OSError","kinds":["OSError"],"message":"away"}'
    )
    job = handle.job_sync()
    assert job is not None and job.error is not None
    assert (job.state, job.runs, job.failures, job.error.kind, job.error.message) == (
        "scheduled", 1, 1, "OSError", "away",
    )  # fmt: skip
    assert job.reason is None and job.due_at > job.enqueued_at + timedelta(seconds=50)


def test_a_body_that_cannot_be_read_is_a_job_of_nothing_known(mail: Queue) -> None:
    from surefoot.brokers.broker import Put
    from surefoot.client.session import SyncSession
    from surefoot.core.job import NewJob

    bodies = {"bytes": b"\xff\x00", "json": b"[]", "newer": b'{"version":2,"needs":9}', "list": _envelope(b"[1]")}
    jobs = tuple(NewJob(id, body) for id, body in bodies.items())
    SyncSession(mail.broker).ask([Put(mail.full_name, jobs)])
    found = {job.id: job for job in mail.find_sync()}
    assert set(found) == set(bodies)
    assert {id: job.task for id, job in found.items()} == {"bytes": "?", "json": "?", "newer": "?", "list": "welcome"}
    assert all(dict(job.arguments) == {} for job in found.values())
    assert mail.explain_sync("bytes").state == "pending"


def _envelope(payload: bytes) -> bytes:
    return b'{"version":1,"id":"x","task":"welcome","payload":' + payload + b"}"


def test_handles_are_values(mail: Queue) -> None:
    handle = mail.task(welcome).enqueue_sync("a")
    assert handle == mail.handle(handle.id) and len({handle, mail.handle(handle.id)}) == 1
    assert handle != mail.handle("other")
    assert repr(handle) == f"<JobHandle {handle.id} welcome on mail>"
    with pytest.raises(AttributeError):
        handle.id = "x"  # type: ignore[misc]


def test_a_parked_job_is_told(mail: Queue) -> None:
    handle = mail.task(welcome).enqueue_sync("a")
    hand = Hand(mail)
    [leased] = hand.claim()
    assert hand.settle(leased, Park("task:welcome"), None) == "applied"
    assert handle.status_sync() == "parked"
    what: Any = handle.explain_sync()
    assert (what.reasons, what.details["reason"]) == (("unknown_task",), "task:welcome")
