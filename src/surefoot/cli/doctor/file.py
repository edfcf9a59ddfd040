"""What the facts of a SQLite file mean for jobs. Opens nothing."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from surefoot.cli.doctor.findings import Finding, fail, ok, warn

if TYPE_CHECKING:
    from surefoot.brokers.sqlite.exam import FileFacts

_WAL_LARGE_BYTES: Final = 64 << 20
"""A log is cut to this size when it begins anew; a larger one could not begin anew for long."""
_DISK_LOW_BYTES: Final = 256 << 20
_DISK_FULL_BYTES: Final = 16 << 20
_AHEAD_MS: Final = 60_000
_SLOW_MS: Final = 100.0
_OTHERS: Final = 0o077


def judge_file(facts: "FileFacts", path: str) -> Iterator[Finding]:
    """A finding for each check of a file; fewer if it is not there yet."""
    yield _version(facts, path)
    yield _file(facts, path)
    yield _file_system(facts)
    yield _disk(facts, path)
    if not facts.exists:
        return
    yield _rights(facts, path)
    yield _soundness(facts, path)
    yield _log(facts, path)
    yield _clock(facts, path)
    yield from _write(facts)


def _version(facts: "FileFacts", path: str) -> Finding:
    details = {"software": f"SQLite {facts.sqlite}", "wal_reset": facts.exposed}
    if not facts.exposed:
        return ok("version", f"SQLite {facts.sqlite}.", **details)
    lock = os.path.basename(path) + ".lock"
    return warn(
        "version",
        f"SQLite {facts.sqlite} has the WAL-reset bug (3.7.0 to 3.51.2): several processes are safe here, because each "
        f"holds {lock} while it commits.",
        "Let no other program write to this file, or use a Python with a newer SQLite.",
        **details,
    )


def _file(facts: "FileFacts", path: str) -> Finding:
    details = {"path": path, "exists": facts.exists}
    if facts.refused is not None:
        return fail("file", facts.refused, None, **details)
    if not facts.exists:
        return warn("file", f"there is no store in {path} yet.", "The first job or worker makes it.", **details)
    return ok("file", f"{path}.", **details)


def _file_system(facts: "FileFacts") -> Finding:
    details = {"kind": facts.file_system, "network": facts.network}
    if facts.network:
        return (warn if facts.refused is None else fail)(
            "file_system", f"{facts.file_system}: SQLite cannot trust the locks of a network file system.",
            "Use a local disk.", **details,
        )  # fmt: skip
    return ok("file_system", f"{facts.file_system or 'not known: the system does not tell'}.", **details)


def _disk(facts: "FileFacts", path: str) -> Finding:
    free = facts.free_bytes
    if free is None:
        return warn("disk", "the system does not say how much room there is.", None, free_bytes=None)
    words = f"{free / (1 << 20):,.0f} MiB free"
    way_out = f"Make room beside {path}: on a full disk no job is accepted."
    if free < _DISK_FULL_BYTES:
        return fail("disk", f"{words}.", way_out, free_bytes=free)
    return warn("disk", f"{words}.", way_out, free_bytes=free) if free < _DISK_LOW_BYTES else ok(
        "disk", f"{words}.", free_bytes=free
    )  # fmt: skip


def _rights(facts: "FileFacts", path: str) -> Finding:
    mode = facts.mode or 0
    details = {"mode": f"{mode:04o}", "owner": facts.owner}
    if mode & _OTHERS:
        return warn(
            "rights", f"mode {mode:04o}: other users of this machine may read the jobs.",
            f"chmod 600 {path}, unless other users share it.", **details,
        )  # fmt: skip
    whose = "" if facts.owner == os.geteuid() else f" of user {facts.owner}"
    return ok("rights", f"mode {mode:04o}{whose}: only its owner may read the jobs.", **details)


def _soundness(facts: "FileFacts", path: str) -> Finding:
    damage = facts.damage
    if damage is None:
        return warn(
            "soundness", "not checked: the file cannot be opened for reading, or its check lasts too long.",
            f"Check it when it is idle: sqlite3 {path} 'PRAGMA quick_check'", damage=None,
        )  # fmt: skip
    if not damage:
        return ok("soundness", "sound (PRAGMA quick_check).", damage=damage)
    return fail(
        "soundness", f"damaged: {damage[0]}.",
        f"Stop all its workers, keep a copy of it and of {path}-wal, and read out the rest: sqlite3 {path} .recover",
        damage=damage,
    )  # fmt: skip


def _log(facts: "FileFacts", path: str) -> Finding:
    size = f"{facts.wal_bytes / (1 << 20):,.1f} MiB"
    details = {"wal_bytes": facts.wal_bytes, "readers": facts.readers}
    who = f"; {', '.join(facts.readers)} reads now" if facts.readers else ""
    if facts.wal_bytes <= _WAL_LARGE_BYTES:
        return ok("log", f"{size}{who}.", **details)
    return warn(
        "log", f"{path}-wal has grown to {size}{who}: it cannot shrink while a transaction reads.",
        "End the transaction of whoever reads for long.", **details,
    )  # fmt: skip


def _clock(facts: "FileFacts", path: str) -> Finding:
    ahead = facts.ahead_ms or 0
    if ahead <= _AHEAD_MS:
        return ok("clock", "this machine's clock is not behind the last change.", ahead_ms=ahead)
    return warn(
        "clock", f"the last change of {path} lies {ahead / 1_000:,.0f} s in the future of this machine's clock.",
        "Set the clock by NTP.", ahead_ms=ahead,
    )  # fmt: skip


def _write(facts: "FileFacts") -> Iterator[Finding]:
    ms = facts.commit_ms
    if ms is not None:
        words = f"{ms:.2f} ms a commit (median of a few)"
        slow = ms > _SLOW_MS
        yield (
            warn("write", f"{words}: that is slow.", "Look at the disk.", median_ms=round(ms, 3))
            if slow
            else ok("write", f"{words}.", median_ms=round(ms, 3))
        )
    elif facts.commit_refused is not None:
        yield fail("write", facts.commit_refused, None, refused=facts.commit_refused)
