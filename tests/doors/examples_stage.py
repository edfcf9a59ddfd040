"""A folder with the examples in it, and what a user has around it: a shell, a mail server, an HTTP client.

Programs are started as their first lines say, in a copy of the folder, and stopped by their own process id.
"""

from __future__ import annotations

import ast
import asyncio
import io
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import tokenize
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import psutil
from aiosmtpd.smtp import SMTP, Envelope, Session
from tests.doors.cli_shop import clean_environment
from tests.faults.processes import eventually

from surefoot import Queue

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
PROGRAMS = sorted(EXAMPLES.rglob("*.py"))
BIN = Path(sys.executable).parent
STORE = {"jobs.db", "jobs.db.lock"}


class Program:
    """One running command; its output goes to files beside the folder."""

    def __init__(self, command: str, folder: Path, log: Path, **environment: str) -> None:
        self.command = command
        self._out, self._err = log.with_suffix(".out"), log.with_suffix(".err")
        words = shlex.split(command)
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [str(BIN / words[0]), *words[1:]], cwd=folder, env=surroundings(folder) | environment,
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip

    @property
    def out(self) -> str:
        """What it printed so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it said on stderr so far."""
        return self._err.read_text()

    def says(self, pattern: str, *, times: int = 1) -> str:
        """Wait until it has said this so often, on either stream; the first group of the last match, or all of it."""

        def found() -> list[re.Match[str]]:
            assert self.process.poll() is None or self._said(pattern), (
                f"it ended with {self.process.returncode}: {self}"
            )
            return self._said(pattern)

        eventually(f"{pattern!r} in {self}", lambda: len(found()) >= times)
        match = found()[-1]
        return str(match[1] if match.groups() else match[0])

    def _said(self, pattern: str) -> list[re.Match[str]]:
        return list(re.finditer(pattern, self.out + self.err, re.M))

    def stop(self, number: signal.Signals) -> int:
        """Send this signal; the exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(60)

    def __str__(self) -> str:
        return f"{self.command}\n{self.out}\n{self.err}"


class Desk:
    """A user's desk: the folder with the examples, its programs, its store."""

    def __init__(self, base: Path) -> None:
        self.folder = base / "examples"
        for program in PROGRAMS:  # not what a run in the folder itself may have left there
            target = self.folder / program.relative_to(EXAMPLES)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(program, target)
        self._logs = base / "logs"
        self._logs.mkdir()
        self.programs: list[Program] = []
        self._queues: list[Queue] = []
        self._before = self._files()

    def start(self, command: str, **environment: str) -> Program:
        """Start a command in the folder."""
        log = self._logs / str(len(self.programs))
        program = Program(command, self.folder, log, **environment)
        self.programs.append(program)
        return program

    def run(self, command: str, **environment: str) -> Program:
        """Run a command to its end, which must be a good one."""
        program = self.start(command, **environment)
        assert program.ended() == 0, str(program)
        return program

    def surefoot(self, *words: str) -> list[dict[str, Any]]:
        """The records that the command line answers with."""
        program = self.run(shlex.join(["surefoot", *words, "--json"]))
        return [json.loads(line) for line in program.out.splitlines()]

    def queue(self, name: str) -> Queue:
        """A queue of the store, seen from outside."""
        queue = Queue(f"sqlite:///{self.folder}/jobs.db", name=name)
        self._queues.append(queue)
        return queue

    def left(self) -> set[str]:
        """The files that were not there at first, once nobody has the store open; without caches of bytecode."""
        self._let_go()
        return self._files() - self._before

    def _files(self) -> set[str]:
        found = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        return {str(path) for path in found if "__pycache__" not in path.parts}

    def _let_go(self) -> None:
        for queue in self._queues:
            queue.close_sync()

    def close(self) -> None:
        """Nothing runs any more: what a test left is killed, and was started by us."""
        self._let_go()
        left = [program for program in self.programs if program.process.poll() is None]
        for program in left:
            for child in psutil.Process(program.process.pid).children(recursive=True):
                child.kill()
            program.process.kill()
            program.process.wait()
        assert not left, f"still there: {[program.command for program in left]}"


def surroundings(home: Path) -> dict[str, str]:
    """The environment of a user who has done nothing yet. Copies of the examples leave no bytecode elsewhere."""
    own = {name: value for name, value in clean_environment().items() if not name.startswith("SMTP_")}
    path = f"{BIN}:{own.get('PATH', '')}"
    return own | {"HOME": str(home.parent / "home"), "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


# --- the world around it ---


class Mailbox:
    """A mail server in a thread: keeps every mail, and can be told to hold its answers back for a while."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.coming = 0
        self.open = threading.Event()
        self.open.set()
        self.port = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Called by the server for each mail."""
        self.coming += 1
        await asyncio.get_running_loop().run_in_executor(None, self.open.wait, 60)
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content, EmailMessage, policy=policy.default))
        return "250 OK"

    @property
    def addresses(self) -> list[str]:
        """Whom the mails are for, sorted."""
        return sorted(str(mail["To"]) for mail in self.mails)


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    """A mail server on a free port."""
    box, loop, listening = Mailbox(), asyncio.new_event_loop(), threading.Event()

    async def serve(over: asyncio.Event) -> None:
        server = await loop.create_server(lambda: SMTP(box, loop=loop, hostname="localhost"), "127.0.0.1", 0)
        async with server:
            box.port = server.sockets[0].getsockname()[1]
            listening.set()
            await over.wait()

    over = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=[serve(over)])
    thread.start()
    try:
        assert listening.wait(60)
        yield box
    finally:
        box.open.set()
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def ask(url: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, dict[str, Any]]:
    """The status and the JSON that an HTTP server answers with; a body makes it a POST."""
    request = urllib.request.Request(url, body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        text = refused.read()
        return refused.code, json.loads(text) if text.startswith(b"{") else {}


def form(field: str, content: bytes) -> tuple[bytes, str]:
    """A file as a browser's form sends it: body and content type."""
    head = f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="it"\r\n\r\n'
    return head.encode() + content + b"\r\n--edge--\r\n", "multipart/form-data; boundary=edge"


# --- the programs as texts ---


def commands() -> dict[str, list[str]]:
    """The commands that the folder's README gives, by example."""
    rows = re.findall(r"^\| \[(\S+)\]\(\S+\) \| .* \| (.*) \|$", (EXAMPLES / "README.md").read_text(), re.M)
    return {name: re.findall(r"`([^`]+)`", cell) for name, cell in rows}


def code_lines(path: Path) -> int:
    """Lines that hold code: no blank ones, no comments, no docstrings."""
    source = path.read_text()
    prose: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if ast.get_docstring(node):
                prose |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    silent = {
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
    }  # fmt: skip
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for token in tokens if token.type not in silent for line in range(token.start[0], token.end[0] + 1)}
    return len(lines - prose)
