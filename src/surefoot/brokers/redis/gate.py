"""What a server says of itself, read at the first call: whether it can be used, and what it will keep."""

import re
from typing import Any, Final, Literal

from surefoot.brokers.broker import Facts, NoAnswer
from surefoot.brokers.redis.refusals import meaning
from surefoot.brokers.redis.server import Command, Server
from surefoot.core.errors import StoreUnsuitable

QUESTIONS: Final[tuple[Command, ...]] = (("INFO",), ("CONFIG", "GET", "save"))
_OLDEST: Final = (6, 2)


def judge(server: Server, replies: list[Any]) -> Facts:
    """What the server says; StoreUnsuitable if it is too old, or a replica, NoAnswer if it cannot say now.

    One that may not say is believed.
    """
    info, save = replies
    if isinstance(info, Exception):
        told_later = meaning(server.shown, "", info)
        if isinstance(told_later, NoAnswer):
            raise told_later
    told = {} if isinstance(info, Exception) else _lines(info)
    version = told.get("redis_version", "")
    numbers = tuple([int(number) for number in re.findall(r"\d+", version)[:2]])
    if numbers and numbers < _OLDEST:
        raise StoreUnsuitable(
            f"{server.shown} is Redis {version} and surefoot needs 6.2 or newer (or Valkey): use a newer server."
        )
    if told.get("role") == "slave" and not (server.sentinels or server.nodes):  # found anew
        primary = f"{told.get('master_host', '?')}:{told.get('master_port', '?')}"
        raise StoreUnsuitable(
            f"{server.shown} is a replica, which takes no writes: give the URL of its primary ({primary})."
        )
    name = "Valkey" if "valkey_version" in told else "Redis"
    return Facts(
        software=f"{name} {told.get('valkey_version', version)}".rstrip(),
        eviction=told.get("maxmemory_policy"),
        keeps=_keeps(told, save),
    )


def _keeps(told: dict[str, str], save: Any) -> Literal["log", "snapshots", "nothing"] | None:
    if "aof_enabled" not in told:
        return None
    if told["aof_enabled"] == "1":
        return "log"
    if isinstance(save, list) and save[1:] and not save[1]:
        return "nothing"
    return "snapshots"


def _lines(info: bytes) -> dict[str, str]:
    pairs = [line.partition(":") for line in info.decode("utf-8", "replace").splitlines()]
    return {name: value for name, colon, value in pairs if colon}
