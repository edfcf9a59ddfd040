"""How the story looks: a live list of steps on a terminal, plain lines anywhere else. Knows nothing of jobs."""

import os
import sys
from typing import Literal, Self, TypeAlias

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from surefoot import clock

State: TypeAlias = Literal["running", "done", "failed"]


class Step:
    """One line of the story: a title, and what is known of it so far."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.words: str = ""
        self.state: State = "running"
        self._started = clock.monotonic()
        self._ended: float | None = None

    @property
    def seconds(self) -> float:
        """How long it takes, or took."""
        return (clock.monotonic() if self._ended is None else self._ended) - self._started

    def say(self, words: str) -> None:
        """What is seen at this moment."""
        self.words = words

    def end(self, state: State, words: str) -> None:
        """The last word about it."""
        self.words, self.state, self._ended = words, state, clock.monotonic()


class Show:
    """Tells of the steps. Where stdout is no terminal, or NO_COLOR is set, each gives one plain line when it ends."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._moving = self._console.is_terminal and not (self._console.is_dumb_terminal or os.environ.get("NO_COLOR"))
        self._ascii = not (self._console.encoding or "").lower().startswith("utf")
        self._spinner = Spinner("line" if self._ascii else "dots")
        self._steps: list[Step] = []
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rest()

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=2)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(ratio=1)
        table.add_column(justify="right", no_wrap=True, style="dim")
        for step in self._steps:
            table.add_row(self._mark(step), step.title, Text(step.words), f"{step.seconds:.1f} s")
        return table

    def step(self, title: str) -> Step:
        """A step begins."""
        step = Step(title)
        self._steps.append(step)
        if self._moving and self._live is None:
            self._live = Live(self, console=self._console, refresh_per_second=10, vertical_overflow="visible")
            self._live.start()
        return step

    def ended(self, step: Step) -> None:
        """A step came to its end."""
        if not self._moving:
            mark = "ok" if step.state == "done" else "FAILED"
            self.say(f"{mark:<7}{step.title:<17}{step.words}  ({step.seconds:.1f} s)")

    def say(self, text: str = "") -> None:
        """A line of its own, below the steps so far; the list that moves ends here."""
        self._rest()
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def _rest(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._steps = []

    def _mark(self, step: Step) -> Spinner | Text:
        if step.state == "running":
            return self._spinner
        if step.state == "done":
            return Text("ok" if self._ascii else "✓", style="green")
        return Text("!!" if self._ascii else "✗", style="red")
