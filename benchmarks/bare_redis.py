"""The bare loop on one Redis server: the least work that still claims atomically, fences by token and validates
arguments.

No keeper, no deadlines, no errors, no statistics, no wake-ups. A measuring stick for the product, not a draft of it.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import hiredis
from redis.asyncio import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from benchmarks import bare_jobs
from benchmarks.bare_jobs import Runner, envelope

LEASE_MS = 10_000
TOKEN_CHARACTERS = 16
KEYS = ("{bare:bench}:jobs", "{bare:bench}:pending", "{bare:bench}:leases", "{bare:bench}:scheduled")
NAMES = "local jobs, pending, leases, scheduled = KEYS[1], KEYS[2], KEYS[3], KEYS[4]\n"
# id, envelope, id, envelope, ... A job that is there already is not stored again.
PUT = f"""{NAMES}
local new = {{}}
for i = 1, #ARGV, 2 do
  if redis.call('HSETNX', jobs, ARGV[i], ARGV[i + 1]) == 1 then new[#new + 1] = ARGV[i] end
end
if #new > 0 then redis.call('RPUSH', pending, unpack(new)) end
return #new
"""
# id + token, ... A lease that somebody else holds by now is passed over.
SETTLE = f"""{NAMES}
local held = redis.call('ZMSCORE', leases, unpack(ARGV))
local mine, ids = {{}}, {{}}
for i, member in ipairs(ARGV) do
  if held[i] then
    mine[#mine + 1], ids[#ids + 1] = member, string.sub(member, 1, -{TOKEN_CHARACTERS + 1})
  end
end
if #mine > 0 then
  redis.call('ZREM', leases, unpack(mine))
  redis.call('HDEL', jobs, unpack(ids))
end
return #mine
"""
# want, token. Ended leases and due jobs go to pending first.
CLAIM = f"""{NAMES}
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for _, member in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('ZREM', leases, member)
  redis.call('RPUSH', pending, string.sub(member, 1, -{TOKEN_CHARACTERS + 1}))
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', scheduled, '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('ZREM', scheduled, id)
  redis.call('RPUSH', pending, id)
end
local ids = redis.call('LPOP', pending, ARGV[1])
if not ids then return {{{{}}, {{}}}} end
local held = {{}}
for i, id in ipairs(ids) do held[2 * i - 1], held[2 * i] = now + {LEASE_MS}, id .. ARGV[2] end
redis.call('ZADD', leases, unpack(held))
return {{ids, redis.call('HMGET', jobs, unpack(ids))}}
"""


class Wire:
    """One connection. What is said together goes out in one write."""

    def __init__(self, port: int) -> None:
        # As the product's: no timer and no repeat of the driver's own.
        self.connection: Any = Connection(
            host="127.0.0.1", port=port, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=None
        )
        self.shas: dict[str, bytes] = {}

    async def open(self) -> None:
        """Connect and load the scripts."""
        await self.connection.connect()
        for script in (PUT, SETTLE, CLAIM):
            [self.shas[script]] = await self.say(("SCRIPT", "LOAD", script))

    async def say(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Commands, and their replies in order."""
        pack: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command
        await self.connection.send_packed_command(b"".join([pack(command) for command in commands]), check_health=False)
        return [await self.connection.read_response(disable_decoding=True) for _ in commands]

    def script(self, script: str, *arguments: Any) -> tuple[Any, ...]:
        """The command that runs a script."""
        return ("EVALSHA", self.shas[script], len(KEYS), *KEYS, *arguments)


def words(numbers: Iterable[int]) -> list[str | bytes]:
    """Jobs as arguments of PUT, with ids as long as the product's."""
    said: list[str | bytes] = []
    for n in numbers:
        id = f"{n:012x}{os.urandom(8).hex()}"
        said += (id, envelope(id, n))
    return said


async def drain(port: int, jobs: int, at_once: int) -> float:
    """Seconds from the first handler's start to the last one's end, with `jobs` no-op jobs already stored."""
    wire = Wire(port)
    await wire.open()
    for start in range(0, jobs, 500):
        await wire.say(wire.script(PUT, *words(range(start, min(start + 500, jobs)))))
    runner: Runner[str] = Runner()
    finished = 0
    while finished < jobs:
        runner.bell.clear()
        batch, runner.done = runner.done, []
        token = os.urandom(TOKEN_CHARACTERS // 2).hex()
        commands = [wire.script(SETTLE, *[id + held for id, held in batch])] if batch else []
        commands.append(wire.script(CLAIM, at_once - runner.running, token))
        *settled, [ids, bodies] = await wire.say(*commands)
        assert settled == ([len(batch)] if batch else [])
        finished += len(batch)
        runner.running += len(ids)
        for id, body in zip(ids, bodies, strict=True):
            runner.start(id.decode(), body, token)
        if not runner.done and finished < jobs:
            await runner.bell.wait()
    return time.perf_counter() - runner.begun


class Line:
    """What is put while a call is on its way travels together in the next one."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.waiting: list[tuple[list[str | bytes], asyncio.Future[None]]] = []
        self.carrier: asyncio.Task[None] | None = None

    def put(self, numbers: Iterable[int]) -> "asyncio.Future[None]":
        """Done when these jobs are stored."""
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[None] = loop.create_future()
        self.waiting.append((words(numbers), stored))
        if self.carrier is None:
            self.carrier = loop.create_task(self.carry())
        return stored

    async def carry(self) -> None:
        """Say what waits until nothing does."""
        while self.waiting:
            some, self.waiting = self.waiting, []
            await self.wire.say(self.wire.script(PUT, *[word for job, _ in some for word in job]))
            for _, stored in some:
                stored.set_result(None)
        self.carrier = None


async def enqueue(port: int, jobs: int, how: str) -> float:
    """Seconds to store jobs."""
    wire = Wire(port)
    await wire.open()
    return await bare_jobs.enqueue(jobs, how, Line(wire).put)
