"""Which store a queue lives in: its own URL, that of `configure()`, or the environment's, looked up at first use."""

import os
import weakref
from collections.abc import Callable
from itertools import count
from types import TracebackType
from typing import Final, Self, TypeAlias

from surefoot.brokers.broker import Broker, Stats
from surefoot.brokers.connect import connect, parse
from surefoot.client.operation import Ask, Steps, operation, twin
from surefoot.client.session import TIMEOUT_S, Sessions, sessions_with
from surefoot.core.errors import ConfigError, UsageError
from surefoot.core.names import NAME_RULE, is_name, is_namespace

DEFAULT_NAMESPACE: Final = "surefoot"


class Store:
    """A store as one queue uses it: the sessions with it, and the namespace of the queue's keys."""

    __slots__ = ("namespace", "sessions")

    def __init__(self, sessions: Sessions, namespace: str) -> None:
        self.sessions: Sessions = sessions
        self.namespace: str = namespace


class _Defaults:
    """What `configure()` said for the process. Once a queue has used it, it stands."""

    def __init__(self) -> None:
        self.url: str | None = None
        self.namespace: str | None = None
        self.used = False


_defaults: Final = _Defaults()


def configure(*, url: str | None = None, namespace: str | None = None) -> None:
    """The store of every queue that names none itself. Once, at start; refused after the first use."""
    for word, new, old in (("url", url, _defaults.url), ("namespace", namespace, _defaults.namespace)):
        if new is None or new == old:
            continue
        if old is not None:
            raise ConfigError(f"configure({word}=...) was called before with another value; call it once, at start.")
        if _defaults.used:
            raise ConfigError(f"configure({word}=...) comes too late: a queue has been used already; call it at start.")
    if namespace is not None:
        check_namespace(namespace, "configure")
    if url is not None:
        parse(url)
        _defaults.url = url
    if namespace is not None:
        _defaults.namespace = namespace


def open_store(queue: str, url: str | None, namespace: str | None, durable: int) -> Store:
    """The store of a queue; `url` and `namespace` are what the queue itself says. Connects to nothing yet."""
    found = url or _defaults.url or os.environ.get("SUREFOOT_URL")
    if not found:
        raise ConfigError(
            f'queue \'{queue}\' has no store: write Queue("sqlite:///jobs.db", name="{queue}"), or set SUREFOOT_URL.'
        )
    address = parse(found)
    if durable and address.scheme == "sqlite":
        raise ConfigError(
            f"queue '{queue}' says durable={durable}, and SQLite has no replicas; leave it out, or use Redis or Valkey."
        )
    chosen = (
        namespace
        or address.namespace
        or _defaults.namespace
        or os.environ.get("SUREFOOT_NAMESPACE")
        or DEFAULT_NAMESPACE
    )
    check_namespace(chosen, "Queue")
    _defaults.used = True
    return Store(sessions_with(connect(found), address.timeout or TIMEOUT_S), chosen)


def check_namespace(namespace: object, door: str) -> None:
    """ConfigError for what cannot be a namespace."""
    if not is_namespace(namespace):
        raise ConfigError(f"{door}(namespace={namespace!r}): give 1 to 128 letters, digits or _ . -")


def check_durable(durable: object) -> None:
    """ConfigError for what cannot be a number of replicas."""
    if not isinstance(durable, int) or isinstance(durable, bool) or durable < 0:
        raise ConfigError(f"Queue(durable={durable!r}): give a number of replicas >= 0.")


class Resident:
    """What lives in a store under a name: a queue, before anything else about it."""

    def __init__(self, name: str, url: str | None, namespace: str | None, durable: int) -> None:
        if not is_name(name):
            raise ConfigError(f"Queue(name={name!r}): a queue's name has {NAME_RULE}.")
        if namespace is not None:
            check_namespace(namespace, "Queue")
        check_durable(durable)
        self._name = name
        self._url, self._namespace, self._durable = url, namespace, durable
        self._store: Store | None = None
        self._lent: Store | None = None
        _residents[next(_numbers)] = self

    @property
    def name(self) -> str:
        """The name, without its namespace."""
        return self._name

    def bind(self, url: str) -> None:
        """Live in this store, whatever was said before. Refused after the first use."""
        if self._store is not None:
            raise UsageError(
                f"queue '{self._name}' has been used with {self._store.sessions.broker.address} already; bind it "
                "before its first use."
            )
        parse(url)
        self._url = url

    @property
    def store(self) -> Store:
        """The store, looked up at the first use."""
        if self._lent is not None:
            return self._lent
        if self._store is None:
            if _hosts:
                return _hosts[-1](self)
            self._store = open_store(self._name, self._url, self._namespace, self._durable)
        return self._store

    def lend(self, store: Store | None) -> Store | None:
        """Live in another store until this is called with what it gave back: for tests."""
        before, self._lent = self._lent, store
        return before

    @property
    def broker(self) -> Broker:
        """The border to the store."""
        return self.store.sessions.broker

    @property
    def sessions(self) -> Sessions:
        """The ways to the store."""
        return self.store.sessions

    @property
    def full_name(self) -> str:
        """`namespace:queue`, as verbs name it."""
        return f"{self.store.namespace}:{self._name}"

    @property
    def spoken(self) -> str:
        """How this is written in code, as far as one can know."""
        return "queue"

    @operation
    def open(self) -> Steps[None]:
        """Connect and check now what the first use would."""
        yield Ask((Stats(self.full_name, 0),))

    open_sync = twin(open)

    async def close(self) -> None:
        """Close the connections of the running loop; a later call opens again."""
        if self._lent is not None or self._store is not None:
            await self.broker.close()

    def close_sync(self) -> None:
        """Close the connections of this process; a later call opens again."""
        if self._lent is not None or self._store is not None:
            self.broker.close_sync()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __enter__(self) -> Self:
        self.open_sync()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close_sync()


Host: TypeAlias = Callable[[Resident], Store]
"""Gives a queue that has not been used yet a store, by `lend`: for tests."""

_numbers: Final = count()
_residents: Final[weakref.WeakValueDictionary[int, Resident]] = weakref.WeakValueDictionary()
_hosts: Final[list[Host]] = []


def residents() -> list[Resident]:
    """All queues of this process, the oldest first."""
    return list(_residents.values())


def host_newcomers(host: Host) -> Callable[[], None]:
    """Whoever is used for the first time lives where `host` says, until what this gives back is called."""
    _hosts.append(host)
    return lambda: _hosts.remove(host)
