"""What a person wants to know of a file that jobs live in: rights, room, its log and who holds it, whether it is sound.

Judges nothing. Writes one word and takes it away again, to see how long a commit lasts; repairs nothing.
"""

import fcntl
import os
import sqlite3
import stat
import statistics
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

import msgspec

from surefoot import clock
from surefoot.brokers.broker import NoAnswer
from surefoot.brokers.sqlite import faults, gate
from surefoot.brokers.sqlite.statements import script
from surefoot.brokers.sqlite.store import Store
from surefoot.core.errors import StoreError, StoreUnsuitable

_ROUNDS: Final = 7
_CHECK_S: Final = 10.0
_LOCK_S: Final = 5.0
_LOOK_S: Final = 0.05
_STEPS: Final = 10_000
_FAULTS_MOST: Final = 3
_READ_SLOTS: Final = range(123, 128)
"""The bytes of `<path>-shm` that SQLite locks for as long as a transaction reads."""
_LOCKS: Final = "/proc/locks"


class FileFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A file and what is around it. None is not known.

    `refused`: why it cannot hold a store. `readers`: who is in the middle of a transaction that reads, as `name (pid)`.
    `damage`: what the check of the file found, empty if it is sound; None if the check did not end. `ahead_ms`: how far
    the last change lies in the future of this machine's clock. `commit_ms`: the median of a few commits.
    """

    sqlite: str
    exposed: bool
    exists: bool
    refused: str | None = None
    file_system: str | None = None
    network: bool = False
    mode: int | None = None
    owner: int | None = None
    wal_bytes: int = 0
    readers: tuple[str, ...] = ()
    free_bytes: int | None = None
    damage: tuple[str, ...] | None = None
    ahead_ms: int | None = None
    commit_ms: float | None = None
    commit_refused: str | None = None


def examine(path: str, nonce: str, *, check_s: float = _CHECK_S) -> FileFacts:
    """Look at a file, which is made by nobody here if it is not there."""
    exists = os.path.isfile(path) and os.path.getsize(path) > 0  # whoever opens an empty one makes its tables
    refused, kind = _refusal(path), gate.file_system(path)
    facts = FileFacts(
        sqlite=sqlite3.sqlite_version, exposed=gate.may_lose_wal(), exists=exists, refused=refused, file_system=kind,
        network=kind is not None and gate.is_network(kind), free_bytes=_free(os.path.dirname(path)),
    )  # fmt: skip
    if not exists:
        return facts
    about = os.stat(path)
    wal = path + "-wal"
    damage, last_ms = _check(path, check_s)
    facts = msgspec.structs.replace(
        facts,
        mode=stat.S_IMODE(about.st_mode),
        owner=about.st_uid,
        wal_bytes=os.stat(wal).st_size if os.path.exists(wal) else 0,
        readers=tuple(_readers(path + "-shm")),
        damage=damage,
        ahead_ms=None if last_ms is None else max(0, last_ms - clock.wall_ms()),
    )
    if refused is None and not damage:
        commit_ms, commit_refused = _commits(path, nonce)
        facts = msgspec.structs.replace(facts, commit_ms=commit_ms, commit_refused=commit_refused)
    return facts


def _refusal(path: str) -> str | None:
    try:
        gate.check_version()
        gate.check_file(path)
    except StoreUnsuitable as unfit:
        return str(unfit)
    return None


def _free(folder: str) -> int | None:
    try:
        room = os.statvfs(folder)
    except OSError:
        return None
    return room.f_bavail * room.f_frsize


def _check(path: str, seconds: float) -> tuple[tuple[str, ...] | None, int | None]:
    """What is wrong inside, and the time of the last change. Given up after so many seconds: a long reader lets the log
    grow.
    """
    until = clock.monotonic() + seconds
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None, timeout=1)
    except sqlite3.Error:
        return None, None
    last_ms = None
    try:
        word = script("shared")["word"]
        row = connection.execute(word.text, word.bind({"queue": "", "name": "last"})).fetchone()
        last_ms = None if row is None else int(row[0])
        connection.set_progress_handler(lambda: clock.monotonic() > until, _STEPS)
        rows = connection.execute(f"PRAGMA quick_check({_FAULTS_MOST})").fetchall()
        return tuple(str(line) for (line,) in rows if line != "ok"), last_ms
    except sqlite3.Error as met:
        return ((str(met),), last_ms) if faults.is_damage(met) else (None, last_ms)
    finally:
        connection.close()


def _readers(shared: str) -> Iterator[str]:
    """The other processes that hold a read lock now, where the system tells."""
    for kind, how, pid, first, last in _locks(shared):
        ends = _READ_SLOTS[-1] if last == "EOF" else int(last)
        if (kind, how) == ("POSIX", "READ") and int(first) <= _READ_SLOTS[-1] and ends >= _READ_SLOTS[0]:
            yield f"{_name(pid)} ({pid})"


def _locks(path: str) -> list[tuple[str, str, int, str, str]]:
    """Kind, reading or writing, process, first and last byte of each lock that others hold on a file."""
    try:
        inode = os.stat(path).st_ino
        with open(_LOCKS, encoding="ascii", errors="replace") as table:
            lines = [words for line in table if len(words := line.split()) == 8 and words[5].endswith(f":{inode}")]
    except OSError:
        return []
    held = {(words[1], words[3], int(words[4]), words[6], words[7]) for words in lines}
    return sorted(lock for lock in held if lock[2] != os.getpid())


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as told:
            return told.read().strip()
    except OSError:
        return "a process"


def _stuck(lock: str) -> str | None:
    """Why nobody can write, if one process holds the lock file all the time; a commit would wait for it for ever."""
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    until = clock.monotonic() + _LOCK_S
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return None
            except BlockingIOError:
                if clock.monotonic() >= until:
                    break
                clock.sleep_blocking(_LOOK_S)
    finally:
        os.close(handle)
    who = ", ".join(sorted({f"{_name(pid)} ({pid})" for kind, _, pid, _, _ in _locks(lock) if kind == "FLOCK"}))
    return f"{who or 'another process'} has held {lock} for {_LOCK_S:g} s: nobody can write. Wake it, or end it."


def _commits(path: str, nonce: str) -> tuple[float | None, str | None]:
    """How long a commit lasts, and why there was none."""
    stuck = _stuck(path + ".lock")
    if stuck is not None:
        return None, stuck
    shared = script("shared")
    set_word, drop_word = shared["set_word"], shared["drop_word"]
    word = {"queue": f"doctor-{nonce}", "name": "probe", "value": 1}
    store = Store(path, synchronous="full", busy_timeout=5, wall_ms=clock.wall_ms)
    took: list[float] = []
    try:
        store.open()
        for number in range(_ROUNDS + 1):  # an even number: the last one takes the word away
            statement = drop_word if number % 2 else set_word
            began = clock.monotonic()
            store.begin()
            try:
                store.connection.execute(statement.text, statement.bind(word))
            except BaseException as met:
                store.rollback(met)
                raise
            store.commit()
            took.append((clock.monotonic() - began) * 1_000)
    except (sqlite3.Error, OSError, StoreError, NoAnswer) as met:
        return None, str(faults.told(met, path))
    finally:
        store.close_logged()
    return statistics.median(took), None
