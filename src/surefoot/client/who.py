"""Who asks for a change by hand, as the store remembers it: `user@host`, or whoever a dashboard says. Asks no store."""

import contextlib
import functools
import getpass
import os
import socket
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

_speaker: Final[ContextVar[str | None]] = ContextVar("surefoot_speaker", default=None)


def who() -> str:
    """The name under which a change is remembered."""
    return _speaker.get() or _here()


@contextlib.contextmanager
def speaking_as(name: str) -> Iterator[None]:
    """Changes made within are somebody else's, who asked this process for them."""
    token = _speaker.set(name)
    try:
        yield
    finally:
        _speaker.reset(token)


@functools.cache
def _here() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run as a number without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
