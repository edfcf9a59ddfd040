"""The verb find as steps: pages of a queue's records, or the holder of a key. No place is ever read as a whole."""

from typing import Final, TypeAlias

import msgspec

from surefoot.brokers.answers import Page, Record
from surefoot.brokers.broker import Find
from surefoot.brokers.redis.names import key
from surefoot.brokers.redis.read import ask, records, store_ms
from surefoot.brokers.redis.server import Command
from surefoot.brokers.redis.steps import Steps
from surefoot.core.errors import UsageError

# completed, cancelled and expired jobs share one zset.
_PLACES: Final = ("scheduled", "pending", "parked", "processing", "dead", "kept")
_ZSETS: Final = {
    "processing": "leases",
    "parked": "parking",
    "completed": "kept",
    "cancelled": "kept",
    "expired": "kept",
}
_KEPT: Final = frozenset({"completed", "cancelled", "expired"})

_MOST_READ: Final = 10_000
"""How many entries beyond its limit a page looks at, if most are of another state than asked."""
_BATCH: Final = 500
_ALIKE: Final = 100
"""How many entries of one score a first look skips."""
_PROBES: Final = 32
_TRIES: Final = 3

Entry: TypeAlias = tuple[bytes, bytes]
"""Score and member, as the server wrote them."""


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended: the place, and the entry it showed last; without a member before everything.

    A member stands as one character a byte: somebody else's need not be text.
    """

    name: str
    score: str = "+inf"
    member: str | None = None

    def behind(self, entry: Entry) -> bool:
        """Whether an entry comes after this one: a lower score, or the same and a lower member."""
        if self.member is None:
            return True
        return (float(entry[0]), entry[1]) < (float(self.score), self.member.encode("latin-1"))

    def at(self, entry: Entry) -> "Place":
        """The same place, farther on."""
        return Place(self.name, entry[0].decode(), entry[1].decode("latin-1"))


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Place).decode


def find(verb: Find, now: int | None) -> Steps[Page]:
    """The verb find: highest score first (pending: rank; parked: reason, then rank; finished: when it is forgotten),
    among equals highest id first. A job that changes its place between two pages may be missed or met twice; a page
    may be shorter than asked although more follow.
    """
    queue, state = verb.queue, verb.state
    if verb.key is not None:
        return (yield from _holder(verb, now))
    places = _PLACES if state is None else (state,)
    place = Place(places[0]) if verb.cursor is None else _place(verb.cursor, places)
    ids: list[str] = []
    read = 0
    while True:
        room = verb.limit - len(ids)
        most = room if state not in _KEPT else min(max(room, _BATCH), verb.limit + _MOST_READ - read)
        entries, ended = yield from _entries(queue, place, most)
        read += len(entries)
        shown = entries if state not in _KEPT else (yield from _ended_as(queue, entries, state))
        if len(shown) >= room:
            entries = shown = shown[:room]
        if entries:
            place = place.at(entries[-1])
        ids += [_id(place, entry) for entry in shown]
        if len(ids) >= verb.limit:
            break
        if ended:
            rest = places[places.index(place.name) + 1 :]
            if not rest:
                return (yield from _page(verb, ids, None))
            place = Place(rest[0])
        elif not entries:
            break  # enough was read, or others change it faster than we look
    return (yield from _page(verb, ids, place))


def _page(verb: Find, ids: list[str], place: Place | None) -> Steps[Page]:
    known = yield from records(verb.queue, ids)
    # What left its place since it was listed is no longer what was asked for.
    shown = [known[id] for id in dict.fromkeys(ids) if id in known]
    cursor = None if place is None else _encode(place).decode()
    return Page(_in_state(verb, shown), cursor)


def _in_state(verb: Find, found: list[Record]) -> list[Record]:
    return [record for record in found if verb.state is None or record.state == verb.state]


def _place(cursor: str, places: tuple[str, ...]) -> Place:
    try:
        place = _decode(cursor)
        float(place.score)
        (place.member or "").encode("latin-1")
    except (msgspec.MsgspecError, ValueError):
        place = Place("")
    if place.name not in places:
        raise UsageError(f"find(cursor={cursor!r}): this is no cursor of such a find; start again without one.")
    return place


def _id(place: Place, entry: Entry) -> str:
    member = entry[1].decode("utf-8", "replace")
    return member.rpartition("\x1f")[2] if place.name == "parked" else member


def _holder(verb: Find, now: int | None) -> Steps[Page]:
    """The job that has the key. One whose period is over has nothing, and one that is gone neither."""
    queue = verb.queue
    commands: list[Command] = [
        ("HGET", key(queue, "unique"), verb.key or ""),
        ("ZSCORE", key(queue, "unique_until"), verb.key or ""),
    ]
    if now is None:
        commands.append(("TIME",))
    id, until, *time = yield from ask(queue, commands)
    now_ms = store_ms(time[0]) if now is None else now
    if id is None or (until is not None and float(until) <= now_ms):
        return Page([], None)
    known = yield from records(queue, [id.decode("utf-8", "replace")])
    return Page(_in_state(verb, list(known.values())), None)


def _ended_as(queue: str, entries: list[Entry], state: str) -> Steps[list[Entry]]:
    """Those of some kept entries that ended so."""
    found: list[Entry] = []
    for first in range(0, len(entries), _BATCH):
        some = entries[first : first + _BATCH]
        ids = [member for _, member in some]
        [lines] = yield from ask(queue, [("HMGET", key(queue, "results"), *ids)])
        word = state.encode() + b" "
        found += [entry for entry, line in zip(some, lines, strict=True) if line is not None and line.startswith(word)]
    return found


# --- entries of a place ---


def _entries(queue: str, place: Place, most: int) -> Steps[tuple[list[Entry], bool]]:
    """The next entries behind a place, at most so many, and whether they are the last ones."""
    zset = key(queue, _ZSETS.get(place.name, place.name))
    command: Command
    if place.name == "parked":
        top = b"+" if place.member is None else b"(" + place.member.encode("latin-1")
        command = ("ZREVRANGEBYLEX", zset, top, "-", "LIMIT", 0, most)
        [members] = yield from ask(queue, [command])
        return [(b"0", member) for member in members], len(members) < most
    wide = most if place.member is None else most + _ALIKE
    command = ("ZREVRANGEBYSCORE", zset, place.score, "-inf", "WITHSCORES", "LIMIT", 0, wide)
    [flat] = yield from ask(queue, [command])
    looked = _pairs(flat)
    fresh = [entry for entry in looked if place.behind(entry)]
    if not fresh and len(looked) == wide > 0:
        return (yield from _far_entries(queue, zset, place, most))
    return fresh[:most], len(looked) < wide and len(fresh) <= most


def _far_entries(queue: str, zset: str, place: Place, most: int) -> Steps[tuple[list[Entry], bool]]:
    """The same where many entries of the place's own score come before it: by position, which others may shift.

    No entries, and not the last ones: it was shifted each time.
    """
    for _ in range(_TRIES):
        position = yield from _position(queue, zset, place)
        # One entry before it shows that none was skipped.
        start = max(0, position - 1)
        [flat] = yield from ask(queue, [("ZREVRANGE", zset, start, start + most, "WITHSCORES")])
        looked = _pairs(flat)
        fresh = [entry for entry in looked if place.behind(entry)]
        ended = len(looked) <= most
        if (position == 0 or len(fresh) < len(looked)) and (fresh or ended):
            return fresh[:most], ended
    return [], False


def _position(queue: str, zset: str, place: Place) -> Steps[int]:
    """How many entries are not behind a place. Its own entry may be gone, so it is sought among those of its score."""
    low, high = yield from ask(
        queue, [("ZCOUNT", zset, "(" + place.score, "+inf"), ("ZCOUNT", zset, place.score, "+inf")]
    )
    while low < high:
        step = (high - low) // (_PROBES + 1) + 1
        ranks = range(low + step - 1, high, step)
        probes = yield from ask(queue, [("ZREVRANGE", zset, rank, rank, "WITHSCORES") for rank in ranks])
        for rank, flat in zip(ranks, probes, strict=True):
            if not flat or place.behind((flat[1], flat[0])):
                high = rank
                break
            low = rank + 1
    return int(low)


def _pairs(flat: list[bytes]) -> list[Entry]:
    return list(zip(flat[1::2], flat[::2], strict=True))
