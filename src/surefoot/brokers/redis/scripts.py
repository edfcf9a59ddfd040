"""Reads the scripts in lua/ and makes of each what the server gets: shared pieces put in, names replaced by places.

A header names what its file uses: `KEYS.jobs`, `ARGV.want` with their types, and after `uses:` the pieces of
lua/pieces. `ARGV.rest` stands for any number of further arguments, of which the first is `ARGV[$REST]`. A line
`-- here:` in a body names pieces that are put in there: a function costs the server something each time it is made.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from surefoot.brokers.redis.names import key
from surefoot.core.names import LAYOUT, UNDERSTANDS

_KEY: Final = re.compile(r"-- KEYS\.(\w+)\s+\S")
_ARGUMENT: Final = re.compile(r"-- ARGV\.(\w+)\s+\S")
_USES: Final = re.compile(r"-- uses: (.+)")
_HERE: Final = re.compile(r"^( *)-- here: (.+)\n", re.MULTILINE)
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


def _pieces(names: Iterable[str], known: Collection[str]) -> dict[str, Source]:
    """These pieces and what they use, but for what is known where they are to stand."""
    found: dict[str, Source] = {}
    for name in names:
        if name not in known and name not in found:
            piece = source(f"pieces/{name}")
            found |= _pieces(piece.uses, {*known, *found})
            found[name] = piece
    return found


def _with_pieces(own: Source, known: Collection[str]) -> tuple[str, list[Source]]:
    """The text of a file whose own pieces are `known`, with those put in that it names further down; and these."""
    parts: list[Source] = []

    def put_in(found: re.Match[str]) -> str:
        texts, sources = _in_order(_pieces(found[2].split(), known), known)
        parts.extend(sources)
        return "\n".join(texts) + "\n"

    return _HERE.sub(put_in, own.body), parts


def _in_order(pieces: Mapping[str, Source], known: Collection[str]) -> tuple[list[str], list[Source]]:
    """The texts of pieces that stand one after another: each knows those before it."""
    texts: list[str] = []
    parts: list[Source] = []
    before = set(known)
    for name, piece in pieces.items():
        text, later = _with_pieces(piece, before)
        texts.append(text)
        parts += (piece, *later)
        before.add(name)
    return texts, parts


class Script:
    """What the server gets for one verb. `keys` and `arguments` name its KEYS and ARGV, in their order.

    `known`: the queues whose server has it, as far as we know; then its digest is enough.
    """

    def __init__(self, verb: str, understands: int = UNDERSTANDS) -> None:
        own = source(verb)
        pieces = _pieces(own.uses, ())
        texts, parts = _in_order(pieces, ())
        text, later = _with_pieces(own, pieces)
        parts += (own, *later)
        self.verb: Final = verb
        self.known: Final[set[str]] = set()
        self.keys: Final = tuple(dict.fromkeys(name for part in parts for name in part.keys))
        named = dict.fromkeys(name for part in parts for name in part.arguments)
        self.arguments: Final = (*(name for name in named if name != REST), *(name for name in named if name == REST))
        words = {"VERB": verb, "LAYOUT": str(LAYOUT), "UNDERSTANDS": str(understands)}
        words["REST"] = str(len(self.arguments))  # the last of them, counted from 1
        places = {f"KEYS.{name}": f"KEYS[{place}]" for place, name in enumerate(self.keys, 1)}
        places |= {f"ARGV.{name}": f"ARGV[{place}]" for place, name in enumerate(self.arguments, 1)}
        whole = "\n\n".join((*texts, text))
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
        return heads[queue in self.known]


def scripts(understands: int = UNDERSTANDS) -> Mapping[str, Script]:
    """The scripts of all writing verbs, by verb."""
    return {verb: Script(verb, understands) for verb in WRITING}


WRITING: Final = (
    "put", "claim", "settle", "extend", "cancel", "requeue", "move", "amend", "delete", "configure", "tick", "beat",
    "prune", "repair",
)  # fmt: skip
