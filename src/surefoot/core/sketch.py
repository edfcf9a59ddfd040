"""How long jobs waited and ran, as counts in buckets that grow by a constant factor, so that a quantile of any number
of jobs costs the same room and is off by at most 5 % (C. Masson, J. Rim, H. Lee: DDSketch, VLDB 2019). Pure.

Waiting and running times stand in one table: a bucket's number says which of the two it counts.
"""

import math
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

Times: TypeAlias = dict[int, int]
"""How many times fell into each bucket."""
Of: TypeAlias = Literal["waiting", "running"]

FACTOR: Final = 1.1
BASES: Final[Mapping[Of, int]] = {"waiting": 1_000, "running": 2_000}
"""The bucket of 0 ms. No number is small, so that no store takes a full table for a list."""
MOST: Final = 400
"""So many buckets reach beyond 100 years."""

_PER_E: Final = 1 / math.log(FACTOR)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(dict[int, int]).decode


def bucket(of: Of, ms: int) -> int:
    """Where a time is counted."""
    return BASES[of] + (0 if ms <= 0 else min(MOST - 1, 1 + math.ceil(math.log(ms) * _PER_E)))


def add(times: Times, of: Of, ms: int) -> None:
    """Count one time."""
    place = bucket(of, ms)
    times[place] = times.get(place, 0) + 1


def merge(times: Times, more: Mapping[int, int]) -> None:
    """Count all that another table has counted."""
    for place, count in more.items():
        times[place] = times.get(place, 0) + count


def total(times: Mapping[int, int], of: Of) -> int:
    """How many times are counted."""
    return sum(count for place, count in times.items() if 0 <= place - BASES[of] < MOST)


def quantile(times: Mapping[int, int], of: Of, share: float) -> float | None:
    """The time in seconds that this share of the jobs did not exceed; None if there is none."""
    base = BASES[of]
    places = sorted(place for place in times if 0 <= place - base < MOST)
    rank = share * (sum(times[place] for place in places) - 1)
    seen = 0
    for place in places:
        seen += times[place]
        if seen > rank:
            return 0.0 if place == base else 2 * FACTOR ** (place - base - 1) / (FACTOR + 1) / 1_000
    return None


def encode(times: Times) -> bytes:
    """As MessagePack; nothing for an empty table."""
    return _encode(times) if times else b""


def decode(raw: bytes) -> Times:
    """What `encode` gave; an empty table for what nobody can read."""
    try:
        return {place: count for place, count in _decode(raw).items() if count > 0} if raw else {}
    except (msgspec.MsgspecError, ValueError):
        return {}
