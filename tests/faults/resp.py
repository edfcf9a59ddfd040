"""Where messages of RESP2 end in a stream of bytes. Reads words, understands none."""

from collections.abc import Iterator


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
