"""The rules of the house as plain functions: source text in, complaints out.

A complaint is one sentence: the line, what stands there, the way out. Nothing here reads the project; the tests do.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import takewhile

PURE_MODULES = frozenset(
    "__future__ abc base64 bisect collections contextlib copy dataclasses datetime decimal difflib enum fractions "
    "functools hashlib heapq hmac inspect itertools json keyword math msgspec numbers operator re reprlib string "
    "struct sys textwrap types typing unicodedata weakref zoneinfo".split()
)
PURE_NAMES = frozenset({"uuid.UUID"})
WORLD_BUILTINS = frozenset({"breakpoint", "input", "open", "print"})
TIME_READERS = frozenset(
    {"datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"}
)
CHANCE_DRAWERS = frozenset({"os.urandom", "os.getrandom", "uuid.uuid1", "uuid.uuid4"})
CODE_LOADERS = frozenset("_pickle cloudpickle dill joblib jsonpickle marshal pickle shelve yaml".split())
CODE_RUNNERS = frozenset({"eval", "exec", "compile", "__import__"})
NAMES_THAT_SAY_NOTHING = frozenset({"common", "constants", "helpers", "misc", "types", "utils"})
READING_VERBS = frozenset({"Get", "Find", "Stats", "Changes", "Orphans", "Queues"})

MAX_FILE_LINES = 399
MAX_FUNCTION_LINES = 59
MAX_POSITIONAL = 10
MAX_DOCSTRING_LINES = 6


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported anywhere in the file, under TYPE_CHECKING and in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def mentioned(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of every dotted name in the file, followed back through the file's imports."""
    origin: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            origin |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            origin |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and (dotted := _dotted(node)):
            root, _, rest = dotted.partition(".")
            name = origin.get(root, root) + (f".{rest}" if rest else "")
            yield node.lineno, name.removeprefix("builtins.")


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := _dotted(node.value)):
        return f"{base}.{node.attr}"
    return None


def impurities(source: str, *, cron: bool = False) -> Iterator[str]:
    """What core may not touch: clock, chance, files, sockets, threads, higher floors. `cron`: this is core/schedule."""
    tree = ast.parse(source)
    for line, name in imported(tree):
        root = name.partition(".")[0]
        inside = root == "" or name == "surefoot.core" or name.startswith("surefoot.core.")
        if not (inside or root in PURE_MODULES or name in PURE_NAMES or (cron and root == "cronsim")):
            yield f"{line}: core is pure and does not import {name}: let a higher floor do it and pass the value in"
    for line, name in mentioned(tree):
        if name in WORLD_BUILTINS or name in TIME_READERS:
            yield f"{line}: core is pure and does not use {name}: take the value as a parameter"


def time_readings(source: str) -> Iterator[str]:
    """Readings of the time, which only clock.py may make."""
    tree = ast.parse(source)
    for line, name in imported(tree):
        if name.partition(".")[0] == "time":
            yield f"{line}: only clock.py imports time: take a clock from surefoot.clock"
    for line, name in mentioned(tree):
        if name in TIME_READERS:
            yield f"{line}: only clock.py reads the time, not {name}: take a clock from surefoot.clock"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "time" and "loop" in ast.unparse(node.value).lower():
            yield f"{node.lineno}: only clock.py reads the loop's time: take a clock from surefoot.clock"


def chance_draws(source: str) -> Iterator[str]:
    """Draws of chance, which only chance.py may make: a test must be able to repeat all of them."""
    tree = ast.parse(source)
    for line, name in imported(tree):
        if name.partition(".")[0] in ("random", "secrets"):
            yield f"{line}: only chance.py imports {name}: draw from surefoot.chance"
    for line, name in mentioned(tree):
        if name in CHANCE_DRAWERS:
            yield f"{line}: only chance.py draws {name}: draw from surefoot.chance"


def unsafe_loading(source: str) -> Iterator[str]:
    """Ways by which stored bytes could become running code."""
    tree = ast.parse(source)
    for line, name in imported(tree):
        if CODE_LOADERS & set(name.split(".")):
            yield f"{line}: {name} builds objects from bytes: use msgspec and JSON"
    for line, name in mentioned(tree):
        if name in CODE_RUNNERS:
            yield f"{line}: {name} runs text as code: look the name up in a registry"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".recv") and not (node.args or node.keywords):
            yield f"{node.lineno}: a pipe's recv() unpickles: use recv_bytes() and msgspec"


def oversizes(source: str) -> Iterator[str]:
    """Files, functions and parameter lists above the house's sizes. A function's docstring does not count."""
    lines = len(source.splitlines())
    if lines > MAX_FILE_LINES:
        yield f"1: {lines} lines, at most {MAX_FILE_LINES}: find the second duty in it and give that a file"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _function_oversizes(node)


def _function_oversizes(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    prose = node.body[0] if ast.get_docstring(node) is not None else None
    prose_lines = (prose.end_lineno or 0) - prose.lineno + 1 if prose else 0
    length = (node.end_lineno or 0) - node.lineno + 1 - prose_lines
    if length > MAX_FUNCTION_LINES:
        yield f"{node.lineno}: {node.name} has {length} lines, at most {MAX_FUNCTION_LINES}: name its steps"
    positional = [p.arg for p in node.args.posonlyargs + node.args.args if p.arg not in ("self", "cls")]
    if len(positional) > MAX_POSITIONAL:
        yield (
            f"{node.lineno}: {node.name} has {len(positional)} positional parameters, at most {MAX_POSITIONAL}: "
            "make them keyword-only or give them a record"
        )


def docstring_faults(source: str) -> Iterator[str]:
    """A module says in one to six lines what lives in it and what never does. An indented drawing does not count."""
    text = ast.get_docstring(ast.parse(source), clean=False) or ""
    lines = len([line for line in text.splitlines() if line and not line[0].isspace()])
    if not 1 <= lines <= MAX_DOCSTRING_LINES:
        yield (
            f"1: the module docstring has {lines} lines: say in one to {MAX_DOCSTRING_LINES} what lives here and what "
            "never does"
        )


def script_faults(verb: str, text: str) -> Iterator[str]:
    """A SQL script: its header names the verb, every parameter with its type, what is returned, what is kept true."""
    lines = text.splitlines()
    header = list(takewhile(lambda line: line.startswith("--") and not line.startswith("-- name:"), lines))
    body = lines[len(header) :]

    if not header or not re.fullmatch(rf"-- {re.escape(verb)}: \S.*", header[0]):
        yield f"1: the first line must be `-- {verb}: <one sentence>`"
    for word in ("returns", "keeps"):
        if not any(re.match(rf"-- {word}: \S", line) for line in header):
            yield f"1: the header has no line `-- {word}: ...`"

    slots = [match[1] for line in header if (match := re.match(r"-- :(\w+)\s+\S+\s+\S", line))]
    yield from (f"1: the header names :{name} twice" for name in sorted({n for n in slots if slots.count(n) > 1}))
    code = re.sub(r"'(?:[^']|'')*'|--[^\n]*", " ", "\n".join(body))
    used = set(re.findall(r"(?<![:\w]):([A-Za-z_]\w*)", code))
    yield from (
        f"1: the body uses :{name}: add a line `-- :{name}  type  meaning` to the header"
        for name in sorted(used - set(slots))
    )
    yield from (
        f"1: the header names :{name}, no statement uses it: take the line out" for name in sorted(set(slots) - used)
    )
    if "?" in code:
        yield "1: a parameter without a name (?): name it"

    statements = [match[1] for line in body if (match := re.fullmatch(r"-- name: (\w+)", line))]
    yield from (f"1: two statements are named {n}" for n in sorted({n for n in statements if statements.count(n) > 1}))
    before_first = list(takewhile(lambda line: not line.startswith("-- name:"), body))
    if not statements or any(line.strip() for line in before_first):
        yield "1: every statement stands under a line `-- name: <statement>`"


def verbs(broker_source: str) -> frozenset[str]:
    """The names of the verb classes: direct subclasses of Verb."""
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(broker_source))
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if _dotted(base.value if isinstance(base, ast.Subscript) else base) == "Verb"
    )


def missing_scripts(broker_source: str, scripts: set[str]) -> Iterator[str]:
    """Every verb that writes has a script of its name."""
    for verb in sorted(verbs(broker_source) - READING_VERBS):
        if verb.lower() not in scripts:
            yield f"the verb {verb} has no script {verb.lower()}"
