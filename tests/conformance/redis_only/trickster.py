"""A server for trouble that a real one makes too seldom: it answers what a test wants, or cuts."""

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias

import hiredis

Answer: TypeAlias = Callable[[list[bytes]], bytes | None]
"""What is answered to a command; None: the connection is closed instead."""


def agree(_: list[bytes]) -> bytes | None:
    return b"+OK\r\n"


class Trickster:
    """Listens on a free port as long as the block lasts. `heard` has the commands of each connection."""

    def __init__(self, answer: Answer = agree) -> None:
        self.answer = answer
        self.heard: list[list[list[bytes]]] = []
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._open.append(connection)
                self.heard.append([])
                self._begin(self._converse, connection, self.heard[-1])

    def _begin(self, target: Callable[..., None], *words: object) -> None:
        self._threads.append(threading.Thread(target=target, args=words))
        self._threads[-1].start()

    def _converse(self, connection: socket.socket, heard: list[list[bytes]]) -> None:
        reader = hiredis.Reader(notEnoughData=...)
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(65536):
                reader.feed(data)
                while (command := reader.gets()) is not ...:
                    heard.append(command)
                    answer = self.answer(command)
                    if answer is None:
                        return
                    connection.sendall(answer)

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # A thread that waits in accept or recv is woken by a shutdown, not by a close.
        for one in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()
