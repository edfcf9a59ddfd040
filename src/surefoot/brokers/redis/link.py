"""One connection to a server, for an event loop or for a thread: connects, greets, says commands, reads their replies.

Stands on redis-py's connections, not on its client: nothing here says a command twice. A link that met trouble is
dropped by whoever holds it.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, Final, TypeAlias

import hiredis
import redis.asyncio.connection as on_loop
import redis.connection as on_thread
from redis import exceptions as told
from redis.asyncio.retry import Retry as RetryOnLoop
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.retry import Retry

from surefoot import clock
from surefoot.brokers.broker import NoAnswer
from surefoot.brokers.redis.server import Command, Server, reason, unreachable

Met: TypeAlias = Callable[[list[Any]], None]

# Replies that redis-py raises although the connection is sound. Its other errors mean that there is no reply.
_ERROR_REPLIES: Final = (
    told.ResponseError, told.BusyLoadingError, told.AuthenticationError, told.AuthorizationError,
    told.ExternalAuthProviderError,
)  # fmt: skip


# Packs a script's call in 2 us; redis-py's connections for loops need 20. Its stub knows commands of one word only.
_pack: Final[Any] = hiredis.pack_command


class Packed:
    """Commands as the bytes that go out, how many replies they bring, and the replies that the server may hold back.

    `slow`: their places, and the seconds that each may take beyond the time of an exchange.
    """

    __slots__ = ("count", "data", "slow")

    def __init__(self, commands: Sequence[Command]) -> None:
        words = [_pack(command) for command in commands]
        self.slow: Final = {
            place: float(command[2]) / 1000 for place, command in enumerate(commands) if command[0] == "WAIT"
        }
        self.count: Final = len(words)
        self.data: Final = [b"".join(words)]


class Greeting:
    """What every new connection says first. `met` hears the replies until it has once let them pass."""

    def __init__(self, commands: Sequence[Command], met: Met | None) -> None:
        self.packed: Final = Packed(commands)
        self._met = met
        self._lock = threading.Lock()

    def hear(self, replies: list[Any]) -> None:
        """Let `met` judge; passes on what it raises."""
        if self._met is not None:
            with self._lock:
                if self._met is not None:
                    self._met(replies)
                    self._met = None


class Link:
    """One connection on an event loop. `age`: that of the way to its server when it was opened."""

    def __init__(self, server: Server, age: int = 0) -> None:
        self.age: Final = age
        self._server = server
        self._connection = _made(server, on_loop, RetryOnLoop(NoBackoff(), 0))
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._until = 0.0
        self._task: asyncio.Task[Any] | None = None
        self._late = False

    async def open(self, greeting: Greeting) -> None:
        """Connect and greet. StoreUnavailable if that fails, and whatever the greeting's `met` raises."""
        try:
            try:
                async with asyncio.timeout(self._server.timeout):
                    await self._connection.connect()
                    # From here on one alarm of ours covers all replies; redis-py would set a timer for each.
                    self._connection.socket_timeout = None
                    if self._server.named:
                        _refuse_replica(await self._converse(_WHO))
                    replies = await self._converse(greeting.packed)
                _refuse_loading(replies)
            except Exception as error:
                raise unreachable(self._server, error) from error
            greeting.hear(replies)
        except BaseException:
            await self.drop()
            raise

    async def exchange(self, packed: Packed, seconds: float) -> list[Any]:
        """Say commands and read their replies, in order; an error reply is a value. NoAnswer if one is missing."""
        task = self._task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        self._watch(seconds)
        try:
            return await self._converse(packed)
        except asyncio.CancelledError:
            if self._late and task.uncancel() <= cancelling:
                raise NoAnswer(f"no answer from {self._server.shown} within {seconds:.2g} s.") from None
            raise
        except Exception as error:
            raise lost(self._server, error) from error
        finally:
            self._task = None

    async def _converse(self, packed: Packed) -> list[Any]:
        connection = self._connection
        if packed.count:
            await connection.send_packed_command(packed.data, check_health=False)
        replies: list[Any] = []
        for place in range(packed.count):
            if packed.slow and place in packed.slow:
                self._watch(packed.slow[place] + self._server.timeout)
            try:
                replies.append(await connection.read_response(disable_decoding=True, disconnect_on_error=False))
            except _ERROR_REPLIES as error:
                replies.append(error.with_traceback(None))
        return replies

    # --- one way at a time, for subscriptions ---

    async def say(self, packed: Packed) -> None:
        """Say commands; their replies come as messages."""
        try:
            await self._connection.send_packed_command(packed.data, check_health=False)
        except Exception as error:
            raise lost(self._server, error) from error

    async def message(self, seconds: float) -> Any:
        """The next message, None if there was none in this time. An error reply is a value."""
        try:
            return await self._connection.read_response(
                disable_decoding=True, disconnect_on_error=False, timeout=seconds
            )
        except _ERROR_REPLIES as error:
            return error.with_traceback(None)
        except Exception as error:
            raise lost(self._server, error) from error

    # --- the time ---

    def _watch(self, seconds: float) -> None:
        """One timer for many exchanges: it is not taken down at the end of one, but looks again when it rings."""
        now = clock.monotonic()
        self._until = now + seconds
        if self._alarm is None or self._until < self._alarm_at:
            self._set_alarm(seconds)

    def _set_alarm(self, seconds: float) -> None:
        self._stop_alarm()
        self._alarm_at = clock.monotonic() + seconds
        self._alarm = clock.call_later(asyncio.get_running_loop(), seconds, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._task is None:
            return
        left = self._until - clock.monotonic()
        if left > 0:
            self._set_alarm(left)
        else:
            self._late = True
            self._task.cancel()

    def _stop_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    # --- the end ---

    async def is_stale(self) -> bool:
        """Whether the server has closed it, or said something unasked. Costs 0.2 us."""
        try:
            return bool(await self._connection.can_read())
        except Exception:
            return True

    async def close(self) -> None:
        """Close in order."""
        self._stop_alarm()
        with contextlib.suppress(Exception):
            await self._connection.disconnect()

    async def drop(self) -> None:
        """Close without waiting for anything."""
        self._stop_alarm()
        with contextlib.suppress(Exception):
            await self._connection.disconnect(nowait=True)


class ThreadLink:
    """One connection for threads, one at a time. `age`: as of a Link."""

    def __init__(self, server: Server, age: int = 0) -> None:
        self.age: Final = age
        self._server = server
        self._connection = _made(server, on_thread, Retry(NoBackoff(), 0))

    def open(self, greeting: Greeting) -> None:
        """Connect and greet. StoreUnavailable if that fails, and whatever the greeting's `met` raises."""
        try:
            try:
                self._connection.connect()
                if self._server.named:
                    _refuse_replica(self._converse(_WHO))
                replies = self._converse(greeting.packed)
                _refuse_loading(replies)
            except Exception as error:
                raise unreachable(self._server, error) from error
            greeting.hear(replies)
        except BaseException:
            self.close()
            raise

    def exchange(self, packed: Packed) -> list[Any]:
        """Say commands and read their replies, in order; an error reply is a value. NoAnswer if one is missing."""
        try:
            return self._converse(packed)
        except Exception as error:
            raise lost(self._server, error) from error

    def _converse(self, packed: Packed) -> list[Any]:
        connection = self._connection
        if packed.count:
            connection.send_packed_command(packed.data, check_health=False)
        replies: list[Any] = []
        for place in range(packed.count):
            words: dict[str, Any] = {"disable_decoding": True, "disconnect_on_error": False}
            if packed.slow and place in packed.slow:
                words["timeout"] = packed.slow[place] + self._server.timeout
            try:
                replies.append(connection.read_response(**words))
            except _ERROR_REPLIES as error:
                replies.append(error.with_traceback(None))
        return replies

    def is_stale(self) -> bool:
        """Whether the server has closed it, or said something unasked. Costs 0.8 us."""
        try:
            return bool(self._connection.can_read(0))
        except Exception:
            return True

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(Exception):
            self._connection.disconnect()


def lost(server: Server, error: BaseException) -> NoAnswer:
    """What a caller is told whose commands may have been executed."""
    return NoAnswer(f"lost the connection to {server.shown} ({reason(server, error)}).")


_WHO: Final = Packed([("HELLO",)])
"""Asks for the role; every user may."""


def _refuse_replica(replies: list[Any]) -> None:
    """Sentinels may name a server that does not know yet, or no longer, that it leads."""
    [hello] = replies
    _refuse_loading(replies)
    if isinstance(hello, list) and dict(zip(hello[::2], hello[1::2], strict=False)).get(b"role") != b"master":
        raise told.ReadOnlyError("it is a replica")


def _refuse_loading(replies: list[Any]) -> None:
    for reply in replies:
        if isinstance(reply, told.BusyLoadingError):
            raise reply


def _made(server: Server, kinds: Any, retry: Any) -> Any:
    """A connection of redis-py that is not yet open. Everything is said that redis-py would choose otherwise.

    Its notices of maintenance stay off: they are on only where a configuration of them is given.
    """
    words: dict[str, Any] = {
        "db": server.db,
        "username": server.username,
        "password": server.password,
        "protocol": 2,
        "retry": retry,
        "socket_timeout": server.timeout,
        "socket_connect_timeout": server.timeout,
        "health_check_interval": 0,
        "driver_info": DriverInfo().add_upstream_driver("surefoot", _VERSION),
    }
    if server.path is not None:
        return kinds.UnixDomainSocketConnection(path=server.path, **words)
    if server.tls:
        return kinds.SSLConnection(
            host=server.host, port=server.port, socket_keepalive=True, **words, **dict(server.tls_files)
        )
    return kinds.Connection(host=server.host, port=server.port, socket_keepalive=True, **words)


_VERSION: Final = version("surefoot")
