"""A process that forks while its connections are open. Arguments: port, asyncio or uvloop, how the child ends."""

import asyncio
import gc
import os
import sys
import threading
import weakref

import uvloop

from surefoot.brokers.redis.connection import Connections, Server
from surefoot.brokers.redis.pool import Threads

PORT, LOOP, LEAVES = int(sys.argv[1]), sys.argv[2], sys.argv[3]
HOST = "127.0.0.1"

connections = Connections(Server(host=HOST, port=PORT, shown=f"redis://{HOST}:{PORT}/0"))
run = uvloop.run if LOOP == "uvloop" else asyncio.run


async def ids() -> list[int]:
    """The connections of this loop, three of them, by using them at once."""
    commands = ("CLIENT", "ID"), ("BLPOP", "nothing", "0.05")
    replies = await asyncio.gather(*[connections.send(*commands) for _ in range(3)])
    return sorted(reply[0] for reply in replies)


def sync_ids() -> list[int]:
    return [connections.send_sync(("CLIENT", "ID"), urgent=urgent)[0] for urgent in (False, True)]


def child(theirs: list[int]) -> None:
    threads_pool = connections._threads
    assert isinstance(threads_pool, Threads)
    links = [weakref.ref(link) for link in threads_pool._idle]
    found: set[int] = set()
    threads = [threading.Thread(target=lambda: found.update(sync_ids())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.update(run(ids()))
    gc.collect()
    assert links and all(link() is not None for link in links), "a connection of the parent was finalised here"
    assert found.isdisjoint(theirs), (found, theirs)
    connections.close_sync()
    print("the child is done", flush=True)


async def fork_beside_a_loop() -> None:
    apart = await connections.apart()
    before, sync_before = await ids(), sync_ids()
    [apart_before] = await apart.send(("CLIENT", "ID"))
    blocked = asyncio.create_task(apart.send(("BLPOP", "forked", 30), seconds=60))
    await asyncio.sleep(0.05)
    pid = os.fork()
    if pid == 0:
        # The loop that seems to run here is the parent's; the child must not touch it.
        lived = threading.Thread(target=child, args=([*before, *sync_before, apart_before],))
        lived.start()
        lived.join()
        os._exit(0)
    assert await asyncio.to_thread(os.waitpid, pid, 0) == (pid, 0)
    assert await ids() == before
    assert sync_ids() == sync_before
    await connections.send(("LPUSH", "forked", "on"))
    assert await blocked == [[b"forked", b"on"]]
    print("the parent goes on", flush=True)
    connections.close_sync()


def fork_without_a_loop() -> None:
    run(ids())
    before = sync_ids()
    pid = os.fork()
    if pid == 0:
        child(before)
        sys.exit(0)
    assert os.waitpid(pid, 0) == (pid, 0)
    assert sync_ids() == before
    print("the parent goes on", flush=True)
    connections.close_sync()


if LEAVES == "at_once":
    run(fork_beside_a_loop())
else:
    fork_without_a_loop()
