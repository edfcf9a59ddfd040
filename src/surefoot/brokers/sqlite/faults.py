"""What an error of SQLite or of the file system means to a caller, in a sentence with the way out."""

import errno
import os
import sqlite3
from typing import Final

from surefoot.brokers.broker import NoAnswer, NoRoom
from surefoot.core.errors import StoreError, StoreUnavailable, StoreUnsuitable

_PRIMARY: Final = 0xFF
_LITTLE: Final = 1 << 20
"""Bytes: where less is free, a write that failed for no better reason failed for that."""
_MAKE_ROOM: Final = "Make room on it; workers go on by themselves, and keep what they finish until then."
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_WHOLE: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
    }
)


def code(error: BaseException) -> int:
    """SQLite's primary result code; 0 for any other exception."""
    extended = getattr(error, "sqlite_errorcode", 0)
    return int(extended or 0) & _PRIMARY


def is_busy(error: BaseException) -> bool:
    """Whether another connection holds what we need."""
    return code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_damage(error: BaseException) -> bool:
    """Whether the file must not be written any more."""
    return code(error) in _DAMAGED


def hits_all(error: BaseException) -> bool:
    """Whether the whole transaction is over, and not only the verb that met the error."""
    return code(error) in _WHOLE


def is_doubtful(error: BaseException) -> bool:
    """Whether a COMMIT that met this error may yet be found done after a power cut."""
    return code(error) == sqlite3.SQLITE_IOERR


def is_full(told: BaseException) -> bool:
    """Whether the disk is full: whatever shrinks the store may still be possible."""
    return isinstance(told, NoRoom)


def told(error: BaseException, path: str) -> Exception:
    """The error as the caller of a broker is told. Nothing of the call was stored."""
    if isinstance(error, StoreError | NoAnswer):
        return error
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return NoRoom(_full(path))
        return StoreUnavailable(f"cannot use {path} ({error.strerror or error}); nothing was stored.")
    match code(error):
        case sqlite3.SQLITE_FULL:
            return NoRoom(_full(path))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreUnavailable(
                f"{path} is locked by another program; nothing was stored. Keep other tables in another file, and "
                "transactions on this one short."
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StoreUnsuitable(
                f"{path} cannot be written: it, its directory or the file system is read-only for this user."
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreUnsuitable(
                f"{path} is damaged ({error}); nothing more is written to it. Stop all its workers, keep a copy of it "
                f"and of {path}-wal, and read out what is left with: sqlite3 {path} .recover"
            )
        case sqlite3.SQLITE_CANTOPEN:
            return StoreUnavailable(
                f"cannot open {path}: its directory must exist and be writable; nothing was stored."
            )
        case sqlite3.SQLITE_IOERR:
            return StoreUnavailable(_failed(error, path))
        case sqlite3.SQLITE_NOMEM:
            return StoreUnavailable(f"cannot write {path} ({error}); nothing was stored.")
    return StoreError(f"the store refused it ({type(error).__name__}: {error}); nothing was stored.")


def _full(path: str) -> str:
    return f"the disk under {path} is full; nothing was stored. {_MAKE_ROOM}"


def unwritten(error: BaseException, path: str) -> str:
    """The cause of a failed write. SQLite has one error for a disk that fails and, sometimes, for one that is full."""
    cause = "its disk is full" if _is_full(path) else "its disk fails, is gone, or this user's share of it is used up"
    return f"cannot write {path} ({error}): {cause}"


def _is_full(path: str) -> bool:
    try:
        disk = os.statvfs(os.path.dirname(path) or ".")
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _LITTLE


def _failed(error: BaseException, path: str) -> str:
    way_out = _MAKE_ROOM if _is_full(path) else "See `df`, `quota`, `ulimit -f` and the system's log."
    return f"{unwritten(error, path)}; nothing was stored. {way_out}"
