"""A verb on its way as steps: a generator that yields commands and is sent their replies. No I/O is done here."""

from collections.abc import Generator, Sequence
from typing import Any, TypeAlias, TypeVar

from msgspec import MsgspecError
from redis.exceptions import RedisError

from surefoot.brokers.redis.server import Command
from surefoot.core.errors import StoreError, SurefootError

T = TypeVar("T")

Steps: TypeAlias = Generator[list[Command], list[Any], T]
"""Yields what to say next, is sent the replies in the same order (an error reply is a value), returns the answer."""


def in_step(parts: Sequence[Steps[Any]]) -> Steps[list[Any]]:
    """Several verbs in one pipeline, in their order; what needs a second look goes into a second pipeline, together.

    The answer of a verb that met an error is that error.
    """
    answers: list[Any] = [None] * len(parts)
    asked: dict[int, list[Command]] = {}

    def advance(place: int, replies: list[Any] | None) -> None:
        try:
            asked[place] = next(parts[place]) if replies is None else parts[place].send(replies)
        except StopIteration as end:
            answers[place] = end.value
        except (RedisError, SurefootError) as met:
            answers[place] = met
        except (ValueError, MsgspecError) as met:
            answers[place] = StoreError(f"the store holds what cannot be read, and somebody else wrote: {met}")

    for place in range(len(parts)):
        advance(place, None)
    while asked:
        said, asked = asked, {}
        replies = yield [command for commands in said.values() for command in commands]
        at = 0
        for place, commands in said.items():
            advance(place, replies[at : at + len(commands)])
            at += len(commands)
    return answers
