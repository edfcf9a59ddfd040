"""What happened in a life, as lines that can be read. A life that nobody asked about is not written down."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.kernel import Kernel

SHOWN = 400


class Story:
    """One line an event: when, who, what, and what came back."""

    def __init__(self, kernel: Kernel, *, told: bool) -> None:
        self._kernel = kernel
        self.told = told
        self.lines: list[str] = []

    def tell(self, who: object, what: Callable[[], str]) -> None:
        if self.told and not self._kernel.closing:  # whoever is taken apart in the end may still speak, in any order
            self.lines.append(f"{self._kernel.now - 1000:9.3f}  {who!s:<12} {what()}")

    def about(self, words: list[str]) -> list[str]:
        """The lines that name one of these, and those that concern everybody; the last of them, if they are many."""
        found = [line for line in self.lines if not words or "***" in line or any(word in line for word in words)]
        if len(found) <= SHOWN:
            return found
        return [f"... {len(found) - SHOWN} lines before", *found[-SHOWN:]]
