"""What the cases of the Redis broker's connections share: the ways to say commands, and looks at the server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias

import anyio
from tests.servers import HOST
from tests.servers import Server as Running

from surefoot.brokers.redis.connection import Connections, Server

LONG = 20.0
"""Seconds in which whatever must come has surely come."""

Make: TypeAlias = Callable[..., Connections]
Said: TypeAlias = Callable[..., Coroutine[Any, Any, list[Any]]]
Door: TypeAlias = Callable[[Connections], Said]


def on_loop(connections: Connections) -> Said:
    return connections.send


def in_thread(connections: Connections) -> Said:
    return lambda *commands: asyncio.to_thread(connections.send_sync, *commands)


def urgent(connections: Connections) -> Said:
    return lambda *commands: asyncio.to_thread(connections.send_sync, *commands, urgent=True)


DOORS = (on_loop, in_thread, urgent)
"""Every way to say commands."""


@contextlib.asynccontextmanager
async def opening() -> AsyncIterator[Make]:
    """Makes connections that are closed after the case."""
    made: list[Connections] = []

    def make(server: Server, **words: Any) -> Connections:
        made.append(Connections(server, **words))
        return made[-1]

    yield make
    for connections in made:
        await connections.close()
        connections.close_sync()


def at(port: int, **words: Any) -> Server:
    return Server(host=HOST, port=port, shown=f"redis://{HOST}:{port}/0", **words)


def ours(running: Running) -> list[dict[str, str]]:
    """Our connections, as the server lists them."""
    lines = running.say("CLIENT", "LIST").decode().splitlines()
    clients = [dict(word.split("=", 1) for word in line.split()) for line in lines]
    return [client for client in clients if "surefoot" in client["lib-name"]]


async def eventually(condition: Callable[[], Any]) -> None:
    with anyio.fail_after(LONG):
        while not condition():
            await asyncio.sleep(0.01)


async def client_id(said: Said) -> int:
    [number] = await said(("CLIENT", "ID"))
    assert isinstance(number, int)
    return number
