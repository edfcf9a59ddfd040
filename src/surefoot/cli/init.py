"""`surefoot init`: the first files of an application. All of them or none; what is there is never changed."""

import importlib.util
import os
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from surefoot.cli.exits import AnswerIsNo
from surefoot.cli.options import plain
from surefoot.cli.output import Output

_FILE: Final = "sqlite:///jobs.db"
_SERVER: Final = "redis://localhost:6379/0"

_JOBS: Final = '''\
"""Jobs: the queue, and the functions that workers run. `surefoot worker` finds this file by pyproject.toml."""

from surefoot import Queue, Retry, current_job

queue = Queue("{url}")


@queue.task(retry=Retry(max_attempts=5), timeout=30)
async def greet(name: str, *, language: str = "en") -> str:
    """A coroutine. When it raises or takes over 30 s it is run again, five times in all; then it is a dead letter."""
    words = {{"en": "Hello", "fr": "Bonjour"}}[language]
    return f"{{words}} {{name}}, this is attempt {{current_job().attempt}}"


@queue.task
def count_words(text: str) -> int:
    """A plain function. It is run in a thread, so it may block."""
    return len(text.split())


@queue.cron("0 6 * * mon-fri", timezone="Europe/Paris")
async def good_morning() -> None:
    """Run by itself, once each weekday at six, however many workers there are."""
    await greet.enqueue("everybody")
'''

_TESTS: Final = '''\
"""Tests of jobs.py. The fixture gives each test an empty store in memory, and a clock that the test moves."""

import pytest
from surefoot.testing import Sandbox

from jobs import count_words, good_morning, greet


def test_a_greeting(surefoot_sandbox: Sandbox) -> None:
    job = greet.enqueue_sync("Ada", language="fr")
    surefoot_sandbox.drain_sync()  # run what is due
    assert job.result_sync() == "Bonjour Ada, this is attempt 1"


def test_a_language_that_nobody_speaks_is_tried_five_times(surefoot_sandbox: Sandbox) -> None:
    job = greet.enqueue_sync("Ada", language="xx")
    surefoot_sandbox.advance_sync(3600)  # the retries of an hour, in no time
    found = job.job_sync()
    assert found is not None
    assert (found.state, found.failures) == ("dead", 5)


def test_the_cron_line_enqueues_a_greeting(surefoot_sandbox: Sandbox) -> None:
    good_morning.enqueue_sync()
    surefoot_sandbox.run_next_sync()
    surefoot_sandbox.assert_enqueued(greet.draft("everybody"))


def test_arguments_are_checked_when_they_are_enqueued() -> None:
    with pytest.raises(TypeError, match="got 5 for 'text', which is a str"):
        count_words.draft(5)  # type: ignore[arg-type]  # mypy sees it too
'''

_TABLE: Final = '[tool.surefoot]\napp = "jobs:queue"\n'

_EXAMPLES: Final = """\b
Examples:
  surefoot init              in this directory
  surefoot init shop         in a directory of its own
  surefoot init --redis      on a Redis or Valkey server instead of a file
"""


@click.command("init", epilog=_EXAMPLES, short_help="Write the first files of an application.")
@click.argument(
    "folder", required=False, default=".", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path)
)
@click.option("--redis", is_flag=True, help=f"Jobs live on {_SERVER} instead of in the file jobs.db.")
@plain
def init(out: Output, *, folder: Path, redis: bool) -> int:
    """Write jobs.py, test_jobs.py and [tool.surefoot] of pyproject.toml. What is there is never changed."""
    files = {
        folder / "jobs.py": _JOBS.format(url=_SERVER if redis else _FILE),
        folder / "test_jobs.py": _TESTS,
    }
    settings = folder / "pyproject.toml"
    _refuse_what_is_there(folder, list(files), settings)
    _write(folder, files, settings)
    told = [str(path) for path in (*files, settings)]
    steps = _next_steps(folder, redis)
    if out.json:
        out.record({"written": told, "next": [command for command, _ in steps]})
        return 0
    out.say(f"written: {', '.join(told)}")
    width = max(len(command) for command, _ in steps)
    for command, meaning in steps:
        out.answer(f"  {command:<{width}}   {meaning}")
    return 0


def _refuse_what_is_there(folder: Path, files: list[Path], settings: Path) -> None:
    there = [f"{path}" for path in (*files, folder / "jobs" / "__init__.py") if os.path.lexists(path)]
    if os.path.lexists(settings) and not settings.is_file():
        raise AnswerIsNo(f"nothing was written: {settings} is not a file.")
    if settings.exists():
        text = _read(settings)
        if "surefoot" in _tools(text, settings):
            there.append(f"[tool.surefoot] in {settings}")
        else:
            _tools(text + _addition(text), settings)  # a table cannot be added everywhere: [tool] may be closed
    if there:
        raise AnswerIsNo(f"nothing was written, because this is there already: {', '.join(there)}.")


def _tools(text: str, path: Path) -> dict[str, Any]:
    try:
        tools = tomllib.loads(text).get("tool", {})
    except tomllib.TOMLDecodeError as broken:
        raise AnswerIsNo(f"nothing was written: cannot add [tool.surefoot] to {path}: {broken}.") from None
    return tools if isinstance(tools, dict) else {}


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, ValueError) as broken:
        raise AnswerIsNo(f"nothing was written: cannot read {path}: {broken}.") from None


def _addition(text: str) -> str:
    """The table as it is put behind `text`: an empty line between them, the line ends of the file."""
    line_end = "\r\n" if "\r\n" in text else "\n"
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return (gap + _TABLE).replace("\n", line_end)


def _write(folder: Path, files: dict[Path, str], settings: Path) -> None:
    """All files, or none: what was written before one failed is taken away again."""
    before = settings.stat().st_size if settings.exists() else None
    made: list[Path] = []
    path = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            with path.open("x", encoding="utf-8") as file:
                made.append(path)
                file.write(text)
        path = settings
        addition = _TABLE if before is None else _addition(_read(settings))
        with settings.open("a", encoding="utf-8", newline="") as file:
            if before is None:
                made.append(settings)
            file.write(addition)
    except OSError as fault:
        for one in made:
            one.unlink(missing_ok=True)
        if before is not None and path == settings:
            with suppress(OSError):
                os.truncate(settings, before)
        raise AnswerIsNo(f"nothing was written: cannot write {path}: {fault.strerror}.") from None


def _next_steps(folder: Path, redis: bool) -> list[tuple[str, str]]:
    steps = [
        ("surefoot worker", "runs the jobs until Ctrl-C"),
        ("surefoot enqueue greet name=Ada --wait", "in another terminal: one job, and its result"),
        ("pytest", "the tests: they need no worker and no store"),
    ]
    if redis and importlib.util.find_spec("redis") is None:
        steps.insert(0, ("pip install 'surefoot[redis]'", "the client of the server"))
    if folder.resolve() != Path.cwd():
        steps.insert(0, (f"cd {folder}", ""))
    return steps
