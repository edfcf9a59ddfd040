"""Several processes on one SQLite file: wake-ups and ends across them, and forks."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conformance.sqlite_only.sender import Sender
from tests.conformance.stores import LEASE_MS, QUEUE, new

from surefoot.brokers.broker import Claim, Settle
from surefoot.brokers.sqlite import SqliteBroker
from surefoot.core.transition import Finish, Transition

PATIENCE = 20
SHORT = 0.2


async def test_a_wake_up_of_another_process_is_heard(open_store: Callable[..., SqliteBroker]) -> None:
    here, there = Sender(open_store()), Sender(open_store(), "other")
    here.claim()
    waiting = asyncio.ensure_future(here.broker.wait([QUEUE], PATIENCE))
    there.put(new("a"))
    assert await waiting


async def test_a_wake_up_of_another_process_before_the_wait_is_heard_whatever_we_commit_meanwhile(
    open_store: Callable[..., SqliteBroker],
) -> None:
    here, there = Sender(open_store()), Sender(open_store(), "other")
    here.claim()
    there.put(new("a"))
    here.claim(queue="shop:else")
    assert await here.broker.wait([QUEUE], PATIENCE)


async def test_empty_claims_of_another_process_wake_nobody(open_store: Callable[..., SqliteBroker]) -> None:
    here, there = Sender(open_store()), Sender(open_store(), "other")
    here.claim()
    waiting = asyncio.ensure_future(here.broker.wait([QUEUE], SHORT))
    await asyncio.sleep(0)
    for _ in range(5):
        there.claim()
    assert not await waiting


async def test_every_listener_of_a_loop_hears_a_wake_up(open_store: Callable[..., SqliteBroker]) -> None:
    class Listener: ...

    sender, (one, two, three) = Sender(open_store()), (Listener(), Listener(), Listener())
    broker = sender.broker
    waits = [asyncio.ensure_future(broker.wait([QUEUE], PATIENCE, listener=each)) for each in (one, two)]
    await asyncio.sleep(0)
    sender.put(new("a"))
    assert await asyncio.gather(*waits) == [True, True]
    assert await broker.wait([QUEUE], 0, listener=three), "it was between two waits"
    assert not await broker.wait([QUEUE], 0, listener=one)


async def test_the_end_of_a_job_is_told_across_processes(open_store: Callable[..., SqliteBroker]) -> None:
    here, there = Sender(open_store()), Sender(open_store(), "other")
    here.put(new("a"))
    (claimed,) = there.say(Claim(QUEUE, 1, LEASE_MS, 0))
    ending = asyncio.ensure_future(here.broker.ended(QUEUE, "a", 10 * PATIENCE))
    await asyncio.sleep(0)
    assert not ending.done()
    there.say(Settle(QUEUE, (Transition("a", claimed.jobs[0].token, Finish("completed"), "runs"),)))
    await asyncio.wait_for(ending, PATIENCE)
    await asyncio.wait_for(here.broker.ended(QUEUE, "a", 10 * PATIENCE), PATIENCE)  # it is over already


FORKS = """
import os, sys
from surefoot.brokers.broker import Call, Get, Put
from surefoot.brokers.sqlite import SqliteBroker
from surefoot.core.job import NewJob
broker = SqliteBroker(sys.argv[1])
def put(caller, *ids):
    return broker.run_sync(Call(caller, 1, "tag1", (Put("shop:mail", tuple(NewJob(id, b"{}") for id in ids)),)))
put("parent", "of-parent")
broker.run_sync(Call("parent", 2, "tag1", (Get("shop:mail", ("x",)),)))
child = os.fork()
if child == 0:
    put("child", "of-child")
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
put("parent2", "after")
os._exit(0)
"""


def test_Q7_a_forked_child_touches_nothing_of_its_parent(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, str(path)], check=True, timeout=PATIENCE)
    sender = Sender(open_store())
    assert sender.known("of-parent", "of-child", "after") == [True, True, True]
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


FORKS_OF_A_BUSY_PROCESS = """
import os, signal, sys, threading
from surefoot.brokers.broker import Call, Put
from surefoot.brokers.sqlite import SqliteBroker
from surefoot.core.job import NewJob
broker = SqliteBroker(sys.argv[1])
def put(caller, number, *ids):
    broker.run_sync(Call(caller, number, "tag1", (Put("shop:mail", tuple(NewJob(id, b"{}") for id in ids)),)))
busy = True
def work():
    number = 0
    while busy:
        number += 1
        put("busy", number, *[f"busy-{number}-{n}" for n in range(50)])
thread = threading.Thread(target=work)
thread.start()
for n in range(25):
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        put(f"child-{n}", 1, f"of-child-{n}")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "the child did not get through"
busy = False
thread.join()
"""


def test_W20_a_process_may_fork_while_it_writes(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS_OF_A_BUSY_PROCESS, str(path)], check=True, timeout=60)
    assert all(Sender(open_store()).known(*[f"of-child-{n}" for n in range(25)]))
