"""The verb orphans as steps: looks page by page for jobs without a body, bodies in no place, keys without a holder.

Plain reads. What moves while it is looked at is looked at again; the verb repair looks once more, in one step.
"""

from typing import Any, Final

from surefoot.brokers.answers import Damage
from surefoot.brokers.broker import Orphans
from surefoot.brokers.redis.names import key
from surefoot.brokers.redis.read import ask, store_ms
from surefoot.brokers.redis.server import Command
from surefoot.brokers.redis.steps import Steps

_AT_ONCE: Final = 500
_WITH_BODIES: Final = 100
"""How many fields a page reads of a server that cannot leave the values out."""
_LOOKS: Final = 5
_PLACES: Final = ("leases", "pending", "scheduled", "dead", "kept")
# A body in no place comes first: the next claim finds a job without one, and nobody else finds this.
_SCANS: Final = {"jobs": "HSCAN", "unique": "HSCAN", "parked": "HSCAN", **dict.fromkeys(_PLACES, "ZSCAN")}
_PARTS: Final = tuple(_SCANS)


def orphans(verb: Orphans, now: int | None) -> Steps[Damage]:
    """The verb orphans. A cursor names the key that is read and where in it."""
    queue = verb.queue
    part, _, at = (verb.cursor or f"{_PARTS[0]} 0").partition(" ")
    place, pairs = yield from _page(queue, part, at)
    rest = _PARTS[_PARTS.index(part) + 1 :]
    cursor = f"{part} {place}" if place != "0" else f"{rest[0]} 0" if rest else None
    if part == "unique":
        keys = yield from _ownerless(queue, pairs)
        return Damage(keys=keys, looked=len(pairs), cursor=cursor)
    ids = [id for id, _ in pairs]
    broken = yield from _broken(queue, ids, now)
    lost = tuple(_text(id) for id, has_place in broken.items() if has_place and part != "jobs")
    strays = tuple(_text(id) for id, has_place in broken.items() if not has_place and part == "jobs")
    return Damage(lost=lost, strays=strays, looked=len(ids), cursor=cursor)


def _page(queue: str, part: str, at: str) -> Steps[tuple[str, list[tuple[bytes, bytes]]]]:
    """Where to go on, and members with what stands beside them (not the bodies, if the server can leave them out)."""
    scan: Command = (_SCANS[part], key(queue, part), at, "COUNT", _AT_ONCE)
    if part == "jobs":
        page, *_ = yield [(*scan, "NOVALUES")]
        if not isinstance(page, Exception):
            place, ids = page
            return _text(place), [(id, b"") for id in ids]
        scan = (*scan[:-1], _WITH_BODIES)
    [(place, flat)] = yield from ask(queue, [scan])
    return _text(place), list(zip(flat[::2], flat[1::2], strict=True))


def _broken(queue: str, ids: list[bytes], now: int | None) -> Steps[dict[bytes, bool]]:
    """Of these jobs those that are only half there, and whether they stand in a place."""
    found: dict[bytes, bool] = {}
    wanted = ids
    for _ in range(_LOOKS):
        if not wanted:
            return {}
        asked: list[Command] = [("ZMSCORE", key(queue, name), *wanted) for name in _PLACES]
        asked.append(("HMGET", key(queue, "parked"), *wanted))
        asked += [("HEXISTS", key(queue, "jobs"), id) for id in wanted]
        leases, *places, time = yield from _timed(queue, asked, now)
        scores, bodies = [leases, *places[: len(_PLACES)]], places[len(_PLACES) :]
        found = {}
        for id, body, lease, *others in zip(wanted, bodies, *scores, strict=True):
            stands = lease is not None or any(score is not None for score in others)
            runs = lease is not None and float(lease) > time  # its worker has it whole
            if stands != bool(body) and not runs:
                found[id] = stands
        wanted = list(found)
    return found


def _timed(queue: str, asked: list[Command], now: int | None) -> Steps[list[Any]]:
    *replies, time = yield from ask(queue, [*asked, ("TIME",)])
    return [*replies, store_ms(time) if now is None else now]


def _ownerless(queue: str, pairs: list[tuple[bytes, bytes]]) -> Steps[tuple[str, ...]]:
    """Keys whose holder is gone or over, but for those that are held for a period."""
    wanted = pairs
    for _ in range(_LOOKS):
        if not wanted:
            return ()
        members, ids = [member for member, _ in wanted], [id for _, id in wanted]
        asked: list[Command] = [("ZMSCORE", key(queue, "unique_until"), *members)]
        asked += [("HMGET", key(queue, "unique"), *members)]
        asked += [("ZMSCORE", key(queue, name), *ids) for name in ("dead", "kept")]
        asked += [("HEXISTS", key(queue, "jobs"), id) for id in ids]
        periods, holders, dead, kept, *bodies = yield from ask(queue, asked)
        wanted = [
            pair
            for pair, period, holder, *over, body in zip(wanted, periods, holders, dead, kept, bodies, strict=True)
            if period is None and holder == pair[1] and (not body or any(score is not None for score in over))
        ]
    return tuple(_text(member) for member, _ in wanted)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
