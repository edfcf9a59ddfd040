"""What a worker and its child processes say to each other: records as MessagePack, each behind its length.

Arguments and results inside are the bytes of the codec; nothing here is ever pickled.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw

from surefoot.core.errors import ErrorInfo
from surefoot.core.job import Leased, Progress
from surefoot.core.outcome import (
    Cancelled,
    Interrupted,
    Lost,
    Outcome,
    Raised,
    Rejected,
    RetriedLater,
    Returned,
    Snoozed,
    TimedOut,
)
from surefoot.execution.outfit import Errand

_LENGTH: Final = struct.Struct("<I")
FRAME_LIMIT: Final = 64 << 20
"""More than any job or result may be: a longer frame is not ours."""

_OUTCOMES: Final = {
    kind.__name__: kind
    for kind in (Returned, Raised, TimedOut, Snoozed, RetriedLater, Rejected, Cancelled, Interrupted, Lost)
}


class Home(msgspec.Struct, frozen=True):
    """Where the code of a task is: the child imports the module, and finds the task under the queue's name."""

    queue: str
    task: str
    module: str
    function: str


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """The first frame to a child: how to find the application. `finder` gives a Home's Spec, by `module:function`;
    `errands` are done before anything of the application is loaded.
    """

    preparation: dict[str, Any]
    finder: str
    homes: tuple[Home, ...]
    lifespan: str | None
    worker: str
    errands: tuple[Errand, ...] = ()


class Work(msgspec.Struct, frozen=True, tag="work"):
    """One job to run. `ahead_ms`: the store's clock minus this machine's monotonic one."""

    queue: str
    leased: Leased
    attempt: int
    timeout_ms: int | None
    ahead_ms: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The child has loaded the application, or could not: `error` says why."""

    error: ErrorInfo | None = None


class Noted(msgspec.Struct, frozen=True, tag="noted"):
    """The handler said how far it is."""

    progress: Progress


class Extended(msgspec.Struct, frozen=True, tag="extended"):
    """The handler moved its deadline; the new one is on the monotonic clock, which a machine's processes share."""

    deadline: float


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """How the handler ended: an outcome by the name of its class. The value of a Returned is the encoded result."""

    kind: str
    outcome: Raw


ToChild: TypeAlias = Begin | Work
FromChild: TypeAlias = Ready | Noted | Extended | Ended

_write: Final = msgspec.msgpack.Encoder().encode
_read_to_child: Final = msgspec.msgpack.Decoder(ToChild).decode
_read_from_child: Final = msgspec.msgpack.Decoder(FromChild).decode


def frame(record: ToChild | FromChild) -> bytes:
    """A record as it goes over the socket."""
    body = _write(record)
    return _LENGTH.pack(len(body)) + body


def ended(outcome: Outcome, encoded: bytes | None) -> Ended:
    """An outcome on its way to the worker; `encoded` is what Returned carries."""
    if type(outcome) is Returned:
        return Ended("Returned", Raw(_write({"value": encoded})))
    return Ended(type(outcome).__name__, Raw(_write(outcome)))


def outcome_of(told: Ended) -> Outcome:
    """The outcome that a child told of; a result comes as the JSON that it is."""
    outcome: Any = msgspec.msgpack.decode(told.outcome, type=_OUTCOMES[told.kind])
    if told.kind == "Returned":
        return Returned(Raw(b"null" if outcome.value is None else outcome.value))
    found: Outcome = outcome
    return found


class Frames:
    """Takes bytes as they come and gives whole records. ValueError for what is none of ours."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[FromChild]:
        """The records that `data` completes."""
        self._bytes += data
        while len(self._bytes) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._bytes)
            if length > FRAME_LIMIT:
                raise ValueError(f"a frame of {length:,} bytes")
            end = _LENGTH.size + length
            if len(self._bytes) < end:
                return
            body = bytes(self._bytes[_LENGTH.size : end])
            del self._bytes[:end]
            yield _read_from_child(body)


def length_of(head: bytes) -> int:
    """How many bytes follow the head of a frame."""
    (length,) = _LENGTH.unpack(head)
    return int(length)


HEAD: Final = _LENGTH.size


def to_child(body: bytes) -> ToChild:
    """A record from the worker, without its length."""
    record: ToChild = _read_to_child(body)
    return record
