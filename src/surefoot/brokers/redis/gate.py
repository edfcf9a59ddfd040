"""What servers say of themselves, read at the first call and after a lost connection: whether they can be used, and
what they will keep.
"""

import logging
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from surefoot.brokers.broker import Facts, NoAnswer
from surefoot.brokers.redis.refusals import meaning
from surefoot.brokers.redis.server import Command, Server
from surefoot.core.errors import StoreUnsuitable

QUESTIONS: Final[tuple[Command, ...]] = (("INFO",), ("CONFIG", "GET", "save"))
_OLDEST: Final = (6, 2)
_DROPS: Final = "allkeys-"
_KEEPS: Final = ("nothing", "snapshots", None, "log")
"""From the least to the most."""

log: Final = logging.getLogger("surefoot")


def judge_all(server: Server, answers: Sequence[list[Any]], before: Facts | None) -> Facts:
    """The worst that any server of this store says; a change since `before` is logged, since another one may lead now.

    Raises as `judge` does.
    """
    followed = bool(server.sentinels or server.nodes or before)  # its primary is found anew, or comes back
    each = [judge(server, replies, followed=followed) for replies in answers]
    policies = [facts.eviction for facts in each]
    dropping = [policy for policy in policies if policy is not None and policy.startswith(_DROPS)]
    found = Facts(
        software=", ".join(dict.fromkeys(facts.software for facts in each)),
        eviction=dropping[0] if dropping else None if None in policies else policies[0],
        keeps=min([facts.keeps for facts in each], key=_KEEPS.index),
    )
    if before is not None and found != before:
        log.warning("%s: it is not the server that it was before (%s)", server.shown, _changed(before, found))
    return found


def _changed(before: Facts, found: Facts) -> str:
    pairs = (
        ("", before.software, found.software),
        ("maxmemory-policy ", before.eviction, found.eviction),
        ("kept on disk: ", before.keeps, found.keeps),
    )
    return "; ".join(f"{name}{now or 'unknown'}, was {was or 'unknown'}" for name, was, now in pairs if was != now)


def judge(server: Server, replies: list[Any], *, followed: bool = False) -> Facts:
    """What one server says; StoreUnsuitable if it is too old, or a replica that is not `followed` to its primary.

    NoAnswer if it cannot say now. One that may not say is believed.
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
    if told.get("role") == "slave" and not followed:
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
