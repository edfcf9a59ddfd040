"""What the server's error replies mean, in the words of the border. Says nothing to a server."""

import re
from typing import Final

from redis import exceptions as told

from surefoot.brokers.broker import NoAnswer, NoRoom, Refused
from surefoot.core.errors import StoreError, StoreUnavailable, StoreUnsuitable, SurefootError
from surefoot.core.names import LAYOUT

_LATER: Final = ("BUSY", "LOADING", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN", "MOVED", "ASK")
"""Error replies to a command that the server will execute a little later."""
DEMOTED: Final = ("READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED")
"""Error replies of a server that leads no more, or whose place another one has taken."""
_WORDS: Final[dict[type[Exception], str]] = {
    told.OutOfMemoryError: "OOM",
    told.ReadOnlyError: "READONLY",
    told.NoPermissionError: "NOPERM",
    told.BusyLoadingError: "LOADING",
    told.MasterDownError: "MASTERDOWN",
    told.TryAgainError: "TRYAGAIN",
    told.ClusterDownError: "CLUSTERDOWN",
    told.MovedError: "MOVED",
    told.AskError: "ASK",
}
# Redis 6.2 tells what a command was told inside a script as a part of the script's own error.
_INSIDE: Final = re.compile(r"@user_script: ?\d+: -(\w+) ")


def word_of(met: Exception) -> str:
    """The first word of an error reply, its code; the driver takes the well-known ones off."""
    inside = _INSIDE.search(str(met))
    return inside[1] if inside else _WORDS.get(type(met)) or str(met).partition(" ")[0]


def _clustered(address: str) -> str:
    """The URL of a cluster in place of that of a node."""
    return address.replace("://", "+cluster://", 1)


def meaning(address: str, queue: str, met: Exception) -> Exception:
    """What one verb is told for what it met. NoAnswer and StoreUnavailable concern the whole call: it is said again."""
    if isinstance(met, SurefootError):
        return met
    match word_of(met):
        case "OOM":
            return NoRoom(f"{address} is full (maxmemory reached); nothing was stored. Make room, or raise it.")
        case "READONLY":
            return StoreUnavailable(f"{address} takes no writes: it is a replica now.")
        case "NOPERM":
            return StoreUnsuitable(f"{address} does not let this user do what surefoot needs: {met}.")
        case "LAYOUT":
            other = str(met).partition(" ")[2]
            return StoreUnsuitable(
                f"queue '{queue}' is written in layout {other} and this release reads layout {LAYOUT}: "
                "use the release that wrote it."
            )
        case "MOVED" | "ASK" if "+cluster:" not in address:
            return StoreUnsuitable(
                f"{address} is one node of a cluster, and queue '{queue}' is on another: write {_clustered(address)}."
            )
        case "CALLER":
            return Refused("CALLER")
        case "STALE":
            return Refused("STALE")
        case word if word in _LATER or isinstance(met, told.ConnectionError):
            return NoAnswer(f"{address} cannot answer now: {met}")
        case _:
            return StoreError(f"{address} refused a call: {met}")
