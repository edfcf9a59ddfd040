"""The connections of one event loop, and those that threads share: how many there are, who gets which, when they close.

What is said on them is not known here.
"""

import asyncio
import threading
from typing import Any, Final

from surefoot.brokers.broker import NoAnswer
from surefoot.brokers.redis.link import Greeting, Link, Packed, ThreadLink
from surefoot.brokers.redis.sentinel import Way
from surefoot.brokers.redis.server import Command, Server
from surefoot.core.errors import StoreUnavailable

AT_ONCE: Final = 32
"""The most connections of one loop that are in use at once."""
AT_REST: Final = 8
"""The most that are kept open unused."""


def replaced(server: Server) -> StoreUnavailable:
    """What a caller is told whose commands were made for the server that led before: they are not said to another."""
    return StoreUnavailable(f"{server.shown} has another primary now.")


class Pool:
    """The connections of one event loop. The one that was used last is used next; whoever finds none waits in line."""

    def __init__(self, server: Server, greeting: Greeting, way: Way) -> None:
        self._server = server
        self._greeting = greeting
        self._way = way
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._idle: list[Link] = []
        self._aparts: set[Apart] = set()
        self._closed = False

    async def exchange(self, packed: Packed) -> list[Any]:
        """Say commands on a connection that nobody else uses."""
        age = self._way.age
        if self._turns.locked():
            await self._wait_in_line()
        else:
            await self._turns.acquire()
        try:
            link = await self._take()
            if age and link.age != age:
                await self._put_back(link)
                raise replaced(self._server)
            try:
                replies = await link.exchange(packed, self._server.timeout)
            except BaseException as error:
                await link.drop()
                if isinstance(error, NoAnswer):  # what ended this one has most likely ended all
                    await self._drop_idle()
                raise
            await self._put_back(link)
            return replies
        finally:
            self._turns.release()

    async def _put_back(self, link: Link) -> None:
        if self._closed or len(self._idle) >= AT_REST or link.age != self._way.age:
            await link.drop()
        else:
            self._idle.append(link)

    async def _wait_in_line(self) -> None:
        try:
            async with asyncio.timeout(self._server.timeout):
                await self._turns.acquire()
        except TimeoutError:
            raise StoreUnavailable(
                f"cannot reach {self._server.shown} (all {AT_ONCE} connections of this loop are in use)"
            ) from None

    async def _take(self) -> Link:
        await self._way.check()
        while self._idle:
            link = self._idle.pop()
            if link.age == self._way.age and not await link.is_stale():
                return link
            await link.drop()
        return await self._opened()

    async def _opened(self) -> Link:
        link = Link(await self._way.primary(), self._way.age)
        try:
            await link.open(self._greeting)
        except StoreUnavailable:
            self._way.doubt()
            raise
        return link

    async def _drop_idle(self) -> None:
        while self._idle:
            await self._idle.pop().drop()

    async def apart(self) -> "Apart":
        """A connection outside the pool, which ends with it."""
        apart = Apart(await self._opened(), self, self._way, self._aparts)
        if self._closed:
            await apart.close()
        return apart

    async def close(self) -> None:
        """Close what is idle or apart; what is in use is closed when it comes back."""
        self._closed = True
        links = [*self._idle, *[apart.link for apart in self._aparts]]
        self._idle.clear()
        self._aparts.clear()
        try:
            while links:
                await links.pop().close()
        finally:  # cancelled, for example by a loop that ends: a drop waits for nothing
            for link in links:
                await link.drop()


class Apart:
    """A connection of its own, for a blocked read or a subscription. Its owner closes it, and always after trouble."""

    def __init__(self, link: Link, pool: Pool, way: Way, among: "set[Apart]") -> None:
        self.link: Final = link
        self._way = way
        self._pool = pool
        self._among = among
        among.add(self)

    async def send(self, *commands: Command, seconds: float | None = None) -> list[Any]:
        """As `Connections.send`; `seconds` instead of the server's timeout."""
        return await self.link.exchange(Packed(commands), self._way.server.timeout if seconds is None else seconds)

    async def beside(self, *commands: Command) -> list[Any]:
        """Say commands to the same server on another connection."""
        return await self._pool.exchange(Packed(commands))

    async def say(self, *commands: Command) -> None:
        """Say commands whose replies come as messages."""
        await self.link.say(Packed(commands))

    async def message(self, seconds: float) -> Any:
        """The next message, or None if none came in this time. An error reply is a value. NoAnswer if it is lost."""
        return await self.link.message(seconds)

    async def is_stale(self) -> bool:
        """Whether the server has closed it while nothing was said on it, or another server leads now."""
        await self._way.check()
        return self.link.age != self._way.age or await self.link.is_stale()

    async def close(self) -> None:
        """Close it; whoever reads from it meets NoAnswer."""
        self._among.discard(self)
        await self.link.drop()


class Threads:
    """The connections that threads share. A thread never waits for another: it opens one more."""

    def __init__(self, greeting: Greeting, way: Way) -> None:
        self._greeting = greeting
        self._way = way
        self._lock = threading.Lock()
        self._idle: list[ThreadLink] = []
        self._closings = 0

    def exchange(self, packed: Packed) -> list[Any]:
        """Say commands on a connection that nobody else uses."""
        age = self._way.age
        link, closings = self._take()
        if age and link.age != age:
            self._put_back(link, closings)
            raise replaced(self._way.server)
        try:
            replies = link.exchange(packed)
        except BaseException as error:
            link.close()
            if isinstance(error, NoAnswer):
                self._close_idle()
            raise
        self._put_back(link, closings)
        return replies

    def _put_back(self, link: ThreadLink, closings: int) -> None:
        with self._lock:
            keep = closings == self._closings and len(self._idle) < AT_REST and link.age == self._way.age
            if keep:
                self._idle.append(link)
        if not keep:
            link.close()

    def _take(self) -> tuple[ThreadLink, int]:
        self._way.check_blocking()
        while True:
            with self._lock:
                closings = self._closings
                link = self._idle.pop() if self._idle else None
            if link is None:
                link = ThreadLink(self._way.primary_blocking(), self._way.age)
                try:
                    link.open(self._greeting)
                except StoreUnavailable:
                    self._way.doubt()
                    raise
                return link, closings
            if link.age == self._way.age and not link.is_stale():
                return link, closings
            link.close()

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
        with self._lock:
            self._closings += 1
        self._close_idle()

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()
