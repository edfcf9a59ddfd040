"""Where a store's primary is, as its sentinels say at this moment; a store without sentinels is where its URL says.

Whether the server that they name leads is checked by each connection itself.
"""

import contextlib
from collections.abc import Generator
from typing import Any, Final, TypeAlias

from msgspec.structs import replace

from surefoot import clock
from surefoot.brokers.redis.link import Greeting, Link, Packed, ThreadLink
from surefoot.brokers.redis.server import Server, unreachable
from surefoot.core.errors import StoreUnavailable

_Heard: TypeAlias = list[Any] | Exception
_Search: TypeAlias = Generator[Server, _Heard, Server]
"""Yields a sentinel to ask, is sent its replies or why there are none, returns the primary."""
_NOBODY: Final = Greeting((), None)
_ASK_AGAIN_S: Final = 1.0
"""A primary that was replaced by hand lives on for ten seconds, and takes writes that are lost: sentinels are asked so
often, as long as there is something to say.
"""


class Way:
    """The way to one store, for all of its connections in a process.

    `age` grows when they may lead to the wrong server: those that are older are used no more.
    """

    def __init__(self, server: Server) -> None:
        self.age: int = 0
        self.server: Final = server
        self._sentinels = server.sentinels
        self._place: tuple[str, int] | None = None
        self._ask_at = 0.0
        self._question: Final = Packed([("SENTINEL", "GET-MASTER-ADDR-BY-NAME", server.primary)])

    # --- on a loop ---

    async def primary(self) -> Server:
        """Where to connect. StoreUnavailable if nobody knows."""
        if not self._sentinels:
            return self.server
        steps = self._search()
        try:
            sentinel = next(steps)
            while True:
                sentinel = steps.send(await self._ask(sentinel))
        except StopIteration as end:
            found: Server = end.value
            return found

    async def check(self) -> None:
        """Ask the sentinels, if that was long ago, whether another one leads."""
        if self._is_time():
            with contextlib.suppress(StoreUnavailable):
                await self.primary()

    async def _ask(self, sentinel: Server) -> _Heard:
        link = Link(sentinel)
        try:
            await link.open(_NOBODY)
            return await link.exchange(self._question, sentinel.timeout)
        except Exception as error:
            return error
        finally:
            await link.drop()

    # --- from a thread ---

    def primary_blocking(self) -> Server:
        """As `primary`."""
        if not self._sentinels:
            return self.server
        steps = self._search()
        try:
            sentinel = next(steps)
            while True:
                sentinel = steps.send(self._ask_blocking(sentinel))
        except StopIteration as end:
            found: Server = end.value
            return found

    def check_blocking(self) -> None:
        """As `check`."""
        if self._is_time():
            with contextlib.suppress(StoreUnavailable):
                self.primary_blocking()

    def _ask_blocking(self, sentinel: Server) -> _Heard:
        link = ThreadLink(sentinel)
        try:
            link.open(_NOBODY)
            return link.exchange(self._question)
        except Exception as error:
            return error
        finally:
            link.close()

    # --- what is known ---

    def doubt(self) -> None:
        """The server that was named cannot be used: another sentinel is asked first next time."""
        first, *others = self._sentinels or (None,)
        if first is not None:
            self._sentinels = (*others, first)

    def _is_time(self) -> bool:
        return bool(self._sentinels) and clock.monotonic() >= self._ask_at

    def _search(self) -> _Search:
        """The sentinel that answered last is asked first."""
        self._ask_at = clock.monotonic() + _ASK_AGAIN_S
        trouble = StoreUnavailable("")
        for sentinel in self._sentinels:
            heard = yield sentinel
            match heard:
                case [[bytes(host), bytes(port)]]:
                    self._sentinels = (sentinel, *[other for other in self._sentinels if other is not sentinel])
                    return self._found(host.decode(), int(port))
                case StoreUnavailable():
                    trouble = heard
                case [Exception() as error] | (Exception() as error):
                    trouble = unreachable(sentinel, error)
                case _:
                    name = self.server.primary
                    trouble = StoreUnavailable(f"{sentinel.shown} knows no primary '{name}'.")
        raise trouble

    def _found(self, host: str, port: int) -> Server:
        if self._place != (host, port):
            self._place = (host, port)
            self.age += 1
        shown = f"the primary {host}:{port} of {self.server.shown}"
        return replace(self.server, host=host, port=port, shown=shown, sentinels=(), named=True)
