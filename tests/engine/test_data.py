"""What lies in the store as a worker meets it: foreign bytes, unknown tasks, older and newer arguments, results."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.engine.stage import Stage, burst, known

from surefoot import PayloadTooLarge, Queue, Reject, ResultNotKept, Retry
from surefoot.brokers.broker import Get
from surefoot.client.session import Session
from surefoot.core.job import NewJob

GOOD = b'{"version":1,"id":"%s","task":"work","payload":{"number":1},"created_ms":0}'
FOREIGN = {
    "empty": b"",
    "text": b"hello",
    "null": b"null",
    "list": b"[]",
    "truncated": (GOOD % b"truncated")[:40],
    "no task": b'{"version":1,"id":"x","payload":{}}',
    "no payload": b'{"version":1,"id":"x","task":"work"}',
    "payload is a list": b'{"version":1,"id":"x","task":"work","payload":[1]}',
    "payload is null": b'{"version":1,"id":"x","task":"work","payload":null}',
    "version 0": b'{"version":0,"id":"x","task":"work","payload":{}}',
    "half a surrogate": b'{"version":1,"id":"x","task":"\\ud800","payload":{}}',
    "not utf-8": b'{"version":1,"id":"x","task":"work\xff","payload":{}}',
    "deep": b'{"version":1,"id":"x","task":"work","payload":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "a name that is none": b'{"version":1,"id":"x","task":"../../x y","payload":{}}',
}


def working(jobs: Queue) -> tuple[Any, list[int]]:
    ran: list[int] = []

    @jobs.task(name="work", keep_result=60)
    async def work(number: int) -> None:
        ran.append(number)

    return work, ran


async def raw(stage: Stage, jobs: Queue, id: str) -> bytes:
    [[record]] = await Session(stage.store).ask([Get(jobs.full_name, (id,))])
    assert record is not None
    return bytes(record.body)


async def test_D2_foreign_envelopes_become_dead_letters_with_their_bytes_and_siblings_run(
    stage: Stage, jobs: Queue
) -> None:
    work, ran = working(jobs)
    await work.enqueue(1)
    await stage.put(jobs, *[NewJob(name, body) for name, body in FOREIGN.items()])
    await work.enqueue(2)
    await burst(jobs)
    assert ran == [1, 2]
    for name, body in FOREIGN.items():
        job = await known(jobs.handle(name))
        assert (job.state, job.reason, job.runs) == ("dead", "invalid", 0), name
        assert await raw(stage, jobs, name) == body
    assert {letter.id for letter in await jobs.dead.find(reason="invalid")} == set(FOREIGN)


async def test_D2_random_damage_never_stops_the_worker(stage: Stage, jobs: Queue, seed: int) -> None:
    work, ran = working(jobs)
    chance = random.Random(seed)
    bodies = []
    for number in range(300):
        body = bytearray(GOOD % b"%d" % number)
        for _ in range(chance.randrange(1, 6)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        bodies.append(NewJob(f"fuzzed-{number}", bytes(body[: chance.randrange(1, len(body) + 1)])))
    await stage.put(jobs, *bodies)
    await work.enqueue(-7)
    await burst(jobs)
    assert ran[-1] == -7
    stats = await jobs.stats()
    assert stats.pending + stats.processing == 0
    assert stats.dead + stats.parked + len(ran) - 1 + stats.scheduled == 300


async def test_D3_an_unknown_task_waits_uncharged_for_the_worker_that_knows_it(stage: Stage, jobs: Queue) -> None:
    other = stage.queue()
    _, ran = working(other)
    job = await jobs.by_name("work").enqueue(number=3)
    await burst(jobs)
    stored = await known(job)
    assert (stored.state, stored.runs, stored.failures) == ("parked", 0, 0)
    assert "work" in (await jobs.explain(job.id)).sentence
    await burst(jobs)
    assert ran == []
    await burst(other)
    assert ran == [3]
    assert await job.status() == "completed"


async def test_D3_a_newer_schema_waits_for_the_worker_that_has_it(stage: Stage, jobs: Queue) -> None:
    newer = stage.queue()
    seen: list[str] = []

    @jobs.task(name="work")
    async def work(number: int) -> None:
        seen.append(f"old {number}")

    @newer.task(name="work", schema=2)
    async def work_2(number: int, unit: str) -> None:
        seen.append(f"new {number} {unit}")

    job = await work_2.enqueue(5, "m")
    await burst(jobs)
    assert (await known(job)).state == "parked"
    await burst(newer)
    assert seen == ["new 5 m"]


async def test_D3_older_arguments_pass_the_upcast_of_a_newer_worker(stage: Stage, jobs: Queue) -> None:
    newer = stage.queue()
    seen: list[str] = []

    @jobs.task(name="work")
    async def work(number: int) -> None: ...

    @newer.task(name="work", schema=3, upcast=lambda old, arguments: {**arguments, "unit": f"from {old}"})
    async def work_3(number: int, unit: str) -> None:
        seen.append(f"{number} {unit}")

    await work.enqueue(5)
    await burst(newer)
    assert seen == ["5 from 1"]


@pytest.mark.parametrize("error", [ValueError("no"), RecursionError(), Reject("no")], ids=repr)
async def test_D4_an_upcast_that_fails_is_a_dead_letter_and_the_worker_goes_on(
    stage: Stage, jobs: Queue, error: BaseException
) -> None:
    def fails(old: int, arguments: dict[str, Any]) -> dict[str, Any]:
        raise error

    @jobs.task(name="work", schema=2, upcast=fails)
    async def work() -> None: ...

    @jobs.task(name="good", keep_result=60)
    async def good() -> str:
        return "served"

    await stage.put(jobs, NewJob("old", b'{"version":1,"id":"old","task":"work","payload":{}}'))
    after = await good.enqueue()
    await burst(jobs)
    assert (await known(jobs.handle("old"))).reason == "invalid"
    assert await after.result(timeout=0) == "served"


@pytest.mark.parametrize(
    "body",
    [
        b'{"version":1,"id":"n","task":"work","payload":{"number":1},"needs":2}',
        b'{"version":2,"id":"n","task":"work","payload":{"number":1}}',
        b'{"version":2,"needs":2,"something":"else"}',
    ],
    ids=["needs 2", "version 2", "another shape"],
)
async def test_D3_an_envelope_of_a_newer_release_waits(stage: Stage, jobs: Queue, body: bytes) -> None:
    _, ran = working(jobs)
    await stage.put(jobs, NewJob("n", body))
    await burst(jobs)
    job = await known(jobs.handle("n"))
    assert (job.state, job.runs) == ("parked", 0)
    assert ran == []


async def test_D3_a_job_parked_for_a_task_that_nobody_knows_dies_after_the_time_given(
    stage: Stage, jobs: Queue
) -> None:
    job = await jobs.by_name("nowhere").enqueue()
    await burst(jobs, unknown_ttl=3600)
    stage.wall.forward(3599)
    await burst(jobs, unknown_ttl=3600)
    assert (await known(job)).state == "parked"
    stage.wall.forward(100)
    await burst(jobs, unknown_ttl=3600)
    stored = await known(job)
    assert (stored.state, stored.reason) == ("dead", "unknown")


async def test_D4_arguments_that_do_not_fit_are_a_dead_letter_without_a_run(stage: Stage, jobs: Queue) -> None:
    _, ran = working(jobs)
    await stage.put(
        jobs,
        NewJob("type", b'{"version":1,"id":"type","task":"work","payload":{"number":"5"}}'),
        NewJob("missing", b'{"version":1,"id":"missing","task":"work","payload":{}}'),
        NewJob("extra", b'{"version":1,"id":"extra","task":"work","payload":{"number":1,"unit":"m"}}'),
    )
    await burst(jobs)
    said = {}
    for id in ("type", "missing", "extra"):
        job = await known(jobs.handle(id))
        assert (job.state, job.reason, job.runs, job.failures) == ("dead", "invalid", 0, 0)
        assert job.error is not None
        said[id] = job.error.message
    assert said["type"] == "work() got '5' (a str) for 'number', which is an int."
    assert said["missing"] == "work() is missing 'number'."
    assert "work() has no parameter 'unit'" in said["extra"]
    assert ran == []


async def test_D1_a_payload_over_the_limit_is_refused_before_the_store_is_asked(jobs: Queue) -> None:
    @jobs.task(name="work")
    async def work(text: str) -> None: ...

    with pytest.raises(PayloadTooLarge, match=r"1,048,587.*1,048,576"):
        await work.enqueue("x" * (1 << 20))
    assert (await jobs.stats()).pending == 0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "object that cannot travel"),
        ({1, 2} | {object()}, "set"),
        (float("nan"), "NaN"),
        ("x" * (1 << 21), "limit"),
    ],
    ids=["object", "set", "nan", "large"],
)
async def test_D5_a_result_that_cannot_be_sent_does_not_fail_the_job(jobs: Queue, value: Any, words: str) -> None:
    @jobs.task(name="work")
    async def work() -> Any:
        return value

    job = await work.enqueue()
    await burst(jobs)
    assert await job.status() == "completed"
    with pytest.raises(Exception, match=words):
        await job.result(timeout=0)


async def test_results_come_back_as_they_are_annotated(jobs: Queue) -> None:
    moment = datetime(2026, 12, 24, 18, tzinfo=UTC)

    @jobs.task(name="dated")
    async def dated() -> dict[str, datetime]:
        return {"at": moment}

    @jobs.task(name="nothing")
    async def nothing() -> None: ...

    @jobs.task(name="kept", keep_result=60)
    async def kept() -> None: ...

    one, none, told = await dated.enqueue(), await nothing.enqueue(), await kept.enqueue()
    await burst(jobs)
    assert await one.result(timeout=0) == {"at": moment}
    assert await told.status() == "completed"
    assert await none.status() is None, "annotated -> None: forgotten at once"
    with pytest.raises(ResultNotKept):
        await none.result(timeout=0)


async def test_D6_dead_letters_stay_unless_a_worker_says_how_many_or_how_old(stage: Stage, jobs: Queue) -> None:
    @jobs.task(name="work", retry=Retry(max_attempts=1))
    async def work(number: int) -> None:
        raise ValueError(number)

    for number in range(6):
        await work.enqueue(number)
        await burst(jobs)
        stage.wall.forward(1000)
    await burst(jobs)
    assert await jobs.dead.count() == 6
    stage.wall.forward(61)
    await burst(jobs, dead_age=4500)
    assert await jobs.dead.count() == 4
    stage.wall.forward(61)
    await burst(jobs, dead_max=1)
    [letter] = await jobs.dead.find()
    assert letter.arguments == {"number": 5}
    stage.wall.forward(61)
    await burst(jobs, dead_max=0)
    assert await jobs.dead.count() == 0


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "subprocess:run", "__import__"])
async def test_S1_a_name_is_looked_up_and_never_imported(jobs: Queue, name: str) -> None:
    job = await jobs.by_name(name).enqueue(command="true")
    await burst(jobs)
    assert (await known(job)).state == "parked"


async def test_S1_a_name_of_10_MB_is_a_dead_letter(stage: Stage, jobs: Queue) -> None:
    _, ran = working(jobs)
    body = b'{"version":1,"id":"x","task":"%s","payload":{}}' % (b"a" * 10_000_000)
    await stage.put(jobs, NewJob("x", body))
    await burst(jobs)
    job = await known(jobs.handle("x"))
    assert (job.state, job.reason) == ("dead", "invalid")
    assert job.error is not None and len(job.error.message) < 3_000
    assert ran == []
