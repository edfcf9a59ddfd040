"""A TCP proxy of our own between a client and a Redis or Valkey server on 127.0.0.1: it cuts, delays and swallows
exactly where it is told to, and alters no byte. It follows RESP2 both ways, so it knows which reply answers which
command; a client of protocol 3 is refused. Its loop has a thread of its own: sync and async tests use it alike.
"""

import asyncio
import random
import socket
import struct
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias, TypeVar, cast

T = TypeVar("T")

Match: TypeAlias = bytes | Callable[[list[bytes]], bool] | None
"""Which commands: those of this name (EVAL and EVALSHA: also with this word in an argument), a predicate, or all."""
Direction: TypeAlias = Literal["to_server", "to_client"]
Kind: TypeAlias = Literal["cut_before", "drop_reply", "swallow_reply", "duplicate", "cut_after_bytes"]

WHOLE_BYTES: Final = 1 << 20
"""A longer argument is passed on in pieces while it comes; predicates and records see it empty, or not yet."""
_HOST: Final = "127.0.0.1"
_HEAD_BYTES: Final = 16
_WAITING_BYTES: Final = 8 << 20
_RETRANSMISSION_S: Final = 0.2
_GRACE_S: Final = 1.0
_PATIENCE_S: Final = 60.0
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_SCRIPTS: Final = frozenset({b"EVAL", b"EVALSHA"})
_MESSAGES: Final = frozenset({b"message", b"pmessage", b"smessage"})


class Frames:
    """Finds where messages end in the bytes of one direction, however these arrive.

    `words` are the strings of the unfinished message; one longer than `keep` is an empty one, and sets `long` at once.
    """

    def __init__(self, keep: int) -> None:
        self.words: list[bytes] = []
        self.long = False
        self._keep = keep
        self._line = b""
        self._word = bytearray()
        self._size = 0
        self._coming = 0
        self._missing: list[int] = []

    def feed(self, data: bytes) -> Iterator[tuple[int, list[bytes]]]:
        """The place behind each message that ends in this chunk, with its words."""
        at = 0
        while at < len(data):
            if self._coming:
                at, complete = self._string(data, at)
            else:
                end = data.find(b"\n", at) + 1
                if not end:
                    self._line += data[at:]
                    return
                complete = self._header(self._line + data[at:end])
                self._line, at = b"", end
            if complete and self._closes():
                words, self.words, self.long = self.words, [], False
                yield at, words

    def _header(self, line: bytes) -> bool:
        kind, rest = line[:1], line[1:-2]
        if kind in (b"+", b"-", b":"):
            self.words.append(rest)
        elif kind == b"$" and int(rest) >= 0:
            self._size = int(rest)
            self._coming = self._size + 2
            self.long = self.long or self._size > self._keep
            return False
        elif kind == b"*" and int(rest) > 0:
            self._missing.append(int(rest))
            return False
        elif kind not in (b"$", b"*"):
            raise ValueError(f"this is not RESP2 (does the client speak protocol 3?): {line[:80]!r}")
        return True

    def _string(self, data: bytes, at: int) -> tuple[int, bool]:
        piece = data[at : at + self._coming]
        self._coming -= len(piece)
        if self._size <= self._keep:
            self._word += piece
        if not self._coming:
            self.words.append(bytes(self._word[: self._size]))
            self._word.clear()
        return at + len(piece), not self._coming

    def _closes(self) -> bool:
        while self._missing:
            self._missing[-1] -= 1
            if self._missing[-1]:
                return False
            self._missing.pop()
        return True


class Fault:
    """A fault that waits for its moment. `struck` counts how often it came: a test asserts that it did."""

    def __init__(self, kind: Kind, *, reset: bool = False) -> None:
        self.kind: Final = kind
        self.reset: Final = reset
        self.struck = 0
        self._happened = threading.Event()

    def wait(self, seconds: float = _PATIENCE_S) -> bool:
        """Wait until it came for the first time."""
        return self._happened.wait(seconds)

    def strike(self) -> None:
        """Note that it came."""
        self.struck += 1
        self._happened.set()


class CommandFault(Fault):
    """A fault at certain commands: so many times, from the n-th on that matches."""

    def __init__(
        self, kind: Kind, match: Match, nth: int, times: int, *, reset: bool = False, after: float | None = None
    ) -> None:
        super().__init__(kind, reset=reset)
        self.after: Final = after
        self._match = match
        self._before = nth - 1
        self._times = times

    def meets(self, words: list[bytes], *, doomed: bool) -> bool:
        """Whether it is this command's turn. Counts; spends nothing on a reply that is `doomed` to be lost anyway."""
        if not self._times or not self._matches(words):
            return False
        if self._before:
            self._before -= 1
            return False
        if doomed and self.kind in {"drop_reply", "swallow_reply"}:
            return False
        self._times -= 1
        return True

    def _matches(self, words: list[bytes]) -> bool:
        match self._match:
            case None:
                return True
            case bytes(word):
                name = words[0].upper()
                return name == word.upper() or (name in _SCRIPTS and any(word in argument for argument in words[1:]))
            case predicate:
                return predicate(words)


class ByteFault(Fault):
    """A cut behind a byte of one direction: of the whole proxy, or of one connection."""

    def __init__(self, position: int, direction: Direction, connection: int | None, *, reset: bool) -> None:
        super().__init__("cut_after_bytes", reset=reset)
        self.position: Final = position
        self.direction: Final = direction
        self.connection: Final = connection


class _End(asyncio.Protocol):
    """One socket of a link. What it receives leaves by its twin, in order, perhaps late."""

    twin: "_End"

    def __init__(self, link: "_Link", direction: Direction, keep: int) -> None:
        self.link = link
        self.direction: Direction = direction
        self.frames = Frames(keep)
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self.stopped = False
        self.passed = 0
        self._full = False
        self._ended = False
        self._waiting: deque[tuple[float, int, Callable[[], object]]] = deque()
        self._waiting_bytes = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- what the loop says ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.link.over:
            self.finish(reset=True)
        else:
            self.twin.hurry()

    def data_received(self, data: bytes) -> None:
        if not (self.stopped or self.link.silent):
            self.read(data)

    def eof_received(self) -> bool:
        self._ended = True
        self.send(self.ended)
        return not self.link.over

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.send(partial(self.link.cut, reset=exc is not None))
        self.link.leave()

    def pause_writing(self) -> None:
        self._full = True
        self.twin.balance()

    def resume_writing(self) -> None:
        self._full = False
        self.twin.balance()

    def read(self, data: bytes) -> None:
        """Look at what came; send on what may pass."""
        raise NotImplementedError

    def ended(self) -> None:
        """The peer has said its last."""
        raise NotImplementedError

    # --- sending on ---

    def pass_on(self, data: bytes | bytearray) -> None:
        """Bytes for the twin, in their turn."""
        if data:
            self.send(partial(self._deliver, bytes(data)), len(data))

    def send(self, act: Callable[[], object], size: int = 0) -> None:
        """Do this in its turn: after what waits, and after the latency. Never if nothing passes any more."""
        if self.link.silent:
            return
        self._due = max(self._due, self.link.proxy.loop.time() + self.link.proxy.delay())
        self._waiting.append((self._due, size, act))
        self._waiting_bytes += size
        self.hurry()

    def hurry(self) -> None:
        """Do all that is due."""
        proxy = self.link.proxy
        while self._waiting and not proxy.held and self.twin.transport is not None:
            due, size, act = self._waiting[0]
            if due > proxy.loop.time():
                if self._timer is None:
                    self._timer = proxy.loop.call_at(due, self._ring)
                break
            self._waiting.popleft()
            self._waiting_bytes -= size
            act()
        self.balance()

    def _ring(self) -> None:
        self._timer = None
        self.hurry()

    def at_once(self) -> None:
        """Wait no longer than for what is held."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = 0.0
        self._waiting = deque((0.0, size, act) for _, size, act in self._waiting)
        self.hurry()

    def balance(self) -> None:
        """Read no faster than the twin writes."""
        if self.transport is None:
            return
        if (self.twin._full or self._waiting_bytes > _WAITING_BYTES) and not self.link.silent:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _deliver(self, data: bytes) -> None:
        proxy = self.link.proxy
        fault, most = proxy.byte_fault(self, len(data))
        # All is counted before it is sent: whoever has the bytes finds them counted.
        self.passed += most
        proxy.bytes_seen[self.direction] += most
        if fault is not None:
            fault.strike()
        cast(asyncio.Transport, self.twin.transport).write(data[:most])
        if fault is not None:
            self.link.cut(reset=fault.reset)

    # --- the end ---

    def forget(self) -> None:
        """Lose what waits."""
        self._waiting.clear()
        self._waiting_bytes = 0

    def half_close(self) -> None:
        """Say the last to the peer, and go on reading."""
        try:
            cast(asyncio.Transport, self.transport).write_eof()
        except OSError:
            cast(asyncio.Transport, self.transport).abort()  # the peer was quicker

    def finish(self, *, reset: bool) -> None:
        """Close this socket: with a reset, or with an end behind all that was sent."""
        self.forget()
        if self.transport is None or self.lost:
            return
        if reset:
            with suppress(OSError):
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self.transport.abort()
        elif self._ended:
            self.transport.close()
        else:
            # A close with bytes unread is a reset, which overtakes what is on its way. So the peer closes first.
            self.half_close()
            self.transport.resume_reading()
            self.link.proxy.loop.call_later(_GRACE_S, self.transport.abort)


class _ClientEnd(_End):
    """Here commands come in. Each is held until it is whole, so that one cut before has no byte at the server."""

    def __init__(self, link: "_Link") -> None:
        super().__init__(link, "to_server", WHOLE_BYTES)
        self._held = bytearray()
        self._decided = False

    def read(self, data: bytes) -> None:
        out = bytearray()
        start = 0
        for end, words in self.frames.feed(data):
            if not self._decided and self._is_cut(words, out):
                return
            out += self._held + data[start:end]
            self._held.clear()
            self._decided = False
            start = end
        self._held += data[start:]
        if self.frames.long:
            if not self._decided and self._is_cut(self.frames.words, out):
                return
            self._decided = True
            out += self._held
            self._held.clear()
        self.pass_on(out)

    def _is_cut(self, words: list[bytes], before: bytearray) -> bool:
        fault = self.link.decide(words)
        if fault is not None:
            self.stopped = True
            self.pass_on(before)
            self.send(partial(self.link.strike, fault))
        return fault is not None or self.link.silent

    def ended(self) -> None:
        self.twin.half_close()


class _ServerEnd(_End):
    """Here replies come in: one for each command, beside what a subscriber is sent unasked."""

    def __init__(self, link: "_Link") -> None:
        super().__init__(link, "to_client", _HEAD_BYTES)
        self._unsure = bytearray()

    def read(self, data: bytes) -> None:
        expected, subscribed = self.link.expected, self.link.subscribed
        out = bytearray()
        start = 0
        for end, words in self.frames.feed(data):
            piece = data[start:end]
            start = end
            if subscribed and words and words[0] in _MESSAGES:
                out += self._unsure + piece
                self._unsure.clear()
                continue
            fault = expected.popleft() if expected else None
            if fault is not None:
                self.stopped = True
                self.pass_on(out)
                self.send(partial(self.link.strike, fault))
                return
            out += piece
        if not expected or expected[0] is None:
            out += data[start:]
        elif subscribed:
            self._unsure += data[start:]  # not a reply perhaps, but a message
        self.pass_on(out)

    def ended(self) -> None:
        self.link.cut()


class _Link:
    """One connection through the proxy: two ends, and which replies are still to come."""

    def __init__(self, proxy: "Proxy", number: int, *, deaf: bool) -> None:
        self.proxy = proxy
        self.number = number
        self.deaf = deaf
        self.over = False
        self.subscribed = False
        self._doomed = False
        self.expected: deque[CommandFault | None] = deque()
        self.client, self.server = _ClientEnd(self), _ServerEnd(self)
        self.client.twin, self.server.twin = self.server, self.client
        self._taking: asyncio.Task[object] | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._on_the_way = False

    @property
    def silent(self) -> bool:
        """Nothing passes any more."""
        return self.over or self.deaf

    def take(self, client: socket.socket) -> None:
        """Take in a client."""
        loop = self.proxy.loop
        self._taking = loop.create_task(loop.connect_accepted_socket(lambda: self.client, client))

    def connect(self) -> None:
        """Connect to the server, if that was not done yet."""
        if self._connecting is None and not self.silent:
            self._on_the_way = True
            self._connecting = self.proxy.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self.proxy.loop.create_connection(lambda: self.server, _HOST, self.proxy.target_port)
        except OSError:
            self.cut(reset=True)
        self._on_the_way = False
        self.leave()

    def decide(self, words: list[bytes]) -> CommandFault | None:
        """The fault that keeps a command from the server; or None: it passes, and its reply is awaited."""
        at_reply = None
        for fault in self.proxy.met(words, doomed=self._doomed):
            match fault.kind:
                case "cut_before":
                    return fault
                case "duplicate":
                    self.proxy.copy(fault, words, whole=not self.client.frames.long)
                case _:
                    at_reply = at_reply or fault
        if self.silent:  # a predicate saw to that
            return None
        self._doomed = self._doomed or at_reply is not None
        self.proxy.note(self.number, words)
        self.expected.append(at_reply)
        if words[0].upper().endswith(b"SUBSCRIBE"):
            self.subscribed = True
            self.expected.extend([None] * (len(words) - 2))  # one reply for each channel
        return None

    def strike(self, fault: Fault) -> None:
        """Let a fault happen here and now."""
        fault.strike()
        if fault.kind != "swallow_reply":
            self.cut(reset=fault.reset)

    def cut(self, *, reset: bool = False) -> None:
        """Close both sides."""
        if not self.over or reset:
            self.over = True
            self.client.finish(reset=reset)
            self.server.finish(reset=reset)

    def go_deaf(self) -> None:
        """Stay open and pass nothing, for good; what is on its way is lost."""
        self.deaf = True
        for end in (self.client, self.server):
            end.forget()
            end.balance()

    def leave(self) -> None:
        """Be forgotten when both sockets are closed."""
        if self.client.lost and (self.server.lost or (self.server.transport is None and not self._on_the_way)):
            self.proxy.links.discard(self)


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
        self.links: set[_Link] = set()
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
        return f"{scheme}://{_HOST}:{self.port}"

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

    def byte_fault(self, end: _End, size: int) -> tuple[ByteFault | None, int]:
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
        return done.result(_PATIENCE_S)

    def _open(self) -> list[_Link]:
        return sorted((link for link in self.links if not link.over), key=lambda link: link.number)

    def _cut(self, links: list[_Link], reset: bool) -> int:
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
        with socket.create_connection((_HOST, self.target_port), timeout=_PATIENCE_S) as server:
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
        ready.result(_PATIENCE_S)
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
        async with asyncio.timeout(_PATIENCE_S):
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
            link = _Link(self, self.connections, deaf=self._frozen)
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
    place.bind((_HOST, port))
    return place
