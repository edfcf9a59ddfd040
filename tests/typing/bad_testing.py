"""Wrong uses of the testing kit. Each line marked BAD is an error in both checkers."""

from __future__ import annotations

from surefoot import Queue
from surefoot.testing import inside_job, run_job, sandbox

mail = Queue("sqlite:///jobs.db", name="mail")


@mail.task
async def welcome(address: str, *, language: str = "en") -> str:
    return f"{address} {language}"


def plain() -> None: ...


async def wrong() -> None:
    sandbox("mail")  # BAD: a queue, not its name
    sandbox(mail, mode="eager")  # BAD: no such mode
    sandbox(mail, now="2026-01-01")  # BAD: a datetime
    with sandbox(mail) as box:
        await box.drain(until=plain)  # BAD: a task
        await box.drain(10)  # BAD: max_runs= by its name
        await box.advance("1h")  # BAD: seconds or a timedelta
        box.drain_sync(until="welcome")  # BAD: a task
        box.advance_sync()  # BAD: how far
        box.assert_enqueued(plain)  # BAD: a task or a draft
        box.assert_enqueued(welcome.draft(5))  # BAD: not its argument
        box.assert_enqueued(welcome, count=2)  # BAD: times=
        box.assert_enqueued(welcome, where=5)  # BAD: a function or a mapping
        number: int = await box.drain()  # BAD: Drained
        print(number)
    await run_job(welcome)  # BAD: a draft
    length: int | None = (await run_job(welcome.draft("a"))).value  # BAD: str
    print(length)
    with inside_job(attempt="2"):  # BAD: a number
        pass
