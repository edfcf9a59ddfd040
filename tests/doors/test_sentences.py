"""What errors say, word by word: each sentence that the pages show, by what provokes it. Variable parts are masked."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.doors.cli_shop import Shop
from tests.doors.cli_shop import shop as shop  # a fixture
from tests.servers import HOST

from surefoot import Queue, Retry, Worker, current_job
from surefoot.core import errors


class Decimal128:
    """A number of somebody's database."""


class Services:
    """What a handler asks for."""


class Settings:
    """What the lifespan yields instead."""


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in ("SUREFOOT_URL", "SUREFOOT_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    yield
    from surefoot.brokers import connect

    for address, broker in list(connect._brokers.values()):
        if address.path.startswith(str(tmp_path)):
            broker.close_sync()


class Stage:
    """Two queues in a file of the test's own folder, with the tasks that the sentences name."""

    def __init__(self) -> None:
        mail = Queue("sqlite:///jobs.db", name="mail")
        images = Queue("sqlite:///jobs.db", name="images")

        @mail.task(name="welcome")
        async def welcome(address: str, *, language: str = "en") -> str:
            return address

        @mail.task(name="report")
        def report(rows: Any) -> None: ...

        @images.task(name="resize")
        def resize(path: str) -> None: ...

        self.mail = mail
        self.welcome: Any = welcome  # many of the calls below are wrong on purpose
        self.report: Any = report
        self.resize: Any = resize

    def task(self, **options: object) -> object:
        """A task with these options."""
        decorator: Any = self.mail.task

        def another() -> None: ...

        return decorator(name="another", **options)(another)


def closed_port() -> int:
    with socket.socket() as door:
        door.bind((HOST, 0))
        port: int = door.getsockname()[1]
        return port


def nobody_listens(_: Stage) -> object:
    return Queue(f"redis://{HOST}:{closed_port()}/0?timeout=0.3", name="mail").by_name("welcome").enqueue_sync()


def two_of_one_name(_: Stage) -> None:
    queue = Queue("sqlite:///jobs.db")
    for module, lines in (("auth", 11), ("billing", 39)):
        source = "\n" * lines + "@queue.task\ndef cleanup() -> None: ...\n"
        exec(compile(source, f"shop/{module}.py", "exec"), {"queue": queue, "__name__": f"shop.{module}"})


def a_method(stage: Stage) -> None:
    source = "class Pictures:\n    @queue.task\n    def resize(self, path: str) -> None: ...\n"
    exec(source, {"queue": stage.mail, "__name__": "shop.pictures"})


def twin_in_a_loop(stage: Stage) -> None:
    async def view() -> None:
        stage.welcome.enqueue_sync("a@b.c")

    asyncio.run(view())


def filled(length: int, before: int, asked: int) -> Callable[[Stage], None]:
    def act(_: Stage) -> None:
        queue = Queue("sqlite:///jobs.db", name="mail", max_length=length)

        @queue.task(name="receipt")
        def receipt(number: int) -> None: ...

        queue.enqueue_many_sync([receipt.draft(number) for number in range(before)])
        queue.enqueue_many_sync([receipt.draft(number) for number in range(asked)])

    return act


def another_lifespan(stage: Stage) -> None:
    """The sentence as the job's own error tells it."""

    @asynccontextmanager
    async def lifespan() -> Any:
        yield Settings()

    @stage.mail.task(name="ask", retry=Retry(max_attempts=1))
    async def ask() -> str:
        current_job().state(Services)
        return "never"

    job = ask.enqueue_sync()

    async def work() -> None:
        await Worker(stage.mail, lifespan=lifespan).serve(burst=True)

    asyncio.run(work())
    found = job.job_sync()
    assert found is not None and found.error is not None
    assert found.error.kind == "StateMissing"
    raise errors.StateMissing(found.error.message)


ZONED = 'has no time zone; use datetime(..., tzinfo=ZoneInfo("Europe/Paris")).'
TABLE: list[tuple[Callable[[Stage], object], type[Exception], str]] = [
    (
        lambda _: Queue(name="mail").stats_sync(),
        errors.ConfigError,
        """queue 'mail' has no store: write Queue("sqlite:///jobs.db", name="mail"), or set SUREFOOT_URL.""",
    ),
    (
        lambda _: Queue("redis//cache:6379").stats_sync(),
        errors.ConfigError,
        "cannot read the URL 'redis//cache:6379': the scheme is missing its colon; did you mean 'redis://cache:6379'?",
    ),
    (
        lambda _: Queue("postgres://ann:secret@db/jobs").stats_sync(),
        errors.ConfigError,
        "cannot read the URL 'postgres://...': surefoot stores jobs in sqlite, redis or valkey.",
    ),
    (
        nobody_listens,
        errors.StoreUnavailable,
        "cannot reach redis://127.0.0.1:PORT/0?timeout=0.3 (connection refused); the job was not accepted. "
        "Is the server running? Try `surefoot doctor`.",
    ),
    (
        lambda stage: stage.welcome.enqueue_sync(42),
        errors.InvalidArguments,
        "welcome() got 42 for 'address', which is a str.",
    ),
    (lambda stage: stage.welcome.enqueue_sync(), errors.InvalidArguments, "welcome() is missing 'address'."),
    (
        lambda stage: stage.welcome.enqueue_sync("a@b.c", langage="fr"),
        errors.InvalidArguments,
        "welcome() has no parameter 'langage'; did you mean 'language'?",
    ),
    (
        lambda stage: stage.welcome.enqueue_sync("a@b.c", delay=5),
        errors.InvalidArguments,
        "welcome() has no parameter 'delay'; it is an option: welcome.options(delay=5).enqueue(...).",
    ),
    (
        lambda stage: stage.report.enqueue_sync([{"price": 1}, {"price": 2}, {"price": 3}, {"price": Decimal128()}]),
        errors.InvalidArguments,
        "report() got a Decimal128 inside 'rows[3].price': that type cannot travel as JSON; send a str or a float.",
    ),
    (
        lambda stage: stage.welcome.options(at=datetime(2026, 12, 24, 18)),
        errors.ConfigError,
        f"options(at=2026-12-24 18:00) {ZONED}",
    ),
    (
        lambda stage: stage.task(timeout=-5),
        errors.ConfigError,
        "timeout=-5 is not a duration; give seconds > 0, or math.inf for no limit.",
    ),
    (
        lambda stage: stage.welcome.options(timeout=-5),
        errors.ConfigError,
        "timeout=-5 is not a duration; give seconds > 0, or math.inf for no limit.",
    ),
    (
        lambda stage: stage.task(heartbeat=60),
        errors.UsageError,
        "task(heartbeat=60): 'heartbeat' is reserved and not in this release; use timeout=.",
    ),
    (
        lambda stage: stage.task(retries=3),
        errors.ConfigError,
        "task(retries=3): there is no option 'retries'; did you mean retry=Retry(max_attempts=3)?",
    ),
    (
        two_of_one_name,
        errors.DuplicateTask,
        "two tasks of queue 'default' are named 'cleanup': shop/auth.py:12 and shop/billing.py:40. "
        'Give one of them name="billing.cleanup".',
    ),
    (
        a_method,
        errors.TaskDefinitionError,
        "resize looks like a method (its first parameter is 'self'); a task is a plain function.",
    ),
    (
        lambda stage: stage.resize.enqueue_sync("a.png").result_sync(),
        errors.ResultNotKept,
        "resize returns None, so its outcome is not kept; to wait for it write @images.task(keep_result=60).",
    ),
    (
        twin_in_a_loop,
        errors.SyncInsideLoop,
        "enqueue_sync() would block the event loop that is running here; write `await welcome.enqueue(...)`.",
    ),
    (
        filled(1000, 1000, 1),
        errors.QueueFull,
        "queue 'mail' is full: 1,000 of 1,000 jobs wait (the oldest for 0.0 s). Nothing was stored.",
    ),
    (
        filled(400, 0, 1000),
        errors.QueueFull,
        "queue 'mail' is full: 400 of 400 jobs wait (the oldest for 0.0 s). 400 of 1,000 were stored.",
    ),
    (
        lambda _: current_job(),
        errors.NotInJob,
        "current_job() was called outside a job; in a test use surefoot.testing.inside_job().",
    ),
    (
        another_lifespan,
        errors.StateMissing,
        "no state of type Services: this worker's lifespan yields Settings.",
    ),
]


def masked(text: str) -> str:
    """The sentence without what differs from run to run."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    return re.sub(r"for \d+\.\d s\)", "for 0.0 s)", text)


@pytest.mark.parametrize(("act", "kind", "sentence"), TABLE, ids=[sentence[:50] for _, _, sentence in TABLE])
def test_an_error_says_what_how_and_the_way_out(
    act: Callable[[Stage], object], kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind) as caught:
        act(Stage())
    assert (type(caught.value), masked(str(caught.value))) == (kind, sentence)


def test_fewer_replicas_than_asked_for_are_told() -> None:
    """By hand: no store waits for replicas yet."""
    too_few = errors.NotReplicated(queue="mail", job_ids=["1"], confirmed=0, wanted=1, within=5)
    assert str(too_few) == (
        "queue 'mail': 0 of 1 replicas confirmed within 5 s; the job is in the primary. "
        "Enqueue the same draft again, or lower durable=."
    )


# --- the same through the command ---

PACKAGE = ("invoices", "mails", "queues", "worker")


@pytest.fixture
def package(shop: Shop) -> Shop:
    """The package of the page: `from store...` lives in shop.py of the other tests, so it has another name here."""
    for name in PACKAGE:
        shop.write(f"store/{name}.py", "from shop import billing, mail, worker\n")
    shop.write("store/__init__.py", "")
    shop.write(
        "lost.py", f"from surefoot import Queue\nmail = Queue('redis://{HOST}:{closed_port()}/0', name='mail')\n"
    )
    shop.write("unset.py", "from surefoot import Queue\nmail = Queue(name='mail')\n")
    shop.write("colon.py", "from surefoot import Queue\nmail = Queue('redis//cache:6379', name='mail')\n")
    shop.write("foreign.py", "from surefoot import Queue\nmail = Queue('postgres://ann:secret@db/jobs', name='mail')\n")
    return shop


NO_STORE = """queue 'mail' has no store: write Queue("sqlite:///jobs.db", name="mail"), or set SUREFOOT_URL."""
AWAY = f"cannot reach redis://{HOST}:PORT/0 (connection refused)"


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        (
            "worker store.wroker:worker",
            3,
            "cannot load 'store.wroker:worker': there is no module store.wroker; "
            "store has: invoices, mails, queues, worker.",
        ),
        (
            "enqueue welcom address=a@b.c -A shop:mail",
            2,
            "queue 'mail' has no task 'welcom'; did you mean 'welcome'? Known: nightly, receipt, welcome.",
        ),
        ("enqueue welcome -A shop:mail", 2, "welcome() is missing 'address'."),
        (
            "enqueue welcome address=a@b.c langage=fr -A shop:mail",
            2,
            "welcome() has no parameter 'langage'; did you mean 'language'?",
        ),
        ("enqueue welcome address:=42 -A shop:mail", 2, "welcome() got 42 for 'address', which is a str."),
        ("worker unset:mail", 3, NO_STORE),
        ("stats unset:mail", 4, NO_STORE),
        ("stats colon:mail", 4, TABLE[1][2]),
        ("stats foreign:mail", 4, TABLE[2][2]),
        ("stats --url redis//cache:6379", 4, TABLE[1][2]),
        ("stats --url postgres://ann:secret@db/jobs", 4, TABLE[2][2]),
        ("stats lost:mail", 4, f"{AWAY}; nothing was done. Is the server running? Try `surefoot doctor`."),
        ("enqueue welcome -A lost:mail", 4, f"{AWAY}; nothing was done. Is the server running? Try `surefoot doctor`."),
        (f"stats --url redis://ann:secret@{HOST}:1/0", 4, f"cannot reach redis://ann:***@{HOST}:PORT/0 ("),
    ],
)
def test_a_command_says_it_in_one_line_with_its_exit_code(line: str, code: int, sentence: str, package: Shop) -> None:
    ran = package.apart(*line.split())
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1), ran.err
    said = masked(ran.err).removeprefix("surefoot: ").rstrip("\n")
    assert said.startswith(sentence) if sentence.endswith("(") else said == sentence


def test_explain_says_that_the_queue_is_paused_and_how_to_go_on(package: Shop) -> None:
    id = package.queue("billing").by_name("close_month").enqueue_sync(month="may").id
    assert package.apart("pause", "shop", "-q", "billing", "--reason", "card provider down").code == 0
    ran = package.apart("explain", id, "-A", "shop")
    first = ran.out.splitlines()[0]
    paused = r"queue billing is paused since \d\d:\d\d \(card provider down\)\. `surefoot resume -q billing`"
    assert ran.code == 0
    assert re.fullmatch(rf"Pending for \S+ \S+: {paused}", first)
