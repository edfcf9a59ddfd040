"""Runs the blocks of a page of docs/ as its reader would: files are written, Python is executed, commands are typed,
and what the page shows is compared with what came. What varies (ids, times, process numbers) is compared by its shape.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Final

from sybil import Document, Example, Lexeme, Region, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer
from tests.doors.cli_shop import clean_environment

DOCS: Final = Path(__file__).parent.parent.parent / "docs"
SERVER: Final = "redis://localhost:6379/0"
"""What the pages write where a test has a server of its own."""

PATIENCE_S: Final = 60
_LANGUAGE: Final = "language"

_VARIES: Final = {
    "id": (r"[0-9a-f]{28}", r"[0-9a-f]{28}"),
    "file": (r"sqlite:////\S+", r"sqlite:////\S+"),
    "worker": (r"[\w.-]+:\d+ \([a-z2-7]{16}\)", r"[\w.-]+:\d+ \([a-z2-7]{16}\)"),
    "caller": (r"\b[a-z2-7]{16}\b", r"[a-z2-7]{16}"),
    "moment": (
        r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?",
        r"\d{4}-\d\d-\d\d[ T][\d:.+Z-]+",
    ),
    "clock": (r"\d\d:\d\d(?::\d\d)?", r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d(?::\d\d)?"),
    "day": (r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b", r"\w+"),
    "span": (r"\b\d+(?:\.\d+)? (?:ms|s|min|h|d)\b", r"\d+(?:\.\d+)? (?:ms|s|min|h|d)"),
    "field": (r"(?<==)\d+\.\d+", r"[\d.e-]+"),
    "seconds": (r"\bin \d+\.\d+s\b", r"in \d+\.\d+s"),
    "rule": (r"-{3,}", r"-{3,}"),
    "gap": (r"\s+", r"\s+"),
    "any": (r"\.\.\.", r".*"),
}
"""What varies: how a page writes it, and what may stand there in truth. The first that fits is taken."""

_SHAPES: Final = re.compile("|".join(f"(?P<{name}>{shown})" for name, (shown, _) in _VARIES.items()))


class Page:
    """One page on its way: its folder, its Python names, what it has learnt of ids, the workers that it started."""

    def __init__(
        self, path: Path, folder: Path, server_url: Callable[[], str], left_out: Callable[[str, str], bool]
    ) -> None:
        self.path = path
        self._folder = folder
        self._server_url = server_url
        self._left_out = left_out
        self._environment = clean_environment() | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "HOME": str(folder),
        }  # fmt: skip
        for name in [name for name in self._environment if name.startswith("PYTEST")]:
            del self._environment[name]
        self._ids: dict[str, str] = {}
        self._printed: str | None = None
        self._workers: list[Background] = []
        self._document: Document = Sybil([self._fences]).parse(path)

    def run(self) -> int:
        """Every block in turn; how many ran."""
        count = 0
        try:
            for example in self._document.examples():
                example.evaluate()
                count += 1
            for worker in self._workers:
                worker.leave(signal.SIGTERM)
        finally:
            for worker in self._workers:
                worker.kill()
        return count

    # --- one block ---

    def _fences(self, document: Document) -> Iterator[Region]:
        lexer = RawFencedCodeBlockLexer(re.compile(r"(?P<language>[^\n]*)$\n?", re.M))
        for region in lexer(document):
            region.parsed = region.lexemes["source"]
            region.evaluator = self._evaluate
            yield region

    def _evaluate(self, example: Example) -> None:
        language = example.region.lexemes[_LANGUAGE]
        source = str(example.parsed)
        if language.startswith("{") or self._left_out(language, source):
            return
        printed, self._printed = self._printed, None
        named = re.match(r"# ([\w./-]+\.\w+)\n", source)
        if named:
            self._write(named[1], source)
        elif language == "python":
            self._python(example, source)
        elif language == "console":
            self._console(source)
        elif language == "text" and printed is not None:
            self._compare(source.splitlines(), printed.splitlines(), "the block before it")
        elif language == "text" and self._workers and not self._workers[-1].over:
            self._await(self._workers[-1], source.splitlines())
        else:
            raise AssertionError(
                f"{self.path.name}:{example.line}: nothing runs this block of {language or 'no language'}; "
                "write it so that it runs, or say in NOT_RUN why not"
            )

    def _write(self, name: str, source: str) -> None:
        """A file of the reader's; a module is imported, as whatever comes next will do."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._ours(source))
        if path.suffix == ".py" and not path.name.startswith("test_"):
            module = name.removesuffix(".py").replace("/", ".")
            sys.modules.pop(module, None)
            importlib.invalidate_caches()
            importlib.import_module(module)

    def _python(self, example: Example, source: str) -> None:
        example.parsed = Lexeme(self._ours(source), 0, example.parsed.line_offset)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            PythonEvaluator()(example)
        self._printed = out.getvalue()

    # --- commands ---

    def _console(self, source: str) -> None:
        commands = [part for part in re.split(r"^\$ ", source.replace("\\\n", " "), flags=re.M) if part]
        code = 0
        if commands[0].strip() == "^C":  # in the terminal of the worker
            del commands[0]
            self._workers[-1].leave(signal.SIGINT)
        for number, (line, *shown) in enumerate(part.splitlines() for part in commands):
            if line == "echo $?":
                assert shown == [str(code)], f"{commands[number - 1]!r} left with {code}, the page says {shown}"
                continue
            asked = number + 1 < len(commands) and commands[number + 1].startswith("echo $?")
            code = self._type(line, shown)
            assert asked or code == 0, f"{line!r} left with {code}"

    def _type(self, line: str, shown: list[str]) -> int:
        """Type one command, compare what it shows; its exit code. A worker stays in the background until ^C."""
        words = self._ours(line).split()
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self._environment[name] = value
            os.environ[name] = value
            return 0
        if words[:2] == ["surefoot", "worker"] and not {"--burst", "--check", "--help"} & set(words):
            stopped = shown[-1:] == ["^C"]
            worker = Background(self._ours(line), self._folder, self._environment)
            self._workers.append(worker)
            self._await(worker, shown[:-1] if stopped else shown)
            return worker.leave(signal.SIGINT) if stopped else 0
        done = subprocess.run(
            ["bash", "-c", self._ours(line)], cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        self._compare(shown, done.stdout.splitlines(), f"$ {line}")
        return done.returncode

    # --- comparing ---

    def _compare(self, shown: list[str], came: list[str], what: str) -> None:
        """Line by line; a line of three dots is any number of lines, and nothing shown is anything."""
        wanted = _trimmed(shown)
        if not wanted:
            return
        pattern = "\n".join(r"(?:.*\n?)*?" if line.strip() == "..." else _shape(line) for line in wanted)
        pattern = pattern.replace("(?:.*\\n?)*?\n", r"(?:.*\n)*?")
        text = "\n".join(line.rstrip() for line in _trimmed(self._theirs(came)))
        found = re.fullmatch(pattern, text)
        assert found, f"{self.path.name}, {what}: it shows\n{chr(10).join(wanted)}\n--- and this came:\n{text}"
        self._learn("\n".join(wanted), found.groups())

    def _await(self, worker: Background, shown: list[str]) -> None:
        """The lines of a running worker, in their order; others may come between."""
        for line in _trimmed(shown):
            if line.strip() == "...":
                continue
            found = worker.until(partial(self._fits, _shape(line)))
            assert found, f"{self.path.name}: the worker never said\n{line}\n--- only this:\n{worker.told}"
            self._learn(line, found.groups())

    def _fits(self, pattern: str, came: str) -> re.Match[str] | None:
        return re.fullmatch(pattern, self._theirs([came])[0].rstrip())

    def _learn(self, shown: str, real: tuple[str, ...]) -> None:
        ids = re.findall(_VARIES["id"][0], shown)
        for page_id, found in zip(ids, real, strict=True):
            known = self._ids.setdefault(page_id, found)
            assert known == found, f"{self.path.name}: {page_id} is {known} and {found}"

    def _ours(self, text: str) -> str:
        """What a page writes, with the ids and the server of this run."""
        for page_id, real in self._ids.items():
            text = text.replace(page_id, real)
        return text.replace(SERVER, self._server_url()) if SERVER in text else text

    def _theirs(self, lines: list[str]) -> list[str]:
        if SERVER not in self.path.read_text():
            return lines
        return [line.replace(self._server_url(), SERVER) for line in lines]


class Background:
    """A worker in the background, as in a second terminal: what it says is kept, line by line."""

    def __init__(self, line: str, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._lines: list[str] = []
        self._seen = 0
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._lines.append(line.rstrip("\n"))

    @property
    def over(self) -> bool:
        return self._process.poll() is not None

    @property
    def told(self) -> str:
        return "\n".join(self._lines)

    def until(self, fits: Callable[[str], re.Match[str] | None]) -> re.Match[str] | None:
        """The next line that fits; None if none comes."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            while self._seen < len(self._lines):
                self._seen += 1
                found = fits(self._lines[self._seen - 1])
                if found:
                    return found
            if self.over and not self._reader.is_alive():
                return None
            time.sleep(0.01)
        return None

    def leave(self, number: int) -> int:
        """Signal it, and wait for its end; it has to leave well."""
        if not self.over:
            self._process.send_signal(number)
        code = self._process.wait(PATIENCE_S)
        assert code == 0, f"the worker left with {code}:\n{self.told}"
        return code

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(PATIENCE_S)


def _shape(line: str) -> str:
    """A line of a page as a pattern; each id is a group."""
    pattern, end = "", 0
    for found in _SHAPES.finditer(line.rstrip()):
        kind = str(found.lastgroup)
        inner = _VARIES[kind][1]
        pattern += re.escape(line[end : found.start()]) + (f"({inner})" if kind == "id" else inner)
        end = found.end()
    return pattern + re.escape(line.rstrip()[end:])


def _trimmed(lines: list[str]) -> list[str]:
    """Without empty lines at both ends."""
    text = "\n".join(lines).strip("\n")
    return text.split("\n") if text else []
