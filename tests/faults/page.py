"""docs/faults.md: the fault table with the tests that hold each row, found by the ids in their names.

python -m tests.faults.page --write
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
import pytest
from tests.faults.rows import ROWS, SECTIONS, Row

Place: TypeAlias = Literal["file", "server"]

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "faults.md"
ID: Final = re.compile(r"(?<![A-Za-z0-9])[WRCDQS]\d+(?=_|$)")
_MARK: Final = "holds a row: "
_BOTH: Final[frozenset[Place]] = frozenset({"file", "server"})
_SERVER: Final[frozenset[Place]] = frozenset({"server"})
_FILE: Final[frozenset[Place]] = frozenset({"file"})
_STORES: Final[dict[str, Place]] = {"sqlite": "file", "redis": "server", "valkey": "server"}
_PLACES: Final[dict[str, frozenset[Place]]] = {
    "tests/unit/": _BOTH,  # no store is asked, so it holds for each
    "tests/architecture/": _BOTH,
    "tests/engine/test_crons.py": _BOTH,
    "tests/conformance/redis_only/": _SERVER,
    "tests/faults/redis/": _SERVER,
    "tests/engine/test_fitness.py": _SERVER,
    "tests/engine/test_outage.py": _SERVER,
    "tests/doors/foreign/": _SERVER,
    "tests/doors/test_deploying.py": _SERVER,
    "tests/doors/test_deploying_further.py": _SERVER,
    "tests/doors/test_cli_worker.py::test_R14": _SERVER,
    "tests/doors/test_cli_redis.py": _SERVER,
    "tests/doors/test_cli_doctor_server.py": _SERVER,
}
"""On which stores tests are whose name or parameters do not tell; those that are not here use a file."""

HEAD: Final = """\
# Faults

What can go wrong, what happens then, and the tests that make it happen: real processes that are killed and frozen, real
servers that are filled and restarted, a proxy that cuts and swallows. A test has the row's name in its own.

`make test` runs them all; those marked *in full* only `make faults` does, and it repeats others more often. Where no
store is asked a test stands for both. [Limits](limits.md) says what is promised.

Made from the names of the tests by `python -m tests.faults.page --write`.
"""


class Test(msgspec.Struct, frozen=True):
    """One test function: where it stands, on which stores it runs, and whether only the suite's long form has it."""

    path: str
    name: str
    places: frozenset[Place]
    full: bool

    @property
    def rows(self) -> list[str]:
        """The rows in its name."""
        return ID.findall(self.name)


# --- finding ---


def pytest_collection_finish(session: pytest.Session) -> None:
    """As a plugin of the run that collects: print what holds a row."""
    for item in session.items:
        name = getattr(item, "originalname", item.name)
        if ID.search(name):
            path = item.path.relative_to(ROOT).as_posix()
            kind = getattr(item, "cls", None)
            name = name if kind is None else f"{kind.__name__}::{name}"
            params = getattr(getattr(item, "callspec", None), "id", "")
            full = item.get_closest_marker("faults_full") is not None
            print(_MARK + json.dumps([path, name, params, full]))


def found() -> list[Test]:
    """Every test with a row in its name, by file."""
    command = ["-m", "pytest", "--collect-only", "--full", "-q", "-p", "tests.faults.page", "-p", "no:cacheprovider"]
    run = subprocess.run([sys.executable, *command, "tests"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{run.stdout[-2000:]}{run.stderr}"
    tests: dict[tuple[str, str], Test] = {}
    for line in run.stdout.splitlines():
        if line.startswith(_MARK):
            path, name, params, full = json.loads(line.removeprefix(_MARK))
            so_far = tests.get((path, name), Test(path, name, frozenset(), True))
            places = so_far.places | _places(path, name, params)
            tests[path, name] = Test(path, name, places, so_far.full and full)
    return sorted(tests.values(), key=lambda test: test.path)


def _places(path: str, name: str, params: str) -> frozenset[Place]:
    chosen = {place for store, place in _STORES.items() if store in params}
    if chosen:
        return frozenset(chosen)
    if params.startswith("model"):
        return frozenset()
    known = [places for start, places in _PLACES.items() if f"{path}::{name}".startswith(start)]
    return known[0] if known else _FILE


# --- writing ---


def made(tests: list[Test]) -> str:
    """The page."""
    parts = [HEAD]
    for title, rows in SECTIONS.items():
        parts.append(f"## {title}\n")
        parts.append("\n".join(_table(rows, tests)) + "\n")
        parts.append("\n".join(_list(rows, tests)) + "\n")
    return "\n".join(parts)


def of(row: Row, tests: list[Test]) -> list[Test]:
    """The tests of a row."""
    return [test for test in tests if row.id in test.rows]


def _table(rows: tuple[Row, ...], tests: list[Test]) -> Iterator[str]:
    yield "| row | fault | what happens | SQLite | Redis, Valkey |"
    yield "|---|---|---|---|---|"
    for row in rows:
        on_file = _cell("file", row.no_file, of(row, tests))
        on_server = _cell("server", row.no_server, of(row, tests))
        yield f"| {row.id} | {row.fault} | {row.behaviour} | {on_file} | {on_server} |"


def _cell(place: Place, reason: str | None, tests: list[Test]) -> str:
    some = [test for test in tests if place in test.places]
    if not some:
        return reason or "**untested**"
    return "in full" if all(test.full for test in some) else "tested"


def _list(rows: tuple[Row, ...], tests: list[Test]) -> Iterator[str]:
    for row in rows:
        for test in of(row, tests):
            yield f"- {row.id}: `{test.path}::{test.name}`{_note(test)}"


def _note(test: Test) -> str:
    words = [] if test.places == _BOTH else ["SQLite" if "file" in test.places else "Redis, Valkey"]
    words += ["in full"] if test.full else []
    return f" ({'; '.join(words)})" if words else ""


def untested(tests: list[Test]) -> list[str]:
    """The rows that neither a test nor a reason holds on one kind of store, and those that have both."""
    wrong = []
    for row in ROWS.values():
        held = {place for test in of(row, tests) for place in test.places}
        for place, reason in (("file", row.no_file), ("server", row.no_server)):
            if (place in held) == (reason is not None):
                wrong.append(f"{row.id} on a {place}: {'a test and a reason' if reason else 'neither test nor reason'}")
    return wrong


def main() -> None:
    """Write the page."""
    tests = found()
    text = made(tests)
    if "--write" in sys.argv:
        PAGE.write_text(text)
    else:
        print(text)
    for line in untested(tests):
        print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
