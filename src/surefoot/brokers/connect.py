"""From a URL to the broker of its store: reads and checks the URL, and keeps one broker a store and process.

Opens nothing, and never shows a password.
"""

import math
import os
import re
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from surefoot.brokers.broker import Broker
from surefoot.core.errors import ConfigError
from surefoot.core.names import did_you_mean, is_namespace

MEMORY: Final = ":memory:"
PORT: Final = 6379
SENTINEL_PORT: Final = 26379
TIMEOUT_S: Final = 5.0
TRIES: Final = 3
"""How often a call may meet silence before its own time is over; each try is on a new connection."""
BUSY_TIMEOUT_S: Final = 30.0

_SERVERS: Final = ("redis", "rediss", "valkey", "valkeys")
_SCHEMES: Final = (
    "sqlite", *_SERVERS, "unix", *[f"{server}+{kind}" for server in _SERVERS for kind in ("sentinel", "cluster")],
)  # fmt: skip
_KEYS: Final = ("namespace", "timeout")
_FILE_KEYS: Final = (*_KEYS, "synchronous", "busy_timeout")
_SOCKET_KEYS: Final = (*_KEYS, "db")
_SENTINEL_KEYS: Final = (*_KEYS, "sentinel_username", "sentinel_password")
TLS_KEYS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
"""Options of rediss:// and valkeys://, each a file: who signs the server's certificate, and the client's own."""
# What stands where a port should, and the value of every option that is none of ours, may be a password.
_NO_PORT: Final = re.compile(r"((?:^|,)[^][/?#:,]*):(?!\d*(?:[,/?#]|$))[^/?#,]*", re.DOTALL)
_NO_OPTION: Final = re.compile(
    r"([?&])(?!(?:namespace|timeout|synchronous|busy_timeout|db|ssl_\w+)=)([^=&]*)=[^&]*", re.DOTALL
)

Synchronous: TypeAlias = Literal["full", "normal"]


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A URL that was read. `path`: the absolute file, ":memory:", or what a server's URL says after its hosts.

    `url` has no password. What the URL does not name is None; `timeout` and `busy_timeout` are seconds.
    """

    scheme: str
    url: str
    path: str
    hosts: str = ""
    namespace: str | None = None
    timeout: float | None = None
    synchronous: Synchronous | None = None
    busy_timeout: float | None = None


def parse(url: str) -> Address:
    """Read a URL; ConfigError with the way out for one that cannot be read."""
    scheme = _scheme(url)
    parts = _parts(url)
    words = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = _known(scheme)
    for word in words:
        if word in TLS_KEYS and word not in known:
            secure = scheme.replace("redis", "rediss", 1).replace("valkey", "valkeys", 1)
            other = f"{secure}://" if secure != scheme else "rediss://"
            raise _unreadable(url, f"'{word}' is for connections with TLS; write {other}...")
        if word not in known:
            hint = did_you_mean(word, known) or f"; known: {', '.join(known)}"
            told = word if word.isidentifier() else "..."  # it may be the rest of a password
            raise _unreadable(url, f"there is no option '{told}'{_ended(hint)}")
    if scheme != "sqlite":
        _login(url)
    namespace = words.get("namespace")
    if namespace is not None and not is_namespace(namespace):
        raise _unreadable(url, f"namespace={namespace!r} is not a namespace; give letters, digits or _ . -")
    return Address(
        scheme=scheme,
        url=shown(url),
        path=_file(url, parts.netloc, parts.path) if scheme == "sqlite" else parts.path,
        hosts=parts.netloc.rpartition("@")[2],
        namespace=namespace,
        timeout=_seconds(url, words, "timeout"),
        synchronous=_synchronous(url, words),
        busy_timeout=_seconds(url, words, "busy_timeout"),
    )


def _known(scheme: str) -> tuple[str, ...]:
    """The options that a URL of this kind may have."""
    match scheme:
        case "sqlite":
            return _FILE_KEYS
        case "unix":
            return _SOCKET_KEYS
        case _:
            keys = _SENTINEL_KEYS if scheme.endswith("+sentinel") else _KEYS
            return (*keys, *TLS_KEYS) if _has_tls(scheme) else keys


def _has_tls(scheme: str) -> bool:
    return scheme.startswith(("rediss", "valkeys"))


def shown(url: str) -> str:
    """The URL as messages may show it: without its password, also where that stands in the wrong place."""
    if url.startswith("sqlite:"):
        return url
    head, slashes, rest = url.partition("//") if "//" in url else ("", "", url)
    login, at, place = (
        ("", "", rest) if rest.startswith("/") else rest.rpartition("@")
    )  # rather too much than too little
    if at:
        user, colon, _ = login.partition(":")
        at = f"{user}:***@" if colon else "***@"
    if slashes:
        place = _NO_PORT.sub(r"\1:***", place)
    return head + slashes + at + _NO_OPTION.sub(r"\1\2=***", place)


_brokers: Final[dict[object, tuple[Address, Broker]]] = {}


def connect(url: str) -> Broker:
    """The broker of this store: one a process. It opens at its first use."""
    address = parse(url)
    store, made = _sqlite(address) if address.scheme == "sqlite" else _redis(url, address)
    first, broker = _brokers.get(store) or _brokers.setdefault(store, (address, made()))
    if _options(first) != _options(address):
        raise ConfigError(
            f"{address.url} and {first.url} are one store with different options; a process uses one set."
        )
    return broker


def _options(address: Address) -> tuple[object, ...]:
    return address.timeout, address.synchronous, address.busy_timeout


def _sqlite(address: Address) -> tuple[object, Callable[[], Broker]]:
    def make() -> Broker:
        from surefoot.brokers.sqlite.broker import SqliteBroker

        return SqliteBroker(
            address.path,
            timeout=TIMEOUT_S if address.timeout is None else address.timeout,
            synchronous=address.synchronous or "full",
            busy_timeout=BUSY_TIMEOUT_S if address.busy_timeout is None else address.busy_timeout,
        )

    return address.path, make


def _redis(url: str, address: Address) -> tuple[object, Callable[[], Broker]]:
    login = _login(url)

    def make() -> Broker:
        _check_files(address.url, login.tls_files)
        try:
            from surefoot.brokers.redis.broker import RedisBroker
            from surefoot.brokers.redis.server import Server
        except ModuleNotFoundError as missing:
            if missing.name not in ("redis", "hiredis"):
                raise
            raise ConfigError(
                f"cannot use {address.url}: '{missing.name}' is not installed; pip install 'surefoot[redis]'."
            ) from None
        timeout = (TIMEOUT_S if address.timeout is None else address.timeout) / TRIES
        words = msgspec.structs.asdict(login)
        del words["watch"], words["nodes"]
        watch = tuple(
            Server(
                shown=f"the sentinel {one.host}:{one.port} of {address.url}",
                timeout=timeout / 2,
                **msgspec.structs.asdict(one),
            )
            for one in login.watch
        )
        nodes = tuple(Server(shown=address.url, host=host, port=port) for host, port in login.nodes)
        return RedisBroker(Server(shown=address.url, timeout=timeout, sentinels=watch, nodes=nodes, **words))

    return login, make


class _Watch(msgspec.Struct, frozen=True, kw_only=True):
    """Where a sentinel is and how to log in there."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: bool
    tls_files: tuple[tuple[str, str], ...]


class _Login(msgspec.Struct, frozen=True, kw_only=True):
    """How a server's URL says where it is and who comes. Never shown.

    `watch`: the sentinels that know where it is, by the name `primary`. `nodes`: those of a cluster, host and port.
    """

    host: str = "localhost"
    port: int = PORT
    path: str | None = None
    db: int
    username: str | None
    password: str | None
    tls: bool
    tls_files: tuple[tuple[str, str], ...]
    watch: tuple[_Watch, ...] = ()
    primary: str = ""
    nodes: tuple[tuple[str, int], ...] = ()


def _login(url: str) -> _Login:
    """What a URL of a server says; ConfigError for a port or a database that is none."""
    parts = _parts(url)
    scheme = parts.scheme
    words = dict(parse_qsl(parts.query, keep_blank_values=True))
    tls, files = _has_tls(scheme), _tls_files(url, words)
    place: dict[str, Any] = {}
    told = parts.path.strip("/")
    if scheme == "unix":
        if not parts.path:
            raise _unreadable(url, "it names no socket; write unix:///run/redis.sock.")
        place["path"] = unquote(parts.path)
        told = words.get("db", "0")
    elif scheme.endswith("+sentinel"):
        name, _, told = told.partition("/")
        if not name or (name.isdigit() and not told):
            raise _unreadable(url, f"it does not name the primary; write {scheme}://host:{SENTINEL_PORT}/mymaster/0.")
        user, secret = words.get("sentinel_username"), words.get("sentinel_password")
        hosts = [_place(url, f"//{host}", SENTINEL_PORT) for host in parts.netloc.rpartition("@")[2].split(",")]
        place = {
            "primary": unquote(name),
            "watch": tuple(_Watch(**host, username=user, password=secret, tls=tls, tls_files=files) for host in hosts),
        }
    elif scheme.endswith("+cluster"):
        hosts = [_place(url, f"//{host}", PORT) for host in parts.netloc.rpartition("@")[2].split(",")]
        place = {"nodes": tuple((host["host"], host["port"]) for host in hosts)}
        if told not in ("", "0"):
            raise _unreadable(url, f"a cluster has no databases; write {scheme}://... without /{told}.")
    else:
        place = _place(url, url, PORT)
    told = told or "0"
    if not (told.isascii() and told.isdigit()):
        raise _unreadable(url, f"{told!r} is not a database; give its number, 0 on most servers.")
    name, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return _Login(
        **place, db=int(told), username=unquote(name) or None, password=unquote(password) or None, tls=tls,
        tls_files=files,
    )  # fmt: skip


def _tls_files(url: str, words: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The files that a URL names, by option; absolute."""
    if "ssl_keyfile" in words and "ssl_certfile" not in words:
        raise _unreadable(url, "it names a key without its certificate; add ssl_certfile=/path/to/client.pem.")
    for word in TLS_KEYS:
        if words.get(word) == "":
            raise _unreadable(url, f"{word}= names no file; give its path.")
    return tuple((word, os.path.abspath(words[word])) for word in TLS_KEYS if word in words)


def _check_files(shown: str, files: tuple[tuple[str, str], ...]) -> None:
    for word, path in files:
        if not os.path.isfile(path):
            raise ConfigError(f"cannot use {shown}: there is no file {path} ({word}).")
        if not os.access(path, os.R_OK):
            raise ConfigError(f"cannot use {shown}: this user may not read {path} ({word}).")


def _place(url: str, one: str, default: int) -> dict[str, Any]:
    """The host and port that a URL names, or one of its hosts."""
    parts = _parts(one)
    try:
        return {"host": parts.hostname or "localhost", "port": parts.port or default}
    except ValueError:
        raise _unreadable(url, "its port is not a number from 1 to 65535.") from None


def _scheme(url: str) -> str:
    scheme, found, _ = url.partition("://")
    if found and scheme in _SCHEMES:
        return scheme
    head, slashes, rest = url.partition("//")
    if not found and slashes and head in _SCHEMES:
        meant = shown(f"{head}://{rest}")
        raise _unreadable(url, f"the scheme is missing its colon; did you mean '{meant}'?")
    if not found:
        raise _unreadable(url, "it has no scheme; write sqlite:///jobs.db, or redis://host:6379.")
    hint = did_you_mean(scheme, _SCHEMES, "'{}://...'")
    raise ConfigError(
        f"cannot read the URL '{scheme}://...': surefoot stores jobs in sqlite, redis or valkey{_ended(hint)}"
    )


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise _unreadable(url, "its host cannot be read; in a password write [ as %5B and ] as %5D.") from None


def _file(url: str, host: str, path: str) -> str:
    if host:
        raise _unreadable(url, f"a file has three slashes before it; did you mean 'sqlite:///{host}{path}'?")
    name = unquote(path).removeprefix("/")
    if not name:
        raise _unreadable(url, "it names no file; write sqlite:///jobs.db.")
    return MEMORY if name == MEMORY else os.path.abspath(name)


def _seconds(url: str, words: dict[str, str], word: str) -> float | None:
    if word not in words:
        return None
    try:
        seconds = float(words[word])
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise _unreadable(url, f"{word}={words[word]!r} is not a duration; give seconds > 0.")
    return seconds


def _synchronous(url: str, words: dict[str, str]) -> Synchronous | None:
    match words.get("synchronous"):
        case None:
            return None
        case "full":
            return "full"
        case "normal":
            return "normal"
        case other:
            raise _unreadable(url, f"synchronous={other!r} is unknown; give full or normal.")


def _ended(hint: str) -> str:
    """A hint as the end of a sentence."""
    return hint if hint.endswith("?") else f"{hint}."


def _unreadable(url: str, why: str) -> ConfigError:
    return ConfigError(f"cannot read the URL '{shown(url)}': {why}")
