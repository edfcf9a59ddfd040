"""A conversation with a Redis or Valkey server over a plain socket, in its own protocol. No client library."""

import socket
from types import TracebackType
from typing import Any, Self, TypeAlias

HOST = "127.0.0.1"
PATIENCE_S = 60.0

Word: TypeAlias = str | bytes | int


class Refusal(Exception):
    """An error reply; the text is the server's."""


class Conversation:
    """One plain connection, one command at a time. Replies are int, bytes, list or None; an error is raised."""

    def __init__(self, port: int, password: str | None = None, *, seconds: float = PATIENCE_S) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=seconds)
        self._replies = self._socket.makefile("rb")
        if password is not None:
            self.say("AUTH", password)

    def say(self, *command: Word) -> Any:
        words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
        request = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        self._socket.sendall(b"*%d\r\n%b" % (len(words), request))
        reply = self._reply()
        if isinstance(reply, Refusal):
            raise reply
        return reply

    def _reply(self) -> Any:
        line = self._replies.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        sign, rest = line[:1], line[1:-2]
        match sign:
            case b"+":
                return rest
            case b"-":
                return Refusal(rest.decode(errors="replace"))
            case b":":
                return int(rest)
            case b"$":
                return self._bytes(int(rest))
            case b"*":
                return None if rest == b"-1" else [self._reply() for _ in range(int(rest))]
        raise ValueError(f"not a reply: {line!r}")

    def _bytes(self, length: int) -> bytes | None:
        if length < 0:
            return None
        text = self._replies.read(length + 2)
        if len(text) < length + 2:
            raise ConnectionError("the server closed the connection")
        return text[:-2]

    def close(self) -> None:
        self._replies.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
