"""Opens connections to a store, makes its tables once, and refuses a file in another layout. Writes no job."""

import os
import sqlite3
from typing import Final, Literal

from surefoot.brokers.sqlite import gate
from surefoot.brokers.sqlite.lockfile import LockFile
from surefoot.brokers.sqlite.statements import script
from surefoot.core.errors import StoreUnsuitable
from surefoot.core.names import LAYOUT

APPLICATION: Final = 0x53524654
"""`SRFT` in the header of the file: what `file` and other programs know it by."""
TABLES: Final = 1
"""The number of the set of tables, kept as `user_version`: a release that knows more adds them at its first opening.

Tables are only ever added, and an older release leaves alone what it does not know: it may use the file all along.
"""
_STATEMENTS: Final = 256
_WAL_KEPT_BYTES: Final = 64 << 20

Synchronous = Literal["full", "normal"]


def connect(path: str, *, synchronous: Synchronous) -> sqlite3.Connection:
    """A connection without transaction control or busy waiting of its own: both are ours."""
    connection = sqlite3.connect(
        path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS
    )
    try:
        _tune(connection, synchronous)
    except BaseException:
        connection.close()
        raise
    return connection


def _tune(connection: sqlite3.Connection, synchronous: Synchronous) -> None:
    flush = "on" if synchronous == "full" else "off"  # macOS asks its disks only then; elsewhere it changes nothing
    for pragma in (
        f"synchronous = {synchronous}",
        f"fullfsync = {flush}",
        "foreign_keys = off",
        "temp_store = memory",
        "cache_size = -65536",
    ):
        connection.execute(f"PRAGMA {pragma}")


def open_memory() -> sqlite3.Connection:
    """A store that lives as long as its connection."""
    gate.check_version()
    connection = connect(":memory:", synchronous="full")
    _make(connection)
    return connection


def open_file(path: str, lock: LockFile, *, synchronous: Synchronous) -> sqlite3.Connection:
    """A connection to a checked file. What is missing is created under the lock; a store that stands needs no lock."""
    gate.check_version()
    gate.check_file(path)
    gate.create_private(path)
    connection = connect(path, synchronous=synchronous)
    try:
        stands = _stands(connection, path)
        if not stands or connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            with lock.held():
                connection.execute("PRAGMA journal_mode = wal").fetchone()  # a restored copy may have lost it
                if not stands and not _stands(connection, path):  # another process may have been faster
                    _make(connection)
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _stands(connection: sqlite3.Connection, path: str) -> bool:
    """Whether it is a store of ours with all tables; StoreUnsuitable if it is somebody else's, or in another layout."""
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    if mark != APPLICATION:
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise StoreUnsuitable(f"{path} is a SQLite file of another application; give surefoot a file of its own.")
        return False
    word = script("shared")["word"]
    found = connection.execute(word.text, word.bind({"queue": "", "name": "layout"})).fetchone()
    if found != (LAYOUT,):
        raise StoreUnsuitable(
            f"{path} is in layout {found and found[0]} and this release reads layout {LAYOUT}: use the release that "
            "wrote it."
        )
    (tables,) = connection.execute("PRAGMA user_version").fetchone()
    return bool(tables >= TABLES)


def _make(connection: sqlite3.Connection) -> None:
    """The tables that are missing, the layout and our mark, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in script("schema").values():
            connection.execute(statement.text)
        set_word = script("shared")["set_word"]
        connection.execute(set_word.text, set_word.bind({"queue": "", "name": "layout", "value": LAYOUT}))
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {TABLES}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def identity(path: str) -> tuple[int, int] | None:
    """Device and inode of what stands at `path` now; None if nothing does."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
