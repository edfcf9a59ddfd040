"""What Sentry is sent, as its transport gets it: one event a job that ends badly, and spans for its queue pages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport
from tests.client.kinds import Kind
from tests.engine.stage import PATIENCE_S, Stage, burst

from surefoot import Queue, Reject, Retry, Snooze, current_job
from surefoot.integrations.sentry import Sentry


class Kept(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        self.transactions: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            if item.headers.get("type") == "event":
                self.events.append(item.payload.json)  # type: ignore[arg-type] # an event is JSON
            elif item.headers.get("type") == "transaction":
                self.transactions.append(item.payload.json)  # type: ignore[arg-type] # and so is a transaction


@pytest.fixture
def sent() -> Iterator[Kept]:
    kept = Kept()
    with sentry_sdk.isolation_scope():
        sentry_sdk.init(
            dsn="http://key@127.0.0.1:1/1", transport=kept, traces_sample_rate=1.0, default_integrations=False,
            auto_enabling_integrations=False,
        )  # fmt: skip
        yield kept
        sentry_sdk.init()


@pytest.fixture
def stage(kind: Kind) -> Iterator[Stage]:
    made = Stage(kind)
    yield made
    made.close()


def mail_of(stage: Stage, sentry: Sentry) -> Queue:
    return stage.queue("mail", before_enqueue=[sentry.on_enqueue])


async def test_a_dead_job_is_one_event_with_its_job_and_task(stage: Stage, sent: Kept) -> None:
    sentry = Sentry()
    mail = mail_of(stage, sentry)

    @mail.task(name="welcome", retry=Retry(max_attempts=2, base=0.001))
    async def welcome(to: str) -> None:
        raise ValueError(f"attempt {current_job().attempt}")

    job = await welcome.enqueue("ada@example.org")
    async with asyncio.timeout(PATIENCE_S):
        while len(sent.transactions) < 2:
            await burst(mail, middleware=[sentry.around_run])
    [event] = sent.events
    assert event["exception"]["values"][-1]["value"] == "attempt 2"
    assert event["tags"] == {"surefoot.queue": "mail", "surefoot.task": "welcome", "surefoot.job_id": job.id}
    assert event["transaction"] == "welcome"
    facts = event["contexts"]["surefoot"]
    assert (facts["job"], facts["attempt"], facts["failures"]) == (job.id, 2, 1)
    assert "ada@example.org" not in str(facts), "arguments may hold what nobody else should read"


async def test_each_attempt_where_that_is_wanted_and_a_rejection_at_once(stage: Stage, sent: Kept) -> None:
    every, final = Sentry(each_attempt=True), Sentry()
    mail = mail_of(stage, every)

    @mail.task(name="flaky", retry=Retry(max_attempts=3, base=60))
    async def flaky() -> None:
        raise ValueError("not yet")

    @mail.task(name="wrong")
    async def wrong() -> None:
        raise Reject("no such person")

    @mail.task(name="later")
    async def later() -> None:
        raise Snooze(60)

    await flaky.enqueue()
    await burst(mail, middleware=[final.around_run])
    assert sent.events == []
    await wrong.enqueue()
    await later.enqueue()
    await burst(mail, middleware=[final.around_run])
    assert [event["transaction"] for event in sent.events] == ["wrong"]
    await flaky.enqueue()
    await burst(mail, middleware=[every.around_run])
    assert [event["transaction"] for event in sent.events] == ["wrong", "flaky"]


@pytest.mark.parametrize("lane", ["loop", "thread"])
async def test_a_run_continues_the_trace_of_its_enqueue(stage: Stage, sent: Kept, lane: str) -> None:
    sentry = Sentry()
    mail = mail_of(stage, sentry)

    def look(to: str) -> None:
        sentry_sdk.set_tag("inside", "yes")

    async def look_here(to: str) -> None:
        look(to)

    task = mail.task(name="welcome")(look if lane == "thread" else look_here)
    with sentry_sdk.start_transaction(op="http.server", name="POST /people"):
        job = await task.enqueue("ada@example.org")
    await burst(mail, middleware=[sentry.around_run])
    request, run = sent.transactions
    [publish] = request["spans"]
    assert publish["op"] == "queue.publish" and publish["origin"] == "auto.queue.surefoot"
    assert publish["data"]["messaging.message.id"] == job.id
    assert publish["data"]["messaging.destination.name"] == "mail"
    trace = run["contexts"]["trace"]
    assert trace["op"] == "queue.process" and trace["origin"] == "auto.queue.surefoot"
    assert trace["trace_id"] == request["contexts"]["trace"]["trace_id"]
    assert trace["parent_span_id"] == publish["span_id"]
    assert trace["data"]["messaging.message.retry.count"] == 0
    assert trace["data"]["messaging.message.receive.latency"] >= 0
    assert run["tags"]["inside"] == "yes"
    assert "inside" not in request.get("tags", {})
