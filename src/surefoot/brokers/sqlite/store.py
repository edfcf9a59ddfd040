"""The write connection of one store: opening, transactions, the store's clock, and the rules that guard the file.

Used by one thread at a time. Knows no verb.
"""

import contextlib
import ctypes
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Final

from surefoot import chance, clock
from surefoot.brokers.sqlite import faults, gate, schema
from surefoot.brokers.sqlite.lockfile import LockFile
from surefoot.brokers.sqlite.statements import script
from surefoot.core.errors import StoreUnsuitable

log: Final = logging.getLogger("surefoot")

MEMORY: Final = ":memory:"
STEP_BACK_MS: Final = 60_000
"""A clock that went back by less stands still; one that went back further is followed."""
_LAST: Final = {"queue": "", "name": "last"}
_WAL_LOOK_EVERY: Final = 1_024
_WAL_LARGE_BYTES: Final = 256 << 20


class Store:
    """One file, or one process's memory. Every transaction that writes is BEGIN IMMEDIATE under the lock file.

    With `reads_only` it is a second connection, for short reads.
    """

    def __init__(
        self,
        path: str,
        *,
        synchronous: schema.Synchronous,
        busy_timeout: float,
        wall_ms: Callable[[], int],
        reads_only: bool = False,
    ) -> None:
        self.path: Final = path
        self.in_memory: Final = path == MEMORY
        self._synchronous: schema.Synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._wall_ms = wall_ms
        self._reads_only = reads_only
        self._connection: sqlite3.Connection | None = None
        self._lock = LockFile(path)
        self._identity: tuple[int, int] | None = None
        self._unfit: StoreUnsuitable | None = None
        self._warned = False
        self.commits: int = 0
        self._opened = 0
        self.in_use: Final = threading.Lock()
        """Held by the thread that works with the connection. Whoever forks takes it first and closes the connection."""
        self._wal_warned_bytes = _WAL_LARGE_BYTES
        shared = script("shared")
        self._read_word = shared["word"]
        self._set_word = shared["set_word"]

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection."""
        assert self._connection is not None, "the store is not open"
        return self._connection

    def open(self) -> None:
        """Open it if it is not open."""
        if self._connection is not None:
            return
        self._opened += 1
        if self.in_memory:
            self._connection = schema.open_memory()
            return
        connection: sqlite3.Connection = self.patiently(
            lambda: schema.open_file(self.path, self._lock, synchronous=self._synchronous)
        )
        self._connection = connection
        self._identity = schema.identity(self.path)
        self._unfit = None
        if self._reads_only:
            connection.execute("PRAGMA query_only = on")
            return
        exposed = " (in the range of the WAL-reset bug: several processes are safe through the lock file only)"
        log.info("store %s, SQLite %s%s", self.path, sqlite3.sqlite_version, exposed if gate.may_lose_wal() else "")

    def close(self) -> None:
        """Close it under the lock, because the last one to close makes a checkpoint."""
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        if self.in_memory:
            connection.close()
        elif schema.identity(self.path) != self._identity:
            # SQLite would delete `<path>-wal` by name, and that belongs to whoever is there now.
            leak(connection)
            self._lock.close()
        else:
            with self._lock.held():
                connection.close()
            self._lock.close()

    def close_logged(self) -> None:
        """Close it at the end of a thread, where nobody is left to be told of an error."""
        try:
            self.close()
        except Exception:
            log.exception("%s could not be closed properly", self.path)

    def abandon(self) -> bool:
        """In a forked child: the parent's connection must not be touched, not even to close it.

        True if one was still open: then this process can never use the file safely.
        """
        was_open = self._connection is not None and not self.in_memory
        if self._connection is not None:
            leak(self._connection)
            self._connection = None
        self._lock.close()
        return was_open

    # --- transactions ---

    def begin(self) -> None:
        """Take the lock and begin to write. Raises if that is not possible in time; then nothing is held."""
        if self.in_memory:
            self.connection.execute("BEGIN IMMEDIATE")
            return
        if self._unfit is not None:
            raise self._unfit
        self._lock.acquire()
        try:
            self._same_file()
            self.patiently(lambda: self.connection.execute("BEGIN IMMEDIATE"))
        except BaseException as error:
            self._lock.release()
            self._remember_damage(error)
            raise

    def commit(self) -> None:
        """Make it durable. If that fails, nothing of it is stored."""
        try:
            self.connection.execute("COMMIT")
        except BaseException as error:
            self.rollback(error)
            raise
        if not self.in_memory:
            self._lock.release()
            self.commits += 1
            if self.commits % _WAL_LOOK_EVERY == 0:
                self._look_at_wal()

    def rollback(self, error: BaseException) -> None:
        """Undo it because of this error. A full disk has already done that."""
        try:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        except sqlite3.Error:
            # It would be stuck in this transaction for ever. Closing undoes it too, and the next call opens anew.
            self.connection.close()
            self._connection = None
        finally:
            if not self.in_memory:
                self._lock.release()
        self._remember_damage(error)

    def _remember_damage(self, error: BaseException) -> None:
        """A damaged file gets no further write from us, until it is closed and opened anew."""
        if faults.is_damage(error):
            told = faults.told(error, self.path)
            assert isinstance(told, StoreUnsuitable)
            self._unfit = told

    def patiently(self, attempt: Callable[[], Any]) -> Any:
        """Retry while another program holds the file, with jitter, up to the busy timeout."""
        deadline = clock.monotonic() + self._busy_timeout
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if not faults.is_busy(error) or clock.monotonic() >= deadline:
                    raise
                clock.sleep_blocking(chance.between(0.001, 0.01))

    def _look_at_wal(self) -> None:
        with contextlib.suppress(OSError):
            size = os.stat(self.path + "-wal").st_size
            if size >= self._wal_warned_bytes:
                self._wal_warned_bytes = 2 * size
                log.warning(
                    "%s-wal has grown to %d MiB: a program that reads %s does not end its transaction",
                    self.path, size >> 20, self.path,
                )  # fmt: skip

    def begin_reading(self) -> None:
        """A snapshot that waits for no writer and holds none up."""
        if self._unfit is not None:
            raise self._unfit
        self._same_file()
        self.connection.execute("BEGIN")

    def end_reading(self) -> None:
        """Let the snapshot go."""
        if self.connection.in_transaction:
            self.connection.execute("COMMIT")

    def _same_file(self) -> None:
        if schema.identity(self.path) != self._identity:
            raise StoreUnsuitable(
                f"{self.path} was deleted or replaced while it was open; nothing more is written to what is left of "
                "it. Put the file back, or restart this process to use the new one."
            )

    def change_number(self) -> int:
        """A number that moves with every commit of another connection and with every opening, and never with ours."""
        number: int = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return (self._opened << 40) + number

    # --- the clock ---

    def now_ms(self) -> int:
        """The store's time: never behind what a transaction has seen, unless this machine's clock went back far."""
        wall, last = self._wall_ms(), self.last_ms()
        if wall >= last:
            return wall
        if last - wall < STEP_BACK_MS:
            return last
        if not self._warned:
            self._warned = True
            log.warning(
                "the clock of this machine is %.0f s behind the last change of %s; the store follows it",
                (last - wall) / 1000, self.path,
            )  # fmt: skip
        return wall

    def last_ms(self) -> int:
        """The time of the last transaction."""
        row = self.connection.execute(self._read_word.text, self._read_word.bind(_LAST)).fetchone()
        return 0 if row is None else int(row[0])

    def set_last(self, now_ms: int) -> None:
        """This transaction's time, for those after it."""
        self.connection.execute(self._set_word.text, self._set_word.bind({**_LAST, "value": now_ms}))


def leak(connection: sqlite3.Connection) -> None:
    """Keep a connection from ever being closed, even at the interpreter's end: a reference that nobody gives back."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
