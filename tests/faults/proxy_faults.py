"""The faults that a proxy is told of: at certain commands, or behind a byte. They only count."""

import threading
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

Match: TypeAlias = bytes | Callable[[list[bytes]], bool] | None
"""Which commands: those of this name (EVAL and EVALSHA: also with this word in an argument), a predicate, or all."""
Direction: TypeAlias = Literal["to_server", "to_client"]
Kind: TypeAlias = Literal["cut_before", "drop_reply", "swallow_reply", "duplicate", "cut_after_bytes"]

PATIENCE_S: Final = 60.0
_SCRIPTS: Final = frozenset({b"EVAL", b"EVALSHA"})


class Fault:
    """A fault that waits for its moment. `struck` counts how often it came: a test asserts that it did."""

    def __init__(self, kind: Kind, *, reset: bool = False) -> None:
        self.kind: Final = kind
        self.reset: Final = reset
        self.struck = 0
        self._happened = threading.Event()

    def wait(self, seconds: float = PATIENCE_S) -> bool:
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
