"""What an error of SQLite or of the file system means to a caller, in a sentence with the way out."""

import errno
import sqlite3
from typing import Final

from surefoot.brokers.broker import NoAnswer, NoRoom
from surefoot.core.errors import StoreError, StoreUnavailable, StoreUnsuitable

_PRIMARY: Final = 0xFF
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
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_NOMEM:
            return StoreUnavailable(f"cannot write {path} ({error}); nothing was stored.")
    return StoreError(f"the store refused it ({type(error).__name__}: {error}); nothing was stored.")


def _full(path: str) -> str:
    return f"the disk under {path} is full; nothing was stored."
