"""What may be left in a Redis store when nothing is under way: every job whole in one place, and nothing without a job.

Reads with plain commands over a plain socket, so that it shares no code and no mistake with the broker.
"""

import math
import re
from collections.abc import Collection, Iterator
from typing import Any

import msgspec
from tests.servers import Conversation

NAMES = {
    "meta": "hash",
    "jobs": "hash",
    "traits": "hash",
    "counts": "hash",
    "errors": "hash",
    "notes": "hash",
    "pending": "zset",
    "scheduled": "zset",
    "leases": "zset",
    "held": "hash",
    "parked": "hash",
    "parking": "zset",
    "dead": "zset",
    "kept": "zset",
    "results": "hash",
    "unique": "hash",
    "unique_until": "zset",
    "cancels": "hash",
    "wake": "list",
    "workers": "hash",
    "stats": "hash",
    "audit": "list",
}
PLACES = ("pending", "scheduled", "leases", "parked", "dead", "kept")
UNFINISHED = ("pending", "scheduled", "leases", "parked")
NO_TTL = -1
ERRORS_MOST = 10
CHANGES_MOST = 1_000
RANK_STEP = 64
RANK_SHIFT = 2**53

KEY = re.compile(r"\{([A-Za-z0-9_.-]+:[A-Za-z0-9_.:-]+)\}:(\w+)\Z")
MEMBER = re.compile(r"[^\x1f]+\x1f(\d{17})\x1f(.+)\Z", re.DOTALL)
WORDS = {"layout", "epoch", "paused", "watch", "max_length", "pruned", "prune_at"}
PREFIXES = ("tail:", "total:", "tick:", "cron_paused:", "call:")
SLOT = re.compile(r"(h?)(t?)(\d+)")
ROW = re.compile(rb"(\d+|-)( \d+){8}( .*)?")
TRAITS = {"priority", "unique", "unique_until", "needs"}
RECORDS = {
    "jobs": re.compile(rb"\d+\n.*\Z", re.DOTALL),
    "counts": re.compile(rb"\d+( \d+){4}( .*)?\Z"),
    "held": re.compile(rb"\S+\.\d+ -?\d+ \d+\Z"),
    "parked": re.compile(rb"\d+ [^\x1f]+\x1f\d{17}\x1f.+\Z", re.DOTALL),
    "results": re.compile(rb"(completed|cancelled|expired) \d+ \d+ \d+ \S+\n.*\Z", re.DOTALL),
    "workers": re.compile(rb"\d+ .*\Z", re.DOTALL),
}


class Contents(msgspec.Struct, frozen=True):
    """All keys of one queue by their short names; one that is absent is empty."""

    queue: str
    hashes: dict[str, dict[str, bytes]]
    zsets: dict[str, dict[str, float]]
    tokens: int
    changes: int = 0

    def table(self, name: str) -> Collection[str]:
        """The ids, or other members, of one key."""
        return self.hashes[name] if NAMES[name] == "hash" else self.zsets[name]

    def places(self, id: str) -> list[str]:
        """Where a job is."""
        return [name for name in PLACES if id in self.table(name)]


def leaks(talk: Conversation, *, lost: Collection[str] = ()) -> list[str]:
    """What is wrong with the store: a sentence each, with key and id. `lost`: jobs whose body a test took away."""
    found: list[str] = []
    queues: dict[str, list[str]] = {}
    for raw in sorted(talk.say("KEYS", "*")):
        key = _text(raw)
        match = KEY.match(key)
        if match is None or match[2] not in NAMES:
            found.append(f"{key}: not a key of the layout")
            continue
        if (ttl := talk.say("PTTL", raw)) != NO_TTL:
            found.append(f"{key}: has a time to live of {ttl} ms")
        if (kind := talk.say("TYPE", raw).decode()) == NAMES[match[2]]:
            queues.setdefault(match[1], []).append(match[2])
        else:
            found.append(f"{key}: is a {kind}")
    for queue, names in queues.items():
        contents = _read(talk, queue, names)
        for rule in (_places, _bodies, _facts, _leased, _parked, _unique, _house):
            found += [f"{{{queue}}}:{said}" for said in rule(contents, lost)]
    return found


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


def _read(talk: Conversation, queue: str, names: list[str]) -> Contents:
    hashes: dict[str, dict[str, bytes]] = {name: {} for name, kind in NAMES.items() if kind == "hash"}
    zsets: dict[str, dict[str, float]] = {name: {} for name, kind in NAMES.items() if kind == "zset"}
    tokens = changes = 0
    for name in names:
        key = f"{{{queue}}}:{name}"
        match NAMES[name]:
            case "hash":
                hashes[name] = {_text(field): value for field, value in _pairs(talk.say("HGETALL", key))}
            case "zset":
                scored = _pairs(talk.say("ZRANGE", key, 0, -1, "WITHSCORES"))
                zsets[name] = {_text(member): float(score) for member, score in scored}
            case _ if name == "wake":
                tokens = talk.say("LLEN", key)
            case _:
                changes = talk.say("LLEN", key)
    return Contents(queue, hashes, zsets, tokens, changes)


def _pairs(flat: list[Any]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _places(store: Contents, lost: Collection[str]) -> Iterator[str]:
    for id in sorted(set(store.hashes["jobs"]).union(*map(store.table, PLACES))):
        places = store.places(id)
        if not places:
            yield f"jobs: {id} is in no place"
        elif len(places) > 1:
            yield f"{places[0]}: {id} is in {' and '.join(places)}"


def _bodies(store: Contents, lost: Collection[str]) -> Iterator[str]:
    """Every place, and whatever is told of a job, is about a job that is there."""
    known = {*store.hashes["jobs"], *lost}
    for name in (*PLACES, "traits", "counts", "errors", "notes", "results", "held", "cancels"):
        yield from (f"{name}: {id} has no body in jobs" for id in store.table(name) if id not in known)


def _facts(store: Contents, lost: Collection[str]) -> Iterator[str]:
    for name, pattern in RECORDS.items():
        for id, record in store.hashes[name].items():
            if not pattern.match(record):
                yield f"{name}: {id} has {record!r}"
    for id, traits in store.hashes["traits"].items():
        if unknown := set(msgspec.json.decode(traits)) - TRAITS:
            yield f"traits: {id} has {unknown}"
    for id, lines in store.hashes["errors"].items():
        if lines.count(b"\n") >= ERRORS_MOST:
            yield f"errors: {id} has more than {ERRORS_MOST} lines"
    kept = store.zsets["kept"]
    yield from (f"results: {id} is not in kept" for id in store.hashes["results"] if id not in kept)
    yield from (f"kept: {id} has no line in results" for id in kept if id not in store.hashes["results"])
    yield from (f"notes: {id} is in kept" for id in store.hashes["notes"] if id in kept)


def _leased(store: Contents, lost: Collection[str]) -> Iterator[str]:
    leases, held = store.zsets["leases"], store.hashes["held"]
    yield from (f"held: {id} is not in leases" for id in held if id not in leases)
    yield from (f"leases: {id} is not in held" for id in leases if id not in held)
    yield from (f"cancels: {id} is not in leases" for id in store.hashes["cancels"] if id not in leases)


def _parked(store: Contents, lost: Collection[str]) -> Iterator[str]:
    members = {id: _text(record.partition(b" ")[2]) for id, record in store.hashes["parked"].items()}
    yield from (f"parked: {id} is not in parking" for id, at in members.items() if at not in store.zsets["parking"])
    for member, score in store.zsets["parking"].items():
        parts = MEMBER.match(member)
        if parts is None:
            yield f"parking: {member!r} is not reason, rank and id"
            continue
        rank, id = parts.groups()
        if members.get(id) != member:
            yield f"parking: {id} is not so in parked: {member!r}"
        if score:
            yield f"parking: {id} has the score {score}"
        if (int(rank) - RANK_SHIFT) % RANK_STEP:
            yield f"parking: {id} has the rank {rank}, which is no multiple of {RANK_STEP}"
    for id, score in store.zsets["pending"].items():
        if math.fmod(score, RANK_STEP):
            yield f"pending: {id} has the rank {score}, which is no multiple of {RANK_STEP}"


def _unique(store: Contents, lost: Collection[str]) -> Iterator[str]:
    """A key belongs to a job that is not over and that asked for it; one with a period may outlive its job."""
    periods = store.zsets["unique_until"]
    for member, raw in store.hashes["unique"].items():
        id = _text(raw)
        if member in periods:
            continue
        if not set(store.places(id)) & set(UNFINISHED):
            yield f"unique: {member!r} belongs to {id}, which is in {store.places(id) or 'no place'}"
        elif msgspec.json.decode(store.hashes["traits"].get(id, b"{}")).get("unique") != member:
            yield f"unique: {member!r} belongs to {id}, which did not ask for it"
    for member in periods:
        if member not in store.hashes["unique"]:
            yield f"unique_until: {member!r} is not in unique"


def _house(store: Contents, lost: Collection[str]) -> Iterator[str]:
    if store.tokens > 1:
        yield f"wake: holds {store.tokens} tokens"
    if store.changes > CHANGES_MOST:
        yield f"audit: holds {store.changes} changes"
    meta = store.hashes["meta"]
    yield from (
        f"meta: {name} is no word of it" for name in meta if name not in WORDS and not name.startswith(PREFIXES)
    )
    if meta.get("layout") != b"1" or "epoch" not in meta:
        yield f"meta: has the layout {meta.get('layout')!r} and the epoch {meta.get('epoch')!r}"
    yield from _history(store)


def _history(store: Contents) -> Iterator[str]:
    """Rows of numbers by minute, hour and since the beginning; and how long jobs waited and ran, in the first two."""
    for slot, raw in store.hashes["stats"].items():
        place = SLOT.fullmatch(slot)
        if slot != "all" and (place is None or int(place[3]) >= (30 * 24 if place[1] else 24 * 60)):
            yield f"stats: {slot} is no minute of a day and no hour of a month"
        elif place is not None and place[2]:
            first, _, packed = raw.partition(b" ")
            if not first.isdigit() or not msgspec.msgpack.decode(packed, type=dict[int, int]):
                yield f"stats: {slot} has {raw!r}"
        elif not ROW.fullmatch(raw):
            yield f"stats: {slot} has {raw!r}"
