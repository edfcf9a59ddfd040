"""The fault proxy itself, before a real server: what it passes, what it cuts, and that nothing of it stays behind."""

import hashlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
import redis
from redis.asyncio import Redis as AsyncRedis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.faults.processes import eventually
from tests.faults.proxy import Proxy
from tests.faults.resp import Frames
from tests.faults.wire import every_cut
from tests.servers import Server, start

HOST = "127.0.0.1"
PATIENCE_S = 60.0
SHORT_S = 0.3
FOREVER_S = 3_600.0
LOST = (redis.ConnectionError, redis.TimeoutError)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start(tmp_path_factory.mktemp("server")) as one:
        yield one


@pytest.fixture
def store(server: Server) -> Iterator[redis.Redis]:
    """The server without the proxy, empty."""
    with Client(server.port) as client:
        client.flushall()
        yield client


@pytest.fixture
def proxy(store: redis.Redis, server: Server) -> Iterator[Proxy]:
    with Proxy(server.port, record=True) as one:
        yield one


class Client(redis.Redis):
    """redis-py's plain client: protocol 2, one connection, no retries, and not a word more than it is told."""

    def __init__(self, port: int, seconds: float = PATIENCE_S) -> None:
        super().__init__(
            HOST, port, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=seconds, driver_info=None,
            single_connection_client=True,
        )  # fmt: skip


def command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def line(port: int, seconds: float = PATIENCE_S) -> socket.socket:
    """A bare connection."""
    one = socket.create_connection((HOST, port), timeout=seconds)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


def read(one: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := one.recv(min(size - len(found), 1 << 16))):
        found += piece
    return found


def read_all(one: socket.socket) -> bytes:
    return read(one, 1 << 40)


def served(store: redis.Redis) -> int:
    """How many connections the server has, beside the one that asks."""
    return len(store.client_list()) - 1


# --- nothing is lost, and all is counted ---


def test_frames_end_in_the_same_places_however_the_bytes_arrive(seed: int) -> None:
    dice = random.Random(seed)
    parts = [
        b"+OK\r\n", b"-ERR no\r\n", b":-12\r\n", b"$-1\r\n", b"*-1\r\n", b"$0\r\n\r\n", b"*0\r\n", b"$4\r\n\r\n$1\r\n",
        b"*3\r\n:1\r\n*2\r\n$2\r\nab\r\n*0\r\n$-1\r\n", b"*1\r\n*1\r\n*1\r\n:7\r\n",
        command(b"SET", b"k", b"\r\n*1\r\n"),
    ]  # fmt: skip
    messages = [dice.choice(parts) for _ in range(500)] + parts
    ends = [sum(map(len, messages[: place + 1])) for place in range(len(messages))]
    data = b"".join(messages)
    for size in (1, 2, 3, 7, 64, len(data)):
        frames, found = Frames(8), []
        for at in range(0, len(data), size):
            found += [at + end for end, _ in frames.feed(data[at : at + size])]
        assert found == ends
    [(_, words)] = Frames(8).feed(command(b"SET", b"k", b"\r\n*1\r\n"))
    assert words == [b"SET", b"k", b"\r\n*1\r\n"]


@pytest.mark.timeout(300)
def test_20000_pipelined_commands_pass_as_without_a_proxy(proxy: Proxy, server: Server, seed: int) -> None:
    def replies(port: int) -> str:
        dice, seen = random.Random(seed), hashlib.sha256()
        with Client(port) as client:
            for _ in range(20):
                pipe = client.pipeline(transaction=False)
                for number in range(250):
                    text = dice.randbytes(int(100_000 ** (dice.random() ** 2)))
                    key = b"k%d" % (number % 10)
                    pipe.set(key, text).echo(text).get(key).append(b"all", text[:4])
                for reply in pipe.execute():
                    seen.update(reply if isinstance(reply, bytes) else str(reply).encode())
            seen.update(client.getdel(b"all"))
        return seen.hexdigest()

    proxy.record = False
    assert replies(proxy.port) == replies(server.port)
    assert proxy.counts() == {b"SET": 5_000, b"ECHO": 5_000, b"GET": 5_000, b"APPEND": 5_000, b"GETDEL": 1}


def test_bytes_that_arrive_one_by_one_pass_and_are_counted(proxy: Proxy) -> None:
    text = command(b"ECHO", b"a\r\n\0b") + command(b"echo", b"c")
    with line(proxy.port) as one:
        for place in range(len(text)):
            one.sendall(text[place : place + 1])
            proxy.open_connections()  # the proxy's loop has turned, and taken this byte
        assert read(one, 18) == b"$5\r\na\r\n\0b\r\n$1\r\nc\r\n"
    assert proxy.commands == [(1, [b"ECHO", b"a\r\n\0b"]), (1, [b"echo", b"c"])]
    assert proxy.counts() == {b"ECHO": 2}
    assert proxy.bytes_seen == {"to_server": len(text), "to_client": 18}


def test_a_long_argument_passes_while_it_comes(proxy: Proxy, store: redis.Redis) -> None:
    text = bytes(3 << 20)
    whole = command(b"SET", b"long", text)
    fault = proxy.drop_reply(b"SET", nth=2)
    with line(proxy.port) as one:
        one.sendall(whole[: 2 << 20])
        eventually("the first part passed", lambda: proxy.bytes_seen["to_server"] == 2 << 20)
        one.sendall(whole[2 << 20 :] + whole)
        assert read_all(one) == b"+OK\r\n"
    assert fault.struck == 1
    assert store.get("long") == text
    with Client(proxy.port) as client:
        assert client.get("long") == text
    before = proxy.bytes_seen["to_server"]
    proxy.cut_before(b"SET")
    with line(proxy.port) as one, suppress(OSError):
        one.sendall(whole)
    eventually("it is cut", lambda: not proxy.open_connections())
    assert proxy.bytes_seen["to_server"] == before


def test_a_client_that_sends_and_ends_is_answered(proxy: Proxy) -> None:
    with line(proxy.port) as one:
        one.sendall(command(b"PING"))
        one.shutdown(socket.SHUT_WR)
        assert read_all(one) == b"+PONG\r\n"


async def test_async_clients_are_served_and_cut(proxy: Proxy, store: redis.Redis) -> None:
    fault = proxy.drop_reply(b"INCRBY", nth=2)
    async with AsyncRedis(host=HOST, port=proxy.port, protocol=2, retry=Retry(NoBackoff(), 0)) as client:  # type: ignore[arg-type]
        assert await client.incr("n") == 1
        with pytest.raises(redis.ConnectionError):
            await client.incr("n")
        assert await client.incr("n") == 3
    assert fault.struck == 1


# --- faults at commands ---


def test_drop_reply_lets_the_server_execute_and_cuts(proxy: Proxy, store: redis.Redis) -> None:
    fault = proxy.drop_reply(b"incrby", nth=2)
    with Client(proxy.port) as client:
        assert client.incr("n") == 1
        assert client.set("other", 1)
        assert fault.struck == 0
        with pytest.raises(redis.ConnectionError):
            client.incr("n")
        assert store.get("n") == b"2"
        assert client.incr("n") == 3
    assert fault.wait()
    assert fault.struck == 1
    assert proxy.connections == 2


def test_drop_reply_in_a_pipeline_lets_pass_what_came_before(proxy: Proxy, store: redis.Redis) -> None:
    proxy.drop_reply(b"INCR", nth=3, times=2)
    for expected in (b":1\r\n:2\r\n", b""):
        with line(proxy.port) as one:
            one.sendall(command(b"INCR", b"n") * 5)
            assert read_all(one) == expected
    assert store.get("n") == b"10"


def test_a_word_finds_a_script_by_its_arguments(proxy: Proxy) -> None:
    fault = proxy.drop_reply(b"{shop:mail}:wake")
    with Client(proxy.port) as client:
        sha = client.script_load("return 1")
        assert client.evalsha(sha, 1, "{shop:web}:wake") == 1
        assert client.get("{shop:mail}:wake") is None
        with pytest.raises(redis.ConnectionError):
            client.evalsha(sha, 1, "{shop:mail}:wake")
    assert fault.struck == 1


def test_cut_before_keeps_the_command_from_the_server(proxy: Proxy, store: redis.Redis) -> None:
    fault = proxy.cut_before(lambda words: words[1:] == [b"n", b"5"], nth=2)
    with line(proxy.port) as one:
        one.sendall(command(b"INCRBY", b"n", b"5"))
        assert read(one, 4) == b":5\r\n"
        one.sendall(command(b"SET", b"before", b"1") + command(b"INCRBY", b"n", b"5") + command(b"SET", b"after", b"1"))
        read_all(one)
    eventually("what came before it is executed", lambda: store.exists("before"))
    assert store.get("n") == b"5"
    assert not store.exists("after")
    assert fault.struck == 1
    assert proxy.counts() == {b"INCRBY": 1, b"SET": 1}


def test_swallow_reply_leaves_the_client_waiting(proxy: Proxy, store: redis.Redis) -> None:
    fault = proxy.swallow_reply(b"INCR")
    with line(proxy.port, SHORT_S) as one, Client(proxy.port) as other:
        one.sendall(command(b"PING") + command(b"INCR", b"n") + command(b"PING"))
        assert read(one, 7) == b"+PONG\r\n"
        with pytest.raises(TimeoutError):
            one.recv(1)
        assert fault.struck == 1
        assert store.get("n") == b"1"
        one.sendall(command(b"INCR", b"n"))
        eventually("it still sends", lambda: store.get("n") == b"2")
        with pytest.raises(TimeoutError):
            one.recv(1)
        assert other.incr("n") == 3


def test_duplicate_arrives_late_from_a_dead_connection(proxy: Proxy, store: redis.Redis) -> None:
    fault = proxy.duplicate(b"APPEND", nth=2)
    soon = proxy.duplicate(b"RPUSH", after=0.01)
    with Client(proxy.port) as client:
        for text in ("a", "b\r\n\0", "c"):
            client.append("text", text)
        client.rpush("list", "x")
    assert store.get("text") == b"ab\r\n\0c"
    assert fault.struck == 0
    assert proxy.deliver_late() == [b":10\r\n"]
    assert store.get("text") == b"ab\r\n\0cb\r\n\0"
    assert fault.struck == 1
    assert proxy.deliver_late() == []
    assert soon.wait()
    assert store.lrange("list", 0, -1) == [b"x", b"x"]


def test_what_a_subscriber_is_sent_answers_no_command(proxy: Proxy, store: redis.Redis) -> None:
    message = command(b"message", b"b", bytes(100_000))
    with line(proxy.port) as one:
        one.sendall(command(b"SUBSCRIBE", b"a", b"b") + command(b"PING"))
        assert read(one, 30 * 2 + 20).endswith(b"$4\r\npong\r\n$0\r\n\r\n")
        fault = proxy.drop_reply(b"PING")
        store.publish("b", bytes(100_000))
        assert read(one, len(message)) == message
        assert fault.struck == 0
        proxy.freeze(keep=True)
        one.sendall(command(b"PING"))
        eventually("it came", lambda: proxy.counts()[b"PING"] == 2)
        store.publish("b", bytes(100_000))
        proxy.thaw()
        assert read_all(one) == message
    assert fault.struck == 1


def test_a_predicate_may_use_the_controls(proxy: Proxy, store: redis.Redis) -> None:
    def vanish(words: list[bytes]) -> bool:
        proxy.refuse()
        return True

    def fall_silent(words: list[bytes]) -> bool:
        proxy.freeze()
        return True

    with Client(proxy.port) as client:
        assert client.ping()
        proxy.cut_before(vanish)
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                client.incr("n")
        proxy.accept()
        assert client.incr("n") == 1
    with Client(proxy.port, SHORT_S) as client:
        assert client.ping()
        proxy.drop_reply(fall_silent)
        with pytest.raises(redis.TimeoutError):
            client.incr("n")
    assert store.get("n") == b"1"
    assert proxy.counts() == {b"PING": 2, b"INCRBY": 1}


# --- faults of the line ---


@pytest.mark.parametrize("connection", [None, 2])
def test_cut_after_every_byte_of_a_request(server: Server, store: redis.Redis, connection: int | None) -> None:
    text = command(b"INCR", b"n")
    for size in range(1, 2 * len(text) + 1):
        store.delete("n")
        with Proxy(server.port) as proxy, Client(proxy.port) as first:
            first.ping()
            start_at = 0 if connection else proxy.bytes_seen["to_server"]
            fault = proxy.cut_after_bytes(start_at + size, "to_server", connection=connection)
            for _ in range(5 if connection else 0):
                first.ping()
            with line(proxy.port) as one:
                one.sendall(text * 3)
                read_all(one)
            eventually("the server is done with it", lambda: served(store) <= 1)
            assert int(store.get("n") or 0) == size // len(text)
            assert fault.struck == 1
            assert first.ping()


@pytest.mark.parametrize("connection", [None, 2])
def test_cut_after_every_byte_of_a_reply(server: Server, store: redis.Redis, connection: int | None) -> None:
    reply = b"$3\r\nabc\r\n$-1\r\n"
    for size in range(1, len(reply) + 1):
        with Proxy(server.port) as proxy, Client(proxy.port) as first:
            first.ping()
            start_at = 0 if connection else proxy.bytes_seen["to_client"]
            fault = proxy.cut_after_bytes(start_at + size, "to_client", connection=connection)
            with line(proxy.port) as one:
                one.sendall((command(b"ECHO", b"abc") + command(b"GET", b"n")) * 2)
                assert read_all(one) == reply[:size]
            assert fault.struck == 1


@pytest.mark.parametrize("size", [1, 100_000, 16_000_001, 20_000_000])
def test_a_cut_is_exact_behind_more_than_the_kernel_holds(proxy: Proxy, store: redis.Redis, size: int) -> None:
    text = random.Random(size).randbytes(20_000_000)
    store.set("long", text)
    with line(proxy.port) as one:
        proxy.cut_after_bytes(size, "to_client")
        one.sendall(command(b"GET", b"long"))
        assert read_all(one) == (b"$20000000\r\n" + text)[:size]


def test_a_cut_loses_nothing_that_was_passed_on(proxy: Proxy, store: redis.Redis) -> None:
    text = bytes(50_000_000)
    store.set("long", text)
    with line(proxy.port) as one:
        one.sendall(command(b"GET", b"long"))
        seen = [0, -1]

        def stands() -> bool:
            """The client reads nothing: the kernel is full, and the proxy holds what it took beyond."""
            time.sleep(SHORT_S)
            seen.append(proxy.bytes_seen["to_client"])
            return seen[-1] == seen[-2] > 0

        eventually("it stands", stands)
        proxy.cut_all()
        one.sendall(command(b"PING"))
        assert len(read_all(one)) == proxy.bytes_seen["to_client"] < len(text)


def test_latency_delays_and_keeps_the_order(proxy: Proxy, dice: random.Random) -> None:
    proxy.latency(0.002, 0.004, loss=0.02, rng=dice)
    texts = [b"%d" % number for number in range(300)]
    with line(proxy.port) as one:
        for text in texts:
            one.sendall(command(b"ECHO", text))
            proxy.open_connections()  # the proxy's loop has turned: each is a chunk of its own
        replies = b"".join(b"$%d\r\n%s\r\n" % (len(text), text) for text in texts)
        assert read(one, len(replies)) == replies
    proxy.latency(FOREVER_S)
    with Client(proxy.port, SHORT_S) as client, pytest.raises(redis.TimeoutError):
        client.ping()
    with line(proxy.port) as one:
        one.sendall(command(b"PING"))
        eventually("both came, and wait", lambda: proxy.counts()[b"PING"] == 2)
        proxy.heal()
        assert read(one, 7) == b"+PONG\r\n"


def test_latency_holds_no_more_than_a_bound(proxy: Proxy) -> None:
    proxy.latency(FOREVER_S)
    with line(proxy.port, 1.0) as one, pytest.raises(TimeoutError):
        while True:
            one.sendall(command(b"ECHO", bytes(1 << 19)))
    assert proxy.counts()[b"ECHO"] < 100


def test_freeze_swallows_both_ways_for_good(proxy: Proxy, store: redis.Redis) -> None:
    with line(proxy.port, SHORT_S) as old, line(proxy.port, SHORT_S) as subscriber:
        subscriber.sendall(command(b"SUBSCRIBE", b"a"))
        assert read(subscriber, 30)
        old.sendall(command(b"INCR", b"n"))
        assert read(old, 4) == b":1\r\n"
        proxy.freeze()
        store.publish("a", "x")
        with line(proxy.port, SHORT_S) as new:
            for one in (old, new):
                one.sendall(command(b"INCR", b"n") * 100_000)
            for one in (old, new, subscriber):
                with pytest.raises(TimeoutError):
                    one.recv(1)
            proxy.thaw()
            for one in (old, new):
                one.sendall(command(b"INCR", b"n"))
                with pytest.raises(TimeoutError):
                    one.recv(1)
    with Client(proxy.port) as client:
        assert client.incr("n") == 2
        assert proxy.open_connections() == [1, 2, 3, 4]
    eventually("the server has both dead connections still, whose clients left", lambda: served(store) == 2)
    proxy.cut_all()
    eventually("the server is rid of them", lambda: served(store) == 0)


def test_a_freeze_that_keeps_loses_nothing(proxy: Proxy, store: redis.Redis) -> None:
    with line(proxy.port) as old:
        old.sendall(command(b"INCR", b"n"))
        assert read(old, 4) == b":1\r\n"
        proxy.freeze(keep=True)
        with line(proxy.port) as new, line(proxy.port) as gone:
            old.sendall(command(b"INCR", b"n"))
            new.sendall(command(b"INCR", b"m"))
            gone.close()
            eventually("both came", lambda: proxy.counts()[b"INCR"] == 3)
            assert (store.get("n"), store.get("m")) == (b"1", None)
            proxy.thaw()
            assert read(old, 4) == b":2\r\n"
            assert read(new, 4) == b":1\r\n"


def test_refuse_and_accept(proxy: Proxy) -> None:
    with line(proxy.port) as old:
        old.sendall(command(b"PING"))
        assert read(old, 7) == b"+PONG\r\n"
        proxy.refuse()
        assert read_all(old) == b""
    for _ in range(50):
        with pytest.raises(ConnectionRefusedError):
            line(proxy.port)
    proxy.accept()
    with Client(proxy.port) as client:
        assert client.ping()


@pytest.mark.parametrize("reset", [False, True])
def test_cut_all_and_one_end_both_sides(proxy: Proxy, store: redis.Redis, *, reset: bool) -> None:
    lines = [line(proxy.port) for _ in range(5)]
    for one in lines:
        one.sendall(command(b"PING") + command(b"BLPOP", b"nothing", b"0"))
        assert read(one, 7) == b"+PONG\r\n"

    def end(one: socket.socket) -> str:
        one.settimeout(SHORT_S)
        with closing(one):
            try:
                return "end" if one.recv(1) == b"" else "bytes"
            except ConnectionResetError:
                return "reset"
            except TimeoutError:
                return "open"

    chosen = proxy.cut_one(random.Random(3), reset=reset)
    assert chosen is not None
    assert end(lines.pop(chosen - 1)) == ("reset" if reset else "end")
    eventually("the server is rid of it", lambda: served(store) == 4)
    assert proxy.open_connections() == [number for number in range(1, 6) if number != chosen]
    assert end(lines.pop()) == "open"
    assert proxy.cut_all(reset=reset) >= 3
    assert [end(one) for one in lines] == ["reset" if reset else "end"] * 3
    eventually("the server is rid of all", lambda: served(store) == 0)
    assert proxy.cut_one(random.Random(3)) is None


def test_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    with start(tmp_path) as server, Proxy(server.port) as proxy:
        with line(proxy.port) as one:
            one.sendall(command(b"PING"))
            assert read(one, 7) == b"+PONG\r\n"
            server.kill()
            with suppress(ConnectionResetError):
                assert read_all(one) == b""
        with pytest.raises(redis.ConnectionError), Client(proxy.port) as client:
            client.ping()
        server.again()
        with Client(proxy.port) as client:
            assert client.ping()


def test_controls_from_many_threads_under_traffic(proxy: Proxy, store: redis.Redis, seed: int) -> None:
    done = threading.Event()
    tries, answered = [0] * 4, [0] * 4

    def disturb(number: int) -> None:
        dice = random.Random(f"{seed} {number}")
        controls: list[Callable[[], object]] = [
            lambda: proxy.cut_one(dice), lambda: proxy.cut_all(reset=True), lambda: proxy.drop_reply(b"INCRBY", nth=5),
            lambda: proxy.cut_before(b"INCRBY", nth=5), proxy.heal, lambda: proxy.freeze(keep=True), proxy.thaw,
        ]  # fmt: skip
        while not done.wait(0.002):
            dice.choice(controls)()

    def count(number: int) -> None:
        with Client(proxy.port) as client:
            while answered[number] < 200:
                tries[number] += 1
                with suppress(*LOST):
                    client.incr("n")
                    answered[number] += 1

    disturbers = [threading.Thread(target=disturb, args=[number]) for number in range(3)]
    counters = [threading.Thread(target=count, args=[number]) for number in range(4)]
    for thread in disturbers + counters:
        thread.start()
    for thread in counters:
        thread.join(PATIENCE_S)
    done.set()
    for thread in disturbers:
        thread.join()
    assert answered == [200] * 4
    assert 800 <= int(store.get("n") or 0) <= sum(tries)


# --- the end ---


def test_nothing_stays_behind(server: Server, store: redis.Redis) -> None:
    store.ping()
    threads, files = threading.active_count(), psutil.Process().num_fds()
    for state in ("calm", "late", "frozen", "held", "refusing", "blocked"):
        with Proxy(server.port) as proxy:
            with line(proxy.port) as one, line(proxy.port) as other:
                one.sendall(command(b"PING"))
                assert read(one, 7) == b"+PONG\r\n"
                match state:
                    case "late":
                        proxy.latency(FOREVER_S)
                    case "frozen" | "held":
                        proxy.freeze(keep=state == "held")
                    case "refusing":
                        proxy.refuse()
                    case "blocked":
                        other.sendall(command(b"BLPOP", b"nothing", b"0"))
                with suppress(OSError):
                    one.sendall(command(b"PING"))
            line(proxy.port).close() if state != "refusing" else None
        with pytest.raises(ConnectionRefusedError):
            line(proxy.port)
        assert (threading.active_count(), psutil.Process().num_fds()) == (threads, files), state
        eventually("the server is rid of all", lambda: served(store) == 0)


def test_what_goes_wrong_inside_is_raised_at_the_end(server: Server) -> None:
    def broken(words: list[bytes]) -> bool:
        raise KeyError("a mistake in a test")

    with pytest.raises(RuntimeError, match="a mistake in a test"), Proxy(server.port) as proxy:
        proxy.cut_before(broken)
        with pytest.raises(redis.ConnectionError), Client(proxy.port) as client:
            client.ping()
    with pytest.raises(RuntimeError, match="protocol 3"), Proxy(server.port) as proxy, line(proxy.port) as one:
        one.sendall(command(b"HELLO", b"3"))
        with suppress(ConnectionResetError):
            assert read_all(one) == b""


# --- every cut ---


def test_every_cut_is_made_where_it_says(server: Server, store: redis.Redis) -> None:
    request, reply = len(command(b"INCRBY", b"n", b"1")), len(b":1\r\n")

    def run(url: str) -> int:
        store.delete("n")
        with Client(int(url.rpartition(":")[2])) as client:
            for _ in range(3):
                with suppress(*LOST):
                    client.incr("n")
                    continue
                eventually("the server is done with it", lambda: served(store) == 0)
                client.incr("n")  # blindly: what was executed is counted twice
        return int(store.get("n") or 0)

    outcomes = list(every_cut(run, server.port))
    assert len(outcomes) == 3 + 3 + 3 * request + 3 * reply
    for outcome in outcomes:
        executed = {
            "before command": False,
            "instead of reply": True,
            "behind byte to server": outcome.cut.place % request == 0,
            "behind byte to client": outcome.cut.place % reply != 0,
        }[outcome.cut.kind]
        assert (outcome.summary, outcome.calm, outcome.struck) == (4 if executed else 3, 3, True), str(outcome.cut)
    resets = list(every_cut(run, server.port, step=7, first=3, reset=True))
    assert [outcome.cut.place for outcome in resets[6:]] == [*range(3, 3 * request + 1, 7), *range(3, 3 * reply + 1, 7)]
    assert all(outcome.struck and outcome.summary in {3, 4} for outcome in resets)
