"""What commands print: tables, facts, JSON lines, messages. Answers go to stdout, messages to stderr.

Whatever comes from a store is cleaned first, so that no stored text can steer the terminal.
"""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import IO, TYPE_CHECKING, Final, NamedTuple

import click
import msgspec

from surefoot import clock
from surefoot.core.errors import duration_words
from surefoot.core.job import moment

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_NO_TERMINAL_WIDTH: Final = 100_000
_PADDING: Final = re.compile(r"(?: |\x1b\[[0-9;]*m)+$")
_STYLES: Final = {"dead": "red", "processing": "green", "parked": "yellow", "expired": "yellow"}


class Column(NamedTuple):
    """One column of a table; `least` is its smallest width in letters."""

    title: str
    right: bool = False
    least: int = 0


class Output:
    """Where one command prints to. With `json` nothing but JSON lines reaches stdout."""

    def __init__(self, *, json: bool, quiet: bool, verbose: bool, no_color: bool) -> None:
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        self._no_color = no_color

    def coloured(self, stream: IO[str]) -> bool:
        """Whether this stream shows colours: --no-color and NO_COLOR win, then FORCE_COLOR; else only a terminal."""
        if self._no_color or os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return stream.isatty() and os.environ.get("TERM") != "dumb"

    def record(self, record: object) -> None:
        """One JSON object on a line of its own."""
        click.echo(msgspec.json.encode(record).decode())

    def answer(self, text: str) -> None:
        """A line that was asked for."""
        click.echo(text)

    def say(self, text: str) -> None:
        """A message beside the answer; --quiet leaves it out."""
        if not self.quiet:
            click.echo(text, err=True)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Rows under their titles. On a terminal the last column is cut to fit; elsewhere nothing is."""
        console = self.console()
        with console.capture() as captured:
            console.print(grid(columns, rows))
        for line in captured.get().splitlines():
            click.echo(_PADDING.sub(lambda found: found[0].replace(" ", ""), line), color=True)

    def facts(self, pairs: Iterable[tuple[str, str | None]], indent: str = "  ") -> None:
        """Names and values, one pair a line; a pair without a value is left out."""
        known = [(name, value) for name, value in pairs if value is not None]
        width = max((len(name) for name, _ in known), default=0)
        for name, value in known:
            click.echo(f"{indent}{name:<{width}}  {clean(value)}")

    def block(self, text: str, indent: str = "    ") -> None:
        """Text of several lines, such as a traceback."""
        for line in text.splitlines():
            click.echo(f"{indent}{clean(line)}".rstrip())

    def console(self) -> "Console":
        """A rich console on stdout that never wraps or colours what is piped away."""
        from rich.console import Console

        coloured = self.coloured(sys.stdout)
        return Console(
            file=sys.stdout, width=None if sys.stdout.isatty() else _NO_TERMINAL_WIDTH, force_terminal=coloured or None,
            color_system="auto" if coloured else None, highlight=False, markup=False, emoji=False,
        )  # fmt: skip


def grid(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> "Table":
    """A rich table without lines: two spaces between columns, only the last one may be cut."""
    from rich.table import Table
    from rich.text import Text

    cells = [[Text(clean(cell), style=_STYLES.get(cell, "")) for cell in row] for row in rows]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        widest = max((row[place].cell_len for row in cells), default=0)
        last = place == len(columns) - 1
        table.add_column(
            column.title, justify="right" if column.right else "left", no_wrap=True, overflow="ellipsis",
            min_width=column.least if last else max(column.least, widest, len(column.title)),
        )  # fmt: skip
    for row in cells:
        table.add_row(*row)
    return table


def clean(text: str) -> str:
    """`text` with everything that does not print written as an escape: one line, and nothing a terminal obeys."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter == "\N{NO-BREAK SPACE}" else letter.encode("unicode_escape").decode()
        for letter in text
    )


def age(seconds: float | None) -> str:
    """An age for a narrow column: `0.2 s`, `14 m`, `3 h`."""
    return "-" if seconds is None else duration_words(seconds).replace(" min", " m")


def when(at: datetime | None) -> str | None:
    """A moment in this machine's time zone, to the second."""
    return None if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def since(at: datetime) -> str:
    """A moment as `09:12`, with its date if that is not today."""
    local, today = at.astimezone(), moment(clock.wall_ms()).astimezone().date()
    return f"{local:%H:%M}" if local.date() == today else f"{local:%Y-%m-%d %H:%M}"


def counted(number: int, noun: str) -> str:
    """`1 job`, `2,000 jobs`, `3 crashes`."""
    ending = "" if number == 1 else "es" if noun.endswith("sh") else "s"
    return f"{number:,} {noun}{ending}"
