"""A small application and the real command line over it: in its own process, or in this one for speed.

`file_shop` lives in a SQLite file, `any_shop` in each kind of store in turn; `shop` is the first, unless a module says
otherwise.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest
from tests.servers import HOST, KINDS, Server, start, why_not

from surefoot.brokers import connect
from surefoot.cli.main import run
from surefoot.client.queue import Queue

SHOP = """
from surefoot import Queue, Retry, Worker, current_job

mail = Queue("URL", name="mail")
billing = Queue("URL", name="billing")


@mail.task(retry=Retry(max_attempts=2, base=0.001))
async def welcome(address: str, *, language: str = "en") -> str:
    if current_job().attempt == 1 and "@" not in address:
        raise ValueError(f"no address: {address}")
    return address


@mail.task(name="receipt")
def send_receipt(number: int) -> None: ...


@mail.cron("0 6 * * mon-fri", timezone="Europe/Paris")
async def nightly() -> None: ...


@billing.task(retry=Retry(max_attempts=1))
def close_month(month: str) -> None:
    raise RuntimeError("card provider down \\x1b[31m")


worker = Worker(mail, billing, concurrency=4, threads=2, drain=3, name="web-1")


def factory() -> Queue:
    return mail
"""


class Ran(msgspec.Struct, frozen=True):
    """What one command line came to."""

    code: int
    out: str
    err: str

    def records(self) -> list[dict[str, object]]:
        """The JSON lines of stdout: nothing else may be there."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]


class Shop:
    """A folder with an application, the URL of its store, and the command line in that folder."""

    def __init__(self, folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.url = url
        self._capsys = capsys
        self.write("shop.py", source(url))

    def queue(self, name: str) -> Queue:
        """A queue of the application's store."""
        return Queue(self.url, name=name)

    def write(self, name: str, text: str) -> Path:
        """One more file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def here(self, *args: str) -> Ran:
        """The command in this process."""
        self._capsys.readouterr()
        code = run(args)
        captured = self._capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    def apart(self, *args: str, typed: str = "", **environment: str) -> Ran:
        """The command in a process of its own."""
        return command(self.folder, *args, typed=typed, **environment)


def source(url: str) -> str:
    """The application with its queues in this store."""
    return SHOP.replace("URL", url)


# --- stores that real workers have left: made once, and copied for each test ---

_FILE: Final = "sqlite:///jobs.db"
_FIRST: Final = 0
_COPY: Final = 1
"""Databases of the server: the first holds what is copied to the other."""


class Left:
    """What workers left in one store: the ids of its jobs by what became of them, and a way to have it all again."""

    def __init__(self, ids: dict[str, str], copy_to: Callable[[Path], None]) -> None:
        self.ids = ids
        self.copy_to = copy_to


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start(tmp_path_factory.mktemp("valkey"), options={"appendonly": "yes"}) as server:
        yield server


@pytest.fixture(scope="session")
def left_in_a_file(tmp_path_factory: pytest.TempPathFactory) -> Left:
    folder = tmp_path_factory.mktemp("kinds")
    ids = _leave_one_of_each(folder, f"sqlite:///{folder}/jobs.db")

    def copy_to(place: Path) -> None:
        for file in folder.glob("jobs.db*"):
            shutil.copy(file, place)

    return Left(ids, copy_to)


@pytest.fixture(scope="session")
def left_on_a_server(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Left:
    ids = _leave_one_of_each(tmp_path_factory.mktemp("kinds"), database(server, _FIRST))

    def copy_to(_: Path) -> None:
        with server.conversation() as talk:
            for key in talk.say("KEYS", "*"):
                talk.say("COPY", key, key, "DB", _COPY, "REPLACE")

    return Left(ids, copy_to)


def _leave_one_of_each(folder: Path, url: str) -> dict[str, str]:
    """failed (once, then completed), dead, invalid (dead for its arguments); later, waits, paused (in billing)."""
    (folder / "shop.py").write_text(source(url))
    mail, billing = Queue(url, name="mail"), Queue(url, name="billing")
    welcome, close_month = mail.by_name("welcome"), billing.by_name("close_month")
    ids = {
        "failed": welcome.enqueue_sync(address="ada").id,
        "dead": close_month.enqueue_sync(month="may").id,
        "invalid": close_month.enqueue_sync(month=5).id,
    }
    for _ in range(20):  # a retry is scheduled, and a burst does not wait for it
        ran = command(folder, "worker", "shop:mail", "shop:billing", "--burst", "--quiet")
        assert (ran.code, ran.out) == (0, ""), ran.err
        if mail.handle(ids["failed"]).status_sync() == "completed":
            break
    ids["later"] = welcome.options(delay=3600).enqueue_sync(address="grace@example.org").id
    ids["waits"] = mail.by_name("receipt").enqueue_sync(number=7).id
    ids["paused"] = close_month.enqueue_sync(month="june").id
    mail.close_sync()
    return ids


@pytest.fixture
def ids(shop: Shop, request: pytest.FixtureRequest) -> dict[str, str]:
    """The shop with a copy of such a store; the ids of its jobs."""
    left: Left = request.getfixturevalue("left_in_a_file" if shop.url == _FILE else "left_on_a_server")
    left.copy_to(shop.folder)
    return left.ids


def database(server: Server, number: int) -> str:
    """The URL of one database of a server."""
    return f"redis://{HOST}:{server.port}/{number}"


# --- the command line ---


@contextmanager
def at_work(shop: Shop, target: str = "shop", *options: str) -> Iterator[int]:
    """A worker in a process of its own, ready before this goes on, and drained after; its process id."""
    with subprocess.Popen(
        [sys.executable, "-m", "surefoot.cli.main", "worker", target, *options],
        cwd=shop.folder, env=clean_environment(), stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            said = ""
            for line in process.stderr:
                said += line
                if "Ctrl-C once to drain" in line:
                    break
            else:
                raise AssertionError(f"the worker did not start: {said}")
            yield process.pid
            process.terminate()
            process.communicate(timeout=60)
        finally:
            process.kill()


def command(folder: Path, *args: str, typed: str = "", **environment: str) -> Ran:
    """One command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "surefoot.cli.main", *args],
        cwd=folder,
        env=clean_environment() | environment,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


class Terminal:
    """Our side of a pseudo-terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def type(self, keys: bytes) -> None:
        """Press keys; 3 is Ctrl-C, 4 is Ctrl-D."""
        os.write(self._descriptor, keys)

    def until(self, words: str | None) -> str:
        """What the other side prints until these words, or until it closes."""
        seen = ""
        while words is None or words not in seen:
            ready, _, _ = select.select([self._descriptor], [], [], 60)
            assert ready, f"only this came: {seen!r}"
            try:
                more = os.read(self._descriptor, 4096)
            except OSError:
                return seen
            if not more:
                return seen
            seen += more.decode(errors="replace")
        return seen


def interrupt(process: subprocess.Popen[bytes], terminal: Terminal) -> int:
    """Ctrl-C until the process ends: one that comes just before it begins to read the keyboard wakes nobody."""
    while True:
        terminal.type(b"\x03")
        try:
            return process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue


def eventually(question: Callable[[], object]) -> None:
    """Ask until the answer is yes."""
    until = time.monotonic() + 60
    while not question():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.05)


@contextmanager
def on_terminal(shop: Shop, *args: str) -> Iterator[tuple[subprocess.Popen[bytes], Terminal]]:
    """The command in a process of its own, with a terminal as a person has it."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "surefoot.cli.main", *args],
        cwd=shop.folder, env=clean_environment() | {"TERM": "xterm", "COLUMNS": "150"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=_take_the_terminal,
    ) as process:  # fmt: skip
        os.close(theirs)
        try:
            yield process, Terminal(ours)
        finally:
            process.kill()
            os.close(ours)


def _take_the_terminal() -> None:
    """Make the terminal the controlling one, so that Ctrl-C is a signal; where the tests run in the background, their
    children would ignore it.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def clean_environment() -> dict[str, str]:
    """This process's environment without anything that the command line listens to."""
    heard = ("SUREFOOT_", "NO_COLOR", "FORCE_COLOR", "COLUMNS")
    rest = {name: value for name, value in os.environ.items() if not name.startswith(heard)}
    return rest | {"TZ": "UTC"}


# --- the shop ---


@pytest.fixture
def shop(file_shop: Shop) -> Shop:
    return file_shop


@pytest.fixture
def file_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shop]:
    yield from _opened(_FILE, tmp_path, monkeypatch, capsys)


@pytest.fixture(params=["sqlite", "redis"])
def any_shop(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Shop]:
    url = _FILE
    if request.param == "redis":
        if reason := why_not(KINDS[0]):
            pytest.skip(reason)
        server: Server = request.getfixturevalue("server")
        url = database(server, _COPY)
        with server.conversation() as talk:
            talk.say("SELECT", _COPY)
            talk.say("FLUSHDB")
    yield from _opened(url, tmp_path, monkeypatch, capsys)


def _opened(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shop]:
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield Shop(folder, url, capsys)
    for address, broker in list(connect._brokers.values()):
        if address.path.startswith(str(folder)) or address.scheme == "redis":
            broker.close_sync()
    for name in set(sys.modules) - before:
        module = sys.modules[name]  # a folder without __init__.py is a module without a file
        file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
        if file.startswith(str(folder)):
            del sys.modules[name]
