"""A TCP proxy of our own between a client and a Redis or Valkey server on 127.0.0.1: it cuts, delays and swallows
exactly where it is told to, and alters no byte. It follows RESP2 both ways, so it knows which reply answers which
command; a client of protocol 3 is refused. Its loop has a thread of its own: sync and async tests use it alike.
"""

import asyncio
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from tests.faults.links import HOST, WHOLE_BYTES, End, Link
from tests.faults.proxy_faults import PATIENCE_S, ByteFault, CommandFault, Direction, Fault, Match
from tests.faults.resp import Frames

T = TypeVar("T")

_RETRANSMISSION_S: Final = 0.2


class Proxy:
    """Listens on a free port (`with Proxy(target) as proxy`) and stands between.

    Its controls may be called from any thread, from a predicate too, and hold when they return. What went wrong inside
    is raised at its end.
    """

    def __init__(self, target_port: int, *, record: bool = False) -> None:
        self.target_port = target_port
        self.record = record
        self.commands: list[tuple[int, list[bytes]]] = []
        self.bytes_seen: dict[Direction, int] = {"to_server": 0, "to_client": 0}
        self.connections = 0
        self.links: set[Link] = set()
        self.held = False
        self.delay: Callable[[], float] = _no_delay
        self.loop: asyncio.AbstractEventLoop
        self._counts: Counter[bytes] = Counter()
        self._command_faults: list[CommandFault] = []
        self._byte_faults: list[ByteFault] = []
        self._copies: list[tuple[CommandFault, bytes]] = []
        self._frozen = False
        self._refusing = False
        self._trouble: list[BaseException] = []
        self._place = _bound(0)  # holds the port for us, also while nobody listens
        self.port: int = self._place.getsockname()[1]

    def url(self, scheme: str = "redis") -> str:
        """Where clients connect."""
        return f"{scheme}://{HOST}:{self.port}"

    # --- faults at commands; nth and times count the matching commands from now on ---

    def cut_before(self, match: Match = None, *, nth: int = 1, times: int = 1, reset: bool = False) -> Fault:
        """Cut the connection when the command comes; no byte of it reaches the server, all before it does."""
        return self._at_command(CommandFault("cut_before", match, nth, times, reset=reset))

    def drop_reply(self, match: Match = None, *, nth: int = 1, times: int = 1, reset: bool = False) -> Fault:
        """The server executes the command; instead of its reply the client sees the end of the connection."""
        return self._at_command(CommandFault("drop_reply", match, nth, times, reset=reset))

    def swallow_reply(self, match: Match = None, *, nth: int = 1, times: int = 1) -> Fault:
        """The reply never comes, nor any after it (TCP loses nothing from the middle); the connection stays open."""
        return self._at_command(CommandFault("swallow_reply", match, nth, times))

    def duplicate(self, match: Match, *, nth: int = 1, times: int = 1, after: float | None = None) -> Fault:
        """The command is sent once more, over a connection of its own: so many seconds later, or by `deliver_late`.

        It strikes when the server has answered. No AUTH and no SELECT go before it.
        """
        return self._at_command(CommandFault("duplicate", match, nth, times, after=after))

    def deliver_late(self) -> list[bytes]:
        """Send the copies kept for this call; the server's replies to them, as they came."""
        copies, self._copies = self._copies, []
        return [self._ask(fault, command) for fault, command in copies]

    def _at_command(self, fault: CommandFault) -> Fault:
        self._do(lambda: self._command_faults.append(fault))
        return fault

    # --- faults of the line ---

    def cut_after_bytes(
        self, position: int, direction: Direction, *, connection: int | None = None, reset: bool = False
    ) -> Fault:
        """Cut right behind this byte of all that passes in a direction (as `bytes_seen` counts), or of one connection.

        The first byte, and the first connection, is 1. With `reset` bytes may be lost that were on their way.
        """
        fault = ByteFault(position, direction, connection, reset=reset)
        self._do(lambda: self._add_byte_fault(fault))
        return fault

    def latency(self, seconds: float, jitter: float = 0, *, loss: float = 0, rng: random.Random | None = None) -> None:
        """Delay each chunk, by up to `jitter` more; a lost one (`loss`: 0 to 1) comes 0.2 s later, as over TCP.

        The order stays. What waits already keeps its time.
        """
        if rng is None:
            assert not jitter and not loss, "chance needs a seeded rng"
            rng = random.Random(0)
        delay = partial(_delay, seconds, jitter, loss, rng)
        self._do(lambda: setattr(self, "delay", delay))

    def freeze(self, *, keep: bool = False) -> None:
        """Half-open: what comes is swallowed, from both sides; connections are accepted and lead nowhere.

        Those that stood or came meanwhile stay so for good. `keep`: nothing is lost, all passes at `thaw` (a partition
        that heals).
        """
        self._do(lambda: self._freeze(keep))

    def thaw(self) -> None:
        """The end of a freeze."""
        self._do(self._thaw)

    def refuse(self, *, reset: bool = False) -> None:
        """Refuse new connections, cut the old ones."""

        def refuse() -> None:
            self._no_longer_listen()
            self._cut(self._open(), reset)

        self._do(refuse)

    def accept(self) -> None:
        """Let connections come in again."""
        self._do(lambda: self._listen() if self._refusing else None)

    def cut_all(self, *, reset: bool = False) -> int:
        """Cut every open connection on both sides; how many there were."""
        return self._do(lambda: self._cut(self._open(), reset))

    def cut_one(self, rng: random.Random, *, reset: bool = False) -> int | None:
        """Cut a random one; its number."""

        def cut() -> int | None:
            chosen = [rng.choice(found)] if (found := self._open()) else []
            self._cut(chosen, reset)
            return chosen[0].number if chosen else None

        return self._do(cut)

    def heal(self) -> None:
        """No faults any more; what waits passes at once. Connections that went dead stay so."""
        self._do(self._calm)

    # --- what was seen ---

    def counts(self) -> Counter[bytes]:
        """How many commands of each name (in capitals) were passed on."""
        return Counter(self._counts)

    def open_connections(self) -> list[int]:
        """The numbers of the connections that are open."""
        return self._do(lambda: [link.number for link in self._open()])

    # --- for the links ---

    def met(self, words: list[bytes], *, doomed: bool) -> list[CommandFault]:
        """The faults whose turn this command is; none is asked after one that cuts before it."""
        found = []
        for fault in self._command_faults:
            if fault.meets(words, doomed=doomed):
                found.append(fault)
                if fault.kind == "cut_before":
                    break
        return found

    def note(self, connection: int, words: list[bytes]) -> None:
        """A command passes."""
        self._counts[words[0].upper()] += 1
        if self.record:
            self.commands.append((connection, words))

    def copy(self, fault: CommandFault, words: list[bytes], *, whole: bool) -> None:
        """Keep a command for later."""
        if not whole:
            raise ValueError(f"a command with more than {WHOLE_BYTES} bytes in one argument cannot be duplicated")
        command = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        if fault.after is None:
            self._copies.append((fault, command))
        else:
            self.loop.call_later(fault.after, self.loop.run_in_executor, None, self._try, fault, command)

    def byte_fault(self, end: End, size: int) -> tuple[ByteFault | None, int]:
        """The fault that cuts within the next bytes of an end, if one does; how many of them pass."""
        first: tuple[ByteFault | None, int] = (None, size)
        for fault in self._byte_faults:
            if fault.direction == end.direction and fault.connection in {None, end.link.number}:
                left = fault.position - (self.bytes_seen[end.direction] if fault.connection is None else end.passed)
                if 0 < left <= first[1]:
                    first = (fault, left)
        if first[0] is not None:
            self._byte_faults.remove(first[0])
        return first

    # --- in the loop's thread ---

    def _do(self, act: Callable[[], T]) -> T:
        if threading.current_thread() is self._thread:
            return act()
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(act())
            except BaseException as error:
                done.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return done.result(PATIENCE_S)

    def _open(self) -> list[Link]:
        return sorted((link for link in self.links if not link.over), key=lambda link: link.number)

    def _cut(self, links: list[Link], reset: bool) -> int:
        for link in links:
            link.cut(reset=reset)
        return len(links)

    def _add_byte_fault(self, fault: ByteFault) -> None:
        assert fault.connection is not None or fault.position > self.bytes_seen[fault.direction], "that byte has passed"
        self._byte_faults.append(fault)

    def _freeze(self, keep: bool) -> None:
        self.held = keep
        self._frozen = not keep
        for link in self.links if self._frozen else ():
            link.go_deaf()

    def _thaw(self) -> None:
        self.held = self._frozen = False
        for link in list(self.links):
            link.connect()
            link.client.hurry()
            link.server.hurry()

    def _calm(self) -> None:
        self._command_faults.clear()
        self._byte_faults.clear()
        self._copies.clear()
        self.delay = _no_delay
        self._thaw()
        for link in list(self.links):
            link.client.at_once()
            link.server.at_once()
        if self._refusing:
            self._listen()

    def _ask(self, fault: CommandFault, command: bytes) -> bytes:
        frames, reply = Frames(0), b""
        with socket.create_connection((HOST, self.target_port), timeout=PATIENCE_S) as server:
            server.sendall(command)
            while chunk := server.recv(1 << 16):
                reply += chunk
                if any(frames.feed(chunk)):
                    fault.strike()
                    return reply
        raise ConnectionError("the server closed before it answered a late command")

    def _try(self, fault: CommandFault, command: bytes) -> None:
        with suppress(OSError):  # a test may have stopped the server
            self._ask(fault, command)

    # --- life ---

    def __enter__(self) -> Self:
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(ready)), name=f"proxy {self.port}")
        self._thread.start()
        ready.result(PATIENCE_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._leaving.set)
        self._thread.join()
        self._place.close()
        if self._trouble:
            raise RuntimeError(f"the proxy failed: {self._trouble[0]!r}") from self._trouble[0]

    async def _live(self, ready: Future[None]) -> None:
        try:
            self.loop = asyncio.get_running_loop()
            self.loop.set_exception_handler(self._note_trouble)
            self._leaving = asyncio.Event()
            self._listen()
            ready.set_result(None)
        except BaseException as error:
            ready.set_exception(error)
            raise
        await self._leaving.wait()
        self._no_longer_listen()
        self._cut(list(self.links), reset=True)
        async with asyncio.timeout(PATIENCE_S):
            while self.links:
                await asyncio.sleep(0.001)

    def _listen(self) -> None:
        self._listener = _bound(self.port)
        self._listener.listen(1024)
        self._listener.setblocking(False)
        self.loop.add_reader(self._listener, self._take_in)
        self._refusing = False

    def _no_longer_listen(self) -> None:
        if not self._refusing:
            self._refusing = True
            self.loop.remove_reader(self._listener)
            self._listener.close()

    def _take_in(self) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):
            client, _ = self._listener.accept()
            self.connections += 1
            link = Link(self, self.connections, deaf=self._frozen)
            self.links.add(link)
            link.take(client)
            if not self.held:
                link.connect()

    def _note_trouble(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._trouble.append(context.get("exception") or RuntimeError(context["message"]))


def _no_delay() -> float:
    return 0.0


def _delay(seconds: float, jitter: float, loss: float, rng: random.Random) -> float:
    return seconds + rng.uniform(0, jitter) + (_RETRANSMISSION_S if rng.random() < loss else 0)


def _bound(port: int) -> socket.socket:
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    place.bind((HOST, port))
    return place
