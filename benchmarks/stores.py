"""A fresh store for one measurement, its own figures (commands, round trips, CPU, bytes), and what it still holds at
the end: a private Valkey, a SQLite file on a real disk, a PostgreSQL of our own.
"""

import os
import pwd
import re
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import psutil
from tests import servers
from tests.servers.guard import Guard

ROOT = Path(__file__).parent.parent


class Figures(NamedTuple):
    """What a store says of itself at one moment. Counts are of all its life; a store without a server has none."""

    commands: int = 0
    reads: int = 0
    cpu_s: float = 0.0
    bytes: int = 0


class Store(Protocol):
    """One store for as long as a measurement lasts."""

    url: str
    about: str

    def figures(self) -> Figures: ...

    def left(self) -> dict[str, int]:
        """How many entries each key or table holds; empty ones are left out."""
        ...


@contextmanager
def opened(kind: str) -> Iterator[Store]:
    """A fresh store of this kind; nothing of it stays behind."""
    folder = Path(tempfile.mkdtemp(prefix=".bench-", dir=ROOT / "benchmarks"))
    try:
        if kind == "sqlite":
            yield File(folder / "bench.db")
        elif kind == "postgres":
            with _postgres() as store:
                yield store
        else:
            with servers.start(folder) as server:
                yield Valkey(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


SIZES: Final = {b"list": "LLEN", b"zset": "ZCARD", b"set": "SCARD", b"hash": "HLEN", b"stream": "XLEN"}
SHOWN: Final = 1_000
RANDOM: Final = re.compile(r"[0-9a-f]{16,}|[0-9a-f-]{32,}")


class File:
    """A SQLite file on the disk that holds this repository."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = f"sqlite:///{path}"
        self.about = f"SQLite {sqlite3.sqlite_version}, WAL, flushed at each commit"

    def figures(self) -> Figures:
        return Figures(bytes=sum(file.stat().st_size for file in self._path.parent.glob("bench.db*")))

    def left(self) -> dict[str, int]:
        with sqlite3.connect(f"file:{self._path}?mode=ro", uri=True) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            counts = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}
        connection.close()
        return {name: count for name, count in counts.items() if count}


class Valkey:
    """A private server on a free port of 127.0.0.1 that keeps nothing on disk."""

    def __init__(self, server: servers.Server) -> None:
        self.server = server
        self.url = f"redis://{servers.HOST}:{server.port}/0"
        self.about = f"Valkey {server.version} on 127.0.0.1, nothing on disk"

    def figures(self) -> Figures:
        info = self.server.info()
        return Figures(
            int(info["total_commands_processed"]), int(info["total_reads_processed"]),
            float(info["used_cpu_user"]) + float(info["used_cpu_sys"]), int(info["used_memory"]),
        )  # fmt: skip

    def left(self) -> dict[str, int]:
        found: dict[str, int] = {}
        with self.server.conversation() as talk:
            _, keys = talk.say("SCAN", 0, "COUNT", 100_000)
            for key in keys[:SHOWN]:
                command = SIZES.get(talk.say("TYPE", key))
                size = talk.say(command, key) if command else 1
                name = RANDOM.sub("*", key.decode(errors="replace")) if command else "single values"
                found[name] = found.get(name, 0) + size
            if len(keys) > SHOWN:
                found["more keys"] = talk.say("DBSIZE") - SHOWN
        return found


class Postgres:
    """A server of our own, as it comes: durable, fsync on."""

    def __init__(self, port: int, bin_folder: Path, process: "subprocess.Popen[Any]") -> None:
        self._port, self._bin, self._process = port, bin_folder, process
        self.url = f"postgresql://bench@127.0.0.1:{port}/postgres"
        version = subprocess.run([bin_folder / "postgres", "--version"], capture_output=True, text=True, check=True)
        self.about = f"PostgreSQL {version.stdout.split()[2]} on 127.0.0.1, as it comes (fsync on)"

    def ask(self, question: str) -> str:
        command = [str(self._bin / "psql"), "-XAt", "-d", self.url, "-c", question]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def figures(self) -> Figures:
        # A backend that has ended counts among the children of the first process.
        cpu_s = 0.0
        for process in [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children()]:
            with suppress(psutil.Error):
                times = process.cpu_times()
                cpu_s += times.user + times.system
                cpu_s += times.children_user + times.children_system if process.pid == self._process.pid else 0
        return Figures(cpu_s=cpu_s, bytes=int(self.ask("SELECT pg_database_size('postgres')")))

    def left(self) -> dict[str, int]:
        tables = self.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").splitlines()
        counts = {table: int(self.ask(f'SELECT count(*) FROM "{table}"')) for table in tables}
        return {table: count for table, count in counts.items() if count}


def postgres_programs() -> Path | None:
    """Where this machine has a PostgreSQL server, if it has one: the newest."""
    for found in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[-3])[::-1]:
        return found.parent
    found_here = shutil.which("initdb")
    return Path(found_here).parent if found_here and shutil.which("postgres") else None


@contextmanager
def _postgres() -> Iterator[Postgres]:
    programs = postgres_programs()
    assert programs is not None, "there is no PostgreSQL here"
    folder = Path(tempfile.mkdtemp(prefix="bench-postgres-", dir="/var/tmp"))
    runs_as: dict[str, Any] = {}
    if os.geteuid() == 0:  # it refuses root
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        runs_as = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    data = folder / "data"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    setup = [str(programs / "initdb"), "-D", str(data), "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-locale"]
    subprocess.run(setup, check=True, **quiet, **runs_as)
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    settings = ["-c", f"unix_socket_directories={folder}", "-c", "max_connections=250", "-c", "shared_buffers=256MB"]
    command = [str(programs / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), *settings]
    with subprocess.Popen(command, start_new_session=True, **quiet, **runs_as) as process:
        guard = Guard(process.pid)  # it ends with us, however we end
        try:
            ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            until = time.monotonic() + 60
            while subprocess.run(ready, check=False).returncode:
                assert process.poll() is None, "PostgreSQL did not start"
                assert time.monotonic() < until, "PostgreSQL did not answer within a minute"
                time.sleep(0.05)
            yield Postgres(port, programs, process)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
            process.wait()
            guard.release()
            shutil.rmtree(folder, ignore_errors=True)
