"""What a worker says of itself to the store, as JSON. The engine writes it, whoever asks for workers reads it."""

from typing import Final

import msgspec

from surefoot.brokers.answers import Presence, QueueStats

ALIVE_MS: Final = 45_000
"""A worker beats every 15 s; one that was seen within this time is alive."""


class CronLine(msgspec.Struct, frozen=True):
    """One cron entry as a worker has it in its code."""

    name: str
    task: str
    expression: str
    timezone: str = "UTC"
    interval_ms: int | None = None


class PresenceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One worker on one queue. Every field has a default: another release may say less, or more.

    `tasks` are the names of all that it can run, aliases too; `schemas` those of a schema above 1.
    """

    name: str = ""
    host: str = ""
    pid: int = 0
    version: str = ""
    queues: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    schemas: dict[str, int] = {}
    crons: tuple[str, ...] = ()
    cron_lines: tuple[CronLine, ...] = ()
    concurrency: int = 0
    running: int = 0
    draining: bool = False
    left: bool = False
    started_ms: int = 0

    @property
    def full(self) -> bool:
        """Whether every slot was taken at the last beat."""
        return self.running >= self.concurrency

    def knows(self, task: str, schema: int = 1) -> bool:
        """Whether it can run this version of a task."""
        return task in self.tasks and self.schemas.get(task, 1) >= schema

    def encode(self) -> bytes:
        """The JSON that a beat carries."""
        return _encode(self)


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(PresenceInfo).decode


def decode_presence(raw: bytes) -> PresenceInfo:
    """What a worker said; one that cannot be read is a worker of which nothing is known."""
    try:
        return _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return PresenceInfo()


def living(stats: QueueStats) -> list[tuple[Presence, PresenceInfo]]:
    """The workers of a queue that are alive by the store's clock and have not said goodbye."""
    seen = [
        (worker, decode_presence(worker.presence))
        for worker in stats.workers
        if stats.now_ms - worker.seen_ms <= ALIVE_MS
    ]
    return [(worker, info) for worker, info in seen if not info.left]
