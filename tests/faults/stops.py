"""The scripted life on a SQLite file, stopped by the system before any statement, at bytes of the log and of the file,
with any reply unread; then continued by another process and compared with a life that nobody stopped.

python -m tests.faults.stops FOLDER FIRST STEP      tries each STEP-th point from FIRST on; prints what came of them
"""

import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec
from tests.conformance.compare import assert_same
from tests.conformance.stores import START_MS
from tests.faults.life import begin, follow

from surefoot.brokers.broker import Call, Verb
from surefoot.brokers.sqlite.broker import SqliteBroker

Contents: TypeAlias = dict[str, list[str]]
Listener: TypeAlias = Callable[[], object]

_connect: Final = sqlite3.connect
_LOG_HEADER: Final = 32
_FRAME_HEADER: Final = 24
_PAGE: Final = 4_096
_TORN: Final = (0, _FRAME_HEADER // 2, _FRAME_HEADER, _FRAME_HEADER + _PAGE // 2, _FRAME_HEADER + _PAGE - 1)
"""How many bytes of a frame are in the log when the process stops."""


class Said(msgspec.Struct, frozen=True):
    """One call of the life."""

    verbs: Sequence[Verb[Any]]
    answers: list[Any]


class Stop(msgspec.Struct, frozen=True):
    """Before the nth statement, where a file would grow beyond so many bytes, or with the nth reply unread.

    `checkpoint`: where the file would grow so at the end, when its log is written back.
    """

    at: Literal["statement", "byte", "reply", "checkpoint"]
    place: int


class Calm(msgspec.Struct, frozen=True):
    """A life that nobody stopped: what was said, what is stored before it and after each call, how long it was."""

    said: list[Said]
    stored: list[Contents]
    statements: int
    log_bytes: int
    file_bytes: int

    def stops(self) -> list[Stop]:
        """Every point."""
        found = [Stop("statement", place) for place in range(1, self.statements + 1)]
        found += [Stop("reply", place) for place in range(1, len(self.said) + 1)]
        for frame in range(_LOG_HEADER, self.log_bytes, _FRAME_HEADER + _PAGE):
            found += [Stop("byte", frame + torn) for torn in _TORN]
        found += [Stop("checkpoint", place) for place in range(0, self.file_bytes, _PAGE // 2)]
        return found


# --- living ---


def live(
    path: Path, known: Sequence[Said] = (), *, letters: int = 0, answered: Listener = int, closing: Listener = int
) -> list[Said]:
    """Live on after the calls that are known, to the end. The clock stands still, so that two lives store the same."""
    broker = SqliteBroker(str(path), wall_ms=lambda: START_MS)
    said: list[Said] = []
    steps, verbs = begin(letters)
    while verbs:
        number = len(said) + 1
        if number <= len(known):
            heard = known[number - 1].answers
        else:
            heard = broker.run_sync(Call("life", number, "tag1", tuple(verbs)))
            answered()
        said.append(Said(verbs, heard))
        verbs = follow(steps, heard)
    closing()
    broker.close_sync()
    return said


def undisturbed(folder: Path, letters: int = 0) -> Calm:
    """The life without a stop."""
    path = folder / "jobs.db"
    stored: list[Contents] = [{}]
    sizes, statements = [0], []

    def look() -> None:
        sizes.append(os.path.getsize(f"{path}-wal"))
        stored.append(contents(path))

    with traced(lambda: statements.append(1)):
        said = live(path, letters=letters, answered=look)
    assert sizes == sorted(sizes), "a checkpoint in between began the log anew: its bytes are no measure"
    return Calm(said, stored, len(statements), sizes[-1], os.path.getsize(path))


@contextlib.contextmanager
def traced(before: Listener) -> Iterator[None]:
    """Calls back before each statement of every connection that is opened inside."""

    def connect(*words: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = _connect(*words, **options)
        connection.set_trace_callback(lambda _: before())
        return connection

    sqlite3.connect = connect  # type: ignore[assignment]  # without the original's overloads
    try:
        yield
    finally:
        sqlite3.connect = _connect


# --- stopping ---


def stopped(path: Path, stop: Stop) -> tuple[int, int]:
    """Live in a child that is stopped there: how many replies it had read, and the signal that ended it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _live_until(path, stop, writing)
        finally:
            os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as told:
        return len(told.read()), os.WTERMSIG(status)


def _live_until(path: Path, stop: Stop, told: int) -> None:
    met = 0

    def meet(what: str) -> None:
        nonlocal met
        if stop.at == what:
            met += 1
            if met == stop.place:
                os.kill(os.getpid(), signal.SIGKILL)

    def answered() -> None:
        meet("reply")
        os.write(told, b".")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (stop.place, resource.RLIM_INFINITY))

    if stop.at == "byte":
        limit()
    with traced(lambda: meet("statement")):
        live(path, answered=answered, closing=limit if stop.at == "checkpoint" else int)


# --- judging ---


def contents(path: Path) -> Contents:
    """All rows of all tables, read from a copy: whoever comes next finds the files as they were left."""
    copies = path.parent / "copies"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        if (path.parent / name).exists():
            shutil.copy(path.parent / name, copies / name)
    connection: sqlite3.Connection = _connect(copies / path.name)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        rows = {name: [repr(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in names}
    finally:
        connection.close()
    found = {name: sorted(some) for name, some in rows.items()}
    found["meta"] = [row for row in found.get("meta", []) if not row.startswith("('', 'layout'")]  # not of a call
    return {name: some for name, some in found.items() if some}


def tried(folder: Path, stop: Stop, calm: Calm) -> str:
    """Stop there, look, go on in another process, and look again: whether the call had been executed."""
    folder.mkdir()
    path = folder / "jobs.db"
    read, ended_by = stopped(path, stop)
    wanted = signal.SIGXFSZ if stop.at in ("byte", "checkpoint") else signal.SIGKILL
    assert ended_by == wanted, f"it was ended by {ended_by}"
    left = contents(path)
    before, after = calm.stored[read], calm.stored[min(read + 1, len(calm.said))]
    assert left in (before, after), f"call {read + 1} is stored by half: {_difference(left, after)}"
    executed = left != before
    said = live(path, calm.said[: min(read, len(calm.said) - 1)])
    for number, (expected, got) in enumerate(zip(calm.said, said, strict=True), 1):
        for verb, one, other in zip(expected.verbs, expected.answers, got.answers, strict=True):
            assert_same(verb, one, other, repeated=executed and number == read + 1)
    left, wanted_left = _quiet(contents(path)), _quiet(calm.stored[-1])
    assert left == wanted_left, f"another end: {_difference(left, wanted_left)}"
    return f"{stop.at}: executed" if executed else f"{stop.at}: not executed"


def _quiet(stored: Contents) -> Contents:
    """Without the count of wake-ups: a resume that is said again wakes again, and whoever looks finds nothing."""
    return stored | {"meta": [row for row in stored["meta"] if ", 'wake', " not in row]}


def _difference(got: Contents, wanted: Contents) -> str:
    rows = {(name, row) for name, some in got.items() for row in some}
    others = {(name, row) for name, some in wanted.items() for row in some}
    return f"too much {sorted(rows - others)}, missing {sorted(others - rows)}"


def main(folder: Path, first: int, step: int) -> int:
    """Try the points; how many went wrong, as an exit code."""
    calm = undisturbed(folder)
    stops = calm.stops()
    found: Counter[str] = Counter({"points": len(stops)})
    for place, stop in list(enumerate(stops))[first::step]:
        try:
            found[tried(folder / str(place), stop, calm)] += 1
        except AssertionError as wrong:
            print(f"{stop}: {wrong}", file=sys.stderr)
            found["wrong"] += 1
        shutil.rmtree(folder / str(place))
    print(json.dumps(found))
    return min(found["wrong"], 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
