"""What is looked at before a file is used: SQLite's version, the file system, the rights. Says no in a sentence."""

import os
import sqlite3
from typing import Final

from surefoot.core.errors import StoreUnsuitable

OLDEST: Final = (3, 35, 0)
"""The first release with RETURNING."""
_NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs"})
ANY_FILE_SYSTEM: Final = "SUREFOOT_ANY_FILE_SYSTEM"
"""Set to 1, this variable of the environment allows a store on a network file system."""


def check_version(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> None:
    """Refuse a SQLite library that is too old."""
    if version < OLDEST:
        raise StoreUnsuitable(
            f"SQLite {'.'.join(map(str, version))} is too old: surefoot needs {'.'.join(map(str, OLDEST))} or newer. "
            "Use a Python that was built with a newer one."
        )


def may_lose_wal(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> bool:
    """Whether this library can damage a WAL when two connections commit and checkpoint at once; our lock avoids it."""
    mended = (3, 44, 6) <= version < (3, 45, 0) or (3, 50, 7) <= version < (3, 51, 0)
    return (3, 7, 0) <= version <= (3, 51, 2) and not mended


def check_file(path: str) -> None:
    """Refuse a path that cannot hold a store: no directory, a directory itself, no rights, a network file system."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        raise StoreUnsuitable(f"cannot create {path}: there is no directory {parent}.")
    if os.path.isdir(path):
        raise StoreUnsuitable(f"{path} is a directory; a store is one file in it, such as {path.rstrip('/')}/jobs.db.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise StoreUnsuitable(
            f"{parent} cannot be written by this user; SQLite keeps files beside {os.path.basename(path)} there."
        )
    if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
        raise StoreUnsuitable(f"{path} cannot be read and written by this user.")
    kind = file_system(path)
    if kind is not None and is_network(kind) and os.environ.get(ANY_FILE_SYSTEM) != "1":
        raise StoreUnsuitable(
            f"{path} lies on a network file system ({kind}), whose locks SQLite cannot trust: jobs could be lost. Use "
            f"a local disk, or set {ANY_FILE_SYSTEM}=1 if only one machine ever opens it."
        )


def is_network(kind: str) -> bool:
    """Whether SQLite cannot trust the locks of this kind of file system."""
    return kind in _NETWORK or kind.startswith("fuse")


def file_system(path: str, mounts: str = "/proc/self/mountinfo") -> str | None:
    """The kind of file system that `path` lies on; None where the system does not tell."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as table:
            lines = table.readlines()
    except OSError:
        return None
    path = os.path.realpath(path)
    kind, longest = None, -1
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4].replace("\\040", " ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:
            kind, longest = right.split(" ")[0], len(point)
    return kind


def create_private(path: str) -> None:
    """Make an empty file that only its owner may read. SQLite gives the files beside it the same mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
