"""The table of docs/soak.md, made of the rows that `python -m tests.soak` left in build/soak; no run is made here.

python -m tests.soak.page           print it
python -m tests.soak.page --write   and put it on the page
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
RUNS: Final = ROOT / "build" / "soak"
PAGE: Final = ROOT / "docs" / "soak.md"
BEGIN, END = "<!-- run -->\n", "<!-- /run -->\n"

Rows = list[tuple[str, str]]


def keep(store: str, rows: Rows) -> Path:
    """The rows of one run, beside those of the other store."""
    RUNS.mkdir(parents=True, exist_ok=True)
    path = RUNS / f"{store}.json"
    path.write_text(json.dumps(rows, indent=1))
    return path


def kept() -> list[Rows]:
    """The rows of the newest run on each store."""
    return [json.loads(path.read_text()) for path in sorted(RUNS.glob("*.json"))]


def beside(runs: Sequence[Rows]) -> str:
    """Runs as the columns of one table. Its rows keep the order of the first run that has them."""
    columns = [dict(rows) for rows in runs]
    names: list[str] = []
    for column in columns:
        place = 0
        for name in column:
            if name in names:
                place = names.index(name) + 1
            else:
                names.insert(place, name)
                place += 1
    lines = [f"| {' | '.join([name, *(column.get(name, '') for column in columns)])} |" for name in names]
    return "\n".join([f"|{' |' * (len(columns) + 1)}", f"|{'---|' * (len(columns) + 1)}", *lines]) + "\n"


def put(page: str, table: str) -> str:
    """The page with this table between its marks."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{table}{END}{tail}"


def main(words: Sequence[str]) -> int:
    """Print or write it."""
    runs = kept()
    if not runs:
        print(f"there is no run in {RUNS}: make soak first.", file=sys.stderr)
        return 1
    table = beside(runs)
    if "--write" in words:
        PAGE.write_text(put(PAGE.read_text(), table))
    else:
        print(table, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
