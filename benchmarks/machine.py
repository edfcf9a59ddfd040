"""What the machine can, without any queue: the ceilings under which all of them work."""

import asyncio
import os
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from tests import servers

from benchmarks.bare_jobs import envelope
from benchmarks.stores import ROOT

SECONDS = 1.0
PIPELINE = 100


def limits() -> dict[str, float]:
    """How many of each a second."""
    with tempfile.TemporaryDirectory(dir=ROOT / "benchmarks", prefix=".bench-") as folder:
        place = Path(folder)
        found = {
            "fsyncs of one page": _flushes(place / "page"),
            "SQLite commits of one row, flushed": _commits(place / "rows.db"),
            "asyncio tasks made and run": _tasks(),
            "envelopes decoded": _decodes(),
        }
        with servers.start(place / "server") as server:
            found["round trips to Valkey, one at a time"] = _trips(server.port, 1)
            found["SETs in pipelines of 100"] = _trips(server.port, PIPELINE) * PIPELINE
    return found


def _a_second(act: Callable[[], object]) -> float:
    done, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < SECONDS:
        act()
        done += 1
    return done / passed


def _flushes(path: Path) -> float:
    page = os.urandom(4096)
    with path.open("wb", buffering=0) as file:

        def flush() -> None:
            file.write(page)
            os.fsync(file.fileno())

        return _a_second(flush)


def _commits(path: Path) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    for line in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE jobs(body BLOB)"):
        connection.execute(line)
    body = envelope(1, 1)
    rate = _a_second(lambda: connection.execute("INSERT INTO jobs VALUES (?)", (body,)))
    connection.close()
    return rate


def _tasks() -> float:
    import uvloop

    async def nothing() -> None: ...

    async def run() -> float:
        many, begun = 100_000, time.perf_counter()
        for _ in range(many // 100):
            await asyncio.gather(*[asyncio.ensure_future(nothing()) for _ in range(100)])
        return many / (time.perf_counter() - begun)

    return uvloop.run(run())


def _decodes() -> float:
    decode, body, many = msgspec.json.Decoder().decode, envelope(1, 1), 200_000
    begun = time.perf_counter()
    for _ in range(many):
        decode(body)
    return many / (time.perf_counter() - begun)


def _trips(port: int, pipeline: int) -> float:
    command = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n" * pipeline
    with socket.create_connection((servers.HOST, port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def trip() -> None:
            line.sendall(command)
            wanted = len(b"+OK\r\n") * pipeline
            while wanted:
                wanted -= len(line.recv(65_536))

        return _a_second(trip)
