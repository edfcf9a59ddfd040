"""Reads the scripts in lua/ and makes of each what the server gets: shared pieces put in, names replaced by places.

A header names what its file uses: `KEYS.jobs`, `ARGV.want` with their types, and after `uses:` the pieces of
lua/pieces. `ARGV.rest` stands for any number of further arguments, of which the first is `ARGV[$REST]`.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from surefoot.brokers.redis.names import key
from surefoot.core.names import LAYOUT, UNDERSTANDS

_KEY: Final = re.compile(r"-- KEYS\.(\w+)\s+\S")
_ARGUMENT: Final = re.compile(r"-- ARGV\.(\w+)\s+\S")
_USES: Final = re.compile(r"-- uses: (.+)")
_NAME: Final = re.compile(r"\b(KEYS|ARGV)\.(\w+)|\$(VERB|LAYOUT|UNDERSTANDS|REST)\b")
REST: Final = "rest"


class Source:
    """One file of lua/: its header as read, and its body."""

    def __init__(self, text: str) -> None:
        lines = text.splitlines()
        ends = next((place for place, line in enumerate(lines) if not line.startswith("--")), len(lines))
        head = lines[:ends]
        self.keys: Final = tuple(found[1] for line in head if (found := _KEY.match(line)))
        self.arguments: Final = tuple(found[1] for line in head if (found := _ARGUMENT.match(line)))
        self.uses: Final = tuple(" ".join(found[1] for line in head if (found := _USES.match(line))).split())
        self.body: Final = "\n".join(lines[ends:])


@cache
def source(name: str) -> Source:
    """The file lua/<name>.lua; pieces are named `pieces/<piece>`."""
    return Source(files("surefoot.brokers.redis").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8"))


def _pieces(names: tuple[str, ...], found: dict[str, Source]) -> dict[str, Source]:
    for name in names:
        if name not in found:
            piece = source(f"pieces/{name}")
            _pieces(piece.uses, found)
            found[name] = piece
    return found


class Script:
    """What the server gets for one verb. `keys` and `arguments` name its KEYS and ARGV, in their order.

    `known`: the server has it, as far as we know; then its digest is enough.
    """

    def __init__(self, verb: str, understands: int = UNDERSTANDS) -> None:
        own = source(verb)
        parts = [*_pieces(own.uses, {}).values(), own]
        self.verb: Final = verb
        self.known = False
        self.keys: Final = tuple(dict.fromkeys(name for part in parts for name in part.keys))
        named = dict.fromkeys(name for part in parts for name in part.arguments)
        self.arguments: Final = (*(name for name in named if name != REST), *(name for name in named if name == REST))
        words = {"VERB": verb, "LAYOUT": str(LAYOUT), "UNDERSTANDS": str(understands)}
        words["REST"] = str(len(self.arguments))  # the last of them, counted from 1
        places = {f"KEYS.{name}": f"KEYS[{place}]" for place, name in enumerate(self.keys, 1)}
        places |= {f"ARGV.{name}": f"ARGV[{place}]" for place, name in enumerate(self.arguments, 1)}
        whole = "\n\n".join(part.body for part in parts)
        self.text: Final = _NAME.sub(
            lambda found: words[found[3]] if found[3] else places[f"{found[1]}.{found[2]}"], whole
        )
        self.sha: Final = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        self._fixed = self.arguments[:-1] if REST in self.arguments else self.arguments
        self._heads: dict[str, tuple[tuple[str | int, ...], tuple[str | int, ...]]] = {}

    def words(self, named: Mapping[str, str | bytes | int]) -> list[str | bytes | int]:
        """The arguments by place, but for the rest; KeyError for one that is missing."""
        return [named[name] for name in self._fixed]

    def head(self, queue: str) -> tuple[str | int, ...]:
        """The command up to its arguments."""
        heads = self._heads.get(queue)
        if heads is None:
            keys = [key(queue, name) for name in self.keys]
            heads = ("EVAL", self.text, len(keys), *keys), ("EVALSHA", self.sha, len(keys), *keys)
            self._heads[queue] = heads
        return heads[self.known]


def scripts(understands: int = UNDERSTANDS) -> Mapping[str, Script]:
    """The scripts of all writing verbs, by verb."""
    return {verb: Script(verb, understands) for verb in WRITING}


WRITING: Final = (
    "put", "claim", "settle", "extend", "cancel", "requeue", "move", "amend", "delete", "configure", "tick", "beat",
    "prune", "repair",
)  # fmt: skip
