"""Each rule of rules.py catches what it is for, and nothing beside it: a rule that cannot fail is worth nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from tests.architecture import rules

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
