"""The server forgets scripts at any moment (R19), or is kept busy by somebody else's (R17)."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.faults.processes import Fleet, eventually
from tests.faults.proxy import Proxy
from tests.faults.redis.conftest import check
from tests.faults.redis.life import contents, lived
from tests.faults.redis.stage import Talker, broker_at, meanwhile
from tests.servers import Refusal, Server

from surefoot.brokers.redis.scripts import scripts

TURN = 6
"""The call of the life that settles, claims and beats in one pipeline."""
TURNS = ("settle", "claim", "beat")
SUBSETS = [tuple([name for place, name in enumerate(TURNS) if number >> place & 1]) for number in range(8)]

# TIME stands still in a script since Redis 7; the processor's clock came then.
BUSY = """
local os = rawget(_G, 'os')
local function seconds()
  local time = os or redis.call('TIME')
  return os and os.clock() or time[1] + time[2] / 1000000
end
local over = seconds() + ARGV[1]
while seconds() < over do end
return 'over'
"""
BUSY_S = 1.5


def summary(server: Server, port: int, before: Callable[[int], object], *, looped: bool = False) -> object:
    """A life from an empty store by somebody who takes every script for known."""
    server.say("FLUSHALL")
    answers, caller = lived(port, known=True, looped=looped, before=before)
    check(server)
    return answers, contents(server, caller)


@pytest.mark.parametrize("looped", [False, True], ids=["thread", "loop"])
def test_R19_scripts_are_forgotten_before_every_call(server: Server, *, looped: bool) -> None:
    calm = summary(server, server.port, int, looped=looped)
    assert summary(server, server.port, lambda _: server.say("SCRIPT", "FLUSH"), looped=looped) == calm


@pytest.mark.parametrize("known", SUBSETS, ids=lambda known: "-".join(known) or "none")
def test_R19_some_scripts_of_a_pipeline_are_forgotten(server: Server, known: tuple[str, ...]) -> None:
    """What the server does not know is sent again alone; what it has executed is not."""
    ours = scripts()
    calm = summary(server, server.port, int)
    with Proxy(server.port, record=True) as proxy:
        marks: list[int] = []

        def before(place: int) -> None:
            marks.append(len(proxy.commands))
            if place == TURN:
                server.say("SCRIPT", "FLUSH")
                for name in known:
                    server.say("SCRIPT", "LOAD", ours[name].text)

        assert summary(server, proxy.port, before) == calm
        said = [words[1].decode() for _, words in proxy.commands[marks[TURN] : marks[TURN + 1]]]
    assert said == [ours[name].sha for name in TURNS] + [ours[name].text for name in TURNS if name not in known]


def test_R19_the_server_is_started_again_between_calls(server: Server, dice: random.Random) -> None:
    """Its scripts are gone, and so are the connections; what it stored is not."""
    calm = summary(server, server.port, int)
    places = dice.sample(range(1, 23), 4)

    def before(place: int) -> None:
        if place in places:
            server.kill()
            server.again()

    assert summary(server, server.port, before) == calm, f"started again before {places}"


# Busy


@contextmanager
def kept_busy(server: Server) -> Iterator[None]:
    """Meanwhile somebody's script runs, for longer than the server is patient; it must come to its own end."""
    server.say("CONFIG", "SET", "lua-time-limit", 10)
    ends: list[object] = []
    running = threading.Thread(target=lambda: ends.append(server.say("EVAL", BUSY, 0, str(BUSY_S))))
    running.start()
    eventually("the server is busy", lambda: is_busy(server))
    yield
    assert is_busy(server), "what was said meanwhile was said too late"
    running.join()
    assert ends == [b"over"]


def is_busy(server: Server) -> bool:
    try:
        server.say("ECHO", "a")
    except Refusal as refusal:
        return str(refusal).startswith("BUSY")
    return False


def killed_scripts(server: Server) -> bool:
    return any("script|kill" in line for line in server.say("INFO", "commandstats").decode().splitlines())


def test_R17_calls_wait_for_the_end_of_a_busy_script(server: Server) -> None:
    with Proxy(server.port) as proxy, broker_at(proxy.port) as broker:
        one, other, third = Talker(broker), Talker(broker), Talker(broker)
        one.put("a", "b")
        [held, _] = other.claim()
        before = proxy.counts()[b"EVALSHA"]
        with kept_busy(server):
            asked = [
                meanwhile(lambda: one.put("c")),
                meanwhile(lambda: other.complete([held])),
                meanwhile(lambda: third.states("b")),
            ]
            eventually("it heard both more than once", lambda: proxy.counts()[b"EVALSHA"] - before >= 4)
        for thread, _ in asked:
            thread.join()
        assert [answers for _, answers in asked] == [[["created"]], [["applied"]], [["processing"]]]
        assert one.states("a", "b", "c") == ["completed", "processing", "pending"]
    assert not killed_scripts(server)


def test_R17_the_first_call_meets_a_busy_server(server: Server) -> None:
    """Whoever comes while it is busy waits too, and judges the server when it can be asked."""
    with Proxy(server.port) as proxy, broker_at(proxy.port) as broker:
        with kept_busy(server):
            thread, answers = meanwhile(lambda: Talker(broker).put("a"))
            eventually("it was asked", lambda: proxy.counts()[b"INFO"])
        thread.join()
        assert answers == [["created"]]
        assert broker._facts is not None
        assert broker._facts.keeps == "log", "what it does not say while it is busy is said later"
    assert not killed_scripts(server)


def test_R17_producers_and_workers_wait_for_the_end_of_a_busy_script(server: Server, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, server.url, server)
    try:
        worker = fleet.start("--lease", "10")
        producer = fleet.run("tests.faults.producer")
        fleet.told("ended", 20)
        with kept_busy(server):
            pass
        fleet.told("ended", fleet.ledger.count("ended") + 50)
        fleet.kill(producer)
        assert fleet.ledger.of("refused") == []
        fleet.accepted = [line["job"] for line in fleet.ledger.of("accepted")]
        verdict = fleet.all_over()
        verdict.assert_nothing_lost()
        assert verdict.doubled == {}
        fleet.stop(worker)
    finally:
        fleet.close()
        print(fleet.logs())
    assert not killed_scripts(server)
