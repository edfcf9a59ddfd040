"""What a person wants to know of a server that jobs live on: settings, room, clock, speed, what this user may do.

Judges nothing. Writes one field and takes it away again, to see how long a write lasts.
"""

import statistics
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from surefoot import clock
from surefoot.brokers.broker import NoAnswer
from surefoot.brokers.redis import rights
from surefoot.brokers.redis.connection import Connections
from surefoot.brokers.redis.names import key
from surefoot.brokers.redis.read import store_ms
from surefoot.brokers.redis.refusals import meaning, word_of
from surefoot.brokers.redis.server import Server

_ROUNDS: Final = 7
_SETTINGS: Final = ("save", "appendfsync")


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says, each None if it will not say. Times are milliseconds.

    `primary`: whose replica it is. `log`: when the append-only file is flushed, "" if there is none. `snapshots`:
    whether it makes any. `failing`: what it could not write lately. `offset_ms`: how far its clock is before this
    machine's. `write_ms`: the median of a few writes; `write_refused`: why there was none. `refused`: commands that
    this user may not use, by purpose; empty: it may use all.
    """

    software: str | None
    round_trip_ms: float
    primary: str | None = None
    log: str | None = None
    snapshots: bool | None = None
    failing: tuple[str, ...] = ()
    eviction: str | None = None
    evicted: int | None = None
    used_bytes: int | None = None
    max_bytes: int | None = None
    offset_ms: int | None = None
    write_ms: float | None = None
    write_refused: str | None = None
    refused: Mapping[str, tuple[str, ...]] | None = None


def examine(server: Server, namespace: str, nonce: str) -> ServerFacts:
    """Look at a server. Raises StoreUnavailable if it cannot be reached, NoAnswer if it cannot say now."""
    connections = Connections(server)
    probe = f"{namespace}:doctor-{nonce}"
    try:
        connections.send_sync(("INFO", "server"))  # the first call opens the connection, and is not timed
        began_ms, began = clock.wall_ms(), clock.monotonic()
        [time] = connections.send_sync(("TIME",))
        took_ms = (clock.monotonic() - began) * 1_000
        info, *settings = connections.send_sync(("INFO",), *[("CONFIG", "GET", name) for name in _SETTINGS])
        if isinstance(info, Exception) and isinstance(later := meaning(server.shown, "", info), NoAnswer):
            raise later
        told = {} if isinstance(info, Exception) else _lines(info)
        set_to = dict(zip(_SETTINGS, [_setting(reply) for reply in settings], strict=True))
        write_ms, write_refused = _written(connections, probe)
        return ServerFacts(
            software=_software(told),
            round_trip_ms=took_ms,
            primary=f"{told.get('master_host')}:{told.get('master_port')}" if told.get("role") == "slave" else None,
            log=_log(told, set_to["appendfsync"]),
            snapshots=None if set_to["save"] is None else bool(set_to["save"]),
            failing=tuple(_failing(told)),
            eviction=told.get("maxmemory_policy"),
            evicted=_number(told, "evicted_keys"),
            used_bytes=_number(told, "used_memory"),
            max_bytes=_number(told, "maxmemory"),
            offset_ms=None if isinstance(time, Exception) else round(store_ms(time) - began_ms - took_ms / 2),
            write_ms=write_ms,
            write_refused=write_refused,
            refused=_refused(connections, probe),
        )
    finally:
        connections.close_sync()


def _lines(info: bytes) -> dict[str, str]:
    pairs = [line.partition(":") for line in info.decode("utf-8", "replace").splitlines()]
    return {name: value for name, colon, value in pairs if colon}


def _setting(reply: Any) -> str | None:
    """One answer of CONFIG GET; None if it was refused, or is unknown there."""
    if isinstance(reply, Exception) or len(reply) < 2:
        return None
    value: bytes = reply[1]
    return value.decode("utf-8", "replace")


def _software(told: Mapping[str, str]) -> str | None:
    if "valkey_version" in told:
        return f"Valkey {told['valkey_version']}"
    return f"Redis {told['redis_version']}" if "redis_version" in told else None


def _log(told: Mapping[str, str], fsync: str | None) -> str | None:
    match told.get("aof_enabled"):
        case None:
            return None
        case "1":
            return fsync or "unknown"
        case _:
            return ""


def _failing(told: Mapping[str, str]) -> Iterator[str]:
    if told.get("aof_last_write_status", "ok") != "ok":
        yield "the append-only file"
    if told.get("rdb_last_bgsave_status", "ok") != "ok":
        yield "a snapshot"


def _number(told: Mapping[str, str], name: str) -> int | None:
    word = told.get(name, "")
    return int(word) if word.isdigit() else None


def _written(connections: Connections, probe: str) -> tuple[float | None, str | None]:
    """How long a write lasts, and why there was none. Each round writes a field and takes it away."""
    name = key(probe, "probe")
    took: list[float] = []
    for _ in range(_ROUNDS):
        began = clock.monotonic()
        wrote, _gone = connections.send_sync(("HSET", name, "a", "1"), ("HDEL", name, "a"))
        if isinstance(wrote, Exception):
            return None, word_of(wrote)
        took.append((clock.monotonic() - began) * 1_000)
    return statistics.median(took), None


def _needed() -> dict[str, tuple[str, ...]]:
    """Commands by purpose."""
    return {
        "to look": (*rights.LOOKS, "TIME"),
        "to change": (*sorted(rights.all_called() - set(rights.LOOKS) - {"TIME"}), *rights.SAYS),
        "to wait for results": ("SUBSCRIBE",),
        "for a worker": ("BLPOP", "CLIENT ID", "CLIENT UNBLOCK"),
        "to list the queues": ("SCAN",),
    }


def _refused(connections: Connections, probe: str) -> Mapping[str, tuple[str, ...]] | None:
    """What this user may not say, by purpose; None if the server cannot tell."""
    needed = _needed()
    names = [name for some in needed.values() for name in some]
    [reply] = connections.send_sync(rights.question(names, probe))
    if isinstance(reply, Exception) and word_of(reply) == "NOPERM":
        return {"to change": ("EVAL",)}
    bad = rights.understood(names, reply)
    if bad is None:
        return None
    found = {purpose: tuple(name for name in some if name in bad) for purpose, some in needed.items()}
    return {purpose: some for purpose, some in found.items() if some}
