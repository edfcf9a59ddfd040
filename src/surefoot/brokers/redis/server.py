"""A server as connections know it: where it is and how to log in; and why it cannot be reached, in words.

Opens nothing, and never shows a password.
"""

import os
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec
from redis import exceptions as told

from surefoot.brokers.redis import tls
from surefoot.core.errors import StoreUnavailable, SurefootError

Command: TypeAlias = tuple[str | bytes | int | float, ...]
"""One command of RESP: its words, each an item of its own ("CLIENT", "ID")."""

# asyncio tells of a host with several addresses in one error without a number.
_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server is and how to log in. `path`: a unix socket, used instead of host and port; `timeout`: seconds.

    `shown` is its URL without password, for sentences. `sentinels`: they are asked where it is, and know it under the
    name `primary`; the one that they named is `named`, and must lead. `nodes`: it is a cluster, and some of them.
    `tls_files`: our files for TLS, by the names that the URL has for them.
    """

    shown: str
    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = None
    tls: bool = False
    tls_files: tuple[tuple[str, str], ...] = ()
    timeout: float = 5.0
    sentinels: tuple["Server", ...] = ()
    primary: str = ""
    named: bool = False
    nodes: tuple["Server", ...] = ()

    def __repr__(self) -> str:
        return f"Server({self.shown})"


def unreachable(server: Server, error: BaseException) -> StoreUnavailable:
    """What a caller is told whose commands found no connection. The client adds what became of them."""
    why = reason(server, error)
    if server.tls and any(isinstance(cause, ssl.SSLEOFError | ConnectionResetError) for cause in _causes(error)):
        why += tls.perhaps_refused(server.tls_files)
    return StoreUnavailable(f"cannot reach {server.shown} ({why})")


def reason(server: Server, error: BaseException) -> str:
    """Why a connection failed, in a few words."""
    for cause in _causes(error):
        words = _words(server, cause)
        if words is not None:
            return words
    return str(error).strip().rstrip(".") or type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what the driver made it from."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, SurefootError):
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _words(server: Server, error: BaseException) -> str | None:
    match error:
        case told.ReadOnlyError():
            return "it is a replica now"
        case told.BusyLoadingError():
            return "the server is loading its data"
        case told.AuthenticationError():
            return "the server asks for a password" if server.password is None else "the server refuses the password"
        case told.InvalidResponse():
            return "what answers there does not speak the Redis protocol"
        case told.TimeoutError() | TimeoutError():
            return f"no answer within {server.timeout:.2g} s"
        case OSError():
            return _system_words(server, error)
        case told.ConnectionError() if "max number of clients" in str(error):  # both servers have no word of its own
            return "too many clients"
        case told.ConnectionError() if "closed by server" in str(error):
            return "the server closed the connection"
    return None


def _system_words(server: Server, error: OSError) -> str | None:
    match error:
        case ssl.SSLError():
            return tls.trouble(server.host, server.tls_files, error)
        case FileNotFoundError() | PermissionError() if server.tls:
            return "a file of ssl_ca_certs=, ssl_certfile= or ssl_keyfile= is gone, or may not be read"
        case socket.gaierror():
            return "its name cannot be resolved"
    found = _ERRNO.search(str(error))
    number = error.errno or (int(found[1]) if found else None)
    if number:
        return os.strerror(number).lower()
    return "the server closed the connection" if isinstance(error, ConnectionError) else None
