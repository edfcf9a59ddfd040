"""The verb changes as steps: the list of changes by hand, read by one plain command. The scripts write it."""

from typing import Final, cast, get_args

from surefoot.brokers.answers import Change, ChangeWord
from surefoot.brokers.broker import Changes
from surefoot.brokers.redis.names import key
from surefoot.brokers.redis.read import ask
from surefoot.brokers.redis.spoiled import moment, number
from surefoot.brokers.redis.steps import Steps

_WORDS: Final = frozenset(get_args(ChangeWord))


def changes(verb: Changes, _now: int | None) -> Steps[list[Change]]:
    """The verb changes. A line that somebody else wrote is passed over."""
    [lines] = yield from ask(verb.queue, [("LRANGE", key(verb.queue, "audit"), 0, max(0, verb.limit - 1))])
    return [change for line in lines if (change := _change(line)) is not None]


def _change(raw: bytes) -> Change | None:
    head, *lines = raw.split(b"\n")
    words = head.split(b" ", 3)
    if len(words) < 4:
        return None
    at_ms, what, many = moment(words[0]), _text(words[1]), number(words[2])
    if at_ms is None or many is None or what not in _WORDS:
        return None
    reason, *names = map(_text, lines or [b""])
    return Change(at_ms, _text(words[3]), cast("ChangeWord", what), many, reason, tuple(filter(None, names)))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
