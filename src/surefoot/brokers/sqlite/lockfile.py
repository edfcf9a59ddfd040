"""The side-car lock that makes writers take turns: `<path>.lock`, held from before BEGIN IMMEDIATE until after COMMIT.

With SQLite's own busy handler alone one of several busy processes can starve. It also keeps commit and checkpoint
apart, which library versions with the WAL-reset bug need.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator


class LockFile:
    """One process's handle on the lock. Waiting for it is fair: the kernel hands it on in order."""

    def __init__(self, path: str) -> None:
        self.path: str = path + ".lock"
        self._beside = path
        self._handle: int | None = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; waits for it however long it takes."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def acquire(self) -> None:
        """Take the lock; waits for it however long it takes."""
        while True:
            handle = self._open()
            fcntl.flock(handle, fcntl.LOCK_EX)
            mine = os.fstat(handle)
            try:
                there = os.stat(self.path)
            except FileNotFoundError:
                there = None
            if there is not None and (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                return
            self.close()  # somebody deleted the file: a lock on it would exclude nobody

    def release(self) -> None:
        """Let the next one have it."""
        if self._handle is not None:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def _open(self) -> int:
        if self._handle is None:
            self._handle = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            with contextlib.suppress(OSError):
                # Whoever may write the store must be able to take the lock.
                mode = stat.S_IMODE(os.stat(self._beside).st_mode) & 0o666
                if os.fstat(self._handle).st_uid == os.geteuid():
                    os.fchmod(self._handle, mode)
        return self._handle

    def close(self) -> None:
        """Let go of the file. In a forked child this closes the child's handle only; the parent keeps its lock."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
