"""Each rule of rules.py catches what it is for, and nothing beside it: a rule that cannot fail is worth nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from tests.architecture import lua, rules

GOOD_SCRIPT = """\
-- extend: renew leases that are still held.
-- :queue  text     "namespace:queue"
-- :lease  integer  end of the lease, ms
-- returns: one row for each lease that was renewed,
--          none for a lost one.
-- keeps: a token that is not the job's changes nothing.

-- name: renew
UPDATE job SET lease = :lease WHERE queue = :queue AND note <> ':none'; -- :not_this
-- name: rest
SELECT 1 WHERE :queue = CAST('x' AS text);
"""

GOOD_LUA = {
    "bury": """\
-- bury: jobs that nobody can run. A text may hold a sign -- as here -- and 'quotes'.
-- KEYS.dead   zset     id by time of death, ms
-- ARGV.many   integer  how many ids follow
-- ARGV.rest   text     ids,
--                      any number of them
-- uses: time drains enter
-- returns: a line each
-- keeps: nothing that runs is touched
local many, gone = tonumber(ARGV.many), {}
for i = $REST, #ARGV do -- redis.call(command, key)
  redis.call('ZADD', KEYS.dead, text(now + 60000 * many), ARGV[i + 1 - 1])
  gone[#gone + 1] = redis.pcall('ZRANGE', KEYS.dead, 0, many - 1)[1]
end
if redis.call('EXISTS', KEYS.pending, KEYS.dead) > 0 then
  redis.call('PUBLISH', string.sub(KEYS.dead, 1, -5) .. 'done', table.concat(gone, '\\n') .. stamp)
end
redis.call('HSETNX', KEYS.meta, 'tail', '5')
enter({tail = enter, gone[-1]})
return redis.error_reply('none' .. stamp)
""",
    "pieces/time": """\
-- time: the moment of the call.
-- ARGV.now  ms  the moment; 0: the server's
local now = tonumber(ARGV.now) or redis.call('TIME')[1]
local function text(number)
  return string.format('%.0f', number)
end
local stamp = text(now)
""",
    "pieces/drains": """\
-- drains: the first write.
-- KEYS.pending  zset  id by rank
redis.call('ZREM', KEYS.pending, '')
""",
    "pieces/enter": """\
-- enter: into pending.
-- KEYS.pending  zset  id by rank
-- KEYS.meta     hash  words of the queue
-- uses: time
local function enter(ids)
  redis.call('ZADD', KEYS.pending, redis.call('HINCRBY', KEYS.meta, 'tail', text(64 * #ids)), ids[1])
end
""",
    "pieces/wake": """\
-- wake: a token.
-- KEYS.wake  list  at most one token
local function wake()
  redis.call('LPUSH', KEYS.wake, '1')
end
""",
}

CATCHES: list[tuple[Callable[[str], Iterator[str]], str]] = [
    (rules.impurities, "import time"),
    (rules.impurities, "import os.path"),
    (rules.impurities, "from random import random"),
    (rules.impurities, "def f():\n    import socket"),
    (rules.impurities, "import typing\nif typing.TYPE_CHECKING:\n    import asyncio"),
    (rules.impurities, "from surefoot.clock import Clock"),
    (rules.impurities, "from surefoot import Job"),
    (rules.impurities, "import cronsim"),
    (rules.impurities, "import datetime as d\nx = d.datetime.now()"),
    (rules.impurities, "from datetime import date as d\nx = d.today()"),
    (rules.impurities, "x = open('f')"),
    (rules.time_readings, "import time"),
    (rules.time_readings, "import time as clock"),
    (rules.time_readings, "from time import monotonic as m"),
    (rules.time_readings, "from datetime import UTC, datetime\nx = datetime.now(UTC)"),
    (rules.time_readings, "read = self._loop.time"),
    (rules.time_readings, "import asyncio\nx = asyncio.get_running_loop().time()"),
    (rules.chance_draws, "import random"),
    (rules.chance_draws, "from secrets import token_hex"),
    (rules.chance_draws, "import os\nid = os.urandom(8)"),
    (rules.chance_draws, "from uuid import uuid4\nid = uuid4()"),
    (rules.unsafe_loading, "import pickle"),
    (rules.unsafe_loading, "from multiprocessing.reduction import pickle"),
    (rules.unsafe_loading, "from yaml import load"),
    (rules.unsafe_loading, "x = eval('1')"),
    (rules.unsafe_loading, "import builtins\nbuiltins.exec('1')"),
    (rules.unsafe_loading, "run = __import__"),
    (rules.unsafe_loading, "x = self.pipe.recv()"),
    (rules.oversizes, "x = 1\n" * 400),
    (rules.oversizes, "def f():\n" + "    x = 1\n" * 59),
    (rules.oversizes, "class A:\n    async def f(self, a, b, c, d, e, f, g, h, i, j, k): ..."),
    (rules.docstring_faults, "x = 1"),
    (rules.docstring_faults, '"""' + "line\n" * 7 + '"""'),
]

PASSES: list[tuple[Callable[[str], Iterator[str]], str]] = [
    (
        rules.impurities,
        "import msgspec\nfrom datetime import datetime\nfrom surefoot.core.names import State\nx = a.now",
    ),
    (partial(rules.impurities, cron=True), "from cronsim import CronSim"),
    (rules.time_readings, "from surefoot import clock\nx = clock.now()\nfrom datetime import time\nat = when.time()"),
    (rules.chance_draws, "import os, uuid\nfrom surefoot import chance\nx = chance.share(), os.getpid(), uuid.UUID(t)"),
    (rules.unsafe_loading, "import re\nre.compile('x')\npipe.recv_bytes()\nsocket.recv(10)\nconn.execute('x')"),
    (rules.oversizes, "x = 1\n" * 399),
    (rules.oversizes, 'def f():\n    """' + "prose\n" * 40 + '"""\n' + "    x = 1\n" * 58),
    (rules.oversizes, "class A:\n    def f(self, a, b, c, d, e, f, g, h, i, j, /, *, k, l): ..."),
    (rules.docstring_faults, '"""' + "line\n" * 6 + '"""'),
    (rules.docstring_faults, '"""The tree.\n\n' + "    leaf\n" * 20 + '"""'),
]


@pytest.mark.parametrize(("rule", "source"), CATCHES)
def test_a_rule_catches(rule: Callable[[str], Iterator[str]], source: str) -> None:
    assert len(list(rule(source))) == 1


@pytest.mark.parametrize(("rule", "source"), PASSES)
def test_a_rule_lets_pass(rule: Callable[[str], Iterator[str]], source: str) -> None:
    assert list(rule(source)) == []


def test_a_script_that_says_all_is_let_pass() -> None:
    assert list(rules.script_faults("extend", GOOD_SCRIPT)) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("-- extend: ", "-- renew: ", "the first line must be"),
        ("-- returns: ", "-- gives: ", "no line `-- returns"),
        ("-- keeps: ", "-- holds: ", "no line `-- keeps"),
        ("-- :lease  integer  end of the lease, ms\n", "", "the body uses :lease"),
        ("-- :lease  integer  end of the lease, ms\n", "-- :lease\n", "the body uses :lease"),
        ("-- returns: ", "-- :spare  text  nothing\n-- returns: ", "no statement uses it"),
        ("-- returns: ", "-- :queue  text  again\n-- returns: ", "names :queue twice"),
        ("SELECT 1", "SELECT ?", "without a name"),
        ("-- name: rest", "-- name: renew", "two statements are named renew"),
        ("-- name: renew\n", "", "stands under a line"),
    ],
)
def test_a_script_is_caught(old: str, new: str, said: str) -> None:
    (complaint,) = rules.script_faults("extend", GOOD_SCRIPT.replace(old, new, 1))
    assert said in complaint


def test_a_writing_verb_without_a_script_is_caught() -> None:
    broker = (
        "class Verb(Generic[T]): ...\nclass Put(Verb[int]): ...\nclass Claim(Verb): ...\nclass Get(Verb[str]): ...\n"
    )
    assert list(rules.missing_scripts(broker, {"put", "claim"})) == []
    assert list(rules.missing_scripts(broker, {"put"})) == ["the verb Claim has no script claim"]


def test_a_lua_script_that_says_all_is_let_pass() -> None:
    assert [said for name in GOOD_LUA for said in lua.script_faults(name, GOOD_LUA)] == []


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("bury", "-- bury: ", "#!lua name=bury\n-- bury: ", "#! is for Redis 7"),
        ("bury", "-- bury: ", "-- dig: ", "the first line must be"),
        ("pieces/enter", "-- enter: ", "-- pieces/enter: ", "the first line must be"),
        ("bury", "-- returns: ", "-- gives: ", "no line `-- returns"),
        ("bury", "-- keeps: ", "-- holds: ", "no line `-- keeps"),
        ("bury", "  zset     id", "  heap     id", "type one of hash, list, zset"),
        ("bury", "  integer  how", "  number   how", "type one of bytes, integer, ms, text"),
        ("bury", "-- uses: ", "-- KEYS.dead  zset  again\n-- uses: ", "names KEYS.dead twice"),
        ("bury", "-- uses: ", "-- KEYS.jobs  hash  bodies\n-- uses: ", "names KEYS.jobs, nothing uses it"),
        ("bury", "ARGV[i + 1 - 1]", "ARGV.id", "the body uses ARGV.id"),
        ("bury", "for i = $REST, #ARGV", "for i = 1, many", "names ARGV.rest, nothing uses it"),
        ("bury", "'HSETNX', KEYS.meta", "'HSETNX', KEYS.jobs", "the body uses KEYS.jobs"),
        (
            "bury",
            "-- uses: ",
            "-- KEYS.meta  zset  words\n-- uses: ",
            "KEYS.meta is zset here and hash in pieces/enter",
        ),
        ("bury", "enter\n", "enter wake\n", "nothing of wake is mentioned"),
        ("bury", "enter\n", "enter bell\n", "there is no piece bell"),
        ("bury", "enter({", "wake({", "wake is in pieces/wake"),
        ("bury", "'HSETNX', KEYS.meta", "'HSETNX', gone[1]", "its key is `gone [ 1 ]`"),
        ("bury", "KEYS.pending, KEYS.dead) > 0", "KEYS.pending, many) > 0", "its key is `many`"),
        ("bury", "'HSETNX', KEYS.meta", "'LINDEX', KEYS.meta", "LINDEX is for a list"),
        ("bury", "'HSETNX', KEYS.meta, ", "'KEYS', ", "KEYS is not in the list"),
        ("bury", "'HSETNX'", "'HPEXPIRE'", "HPEXPIRE is not in the list"),
        ("bury", "'HSETNX'", "'HSET' .. 'NX'", "write the command as a text"),
        (
            "bury",
            "redis.call('HSETNX', KEYS.meta, 'tail', '5')",
            "local say = redis.call",
            "write the command as a text",
        ),
        ("bury", "redis.call('HSETNX', KEYS.meta, 'tail', '5')", "redis.setresp(3)", "redis.setresp"),
        ("bury", "return redis", "local all = #KEYS\nreturn redis", "KEYS without a name"),
        ("bury", "text(now + 60000 * many)", "now + 60000 * many", "is a number: write it with text()"),
        ("bury", "text(now + 60000 * many)", "text(now) + 1", "is a number: write it with text()"),
        ("bury", "text(now + 60000 * many)", "now", "is a number: write it with text()"),
        ("bury", "'5')", "tonumber('5'))", "is a number: write it with text()"),
        ("bury", "'none' .. stamp", "'none' .. now", "`'none' .. now` writes a number as Lua likes"),
    ],
)
def test_a_lua_script_is_caught(name: str, old: str, new: str, said: str) -> None:
    assert old in GOOD_LUA[name]
    complaints = list(lua.script_faults(name, {**GOOD_LUA, name: GOOD_LUA[name].replace(old, new)}))
    assert len(complaints) == 1, complaints
    assert said in complaints[0]


def test_a_piece_that_nobody_uses_is_caught() -> None:
    (complaint,) = lua.unused_pieces(GOOD_LUA)
    assert complaint.startswith("pieces/wake: ")
    assert list(lua.unused_pieces({**GOOD_LUA, "stir": "-- uses: wake"})) == []
