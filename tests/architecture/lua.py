"""The rules for scripts in Lua as plain functions: a folder's files in, complaints about one of them out.

`files` holds the whole folder by name: "put", "pieces/time". Nothing here reads the project; the tests do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import takewhile

TYPES = {"KEYS": ("hash", "list", "zset"), "ARGV": ("bytes", "integer", "ms", "text")}
COMMANDS = {
    command: kind
    for kind, commands in {
        "hash": "HDEL HEXISTS HGET HGETALL HINCRBY HKEYS HLEN HMGET HRANDFIELD HSCAN HSET HSETNX HVALS",
        "list": "LINDEX LLEN LPOP LPUSH LRANGE LREM LTRIM RPOP RPUSH",
        "zset": "ZADD ZCARD ZCOUNT ZINCRBY ZLEXCOUNT ZMSCORE ZPOPMIN ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREM "
        "ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYSCORE ZSCAN ZSCORE",
        "any": "EXISTS",
        "none": "PUBLISH TIME",
    }.items()
    for command in commands.split()
}
"""What a script may say, all of it known to Redis 6.2, and the type of its key ("any": several keys, of any type)."""
COUNTS = {"HRANDFIELD": 2, "HSCAN": 3, "ZRANGE": 2, "ZREVRANGE": 2, "ZRANGEBYLEX": 4, "ZRANGEBYSCORE": 4}
"""From which word on the numbers of a command are places and counts: too small to be written with an exponent."""
FUNCTIONS = ("call", "error_reply", "pcall")

_TOKEN = re.compile(r"--[^\n]*|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\.\.\.?|[A-Za-z_$]\w*|\d[\w.]*|[<>=~]=|\S")
_SLOT = re.compile(r"-- (KEYS|ARGV)\.(\w+)\s+(\w+)\s+\S")
_TEXT = ("text", "format")
"""The functions that write a number in full."""


class Source:
    """One file as read: what its header declares, and its body as tokens without comments."""

    def __init__(self, text: str) -> None:
        lines = text.splitlines()
        self.header = list(takewhile(lambda line: line.startswith("--"), lines))
        self.body = "\n".join(lines[len(self.header) :])
        self.tokens = [token for token in _TOKEN.findall(self.body) if not token.startswith("--")]
        found = [slot for line in self.header if (slot := _SLOT.match(line))]
        self.slots = {f"{slot[1]}.{slot[2]}": slot[3] if slot[3] in TYPES[slot[1]] else "any" for slot in found}
        self.uses = [name for line in self.header if line.startswith("-- uses: ") for name in line.split()[2:]]
        later = [line.strip() for line in lines if line.strip().startswith("-- here: ")]
        self.here = [name for line in later for name in line.split()[2:]]

    def used_slots(self) -> set[str]:
        """The KEYS and ARGV that the body names."""
        rest = {"ARGV.rest"} if "$REST" in self.tokens else set()
        return rest | {f"{at}.{name}" for at, dot, name in _runs(self.tokens) if at in TYPES and dot == "."}

    def words(self) -> set[str]:
        """The variables that the body mentions: no fields of a table."""
        return {
            word
            for before, word, after in _runs(self.tokens)
            if re.match(r"[A-Za-z_]", word) and before != "." and not (before in ("{", ",") and after == "=")
        }

    def declared(self) -> set[str]:
        """The variables that belong to the body, wherever in it."""
        patterns = (
            r"\blocal (?!function\b)([\w, ]+)",
            r"\bfunction (\w+)",
            r"\bfunction ?\w*\(([\w, ]*)",
            r"\bfor ([\w, ]+)",
        )
        return {name for one in patterns for names in re.findall(one, self.body) for name in re.findall(r"\w+", names)}

    def exports(self) -> set[str]:
        """The functions and variables that whoever uses this piece can mention."""
        names = re.findall(r"^local (?:function )?([\w, ]+)", self.body, re.MULTILINE)
        return {name for some in names for name in re.findall(r"\w+", some)}

    def acts(self) -> bool:
        """Whether it asks the store or may end the script by standing there: it is a step, and used for that."""
        inside: list[str] = []
        for token in self.tokens:
            if token in ("do", "function", "if", "repeat"):
                inside.append(token)
            elif token in ("end", "until"):
                inside.pop()
            elif token in ("redis", "return") and "function" not in inside:
                return True
        return False

    def calls(self) -> Iterator[tuple[str, list[list[str]]]]:
        """Every `redis.<function>`, and its arguments as tokens; none where it is not called."""
        for place, token in enumerate(self.tokens):
            if token == "redis" and self.tokens[place + 1 : place + 2] == ["."]:
                yield self.tokens[place + 2], _arguments(self.tokens[place + 3 :])


def _runs(tokens: list[str]) -> Iterator[tuple[str, str, str]]:
    """Every token with the one before and the one after it, and what is at the ends."""
    return zip(["", "", *tokens], ["", *tokens, ""], [*tokens, "", ""], strict=True)


def _arguments(tokens: list[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token in ("(", "[", "{")) - (token in (")", "]", "}"))
        if depth == 0:
            break
        if token == "," and depth == 1:
            found.append([])
        else:
            found[-1].append(token)
    return [found[0][1:], *found[1:]] if found[0] else []


def script_faults(name: str, files: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with one file: its header, what it takes of pieces, its names of keys and arguments, its calls."""
    if files[name].startswith("#!"):
        yield "a first line with #! is for Redis 7 and newer: take it out"
        return
    source = Source(files[name])
    pieces = {piece: Source(files[piece]) for piece in files if piece.startswith("pieces/")}
    reached = _reached(source, pieces)
    yield from _header_faults(name, source)
    yield from _use_faults(name, source, pieces, reached)
    yield from _slot_faults(source, reached)
    types = {slot: kind for one in (source, *reached.values()) for slot, kind in one.slots.items()}
    for function, arguments in source.calls():
        yield from _call_faults(function, arguments, types)
    for before, token, after in _runs(source.tokens):
        if token == ".." and ("now" in (before, after) or after in ("math", "tonumber")):
            yield f"`{before} .. {after}` writes a number as Lua likes: use text()"


def _reached(source: Source, pieces: Mapping[str, Source]) -> dict[str, Source]:
    """The pieces that a file uses, and those that they use."""
    found: dict[str, Source] = {}
    waiting = [f"pieces/{name}" for name in source.uses + source.here]
    while waiting:
        name = waiting.pop()
        if name in pieces and name not in found:
            found[name] = pieces[name]
            waiting += [f"pieces/{other}" for other in pieces[name].uses]
    return found


def _header_faults(name: str, source: Source) -> Iterator[str]:
    short = name.rpartition("/")[2]
    if not source.header or not re.fullmatch(rf"-- {re.escape(short)}: \S.*", source.header[0]):
        yield f"the first line must be `-- {short}: <one sentence>`"
    for word in ("returns", "keeps") if "/" not in name else ():
        if not any(re.match(rf"-- {word}: \S", line) for line in source.header):
            yield f"the header has no line `-- {word}: ...`"
    seen: set[str] = set()
    for line in source.header:
        begins = re.match(r"-- (KEYS|ARGV)\.(\w+)", line)
        if begins is None:
            continue
        if (slot := _SLOT.match(line)) is None or slot[3] not in TYPES[begins[1]]:
            kinds = ", ".join(TYPES[begins[1]])
            yield f"{begins[1]}.{begins[2]}: write `-- {begins[1]}.{begins[2]}  type  meaning`, type one of {kinds}"
        if begins[0] in seen:
            yield f"the header names {begins[1]}.{begins[2]} twice"
        seen.add(begins[0])


def _use_faults(
    name: str, source: Source, pieces: Mapping[str, Source], reached: Mapping[str, Source]
) -> Iterator[str]:
    words = source.words()
    for use in source.uses + source.here:
        piece = pieces.get(f"pieces/{use}")
        if piece is None:
            yield f"uses: there is no piece {use}"
        elif not (piece.exports() & words or piece.acts()):
            yield f"uses: nothing of {use} is mentioned: take it out"
    foreign = words.difference(source.declared(), *[piece.exports() for piece in reached.values()])
    for piece_name, piece in pieces.items():
        if piece_name not in (name, *reached):
            for word in sorted(foreign & piece.exports()):
                yield f"{word} is in {piece_name}: add that to `uses:`"


def _slot_faults(source: Source, reached: Mapping[str, Source]) -> Iterator[str]:
    used = source.used_slots()
    known = {slot for piece in reached.values() for slot in piece.slots} | set(source.slots)
    for slot in sorted(used - known):
        yield f"the body uses {slot}: add a line `-- {slot}  type  meaning` to the header"
    for slot in sorted(set(source.slots) - used - {slot for piece in reached.values() for slot in piece.used_slots()}):
        yield f"the header names {slot}, nothing uses it: take the line out"
    for piece_name, piece in reached.items():
        for slot, kind in source.slots.items():
            if piece.slots.get(slot, kind) != kind:
                yield f"{slot} is {kind} here and {piece.slots[slot]} in {piece_name}"
    for _, token, after in _runs(source.tokens):
        if token == "KEYS" and after != ".":
            yield "KEYS without a name: write KEYS.<name>"


def _call_faults(function: str, arguments: list[list[str]], types: Mapping[str, str]) -> Iterator[str]:
    if function not in FUNCTIONS:
        yield f"redis.{function}: a script uses redis.{', redis.'.join(FUNCTIONS)} only"
    if function not in ("call", "pcall"):
        return
    said = arguments[0] if arguments else []
    if len(said) != 1 or said[0][0] not in "'\"":
        yield f"redis.{function}({' '.join(said)}...): write the command as a text, where it is called"
        return
    command, words = said[0][1:-1], arguments[1:]
    if command not in COMMANDS:
        yield f"{command} is not in the list of commands that Redis 6.2 knows and scripts here may use"
        return
    kind = COMMANDS[command]
    for word in words if kind == "any" else words[: kind != "none"]:
        if len(word) != 3 or word[:2] != ["KEYS", "."]:
            yield f"{command}: its key is `{' '.join(word)}`: write KEYS.<name> itself"
        elif kind != "any" and types.get("".join(word), kind) not in (kind, "any"):
            yield f"{command} is for a {kind}, and {''.join(word)} is declared as a {types[''.join(word)]}"
    for word in words[: COUNTS.get(command, len(words) + 1) - 1]:
        if _is_loose(word):
            yield f"{command}: `{' '.join(word)}` is a number: write it with text()"


def _is_loose(word: list[str]) -> bool:
    """Whether a word of a command is worked out as a number, and not written in full."""
    depth, hidden = 0, 0
    for before, token, after in _runs(word):
        if not hidden and (token == "[" or (token == "(" and before in _TEXT)):
            hidden = depth + 1
        depth += (token in ("(", "[", "{")) - (token in (")", "]", "}"))
        if hidden and depth < hidden:
            hidden = 0
        if hidden or (token == "-" and before in ("", ",", "(") and after.isdigit()):
            continue
        if token in ("+", "-", "*", "/", "%", "^", "math", "now", "tonumber"):
            return True
    return False


def unused_pieces(files: Mapping[str, str]) -> Iterator[str]:
    """Pieces that no file names."""
    used = {f"pieces/{name}" for text in files.values() for name in Source(text).uses + Source(text).here}
    for name in files:
        if name.startswith("pieces/") and name not in used:
            yield f"{name}: nobody uses it: take it out"
