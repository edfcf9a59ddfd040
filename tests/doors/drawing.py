"""Draws the states of a job from the table of legal moves, as ARCHITECTURE.md shows them.

python -m tests.doors.drawing --write
"""

import sys
from pathlib import Path

from surefoot.core.transition import END, MOVES, START

PAGE = Path(__file__).parent.parent.parent / "ARCHITECTURE.md"
OPEN, CLOSE = "<!-- states -->\n", "<!-- /states -->"


def drawing() -> str:
    """A state diagram, one line a move."""
    names = {START: "[*]", END: "[*]"}
    lines = [
        f"    {names.get(before, before)} --> {names.get(after, after)}: {what}"
        for before, moves in MOVES.items()
        for after, what in moves.items()
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```", ""])


def shown() -> str:
    """What the page shows now."""
    return PAGE.read_text().split(OPEN)[1].split(CLOSE)[0]


def main() -> None:
    """Write the drawing into the page."""
    if "--write" not in sys.argv:
        print(drawing())
        return
    before, _, rest = PAGE.read_text().partition(OPEN)
    PAGE.write_text(before + OPEN + drawing() + CLOSE + rest.partition(CLOSE)[2])


if __name__ == "__main__":
    main()
