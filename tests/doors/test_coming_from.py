"""The pages for those who come from another queue: every cell of a column "here" is run, and every program too.

A cell's code is between backticks: Python meets a queue with tasks, what speaks of its job runs inside one, and a
command is run, but for a worker's work. The packages of the other queues are not needed.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import datetime as datetimes
import inspect
import math
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from tests.doors.cli_shop import clean_environment

import surefoot
from surefoot import CallNext, Draft, Event, Job, JobContext, Queue, Retry, Worker
from surefoot.cli.main import commands
from surefoot.cli.main import run as run_command
from surefoot.testing import sandbox

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "docs" / "coming-from"
QUEUES = ["celery", "rq", "dramatiq", "saq", "arq", "taskiq", "huey"]
SECTIONS = ["There and here", "What behaves differently", "Before and after"]
PROSE = ("Nothing to set", "Not in this release", "Not here")
"""How a cell without any code begins: it says that there is nothing to write."""


class Row(NamedTuple):
    """One row of a table: what is written there, and what here."""

    page: str
    there: str
    here: str

    @property
    def snippets(self) -> list[str]:
        return re.findall(r"`([^`]+)`", self.here)


def text_of(page: str) -> str:
    return (FOLDER / f"{page}.md").read_text()


def rows(page: str) -> list[Row]:
    """The rows of all tables "there | here" of a page."""
    found, inside = [], False
    for line in text_of(page).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")] if line.startswith("|") else []
        if cells == ["there", "here"]:
            inside = True
        elif not cells:
            inside = False
        elif inside and not set(line) <= set("|- "):
            assert len(cells) == 2, f"{page}: {line}"
            found.append(Row(page, *cells))
    return found


ROWS = [row for page in QUEUES for row in rows(page)]


# --- what the cells may name ---


class Services:
    """What a worker's lifespan yields."""

    db = "a connection"


@contextlib.asynccontextmanager
async def services() -> AsyncIterator[Services]:
    yield Services()


async def timing(job: JobContext, call_next: CallNext) -> object:
    return await call_next()


def tell(event: Event) -> None: ...


def tell_somebody(job: Job) -> None: ...


def stamp(draft: Draft[Any]) -> Draft[Any]:
    return draft.with_headers(trace="1")


APP = """
from surefoot import Queue

jobs = Queue("sqlite:///jobs.db", name="jobs")
mail = Queue("sqlite:///jobs.db", name="mail")


@jobs.task(name="f")
async def f(x: int = 0, y: int = 0) -> int:
    return x + y


@jobs.every(3600)
async def hourly() -> None: ...
"""


class Place:
    """A queue on a file with one job that is done, one that waits and one that is dead; and what cells may name."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder}/jobs.db"
        self.jobs = jobs = Queue(url, name="jobs")
        self.mail = mail = Queue(url, name="mail")

        @jobs.task(name="f")
        async def f(x: int = 0, y: int = 0) -> int:
            return x + y

        @jobs.task(name="g")
        def g(x: int = 0, y: int = 0) -> int:
            return x + y

        @jobs.task(name="broken", retry=Retry(max_attempts=1))
        async def broken() -> None:
            raise OSError("no such host")

        id = f.enqueue_sync(1, 2).id
        f.options(delay=3600).enqueue_sync()
        broken.enqueue_sync()
        Worker(jobs).run(burst=True)
        self.names: dict[str, Any] = {
            **{name: getattr(surefoot, name) for name in surefoot.__all__},
            **{"jobs": jobs, "mail": mail, "f": f, "g": g, "id": id, "math": math, "sandbox": sandbox},
            **{"Services": Services, "services": services, "timing": timing, "tell": tell, "stamp": stamp},
            **{"tell_somebody": tell_somebody, "timedelta": datetimes.timedelta, "asyncio": asyncio},
            "when": datetimes.datetime.now(datetimes.UTC) + datetimes.timedelta(hours=1),
        }

    def stored(self) -> set[str]:
        """The ids of all jobs."""
        return {job.id for queue in (self.jobs, self.mail) for job in queue.find_sync()}

    def close(self) -> None:
        self.jobs.close_sync()
        self.mail.close_sync()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    one = Place(tmp_path)
    yield one
    one.close()


# --- running a cell ---


def parse(words: list[str]) -> None:
    """A command: its words, options and values are accepted. Nothing of it runs."""
    command: click.Command = commands
    path = "surefoot"
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        path = f"{path} {words[0]}"
        command = command.commands[words[0]]
        words = words[1:]
    assert command is not commands, f"there is no command '{words[0]}'"
    command.make_context(path, words)


def type_in(line: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> int:
    """A command, run in a folder with such an application; of a worker everything but its work. Gives the exit code."""
    names = {"ID": place.names["id"], "NAME": "hourly"}
    words = [names.get(word, word) for word in shlex.split(line)[1:]]
    if "--reload" in words or "--watch" in words:  # these do not end by themselves
        parse(words)
        return 0
    if words[0] == "worker" and "--check" not in words:
        words.append("--check")
    Path("app.py").write_text(APP)
    for folder in ("shop", "shop/mail"):
        Path(folder).mkdir(exist_ok=True)
        Path(folder, "__init__.py").touch()
    Path("shop/mail/tasks.py").touch()
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    try:
        return run_command(words)
    finally:
        for name in set(sys.modules) - before:
            if name == "app" or name.startswith("shop"):
                del sys.modules[name]


def run(source: str, names: dict[str, Any]) -> None:
    """Python, awaited where it awaits."""
    code = compile(source, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, names))
    else:
        exec(code, names)


def decorate(source: str, names: dict[str, Any]) -> None:
    """A decorator, on a function that it may recur with."""
    kind = "def" if "executor=" in source else "async def"
    run(f"{source}\n{kind} probe(x: int = 0) -> int:\n    return x\n", names)


ENDS: dict[str, Callable[[Job], bool]] = {
    "Snooze": lambda job: job.state == "scheduled" and job.snoozes == 1 and not job.failures,
    "RetryLater": lambda job: job.state == "scheduled" and job.failures == 1,
    "Cancel": lambda job: job.state == "cancelled",
    "Reject": lambda job: job.state == "dead" and job.reason == "rejected",
}


def run_inside(source: str, place: Place) -> None:
    """Python that speaks of its job: in a handler, on a real worker, once."""

    @place.jobs.task(name="inside", retry=Retry(base=3600), keep_result=300)
    async def inside() -> None:
        exec(compile(source, "<cell>", "exec"), place.names)

    job = inside.enqueue_sync()
    Worker(place.jobs, lifespan=services).run(burst=True)
    found = job.job_sync()
    assert found is not None
    raised = re.match(r"raise (\w+)", source)
    if raised:
        assert ENDS[raised[1]](found), found
    else:
        assert found.state == "completed", found.error


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.page}-{number}" for number, row in enumerate(ROWS)])
def test_every_cell_of_the_column_here_is_true(row: Row, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    if not row.snippets:
        assert row.here.startswith(PROSE), f"no code and no word for it: {row.here}"
    for snippet in row.snippets:
        if snippet.startswith("surefoot "):
            nothing_there = "workers" in snippet or "processing" in snippet
            assert type_in(snippet, place, monkeypatch) == nothing_there, snippet
        elif snippet.startswith("@"):
            decorate(snippet, place.names)
        elif snippet.startswith("raise ") or "current_job()" in snippet:
            run_inside(snippet, place)
        else:
            before = place.stored()
            run(snippet, place.names)
            if ".enqueue" in snippet and "sandbox(" not in snippet:
                assert place.stored() > before, f"nothing was stored by {snippet}"


# --- the pages ---


@pytest.mark.parametrize("page", QUEUES)
def test_a_page_has_its_sections_and_says_what_it_was_compared_with(page: str) -> None:
    text = text_of(page)
    assert re.findall(r"^## (.+)$", text, re.M) == SECTIONS
    assert re.search(r"^Compared with .*\d+\.\d+.*, November 2026\.", text, re.M)
    assert len(rows(page)) >= 25


def test_the_index_names_every_page_and_no_other() -> None:
    named = re.findall(r"\]\((\w+)\.md\)", text_of("index"))
    assert sorted(named) == sorted(QUEUES) == sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "index")


@pytest.mark.parametrize("page", QUEUES)
def test_names_of_that_queue_are_answered_with_a_sentence(page: str, place: Place) -> None:
    [said] = re.findall(r"^A task answers (.+?) with a sentence", text_of(page), re.M)
    words = re.findall(r"`(\w+)`", said)
    assert words
    for word in words:
        with pytest.raises(AttributeError, match=rf"^a task has no {word}\(\); write .+"):
            getattr(place.names["f"], word)


@pytest.mark.parametrize("page", QUEUES)
def test_options_of_that_queue_are_answered_with_a_hint(page: str, place: Place) -> None:
    [(task_words, job_words)] = re.findall(
        r"^The decorator answers (.+?) in the same way, and `options` answers (.+)\.$", text_of(page), re.M
    )

    async def probe() -> None: ...

    hint = r"there is no option '\w+'; (did you mean '?\w+|call current_job\(\)|.+there is no switch)"
    for word in re.findall(r"`(\w+)`", task_words):
        options: dict[str, Any] = {word: 3}
        with pytest.raises(surefoot.ConfigError, match=rf"^task\({word}=.+{hint}"):
            place.jobs.task(**options)(probe)
    for word in re.findall(r"`(\w+)`", job_words):
        with pytest.raises(surefoot.ConfigError, match=rf"^options\({word}=.+{hint}"):
            place.names["f"].options(**{word: 3})


def test_the_defaults_that_the_pages_name(place: Place) -> None:
    worker, spec = Worker(place.jobs), place.names["f"].spec
    assert (worker.concurrency, worker.threads, worker.drain, worker.lease) == (50, 20, 25, 10)
    assert (spec.timeout_ms, spec.keep_ms) == (3_600_000, 300_000)
    assert spec.retry == Retry(max_attempts=3, base=2, factor=2, cap=600, jitter=0.5, max_crashes=3)
    assert list(Retry().delays()) == [(1.0, 2.0), (2.0, 4.0)]


def fences(page: str) -> list[tuple[str, str]]:
    """The program before, the program after, and what that prints."""
    last = text_of(page).partition("## Before and after")[2]
    return re.findall(r"^```(\w+)\n(.*?)^```", last, re.S | re.M)


@pytest.mark.parametrize("page", QUEUES)
def test_the_program_after_prints_what_the_page_shows(page: str, tmp_path: Path) -> None:
    (kind, before), (language, after), (shown_as, printed) = fences(page)
    assert (kind, language, shown_as) == ("text", "python", "text")
    ast.parse(before)
    (tmp_path / "app.py").write_text(after)
    ran = subprocess.run(
        [sys.executable, "app.py"], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, printed), ran.stderr


def test_the_other_queues_are_no_dependency() -> None:
    declared = str(tomllib.loads((ROOT / "pyproject.toml").read_text()))
    assert not re.search(r"'(celery|rq|dramatiq|saq|arq|taskiq|huey)\b", declared)
