"""What the facts of a Redis or Valkey server mean for jobs. Asks the server nothing."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from surefoot.cli.doctor.findings import Finding, fail, ok, warn

if TYPE_CHECKING:
    from surefoot.brokers.redis.exam import ServerFacts

_OLDEST: Final = (6, 2)
_DROPS: Final = "allkeys-"
_NEARLY_FULL: Final = 0.8
_CLOCK_MS: Final = 2_000
_SLOW_MS: Final = 50.0
_MANY: Final = 10


def judge_server(facts: "ServerFacts", namespace: str) -> Iterator[Finding]:
    """A finding for each check of a server."""
    yield _version(facts)
    yield _role(facts)
    yield _persistence(facts)
    yield _eviction(facts)
    yield _memory(facts)
    yield _clock(facts)
    yield _write(facts)
    yield _commands(facts, namespace)


def _version(facts: "ServerFacts") -> Finding:
    took = f"{facts.round_trip_ms:.1f} ms away"
    details = {"software": facts.software, "round_trip_ms": round(facts.round_trip_ms, 3)}
    if facts.software is None:
        return warn("version", f"the server, {took}, does not say what it is.", "Allow INFO to this user.", **details)
    numbers = tuple(int(number) for number in re.findall(r"\d+", facts.software)[:2])
    if facts.software.startswith("Redis") and numbers < _OLDEST:
        return fail("version", f"{facts.software} is too old.", "Use Redis 6.2 or newer, or Valkey.", **details)
    return ok("version", f"{facts.software}, {took}.", **details)


def _role(facts: "ServerFacts") -> Finding:
    if facts.software is None:
        return warn("role", "the server does not say whether it is a replica.", "Allow INFO to this user.", role=None)
    if facts.primary is not None:
        return fail(
            "role", f"a replica of {facts.primary}, which takes no writes.", "Give the URL of its primary.",
            role="replica", primary=facts.primary,
        )  # fmt: skip
    return ok("role", "a primary.", role="primary", primary=None)


def _persistence(facts: "ServerFacts") -> Finding:
    log, snapshots = facts.log, facts.snapshots
    details = {"log": log, "snapshots": snapshots, "failing": facts.failing}
    if facts.failing:
        return fail(
            "persistence", f"the server could not write {' and '.join(facts.failing)} to its disk.",
            "Look at its log and its disk.", **details,
        )  # fmt: skip
    match log:
        case None:
            return warn(
                "persistence", "the server does not say what it keeps.", "See that appendonly is yes.", **details
            )
        case "always":
            return ok("persistence", "a log, flushed before each answer.", **details)
        case "no":
            return warn(
                "persistence", "a log, flushed when the system likes: a power cut may take half a minute.",
                "Set appendfsync everysec, or always.", **details,
            )  # fmt: skip
        case "":
            pass
        case _:
            return ok("persistence", f"a log (appendfsync {log}): a power cut may take the last second.", **details)
    lost = "nothing on disk: when the server stops, every job in it is lost."
    if snapshots is not False:
        kept = "no log" if snapshots is None else "snapshots only"
        lost = f"{kept}: when the server dies, what came after its last snapshot is lost."
    return warn("persistence", lost, "Set appendonly yes.", **details)


def _eviction(facts: "ServerFacts") -> Finding:
    policy = facts.eviction
    details = {"policy": policy, "evicted": facts.evicted}
    if policy is None:
        return warn(
            "eviction", "the server does not say whether it may drop jobs.", "See that maxmemory-policy is noeviction.",
            **details,
        )  # fmt: skip
    if policy.startswith(_DROPS):
        gone = f" {facts.evicted:,} keys of this server were dropped already." if facts.evicted else ""
        return fail(
            "eviction", f"{policy}: the server may drop jobs when its memory is full.{gone}",
            "Set maxmemory-policy noeviction.", **details,
        )  # fmt: skip
    rest = "" if policy == "noeviction" else ": it drops only keys with a time to live, and none of ours has one"
    return ok("eviction", f"{policy}{rest}.", **details)


def _memory(facts: "ServerFacts") -> Finding:
    used, most = facts.used_bytes, facts.max_bytes
    details = {"used_bytes": used, "max_bytes": most}
    if used is None or most is None:
        return warn("memory", "the server does not say how full it is.", "Allow INFO to this user.", **details)
    if not most:
        return ok("memory", f"{_mib(used)} used, no limit (maxmemory 0).", **details)
    words = f"{_mib(used)} of {_mib(most)} used"
    way_out = "Raise maxmemory, or see what fills it: `surefoot stats`."
    if used >= most:
        return fail("memory", f"{words}: it is full, and takes no jobs.", way_out, **details)
    return ok("memory", f"{words}.", **details) if used < _NEARLY_FULL * most else warn(
        "memory", f"{words}: when it is full it takes no jobs.", way_out, **details
    )  # fmt: skip


def _clock(facts: "ServerFacts") -> Finding:
    offset = facts.offset_ms
    if offset is None:
        return fail("clock", "the server does not tell its time.", "Allow TIME to this user.", offset_ms=None)
    words = (
        f"the server's clock is {abs(offset) / 1_000:.3f} s {'ahead of' if offset >= 0 else 'behind'} this machine's"
    )
    if abs(offset) <= _CLOCK_MS:
        return ok("clock", f"{words}.", offset_ms=offset)
    return warn(
        "clock", f"{words}. Its clock rules due times, leases and crons.", "Set both clocks by NTP.", offset_ms=offset
    )  # fmt: skip


def _write(facts: "ServerFacts") -> Finding:
    ms = facts.write_ms
    if ms is not None:
        words = f"{ms:.2f} ms a write (median of a few)"
        details = {"median_ms": round(ms, 3)}
        if ms <= _SLOW_MS:
            return ok("write", f"{words}.", **details)
        return warn("write", f"{words}: that is slow.", "Look at the network, and at the server's disk.", **details)
    match facts.write_refused:
        case "OOM":
            return fail(
                "write", "the server is full and takes no jobs.", "Make room, or raise maxmemory.", refused="OOM"
            )
        case "NOPERM":
            return warn(
                "write", "not measured: this user may not write.", "Use the user of a producer or a worker.",
                refused="NOPERM",
            )  # fmt: skip
        case word:
            return fail("write", f"the server refuses writes ({word}).", "Look at its log and its disk.", refused=word)


def _commands(facts: "ServerFacts", namespace: str) -> Finding:
    refused = facts.refused
    if refused is None:
        return ok(
            "commands", "not checked: this server cannot say what a user may do (Redis 7 and Valkey can).", refused=None
        )
    if not refused:
        return ok("commands", "this user may use all that surefoot needs.", refused={})
    if refused == {"to change": ("EVAL",)}:
        return warn(
            "commands", "this user may look and change nothing: it lacks EVAL.",
            "That is right for a viewer; give others the lines of the page on deploying.", refused=refused,
        )  # fmt: skip
    words = "; ".join(f"{', '.join(names)} ({purpose})" for purpose, names in refused.items())
    keys = sum(map(len, refused.values())) > _MANY
    hint = f" and the keys ~{{{namespace}:*" if keys else ""
    make = fail if refused.keys() & {"to look", "to change"} else warn
    return make(
        "commands", f"this user may not use {words}.",
        f"Allow what it is for{hint}: the page on deploying has the lines.", refused=refused,
    )  # fmt: skip


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
