"""Which commands a user needs, and which of them its server refuses: asked where a server can be asked, else tried.

Knows no connection. What is tried changes nothing.
"""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from surefoot.brokers.redis.names import key
from surefoot.brokers.redis.refusals import word_of
from surefoot.brokers.redis.scripts import scripts
from surefoot.brokers.redis.server import Command, Server
from surefoot.brokers.redis.steps import Steps
from surefoot.core.errors import StoreUnsuitable

LOOKS: Final = (
    "HEXISTS", "HGET", "HGETALL", "HLEN", "HMGET", "HSCAN", "HSTRLEN", "ZCARD", "ZCOUNT", "ZMSCORE", "ZRANGE", "ZRANK",
    "ZREVRANGE", "ZSCAN",
)  # fmt: skip
WAITS: Final = ("BLPOP", "LPOP", "CLIENT ID", "CLIENT UNBLOCK")
SAYS: Final = ("EVAL", "EVALSHA")
_OF_WORKERS: Final = ("beat", "claim", "extend", "prune", "put", "settle", "tick")
_CALLED: Final = re.compile(r"redis\.p?call\('(\w+)'")

# What stands behind each command in a line that does nothing while the key is not there; KEY and DONE are a key and a
# channel. Redis looks at the number of words first and at the rights then, so each must have as many as it wants.
_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "BLPOP": "KEY 0.01", "CLIENT ID": "", "CLIENT UNBLOCK": "0", "EVAL": "return 1 KEY",
        "EVALSHA": f"{'0' * 40} 1 KEY", "EXISTS": "KEY", "HDEL": "KEY a", "HEXISTS": "KEY a", "HGET": "KEY a",
        "HGETALL": "KEY", "HINCRBY": "KEY a none", "HLEN": "KEY", "HMGET": "KEY a", "HRANDFIELD": "KEY",
        "HSCAN": "KEY 0", "HSET": "KEY a 1 b", "HSETNX": "KEY a 1", "HSTRLEN": "KEY a", "LLEN": "KEY", "LPOP": "KEY",
        "LPUSH": "KEY a", "LTRIM": "KEY 0 0", "PUBLISH": "DONE x", "SCAN": "0",
        "SUBSCRIBE": "DONE", "TIME": "", "ZADD": "KEY XX 1 a", "ZCARD": "KEY", "ZCOUNT": "KEY 0 1",
        "ZMSCORE": "KEY a", "ZRANGE": "KEY 0 0", "ZRANGEBYLEX": "KEY - +", "ZRANGEBYSCORE": "KEY 0 1",
        "ZRANK": "KEY a", "ZREM": "KEY a", "ZREVRANGE": "KEY 0 0", "ZREVRANGEBYSCORE": "KEY 1 0", "ZSCAN": "KEY 0",
        "ZSCORE": "KEY a",
    }
)  # fmt: skip
_GROWING: Final = ("LPUSH", "HSETNX")
"""The lines of the above that would write; they are tried on a hash that is there meanwhile."""

# Whether this user may say each line; asked, not said. Redis 6.2 cannot be asked.
_MAY: Final = """
if not redis.acl_check_cmd then
  return false
end
local refused = {}
for i, line in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(line, '%S+') do
    words[#words + 1] = word
  end
  if not redis.acl_check_cmd(unpack(words)) then
    refused[#refused + 1] = i
  end
end
return refused
"""


@functools.cache
def called(script: str) -> frozenset[str]:
    """The commands that a script says."""
    return frozenset(_CALLED.findall(scripts()[script].text))


@functools.cache
def all_called() -> frozenset[str]:
    """The commands that any script says."""
    return frozenset(name for script in scripts() for name in called(script))


def of_scripts(names: Iterable[str]) -> frozenset[str]:
    """What whoever has these scripts run must be able to say."""
    return frozenset(SAYS).union(*map(called, names))


def of_workers() -> frozenset[str]:
    """What a worker must be able to say."""
    return of_scripts(_OF_WORKERS).union(WAITS)


def line(name: str, queue: str) -> str:
    """A command with words as a user of this queue must be able to say it."""
    words = _WORDS[name].replace("KEY", key(queue, "probe")).replace("DONE", key(queue, "done"))
    return f"{name} {words}".rstrip()


def question(names: Sequence[str], *queues: str) -> Command:
    """Asks which of these commands the user may not say. Names no key, since that could be refused itself."""
    return ("EVAL", _MAY, 0, *[line(name, queue) for queue in queues for name in names])


def understood(names: Sequence[str], reply: object) -> frozenset[str] | None:
    """Which of these commands are refused, by the reply to the question; None if it was not answered."""
    return frozenset(names[(int(place) - 1) % len(names)] for place in reply) if isinstance(reply, list) else None


def lacking(queues: Sequence[str], names: Iterable[str]) -> Steps[frozenset[str]]:
    """Which of these commands this user may not say on some of the queues; one that cannot ask tries on the first."""
    wanted = sorted(names)
    [reply] = yield [question(wanted, *queues)]
    refused = understood(wanted, reply)
    return (yield from _tried(queues[0], wanted)) if refused is None else refused


def _tried(queue: str, names: Sequence[str]) -> Steps[frozenset[str]]:
    """The same found out by saying them."""
    quiet = [name for name in names if name not in _GROWING]
    replies = yield [_command(name, queue) for name in quiet]
    refused = {name for name, reply in zip(quiet, replies, strict=True) if _is_refusal(reply)}
    growing = [name for name in names if name in _GROWING]
    if growing and not refused & {"HSET", "HDEL"}:
        probe = key(queue, "probe")
        first, *replies, _gone = yield [
            ("HSET", probe, "a", "1"), *[_command(name, queue) for name in growing], ("HDEL", probe, "a"),
        ]  # fmt: skip
        if not isinstance(first, Exception):
            refused |= {name for name, reply in zip(growing, replies, strict=True) if _is_refusal(reply)}
    return frozenset(refused)


def _command(name: str, queue: str) -> Command:
    return tuple(line(name, queue).split())


def _is_refusal(reply: object) -> bool:
    return isinstance(reply, Exception) and word_of(reply) == "NOPERM"


def unentitled(server: Server, refused: Iterable[str]) -> StoreUnsuitable:
    """What somebody is told whose user may not say these commands."""
    names = sorted(refused)
    user = server.username or "default"
    more = "; and look at the keys it may use" if len(names) > _MANY else ""
    return StoreUnsuitable(
        f"{server.shown} does not let this user do what surefoot needs: '{user}' may not use {', '.join(names)}. "
        f"Allow it: ACL SETUSER {user} {' '.join('+' + name.lower().replace(' ', '|') for name in names)}{more} "
        "(the page on deploying has lines for each purpose)."
    )


_MANY: Final = 12
"""So many refused commands may be due to keys that are not the user's."""
