"""docs/protocol.md as a program reads it: its tables and blocks; and those blocks that are made from the code.

python -m tests.doors.foreign.page --write
"""

import json
import re
import sys
from pathlib import Path

from surefoot.brokers.redis.names import key
from surefoot.brokers.redis.scripts import REST, Script

PAGE = Path(__file__).parents[3] / "docs" / "protocol.md"
WIDTH = 120
QUEUE = "surefoot:mail"
EXAMPLE = {
    "now": "0",
    "caller": "k3v5q7x2m4n6p2r4",
    "call": "1",
    "tag": "w6tz",
    "max_length": "-1",
    "keep_ms": "300000",
    "many": "1",
}
EXAMPLE_JOB = (
    "0193f8a4c1d4c1d2e3f405162738",
    '{"version":1,"id":"0193f8a4c1d4c1d2e3f405162738","task":"remind","payload":{"address":"ann@example.com"},'
    '"options":{"delay_ms":60000}}',
    "+60000", "2", "", "", "", '{"priority":2}',
)  # fmt: skip

Row = list[str]


def tables() -> dict[tuple[str, ...], list[Row]]:
    """The tables of the page by their first row. A cell has no backticks."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for table in re.findall(r"(?:^\|.*\|\n)+", PAGE.read_text(), re.MULTILINE):
        head, _, *rows = [
            [cell.strip().replace("`", "") for cell in line[1:-1].split("|")] for line in table.splitlines()
        ]
        assert tuple(head) not in found, f"two tables begin with {head}"
        found[tuple(head)] = rows
    return found


def section(title: str) -> str:
    """What stands under a title, up to the next one."""
    [text] = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(text)


def fenced(text: str, language: str) -> list[str]:
    """The blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


# --- what is made from the code ---


def made() -> dict[str, str]:
    """The blocks by name, as they should be."""
    put = Script("put")
    keys = [f"| {place} | `{name}` |" for place, name in enumerate(put.keys, 1)]
    script = (
        f"```lua\n{put.text}\n```\n\nThe SHA1 of these {len(put.text.encode()):,} bytes, which end without a newline:\n"
    )
    return {
        "keys": "\n".join(["| place | key |", "|---|---|", *keys, ""]),
        "call": f"```json\n[{_wrapped(put)}]\n```\n",
        "put": f"{script}`{put.sha}`\n",
    }


def _wrapped(put: Script) -> str:
    words = ["EVALSHA", put.sha, str(len(put.keys)), *[key(QUEUE, name) for name in put.keys]]
    words += [EXAMPLE[name] for name in put.arguments if name != REST]
    lines = [""]
    for word in (json.dumps(word) for word in [*words, *EXAMPLE_JOB]):
        if lines[-1] and len(lines[-1]) + len(word) > WIDTH:
            lines.append("")
        lines[-1] += f" {word},"
    return "\n".join(lines).strip(" ,")


def shown() -> dict[str, str]:
    """The blocks by name, as the page has them."""
    return dict(re.findall(r"^<!-- (\w+) -->\n(.*?)^<!-- /\1 -->", PAGE.read_text(), re.MULTILINE | re.DOTALL))


def main() -> None:
    """Write them into the page."""
    text = PAGE.read_text()
    for name, block in made().items():
        before, opening, rest = text.partition(f"<!-- {name} -->\n")
        closing = f"<!-- /{name} -->"
        text = before + opening + block + closing + rest.partition(closing)[2]
    if "--write" in sys.argv:
        PAGE.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
