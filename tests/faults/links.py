"""One connection through the proxy: two ends that follow commands and replies, and let faults happen there."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from tests.faults.proxy_faults import CommandFault, Direction, Fault
from tests.faults.resp import Frames

if TYPE_CHECKING:
    from tests.faults.proxy import Proxy

HOST: Final = "127.0.0.1"
WHOLE_BYTES: Final = 1 << 20
"""A longer argument is passed on in pieces while it comes; predicates and records see it empty, or not yet."""
_HEAD_BYTES: Final = 16
_WAITING_BYTES: Final = 8 << 20
_GRACE_S: Final = 10.0
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_MESSAGES: Final = frozenset({b"message", b"pmessage", b"smessage"})


class End(asyncio.Protocol):
    """One socket of a link. What it receives leaves by its twin, in order, perhaps late."""

    twin: "End"

    def __init__(self, link: "Link", direction: Direction, keep: int) -> None:
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
        self._waiting.append((self.link.proxy.loop.time() + self.link.proxy.delay(), size, act))
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


class ClientEnd(End):
    """Here commands come in. Each is held until it is whole, so that one cut before has no byte at the server."""

    def __init__(self, link: "Link") -> None:
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


class ServerEnd(End):
    """Here replies come in: one for each command, beside what a subscriber is sent unasked."""

    def __init__(self, link: "Link") -> None:
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


class Link:
    """One connection through the proxy: two ends, and which replies are still to come."""

    def __init__(self, proxy: "Proxy", number: int, *, deaf: bool) -> None:
        self.proxy = proxy
        self.number = number
        self.deaf = deaf
        self.over = False
        self.subscribed = False
        self._doomed = False
        self.expected: deque[CommandFault | None] = deque()
        self.client, self.server = ClientEnd(self), ServerEnd(self)
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
            await self.proxy.loop.create_connection(lambda: self.server, HOST, self.proxy.target_port)
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
