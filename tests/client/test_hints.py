"""What hands of other libraries type is answered with what is written here, and nothing else that asks these objects is
disturbed: hasattr, copy, pickle, inspect.
"""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import msgspec
import pydantic
import pytest

from surefoot import ConfigError, JobHandle, Queue, UsageError, Worker
from surefoot.client import foreign


async def welcome(address: str, *, language: str = "en") -> str:
    return f"{address} {language}"


def resize(path: str) -> None: ...


@pytest.fixture
def queue() -> Queue:
    return Queue("sqlite:///never-opened.db", name="images")


# --- enqueue with something else than a draft ---

Say = Callable[[Any, Any], Any]

MANY = "enqueue_many([welcome.draft(...), ...])."
MANY_OF_ANY = "enqueue_many([task.draft(...), ...])."


def _said(call: Callable[[], Any]) -> str:
    with pytest.raises(UsageError) as told:
        call()
    return str(told.value)


@pytest.mark.parametrize(
    ("say", "instead"),
    [
        (lambda queue, f: queue.enqueue_sync(f, 2), "write welcome.enqueue(2)."),
        (lambda queue, f: queue.enqueue_sync(f), "write welcome.enqueue()."),
        (lambda queue, f: queue.enqueue_sync(f, "a", language="fr"), "write welcome.enqueue('a', language='fr')."),
        (lambda queue, f: queue.enqueue_sync(f, "a" * 99), "write welcome.enqueue(...)."),
        (lambda queue, f: queue.enqueue_sync("f", x=2), "write images.by_name('f').enqueue(x=2)."),
        (lambda queue, f: queue.enqueue_sync("f"), "write images.by_name('f').enqueue(...)."),
        (
            lambda queue, f: queue.enqueue_sync(resize, 2),
            "write @images.task above the function resize, then resize.enqueue(2).",
        ),
        (lambda queue, f: queue.enqueue_sync(), "write enqueue(task.draft(...))."),
        (
            lambda queue, f: queue.enqueue_sync(f.draft("a"), 2),
            "one a call: write enqueue(draft), or enqueue_many([draft, ...]).",
        ),
        (lambda queue, f: queue.enqueue_sync([f.draft("a")]), "one a call: write " + MANY_OF_ANY),
        (lambda queue, f: queue.enqueue_sync(5), "not 5: write enqueue(task.draft(...))."),
        (lambda queue, f: queue.enqueue_sync(draft=f.draft("a")), "write enqueue(task.draft(...))."),
        (
            lambda queue, f: queue.enqueue_many_sync([f]),
            "not <AsyncTask welcome of queue images>: write welcome.draft(...).",
        ),
        (lambda queue, f: queue.enqueue_many_sync(["f"]), "not 'f': write task.draft(...)."),
        (lambda queue, f: queue.enqueue_many_sync(f, 2), "one list of drafts: write " + MANY),
        (lambda queue, f: queue.enqueue_many_sync(f), "one list of drafts: write " + MANY),
        (lambda queue, f: queue.enqueue_many_sync("f"), "one list of drafts: write " + MANY_OF_ANY),
        (lambda queue, f: queue.enqueue_many_sync(), "one list of drafts: write " + MANY_OF_ANY),
    ],
)  # fmt: skip
def test_a_queue_takes_drafts_and_says_what_to_write(queue: Queue, say: Say, instead: str) -> None:
    task = queue.task(welcome)
    said = _said(lambda: say(queue, task))
    assert said.startswith("queue 'images' takes ") and said.endswith(instead), said


async def test_the_awaited_form_says_the_same(queue: Queue) -> None:
    task: Any = queue.task(welcome)
    loose: Any = queue
    with pytest.raises(UsageError, match=r"^queue 'images' takes drafts: write welcome.enqueue\(2\)\.$"):
        await loose.enqueue(task, 2)
    with pytest.raises(
        UsageError, match=r"^queue 'images' takes drafts: write images.by_name\('f'\).enqueue\(x=2\)\.$"
    ):
        await loose.enqueue("f", x=2)
    with pytest.raises(
        UsageError, match=r"^queue 'images' takes drafts, not <AsyncTask welcome .*: write welcome.draft"
    ):
        await loose.enqueue_many([task])


async def test_drafts_go_in_as_before(mail: Queue) -> None:
    task = mail.task(welcome)
    one = await mail.enqueue(task.draft("a"))
    two = await mail.enqueue_many(task.draft(address) for address in "bc")
    assert [await job.status() for job in (one, *two)] == ["pending"] * 3


# --- methods of other libraries ---

PLAIN = "__nothing__ _private nothing_of_the_kind __deepcopy__ __pydantic_core_schema__ __iter__ __await__".split()


def _things(queue: Queue) -> dict[str, Any]:
    return {"task": queue.task(welcome), "job handle": queue.handle("some-id"), "queue": queue}


NAMES = [
    *[("task", word) for word in foreign.TASK],
    *[("job handle", word) for word in foreign.HANDLE],
    *[("queue", word) for word in foreign.QUEUE],
]


def test_the_tables_hold_the_words_that_users_typed_first() -> None:
    assert set(foreign.TASK) >= set(
        "delay apply_async revoke restore map starmap chunks then message_with_options schedule_by_time "
        "schedule_by_cron schedule_by_interval update_state".split()
    )
    assert set(foreign.HANDLE) == set(
        "get ready state revoke abort wait_result get_result return_value get_status refresh".split()
    )
    assert set(foreign.QUEUE) == set("enqueue_in enqueue_at enqueue_job send_task actor periodic_task".split())


@pytest.mark.parametrize(("thing", "word"), NAMES)
def test_a_foreign_name_is_answered(queue: Queue, thing: str, word: str) -> None:
    one = _things(queue)[thing]
    with pytest.raises(AttributeError, match=rf"^a {thing} has no {word}\(\); write .+\.$") as told:
        getattr(one, word)
    said = str(told.value)
    assert "{" not in said and "<" not in said
    assert not hasattr(one, word)
    with pytest.raises(AttributeError):
        getattr(type(one), word)  # no class has it, so the sentence hides nothing


@pytest.mark.parametrize("thing", ["task", "job handle", "queue"])
@pytest.mark.parametrize("word", PLAIN)
def test_any_other_name_is_a_plain_error(queue: Queue, thing: str, word: str) -> None:
    one = _things(queue)[thing]
    if hasattr(object, word):
        pytest.skip("every object has it")
    with pytest.raises(AttributeError) as told:
        getattr(one, word)
    assert f"has no attribute '{word}'" in str(told.value)
    assert (told.value.name, told.value.obj) == (word, one)


def test_copies_and_looks_are_undisturbed(queue: Queue) -> None:
    for one in _things(queue).values():
        assert copy.copy(one) is not None
        inspect.getmembers(one, inspect.ismethod)
        assert inspect.unwrap(one) is not None
        assert not inspect.isawaitable(one) and not inspect.isgenerator(one)
    handle = queue.handle("some-id")
    assert copy.copy(handle) == handle and isinstance(copy.copy(handle), JobHandle)
    assert inspect.signature(queue.task(welcome)) == inspect.signature(welcome)
    assert list(inspect.signature(queue.enqueue).parameters) == ["draft"]
    assert list(inspect.signature(queue.enqueue_many_sync).parameters) == ["drafts"]


class Holder(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    queue: Queue
    handle: JobHandle[Any]
    anything: Any


def test_pydantic_holds_them(queue: Queue) -> None:
    held = Holder(queue=queue, handle=queue.handle("x"), anything=queue.task(welcome))
    assert held.queue is queue and held.handle.id == "x"
    with pytest.raises(pydantic.ValidationError):
        Holder(queue=queue.handle("x"), handle=queue, anything=None)  # type: ignore[arg-type]  # that is the point


def test_what_could_not_be_pickled_still_says_why(queue: Queue) -> None:
    """A record of the client travels; a half-made object answers as any other."""
    draft = queue.task(welcome).draft("a")
    assert pickle.loads(pickle.dumps(draft)) == draft
    for kind in (Queue, type(queue.task(resize))):
        half: Any = kind.__new__(kind)
        with pytest.raises(AttributeError):
            _ = half.enqueue_in
    assert msgspec.structs.replace(queue.handle("x"), id="y").id == "y"


# --- options ---

TASK_HINTS = {
    "queue": "a task lives on the queue that decorates it: write @other.task.",
    "queue_name": "a task lives on the queue that decorates it: write @other.task.",
    "actor_name": "did you mean name='x'?",
    "context": "call current_job() inside the task.",
    "serializer": "arguments travel as JSON; there is no switch.",
    "retry_on_error": "did you mean retry=Retry(max_attempts=...)?",
    "schedule": "write @queue.cron(...), or task.cron(...).with_args(...).",
    "at_front": 'did you mean priority="high"?',
    "meta": "headers= travel with the job, and current_job().progress(...) tells how far it is.",
    "labels": "did you mean options(headers=...)?",
    "max_retries": "did you mean retry=Retry(max_attempts='x')?",
}
OPTION_HINTS = {
    "queue_name": "give the queue itself, which has the task by add: options(queue=other).",
    "actor_name": "a task has one name: write @queue.task(name=...).",
    "context": "call current_job() inside the task.",
    "serializer": "arguments travel as JSON; there is no switch.",
    "schedule": "give delay= or at=.",
    "at_front": 'did you mean priority="high"?',
    "meta": "headers= travel with the job, and current_job().progress(...) tells how far it is.",
    "labels": "did you mean headers=...?",
}
WORKER_HINTS = {
    "functions": "a worker runs what its queues have: write Worker(mail).",
    "max_jobs": "did you mean concurrency='x'?",
    "startup": "did you mean lifespan=...?",
    "on_startup": "did you mean lifespan=...?",
    "shutdown": "did you mean lifespan=...?",
    "on_shutdown": "did you mean lifespan=...?",
    "burst": "write worker.run(burst=True).",
}
QUEUE_HINTS = {"queue_name": "did you mean name='x'?", "broker": "did you mean url='x'?"}


@pytest.mark.parametrize(
    ("door", "word", "hint"),
    [
        (door, word, hint)
        for door, hints in (
            ("task", TASK_HINTS), ("options", OPTION_HINTS), ("Worker", WORKER_HINTS), ("Queue", QUEUE_HINTS),
        )
        for word, hint in hints.items()
    ],
)  # fmt: skip
def test_an_option_of_another_library_is_answered(queue: Queue, door: str, word: str, hint: str) -> None:
    given: dict[str, Any] = {word: "x"}
    doors: dict[str, Callable[[], Any]] = {
        "task": lambda: queue.task(**given)(welcome),
        "options": lambda: queue.task(welcome).options(**given),
        "Worker": lambda: Worker(queue, **given),
        "Queue": lambda: Queue(**given),
    }
    with pytest.raises(ConfigError) as told:
        doors[door]()
    assert str(told.value) == f"{door}({word}='x'): there is no option '{word}'; {hint}"


@pytest.mark.parametrize("door", ["cron", "every"])
def test_a_schedule_lives_on_its_queue_too(queue: Queue, door: str) -> None:
    loose: Any = queue
    with pytest.raises(ConfigError, match="a task lives on the queue that decorates it"):
        getattr(loose, door)("0 6 * * *" if door == "cron" else 5, queue="x")(welcome)
