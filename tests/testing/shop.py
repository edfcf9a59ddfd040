"""The application under test: two queues without any store, and tasks that end in every way there is."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

from surefoot import Cancel, Job, Queue, Reject, Retry, RetryLater, Snooze, current_job

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)

shop = Queue(name="kit-shop", retry=Retry(max_attempts=3, base=10, factor=2, jitter=0))
mail = Queue(name="kit-mail", retry=Retry(max_attempts=3, base=10, factor=2, jitter=0))


@dataclass
class Diary:
    """What happened, in order; emptied before each test."""

    lines: list[str] = field(default_factory=list)

    def __call__(self, line: str) -> None:
        self.lines.append(line)


diary = Diary()
who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


@dataclass
class Services:
    """What a lifespan would yield."""

    rate: int = 3


@dataclass
class Order:
    number: int
    when: datetime


class CardDeclined(Exception):
    """An error with a field of its own."""

    def __init__(self, code: int) -> None:
        super().__init__(f"declined with {code}")
        self.code = code


@mail.task
async def welcome(address: str, *, language: str = "en") -> str:
    diary(f"welcome {address} {language}")
    return f"{language}:{address}"


@shop.task
async def order(item: str, copies: int = 1) -> int:
    """Enqueues on both queues."""
    diary(f"order {item}")
    await welcome.enqueue(f"{item}@example.com")
    for _ in range(copies - 1):
        await pack.enqueue(item)
    return copies


@shop.task
def pack(item: str) -> None:
    """A plain function, which enqueues by the blocking twin."""
    diary(f"pack {item} {threading.current_thread().name}")
    if item == "fragile":
        welcome.enqueue_sync("fragile@example.com")


@shop.task
async def charge(code: int, until: int = 99) -> str:
    """Fails until the run of this number."""
    job = current_job()
    diary(f"charge {job.attempt}")
    if job.attempt < until:
        raise CardDeclined(code)
    return "paid"


buried: list[Job] = []


@shop.task(retry=Retry(max_attempts=1), on_dead=buried.append)
async def doomed() -> None:
    raise CardDeclined(1)


@shop.task
async def signals(which: str) -> str:
    diary(f"signals {which}")
    match which:
        case "snooze":
            raise Snooze(60)
        case "later":
            raise RetryLater(70, "busy")
        case "cancel":
            raise Cancel("not needed")
        case "reject":
            raise Reject("never")
        case _:
            return which


@shop.task(timeout=0.05)
async def slow() -> None:
    await asyncio.sleep(30)


@shop.task
async def stamp(made: Order) -> Order:
    return Order(made.number + 1, made.when)


@shop.task
async def ping() -> None:
    await ping.enqueue()


@shop.task
async def services() -> int:
    return current_job().state(Services).rate


@shop.task
async def whose() -> str:
    return who.get()


@shop.task
def whose_in_thread() -> str:
    return who.get()


@shop.task
async def unsendable() -> object:
    return object()
