"""One generator, two drivers: what is awaited and its blocking twin do the same."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.client.kinds import Kind
from tests.client.shop import Hand, Wire, meanwhile, queue_on

from surefoot import JobHandle, Queue, StoreError, SyncInsideLoop
from surefoot.client.dead import DeadLetters
from surefoot.client.operation import Ask, Sleep, Steps, operation, twin
from surefoot.client.task import Task


async def welcome(address: str) -> str:
    return address


TWINS = [
    (owner, name) for owner in (Queue, JobHandle, DeadLetters, Task) for name in dir(owner) if name.endswith("_sync")
]


@pytest.mark.parametrize(("owner", "name"), TWINS, ids=[f"{owner.__name__}.{name}" for owner, name in TWINS])
def test_a_twin_has_the_name_the_signature_and_a_docstring(owner: type, name: str) -> None:
    blocking, awaited = getattr(owner, name), getattr(owner, name.removesuffix("_sync"))
    assert inspect.iscoroutinefunction(awaited) and not inspect.iscoroutinefunction(blocking)
    assert awaited.__doc__ and blocking.__doc__
    parameters = [
        [one.replace(annotation="") for one in inspect.signature(each).parameters.values()]
        for each in (blocking, awaited)
    ]
    assert parameters[0] == parameters[1]
    if not name.startswith("close"):
        assert blocking.__name__ == name


def test_every_awaited_method_has_a_twin() -> None:
    for owner in (Queue, JobHandle, DeadLetters, Task):
        for name, _ in inspect.getmembers(owner, inspect.iscoroutinefunction):
            if not name.startswith("__"):
                assert hasattr(owner, f"{name}_sync"), f"{owner.__name__}.{name} has no twin"


async def test_a_twin_on_the_thread_of_a_running_loop_says_what_to_await(mail: Queue, wire: Wire) -> None:
    task = mail.task(welcome)
    handle = mail.handle("x")
    sentence = "{}() would block the event loop that is running here; write `await {}(...)`."
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: task.enqueue_sync("a"), sentence.format("enqueue_sync", "welcome.enqueue")),
        (lambda: mail.stats_sync(), sentence.format("stats_sync", "queue.stats")),
        (lambda: mail.dead.count_sync(), sentence.format("count_sync", "queue.dead.count")),
        (lambda: handle.result_sync(), sentence.format("result_sync", "job.result")),
        (lambda: mail.__enter__(), sentence.format("open_sync", "queue.open")),
    ]
    for call, said in calls:
        with pytest.raises(SyncInsideLoop) as wrong:
            call()
        assert str(wrong.value) == said
    assert wire.calls == []


async def test_a_twin_works_in_a_thread_beside_a_running_loop(mail: Queue) -> None:
    task = mail.task(welcome)
    handle = await asyncio.to_thread(task.enqueue_sync, "a")
    assert await handle.status() == "pending"


def test_many_threads_enqueue_at_once(mail: Queue) -> None:
    task = mail.task(welcome)
    threads = [threading.Thread(target=lambda: [task.enqueue_sync(str(n)) for n in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert mail.stats_sync().pending == 160


class Owner:
    """Something with operations of its own."""

    spoken = "owner"

    def __init__(self, sessions: Any) -> None:
        self.sessions = sessions

    @operation
    def careful(self, verbs: tuple[Any, ...]) -> Steps[str]:
        """Catch what a step raises."""
        try:
            yield Ask(verbs)
        except StoreError as met:
            yield Sleep(0)
            return f"caught {met}"
        return "nothing"

    careful_sync = twin(careful)


class Broken:
    async def ask(self, verbs: Any) -> list[Any]:
        raise StoreError("no")

    def ask_sync(self, verbs: Any) -> list[Any]:
        raise StoreError("no")


async def test_an_error_of_a_step_is_raised_inside_the_operation() -> None:
    owner = Owner(Broken())
    assert await owner.careful(()) == "caught no"
    with meanwhile(lambda: _equal(owner.careful_sync(()), "caught no")):
        pass


def _equal(one: object, other: object) -> None:
    assert one == other


def test_queues_open_and_close_as_context_managers(wire: Wire, kind: Kind) -> None:
    queue = queue_on(wire)
    with queue as same:
        assert same is queue and wire.calls, "opening asks the store"
        handle = queue.task(welcome).enqueue_sync("a")
        Hand(queue).complete()
    stays = queue.get_sync(handle.id) is not None
    assert stays == (kind != "sqlite"), "a store in memory is gone with its close, and no other"


async def test_the_same_on_a_loop(mail: Queue) -> None:
    async with mail as same:
        assert same is mail
        handle = await mail.task(welcome).enqueue("a")
    assert await handle.status() == "pending"
