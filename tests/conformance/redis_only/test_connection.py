"""What is said on connections of the Redis broker: replies in order, an error as a value, every trouble by its name."""

import asyncio
import contextlib
import socket
import threading
from pathlib import Path

import anyio
import pytest
from redis import exceptions as told
from tests.conformance.redis_only.stage import (
    DOORS,
    LONG,
    Door,
    Make,
    Said,
    at,
    client_id,
    eventually,
    ours,
)
from tests.conformance.redis_only.trickster import Trickster, agree
from tests.servers import HOST, start
from tests.servers import Server as Running

from surefoot.brokers.broker import NoAnswer
from surefoot.brokers.redis.connection import Connections, Server
from surefoot.core.errors import StoreUnavailable


@pytest.fixture(params=DOORS, ids=lambda door: door.__name__)
def door(request: pytest.FixtureRequest) -> Door:
    chosen: Door = request.param
    return chosen


@pytest.fixture
def connections(opened: Make, running: Running) -> Connections:
    return opened(at(running.port))


# Replies


async def test_replies_come_in_order_and_as_they_are(connections: Connections, door: Door) -> None:
    replies = await door(connections)(
        ("DEL", "list"), ("RPUSH", "list", "a b", b"\xff\r\n", 7, 0.5), ("LRANGE", "list", 0, -1), ("GET", "nothing")
    )
    assert replies[1:] == [4, [b"a b", b"\xff\r\n", b"7", b"0.5"], None]
    assert await door(connections)() == []


async def test_an_error_reply_is_a_value_among_the_others(connections: Connections, door: Door) -> None:
    said = door(connections)
    before = await client_id(said)
    # redis-py raises these four, and takes two of them for the end of the connection.
    words = ("ERR no", "NOSCRIPT no", "LOADING no", "NOAUTH no")
    commands = [("EVAL", f"return redis.error_reply('{word}')", 0) for word in words]
    replies = await said(*commands, ("ECHO", "on"))
    kinds = [told.ResponseError, told.NoScriptError, told.BusyLoadingError, told.AuthenticationError]
    assert [type(reply) for reply in replies[:4]] == kinds
    assert replies[4] == b"on"
    assert await client_id(said) == before


async def test_what_is_larger_than_any_buffer_goes_and_comes(connections: Connections, door: Door) -> None:
    body = b"x" * 9_000_000
    with anyio.fail_after(LONG):
        assert await door(connections)(("ECHO", body), ("ECHO", body), ("ECHO", "end")) == [body, body, b"end"]


async def test_calls_at_once_do_not_get_each_others_replies(connections: Connections, door: Door) -> None:
    said = door(connections)
    replies = await asyncio.gather(*[said(("ECHO", n), ("ECHO", -n)) for n in range(300)])
    assert replies == [[str(n).encode(), str(-n).encode()] for n in range(300)]


async def test_the_server_is_told_who_we_are(opened: Make, running: Running, door: Door) -> None:
    said = door(opened(at(running.port, db=3)))
    number = await client_id(said)
    [client] = [client for client in ours(running) if client["id"] == str(number)]
    assert client["lib-name"].startswith("redis-py(surefoot_v")
    assert (client["db"], client["resp"]) == ("3", "2")


async def test_a_unix_socket_is_spoken_to(opened: Make, tmp_path: Path, door: Door) -> None:
    with start(tmp_path, unix=True) as running:
        said = door(opened(Server(path=str(running.socket), shown=running.url, db=2)))
        assert await said(("ECHO", "a")) == [b"a"]
        assert ours(running)[0]["db"] == "2"


# Certainly nothing was executed


async def refusal(said: Said) -> str:
    with anyio.fail_after(LONG), pytest.raises(StoreUnavailable) as refused:
        await said(("PING",))
    return str(refused.value)


async def test_nobody_listens(opened: Make, door: Door) -> None:
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    said = door(opened(at(port)))
    assert await refusal(said) == f"cannot reach redis://{HOST}:{port}/0 (connection refused)"
    said = door(opened(Server(host="localhost", port=port, shown="redis://localhost")))
    assert await refusal(said) == "cannot reach redis://localhost (connection refused)"  # several addresses


async def test_there_is_no_such_host(opened: Make, door: Door) -> None:
    said = door(opened(Server(host="nowhere.invalid", shown="redis://nowhere.invalid")))
    assert await refusal(said) == "cannot reach redis://nowhere.invalid (its name cannot be resolved)"


async def test_there_is_no_such_socket(opened: Make, door: Door, tmp_path: Path) -> None:
    said = door(opened(Server(path=str(tmp_path / "none"), shown="unix:///none")))
    assert await refusal(said) == "cannot reach unix:///none (no such file or directory)"


async def test_somebody_listens_and_says_nothing(opened: Make, door: Door) -> None:
    with Trickster(lambda _: b"") as silent:
        said = door(opened(at(silent.port, timeout=0.2)))
        assert (await refusal(said)).endswith("(no answer within 0.2 s)")


async def test_somebody_closes_at_once(opened: Make, door: Door) -> None:
    with Trickster(lambda _: None) as curt:
        said = door(opened(at(curt.port)))
        assert (await refusal(said)).endswith(("(the server closed the connection)", "(connection reset by peer)"))


async def test_what_answers_is_no_redis(opened: Make, door: Door) -> None:
    with Trickster(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n") as web:
        said = door(opened(at(web.port)))
        assert (await refusal(said)).endswith("(what answers there does not speak the Redis protocol)")


async def test_the_server_speaks_no_tls(opened: Make, door: Door) -> None:
    with socket.create_server((HOST, 0)) as silent, socket.create_server((HOST, 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"-ERR unknown command\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        said = door(opened(at(listening.getsockname()[1], tls=True)))
        assert (await refusal(said)).endswith("(the server does not speak TLS on this port)")
        answering.join()
        said = door(opened(at(silent.getsockname()[1], tls=True, timeout=0.2)))
        assert (await refusal(said)).endswith("(no answer within 0.2 s)")


async def test_the_server_is_loading(opened: Make, door: Door) -> None:
    def answer(command: list[bytes]) -> bytes | None:
        return b"-LOADING the dataset\r\n" if command[0] == b"INFO" else agree(command)

    with Trickster(answer) as loading:
        said = door(opened(at(loading.port), greet=[("ECHO", "a"), ("INFO",)]))
        assert (await refusal(said)).endswith("(the server is loading its data)")
        loading.answer = agree
        assert await said(("PING",)) == [b"OK"]


async def test_the_password_is_wrong_or_missing(opened: Make, tmp_path: Path, door: Door) -> None:
    with start(tmp_path, options={"requirepass": "s3cret"}) as running:
        assert await door(opened(at(running.port, password="s3cret")))(("ECHO", "a")) == [b"a"]
        for words in ({"password": "wr0ng"}, {"username": "nobody", "password": "wr0ng"}):
            server = at(running.port, **words)
            sentence = await refusal(door(opened(server)))
            assert sentence.endswith("(the server refuses the password)")
            assert "wr0ng" not in sentence + repr(server)
        assert (await refusal(door(opened(at(running.port))))).endswith("(the server asks for a password)")


async def test_a_unix_socket_with_a_wrong_password(opened: Make, tmp_path: Path, door: Door) -> None:
    with start(tmp_path, options={"requirepass": "s3cret"}, unix=True) as running:
        server = Server(path=str(running.socket), shown=running.url, password="wr0ng")
        assert (await refusal(door(opened(server)))).endswith("(the server refuses the password)")


async def test_there_are_too_many_clients(opened: Make, door: Door) -> None:
    with Trickster(lambda _: b"-ERR max number of clients reached\r\n") as full:
        assert (await refusal(door(opened(at(full.port))))).endswith("(too many clients)")


async def test_a_real_server_with_too_many_clients(opened: Make, tmp_path: Path, door: Door) -> None:
    with start(tmp_path, options={"maxclients": "3"}) as running, contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(running.conversation()).say("PING")
        said = door(opened(at(running.port)))
        # The server says it and closes; what we say meanwhile may make the system throw its words away.
        words = ("(too many clients)", "(connection reset by peer)", "(broken pipe)", "closed the connection)")
        assert (await refusal(said)).endswith(words)
        held.close()
        with anyio.fail_after(LONG):
            while True:
                with contextlib.suppress(StoreUnavailable):
                    assert await said(("ECHO", "a")) == [b"a"]
                    break


# Perhaps it was executed


def cutting(command: list[bytes]) -> bytes | None:
    return None if command[0] == b"CUT" else agree(command)


@pytest.mark.parametrize("commands", [[("CUT",)], [("SET", "a", 1), ("CUT",), ("SET", "a", 2)]], ids=["all", "some"])
async def test_the_connection_is_cut_before_the_replies(opened: Make, door: Door, commands: list[tuple[str]]) -> None:
    with Trickster(cutting) as cut:
        said = door(opened(at(cut.port)))
        with pytest.raises(NoAnswer, match=f"lost the connection to redis://{HOST}"):
            await said(*commands)
        assert await said(("PING",)) == [b"OK"], "on a new connection"
        assert len(cut.heard) == 2


async def test_after_a_cut_no_other_connection_is_trusted(opened: Make, door: Door) -> None:
    together = threading.Barrier(3)

    def answer(command: list[bytes]) -> bytes | None:
        if command[0] == b"TOGETHER":
            together.wait(LONG)
        return cutting(command)

    with Trickster(answer) as cut:
        said = door(opened(at(cut.port)))
        await asyncio.gather(*[said(("TOGETHER",)) for _ in range(3)])
        assert len(cut.heard) == 3
        with pytest.raises(NoAnswer):
            await said(("CUT",))
        await said(("AFTER",))
        assert [[b"AFTER"] in heard for heard in cut.heard] == [False, False, False, True]


async def test_no_answer_in_time(opened: Make, running: Running, door: Door) -> None:
    said = door(opened(at(running.port, timeout=0.3)))
    await said(("SET", "frozen", 0))
    running.freeze()
    try:
        with anyio.fail_after(LONG), pytest.raises(NoAnswer):
            await said(("INCR", "frozen"))
    finally:
        running.thaw()
    await eventually(lambda: running.say("GET", "frozen") == b"1")
    assert await said(("GET", "frozen")) == [b"1"], "and its own reply, not the late one"


async def test_an_answer_in_time_after_a_long_rest(opened: Make, running: Running) -> None:
    connections = opened(at(running.port, timeout=0.4))
    before = await client_id(connections.send)
    for _ in range(5):  # longer together than the timeout, and with rests in between
        await connections.send(("BLPOP", "nothing", "0.1"))
        await asyncio.sleep(0.1)
    assert await client_id(connections.send) == before


async def test_a_cancelled_call_leaves_nothing_for_the_next(connections: Connections, running: Running) -> None:
    before = await client_id(connections.send)
    blocked = asyncio.create_task(connections.send(("BLPOP", "nothing", LONG), ("ECHO", "mine")))
    await eventually(lambda: running.info()["blocked_clients"] == "1")
    blocked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await blocked
    assert await connections.send(("ECHO", "next")) == [b"next"]
    assert await client_id(connections.send) != before
    await eventually(lambda: running.info()["blocked_clients"] == "0")


async def test_calls_cancelled_at_any_moment_leave_nothing_for_the_next(connections: Connections) -> None:
    for n in range(60):
        call = asyncio.create_task(connections.send(("ECHO", "mine"), ("ECHO", "mine")))
        for _ in range(n % 20):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait({call})
        assert await connections.send(("ECHO", n)) == [str(n).encode()]


async def test_a_timeout_of_the_caller_is_not_ours(opened: Make, running: Running) -> None:
    connections = opened(at(running.port, timeout=LONG))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connections.send(("BLPOP", "nothing", LONG))
    with anyio.move_on_after(0.1) as scope:
        await connections.send(("BLPOP", "nothing", LONG))
    assert scope.cancelled_caught
    assert await connections.send(("ECHO", "on")) == [b"on"]


async def test_a_server_that_was_started_again_costs_nobody_an_unknown(
    opened: Make, tmp_path: Path, door: Door
) -> None:
    with start(tmp_path) as running:
        said = door(opened(at(running.port)))
        for end in (running.stop, running.kill):
            await asyncio.gather(*[said(("ECHO", n)) for n in range(4)])
            await asyncio.to_thread(end)
            assert (await refusal(said)).endswith("(connection refused)")
            await asyncio.to_thread(running.again)
            assert await said(("ECHO", "on")) == [b"on"]
