"""Types and functions for the tests of Signature; their annotations are resolved, so they stand in a module."""

import enum
import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple, NewType, TypedDict

import attrs
import msgspec


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Point:
    x: int
    y: float = 0.0


@dataclass(eq=False)
class Plain:
    """A record without `==`."""

    items: list[int]
    anything: Any = None
    name: str = ""


class Size(msgspec.Struct):
    width: int
    tags: list[str] = []


class Blind(msgspec.Struct, eq=False):
    ratio: float | None
    inner: Point | None = None


class Pair(NamedTuple):
    left: str
    right: int


class Row(TypedDict):
    name: str
    price: float


@attrs.define
class Account:
    number: int
    owner: str = "nobody"


@dataclass
class Tree:
    value: int
    children: "list[Tree]" = field(default_factory=list)


UserId = NewType("UserId", int)


class Decimal128:
    """A number of somebody else's, which JSON has no form for."""


async def welcome(address: str, *, language: str = "en") -> str:
    return f"{language}:{address}"


def resize(path: str, width: int = 800) -> None: ...


def report(rows: Any, note: Any = None) -> object: ...


def loose(rows, note=None): ...  # type: ignore[no-untyped-def]


def prices(rows: list[Row]) -> list[Row]:
    return rows


def rates(rows: list[dict[str, float]], limit: float | None = None) -> float:
    return 0.0


def everything(
    a: int, b: float, c: bool, d: str, e: bytes, f: datetime, g: date, h: time, i: timedelta, j: uuid.UUID
) -> tuple[Any, ...]:
    return (a, b, c, d, e, f, g, h, i, j)


def containers(
    a: Decimal, b: Colour, c: Level, d: Point, e: Pair, f: Row, g: Size, h: Account, i: Tree, *, j: Literal["x", 1]
) -> tuple[Any, ...]:
    return (a, b, c, d, e, f, g, h, i, j)


def nested(
    a: list[Point], b: dict[str, list[int]], c: tuple[int, str], d: set[str], e: frozenset[int], *,
    f: dict[int, Colour] | None = None, g: list[Any] | None = None, h: UserId | None = None, i: object = None,
) -> tuple[Any, ...]:  # fmt: skip
    return (a, b, c, d, e, f, g, h, i)


def spread(first: int, /, second: str = "s", *rest: float, flag: bool = False, **named: Point) -> tuple[Any, ...]:
    return (first, second, rest, flag, named)


def middle(a: int = 1, b: int = 2, /, *rest: int) -> tuple[int, ...]:
    return (a, b, *rest)


def positional(first: int, /) -> int:
    return first


def objects(rows: list[dict[str, object]]) -> list[object]:
    return [*rows]


def plain(record: Plain) -> Plain:
    return record


def blind(record: Blind, sizes: list[Blind] | None = None) -> None: ...


def sets(numbers: list[int], unique: set[int] | None = None, fixed: tuple[int, ...] = ()) -> None: ...


def moments(at: datetime, text: str = "", span: timedelta = timedelta(0)) -> datetime:
    return at


def number(value: Decimal) -> Decimal:
    return value


def point() -> Point:
    return Point(1)
