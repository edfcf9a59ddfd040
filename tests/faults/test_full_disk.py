"""No room for the SQLite file (Q2), at any page of a scripted life and on a disk that is full while jobs run; and a
file system that takes no writes (Q12).
"""

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.stores import START_MS
from tests.faults.life import begin, follow
from tests.faults.processes import ROOT
from tests.faults.stops import Contents, contents, undisturbed

from surefoot.brokers.broker import Call, NoRoom
from surefoot.brokers.sqlite.broker import SqliteBroker

CONNECT = sqlite3.connect
NAMESPACE = ["unshare", "-rm"]
PAGES_OF_A_NEW_FILE = 9
LETTERS = 10_000
"""So many that each job takes pages of its own."""


def no_namespace() -> bool:
    """Whether this system lets nobody here mount a disk of their own."""
    try:
        probe = ["sh", "-c", "mount -t tmpfs tmpfs /tmp"]
        return subprocess.run([*NAMESPACE, *probe], capture_output=True, check=False).returncode != 0
    except FileNotFoundError:
        return True


class Room:
    """How much a file may grow that is opened inside: by so many pages a call."""

    def __init__(self, pages: int) -> None:
        self._pages = self._now = pages
        self._opened: list[sqlite3.Connection] = []

    def connect(self, *words: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = CONNECT(*words, **options)
        self._opened.append(connection)
        self._limit(connection)
        return connection

    def tighten(self) -> None:
        """The next call may take so many pages."""
        self._limit_all(self._pages)

    def widen(self) -> None:
        """The next call may take what it wants."""
        self._limit_all(10_000)

    def _limit_all(self, pages: int) -> None:
        self._now = pages
        for connection in self._opened:
            with contextlib.suppress(sqlite3.ProgrammingError):  # it may be closed by now
                self._limit(connection)

    def _limit(self, connection: sqlite3.Connection) -> None:
        (there,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max(1, there + self._now)}").fetchone()


def lived(path: Path, room: Room, stored: list[Contents]) -> int:
    """Live; what is refused is said again when there is room. How many calls were refused. `stored`: before each."""
    broker = SqliteBroker(str(path), wall_ms=lambda: START_MS)
    steps, verbs = begin(LETTERS)
    number = refusals = 0
    while verbs:
        number += 1
        room.tighten()
        call = Call("life", number, "tag1", tuple(verbs))
        heard = said(broker, call)
        full = [isinstance(answer, NoRoom) for answer in heard]
        if any(full):
            refusals += 1
            assert contents(path) == stored[number - 1] or not all(full), f"half of call {number} is stored"
            room.widen()
            heard = said(broker, call)
            assert not any(isinstance(answer, NoRoom) for answer in heard)
        verbs = follow(steps, heard)
    broker.close_sync()
    return refusals


def said(broker: SqliteBroker, call: Call) -> list[Any]:
    """The answers; a file that cannot even be made is a refusal of each verb."""
    try:
        return broker.run_sync(call)
    except NoRoom as full:
        return [full] * len(call.verbs)


def test_Q2_full_at_any_page_of_a_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is refused whole. With room the same call is executed, and the life ends as ever."""
    calm = undisturbed(tmp_path, LETTERS)
    refusals = []
    for pages in range(PAGES_OF_A_NEW_FILE):
        room, path = Room(pages), tmp_path / f"{pages}.db"
        monkeypatch.setattr(sqlite3, "connect", room.connect)
        refusals.append(lived(path, room, calm.stored))
        assert contents(path) == calm.stored[-1], f"with room for {pages} pages a call"
    assert refusals[0] > 2 and all(refusals), f"the file must grow: {refusals}"


@pytest.mark.skipif(no_namespace(), reason="nobody here may mount a disk of their own (unshare -rm)")
def test_Q2_a_disk_that_is_full_while_jobs_run(tmp_path: Path) -> None:
    run = subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "tests.faults.small_disk", str(tmp_path)], cwd=ROOT, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr + run.stdout


READ_ONLY = """
import subprocess, sys
from surefoot import Queue, StoreUnsuitable

disk = sys.argv[1]
mount = lambda *words: subprocess.run(["mount", *words, disk], check=True)
mount("-t", "tmpfs", "tmpfs")
queue = Queue(f"sqlite:///{disk}/jobs.db")
queue.resume_sync()
queue.close_sync()
mount("-o", "remount,ro")
for path in ("jobs.db", "another.db"):
    try:
        Queue(f"sqlite:///{disk}/{path}").resume_sync()
    except StoreUnsuitable as unfit:
        print(unfit)
"""


@pytest.mark.skipif(no_namespace(), reason="nobody here may mount a disk of their own (unshare -rm)")
def test_Q12_a_read_only_file_system_is_told_in_a_sentence(tmp_path: Path) -> None:
    run = subprocess.run(
        [*NAMESPACE, sys.executable, "-c", READ_ONLY, str(tmp_path)], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        f"{tmp_path} cannot be written by this user; SQLite keeps files beside {name} there."
        for name in ("jobs.db", "another.db")
    ]
