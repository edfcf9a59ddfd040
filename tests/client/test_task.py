"""Registering: names, options, who wins, what is refused at import; schedules; declarations."""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.client.shop import Hand, Wire, queue_on

from surefoot import (
    AsyncTask,
    Concurrency,
    ConfigError,
    DuplicateTask,
    InvalidArguments,
    Job,
    Queue,
    Rate,
    Retry,
    SyncTask,
    TaskDefinitionError,
    UsageError,
)
from surefoot.core.codec import decode_envelope
from surefoot.core.job import Unique


async def welcome(address: str, *, language: str = "en") -> str:
    """Greets."""
    return f"{address} {language}"


def resize(path: str, width: int = 800) -> None: ...


async def nightly() -> int:
    return 1


@pytest.fixture
def queue() -> Queue:
    return Queue("sqlite:///never-opened.db", name="images")


# What the decorator gives.


def test_a_task_is_its_function_with_a_name(queue: Queue) -> None:
    task, other = queue.task(welcome), queue.task(timeout=5)(resize)
    assert (type(task), type(other)) == (AsyncTask, SyncTask)
    assert (task.name, task.queue, inspect.unwrap(task).__name__, task.__doc__) == (
        "welcome",
        queue,
        "welcome",
        "Greets.",
    )
    assert inspect.signature(task) == inspect.signature(welcome)
    assert dict(queue.tasks) == {"welcome": task, "resize": other}
    assert repr(task) == "<AsyncTask welcome of queue images>"
    assert other("a.png") is None


async def test_calling_a_task_calls_the_function(queue: Queue) -> None:
    assert await queue.task(welcome)("a", language="fr") == "a fr"


def test_given_nowhere_the_defaults_stand(queue: Queue) -> None:
    spec = queue.task(welcome).spec
    assert spec is not None
    assert (spec.retry, spec.timeout_ms, spec.keep_ms, spec.expires_ms) == (Retry(), 3_600_000, 300_000, None)
    assert (spec.executor, spec.schema, spec.has_on_dead) == ("loop", 1, False)
    plain = queue.task(resize).spec
    assert plain is not None and (plain.keep_ms, plain.executor) == (0, "thread")


def test_what_is_given_wins_nearest_to_the_job_first() -> None:
    queue = Queue(name="q", retry=Retry(max_attempts=7), timeout=10, keep_result=timedelta(minutes=1))
    spec = queue.task(resize).spec
    assert spec is not None and (spec.retry.max_attempts, spec.timeout_ms, spec.keep_ms) == (7, 10_000, 60_000)
    own = queue.task(retry=Retry(max_attempts=2), timeout=math.inf, keep_result=0, expires=timedelta(hours=1))(welcome)
    spec = own.spec
    assert spec is not None
    assert (spec.retry.max_attempts, spec.timeout_ms, spec.keep_ms, spec.expires_ms) == (2, None, 0, 3_600_000)
    job = decode_envelope(_envelope(own.options(timeout=3, max_attempts=5, keep_result=math.inf).draft("a")))
    assert (job.options.timeout_ms, job.options.max_attempts, job.options.keep_result_ms) == (3_000, 5, None)


def _envelope(draft: Any) -> bytes:
    from surefoot.client.line import new_job

    return new_job(draft, 0).envelope


def test_the_registry_holds_every_name(queue: Queue) -> None:
    def funeral(job: Job) -> None: ...

    task = queue.task(name="greet", aliases=["hello", "hi"], on_dead=funeral)(welcome)
    registry = queue.registry
    assert set(registry.specs) == {"greet", "hello", "hi", "greet:on_dead"}
    assert registry.specs["hi"] is registry.specs["greet"] is task.spec
    assert registry.on_dead == {"greet": funeral}
    assert set(queue.tasks) == {"greet"}
    bell = registry.specs["greet:on_dead"]
    assert (bell.signature.parameters, bell.executor, bell.keep_ms, bell.has_on_dead) == (
        ("id", "run"),
        "thread",
        0,
        False,
    )
    assert registry.specs["greet"].has_on_dead


async def test_on_dead_is_called_with_the_job_that_is_still_dead_since_that_run(mail: Queue) -> None:
    told: list[Job] = []

    async def funeral(job: Job) -> None:
        told.append(job)

    mail.task(name="greet", on_dead=funeral)(welcome)
    handle = await mail.tasks["greet"].enqueue("a")
    Hand(mail).kill("lost")
    function: Any = mail.registry.specs["greet:on_dead"].function
    await function(handle.id, 2)
    await function("nobody", 1)
    assert told == [], "another run died, or the job is gone: no call"
    await function(handle.id, 1)
    assert [(job.id, job.state, job.error.message if job.error else "") for job in told] == [
        (handle.id, "dead", "lost")
    ]
    await mail.dead.requeue(handle.id)
    await function(handle.id, 1)
    assert len(told) == 1, "requeued meanwhile: not called"


def test_a_plain_on_dead_runs_in_a_thread(mail: Queue) -> None:
    told: list[str] = []
    mail.task(name="greet", on_dead=lambda job: told.append(job.id))(welcome)
    handle = mail.tasks["greet"].enqueue_sync("a")
    Hand(mail).kill()
    function: Any = mail.registry.specs["greet:on_dead"].function
    function(handle.id, 1)
    assert told == [handle.id]


# Names.


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes and imports modules of a package `shop` in the current directory; `again` runs one a second time."""
    monkeypatch.chdir(tmp_path)
    names: list[str] = []

    def load(name: str, text: str, again: bool = False) -> ModuleType:
        path = tmp_path / "shop" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        full = f"shop.{name}"
        spec = importlib.util.spec_from_file_location(full, path)
        assert spec is not None and spec.loader is not None
        module = sys.modules[full] if again else importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        names.append(full)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in names:
        sys.modules.pop(name, None)


def test_two_tasks_of_one_name_are_refused_with_both_places(modules: Any, queue: Queue) -> None:
    shop = modules("queues", "from surefoot import Queue\nqueue = Queue(name='default')\n").queue
    head = "from shop.queues import queue\n"
    modules("auth", head + "\n" * 9 + "\n@queue.task\ndef cleanup() -> None: ...\n")
    with pytest.raises(DuplicateTask) as twice:
        modules("billing", head + "\n" * 37 + "\n@queue.task\ndef cleanup() -> None: ...\n")
    assert str(twice.value) == (
        "two tasks of queue 'default' are named 'cleanup': shop/auth.py:12 and shop/billing.py:40. "
        'Give one of them name="billing.cleanup".'
    )
    assert shop.tasks["cleanup"].spec.function.__module__ == "shop.auth"


def test_the_same_function_reloaded_is_fine(modules: Any) -> None:
    shop = modules("queues", "from surefoot import Queue\nqueue = Queue(name='default')\n").queue
    text = "from shop.queues import queue\n@queue.task\ndef cleanup() -> None: ...\n"
    first = modules("auth", text).cleanup
    second = modules("auth", "\n" + text, again=True).cleanup
    assert first is not second and shop.tasks["cleanup"] is second


def test_two_functions_of_one_name_in_one_module_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from surefoot import Queue\nqueue = Queue()\n@queue.task\ndef one() -> None: ...\n"
    (tmp_path / "twofold.py").write_text(text + "@queue.task\ndef one() -> None: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DuplicateTask, match="are named 'one'"):
        importlib.import_module("twofold")


def test_an_alias_may_not_be_another_task(queue: Queue) -> None:
    queue.task(welcome)
    with pytest.raises(DuplicateTask, match="two tasks of queue 'images' are named 'welcome'"):
        queue.task(aliases=["welcome"])(resize)


@pytest.mark.parametrize("name", ["", "two words", "a{b}", "x" * 129, 7])
def test_a_name_has_letters(queue: Queue, name: Any) -> None:
    with pytest.raises(ConfigError, match="a task's name has 1 to 128 letters, digits or _"):
        queue.task(name=name)(welcome)
    with pytest.raises(ConfigError, match="a queue's name has 1 to 128 letters"):
        Queue(name=name)


def test_a_task_with_on_dead_has_a_shorter_name(queue: Queue) -> None:
    queue.task(name="x" * 120, on_dead=print)(welcome)
    with pytest.raises(ConfigError, match="at most 120 letters"):
        queue.task(name="x" * 121, on_dead=print)(welcome)


# What may be a task.


def test_what_cannot_be_a_task_is_refused_at_import(queue: Queue) -> None:
    with pytest.raises(TaskDefinitionError) as method:
        queue.task(lambda self: None)
    with pytest.raises(TaskDefinitionError, match="has no name that jobs could carry"):
        queue.task(lambda x: None)

    def resize(self: Any) -> None: ...

    with pytest.raises(TaskDefinitionError) as method:
        queue.task(name="resize")(resize)
    assert (
        str(method.value) == "resize looks like a method (its first parameter is 'self'); a task is a plain function."
    )
    with pytest.raises(TaskDefinitionError, match="which runs on the loop; leave out executor="):
        queue.task(executor="thread")(welcome)
    with pytest.raises(TaskDefinitionError, match="would block the loop; leave out executor="):
        queue.task(executor="loop", name="r")(globals()["resize"])
    with pytest.raises(TaskDefinitionError, match="welcome cannot recur: 'address' has no default"):
        queue.cron("* * * * *")(welcome)
    task = queue.task(nightly)
    with pytest.raises(TaskDefinitionError, match="is a task already"):
        queue.task(task)
    assert queue.tasks["nightly"] is task


def test_the_process_lane_may_be_declared(queue: Queue) -> None:
    spec = queue.task(executor="process")(resize).spec
    assert spec is not None and spec.executor == "process"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"retries": 3}, "task(retries=3): there is no option 'retries'; did you mean retry=Retry(max_attempts=3)?"),
        ({"max_retries": 3}, "there is no option 'max_retries'; did you mean retry=Retry(max_attempts=4)?"),
        ({"autoretry_for": (OSError,)}, "did you mean retry=Retry(retry_on=...)?"),
        ({"time_limit": 30}, "task(time_limit=30): there is no option 'time_limit'; did you mean timeout=30?"),
        ({"countdown": 5}, "there is no option 'countdown'; did you mean options(delay=5)?"),
        ({"ttl": 5}, "there is no option 'ttl'; did you mean expires=5?"),
        ({"result_ttl": 5}, "there is no option 'result_ttl'; did you mean keep_result=5?"),
        ({"bind": True}, "there is no option 'bind'; call current_job() inside the task."),
        ({"acks_late": True}, "there is no option 'acks_late'; a job is always acknowledged after its run"),
        ({"timeot": 3}, "task(timeot=3): there is no option 'timeot'; did you mean 'timeout'?"),
        ({"zzz": 3}, "task(zzz=3): there is no option 'zzz'; there are: aliases, executor, expires,"),
        ({"retry": 3}, "task(retry=3): give a Retry, for example retry=Retry(max_attempts=5)."),
        ({"executor": "gpu"}, 'task(executor=\'gpu\'): give "loop", "thread" or "process".'),
        ({"schema": 0}, "task(schema=0): give a whole number >= 1."),
        ({"timeout": -5}, "timeout=-5 is not a duration; give seconds > 0, or math.inf for no limit."),
        ({"priority": 3}, 'task(priority=3): give "high", "normal" or "low"'),
        ({"on_dead": 3}, "task(on_dead=3): give a function that takes the dead Job."),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest_known_one(queue: Queue, options: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        queue.task(**options)(welcome)
    assert sentence in str(wrong.value)
    assert not queue.tasks


def test_the_same_for_queues_and_schedules(queue: Queue) -> None:
    with pytest.raises(ConfigError) as wrong:
        Queue(names="x")  # type: ignore[call-arg]
    assert str(wrong.value) == "Queue(names='x'): there is no option 'names'; did you mean 'name'?"
    with pytest.raises(ConfigError, match="did you mean 'overlap'"):
        queue.cron("* * * * *", overlaps="skip")(nightly)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="did you mean 'timezone'"):
        queue.task(nightly).cron("* * * * *", name="n", timezon="UTC")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match='Queue\\(when_full=\'drop\'\\): give "reject" or "wait"'):
        Queue(when_full="drop")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Queue\\(max_length=0\\): give a whole number >= 1"):
        Queue(max_length=0)
    with pytest.raises(ConfigError, match="Queue\\(durable=-1\\): give a number of replicas"):
        Queue(durable=-1)


def test_reserved_words_are_refused_in_a_sentence(queue: Queue) -> None:
    with pytest.raises(UsageError) as heartbeat:
        queue.task(heartbeat=60)(welcome)
    assert str(heartbeat.value) == "task(heartbeat=60): 'heartbeat' is reserved and not in this release; use timeout=."
    with pytest.raises(UsageError) as limits:
        queue.task(limits=[Concurrency(5), Rate(100, per=60)])(welcome)
    assert str(limits.value) == (
        "task(limits=[Concurrency(5, by='task'), Rate(100, per=60, by='task')]): 'limits' is reserved and not in this "
        "release; use a queue of its own and Worker(concurrency=)."
    )
    with pytest.raises(UsageError, match="'events' is reserved and not in this release"):
        queue.events()
    with pytest.raises(UsageError, match="'events' is reserved and not in this release"):
        queue.handle("x").events()
    for wrong in (lambda: Concurrency(0), lambda: Rate(1, per=-1)):
        with pytest.raises(ConfigError):
            wrong()


@pytest.mark.parametrize("word", "delay apply_async send send_with_options kiq delay_on_commit s retry".split())
def test_methods_of_other_libraries_are_answered(queue: Queue, word: str) -> None:
    task = queue.task(welcome)
    with pytest.raises(AttributeError, match=rf"^a task has no {word}\(\); write .*(welcome|RetryLater)"):
        getattr(task, word)
    assert not hasattr(task, "nothing_of_the_kind")


# Schedules.


def test_a_cron_is_an_entry_and_a_task(queue: Queue) -> None:
    task = queue.cron("0 6 * * mon-fri", timezone="Europe/Paris", name="digest", catch_up=60, priority="high")(nightly)
    [entry] = queue.registry.crons
    assert (entry.name, entry.task, entry.catch_up_ms, entry.overlap, entry.payload) == (
        "digest", "digest", 60_000, "skip", b"{}",
    )  # fmt: skip
    assert (entry.schedule.expression, entry.schedule.timezone) == ("0 6 * * mon-fri", "Europe/Paris")
    assert task.name == "digest" and entry.priority == 2
    job = entry.job(1_000_000)
    assert (job.id, job.unique, job.priority) == ("cron:digest:1000000", Unique("digest cron:digest", "done"), 2)
    assert entry.job(1_000_000) == job, "whoever fires it says the same"
    assert decode_envelope(job.envelope).task == "digest"


@pytest.mark.parametrize(("overlap", "until"), [("skip", "done"), ("queue", "start"), ("allow", None)])
def test_overlap_is_a_key_on_the_jobs_of_an_entry(queue: Queue, overlap: Any, until: Any) -> None:
    queue.every(30, overlap=overlap)(nightly)
    unique = queue.registry.crons[0].job(30_000).unique
    assert unique == (None if until is None else Unique("nightly cron:nightly", until))


def test_more_schedules_of_one_task_have_typed_arguments(queue: Queue) -> None:
    task = queue.task(welcome)
    task.cron("0 6 * * *", name="report-eu", timezone="Europe/Paris").with_args("eu", language="fr")
    schedule = task.cron("0 7 * * *", name="report-us")
    assert [entry.name for entry in queue.registry.crons] == ["report-eu"], "an entry counts once it has its arguments"
    with pytest.raises(InvalidArguments):
        schedule.with_args(3)  # type: ignore[arg-type]
    schedule.with_args("us")
    assert [(entry.task, entry.payload) for entry in queue.registry.crons] == [
        ("welcome", b'{"address":"eu","language":"fr"}'),
        ("welcome", b'{"address":"us"}'),
    ]


def test_a_second_line_on_the_same_function(queue: Queue) -> None:
    task = queue.cron("0 6 * * *")(nightly)
    assert queue.every(60, name="often")(task) is task
    assert [(entry.name, entry.task) for entry in queue.registry.crons] == [
        ("nightly", "nightly"),
        ("often", "nightly"),
    ]
    with pytest.raises(DuplicateTask, match="two cron entries of queue 'images' are named 'often'"):
        queue.task(welcome).cron("0 6 * * *", name="often").with_args("a")


def test_schedules_that_cannot_be_are_refused(queue: Queue) -> None:
    with pytest.raises(ConfigError):
        queue.cron("61 * * * *")(nightly)
    with pytest.raises(ConfigError):
        queue.every(0)(nightly)
    with pytest.raises(ConfigError, match='give "skip", "queue" or "allow"'):
        queue.cron("* * * * *", overlap="never")(nightly)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="give 1 to 100 letters"):
        queue.cron("* * * * *", name="n" * 101)(nightly)
    assert queue.registry.crons == ()


# Other queues, names without code, declarations.


def test_a_task_can_be_served_on_a_second_queue(wire: Wire) -> None:
    mail, bulk = queue_on(wire, "mail"), queue_on(wire, "bulk")
    task = mail.task(aliases=["hi"], on_dead=print)(welcome)
    mail.every(60)(nightly)
    with pytest.raises(UsageError) as missing:
        task.options(queue=bulk)
    assert str(missing.value) == "queue 'bulk' does not serve welcome: write bulk.add(welcome) at import."
    bulk.add(task)
    assert set(bulk.registry.specs) == {"welcome", "hi", "welcome:on_dead"}
    assert bulk.registry.specs["hi"] is task.spec
    assert bulk.registry.specs["welcome:on_dead"] is not mail.registry.specs["welcome:on_dead"], "it asks its own queue"
    assert bulk.registry.crons == ()
    handle = task.options(queue=bulk, priority="low").enqueue_sync("a")
    assert (handle.queue, bulk.stats_sync().pending, mail.stats_sync().pending) == ("bulk", 1, 0)
    bulk.add(task)


def test_by_name_takes_anything_by_name(mail: Queue) -> None:
    task = mail.by_name("elsewhere")
    job = task.options(delay=60).enqueue_sync(address="a", numbers=[1, 2.5, None]).job_sync()
    assert job is not None and (job.task, dict(job.arguments)) == (
        "elsewhere",
        {"address": "a", "numbers": [1, 2.5, None]},
    )
    assert job.max_attempts is None
    nothing = task.enqueue_sync().job_sync()
    assert nothing is not None and dict(nothing.arguments) == {}
    with pytest.raises(InvalidArguments, match="give them by name"):
        task.enqueue_sync("a")
    with pytest.raises(InvalidArguments, match=r"^elsewhere\(\) got an object inside 'price': that type cannot travel"):
        task.enqueue_sync(price=object())
    with pytest.raises(ConfigError, match="a task's name has"):
        mail.by_name("two words")
    assert mail.by_name("welcome").spec is None
    registered = mail.task(welcome)
    assert mail.by_name("welcome") is registered
    with pytest.raises(InvalidArguments):
        mail.by_name("welcome").enqueue_sync(adress="a")


async def test_a_declared_task_is_checked_here_and_implemented_elsewhere(mail: Queue) -> None:
    def greet(address: str, *, language: str = "en") -> str:
        raise NotImplementedError

    task = mail.declare(name="greet")(greet)
    assert set(mail.registry.declared) == {"greet"} and "greet" not in mail.registry.specs
    assert (await task.enqueue("a")).task == "greet"
    with pytest.raises(InvalidArguments):
        await task.enqueue(1)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="greet is only declared here and cannot be run here"):
        task("a")

    made = mail.implement(task, retry=Retry(max_attempts=9), timeout=5)(welcome)
    assert (type(made), made.name) == (AsyncTask, "greet")
    spec = mail.registry.specs["greet"]
    assert (spec.function, spec.retry.max_attempts, spec.timeout_ms) == (welcome, 9, 5_000)
    assert not mail.registry.declared
    assert await made("a") == "a en"
    mail.implement(task)(welcome)


def test_an_implementation_agrees_with_its_declaration(mail: Queue) -> None:
    def greet(address: str, *, language: str = "en") -> str:
        raise NotImplementedError

    def other(address: int, *, language: str = "en") -> str:
        return ""

    def fewer(address: str) -> str:
        return ""

    task = mail.declare(name="greet")(greet)
    with pytest.raises(TaskDefinitionError, match="'address' is an int here and a str in its declaration"):
        mail.implement(task)(other)  # type: ignore[arg-type]
    with pytest.raises(TaskDefinitionError, match="has no parameter 'language', which its declaration has"):
        mail.implement(task)(fewer)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is not declared on queue 'mail'"):
        mail.implement(mail.task(welcome))(welcome)
    with pytest.raises(DuplicateTask):
        mail.task(name="greet")(resize)
    with pytest.raises(ConfigError, match="implement\\(name='x'\\): there is no option 'name'"):
        mail.implement(task, name="x")(welcome)  # type: ignore[call-arg]
