"""One real server in a folder of its own: start, kill, freeze, restart. Knows nothing of surefoot."""

import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil
from tests.servers.conversation import HOST, PATIENCE_S, Conversation, Refusal, Word
from tests.servers.guard import Guard
from tests.servers.kinds import program

PORTS = range(10_000, 22_000)
"""Below the ports that systems give to outgoing connections, also with the 10,000 that a cluster adds for its bus: a
client that keeps trying a dead server's port must not be connected to itself, nor anybody take it before a restart.
"""
SLOTS = 16_384
ATTEMPTS = 20

DEFAULTS = {"bind": HOST, "daemonize": "no", "save": '""', "appendonly": "no"}


S = TypeVar("S", bound="Server")


class NotUp(Exception):
    """A server that did not come up; the text holds its log."""


class PortTaken(NotUp):
    """Somebody else was faster."""


class Server:
    """One server and its folder, through kills, freezes and restarts. Keeps nothing on disk unless options say so.

    Made by `start`. Ends with the process that started it, even if that is killed.
    """

    _words: tuple[str, ...] = ()

    def __init__(self, folder: Path, kind: str, options: Mapping[str, str], port: int, *, unix: bool) -> None:
        self.folder = folder
        self.kind = kind
        self.port = port
        self.version = ""
        # Beside its other files its path could be longer than a socket may have.
        self.socket = Path(tempfile.gettempdir()) / f"surefoot-{port}.sock" if unix else None
        self.password = options.get("requirepass")
        self._serves_slots = False
        self._program = program(kind)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self._log_start = 0
        folder.mkdir(parents=True, exist_ok=True)
        settings = DEFAULTS | {"port": str(port), "dir": f'"{folder}"'} | dict(options)
        if self.socket is not None:
            settings["unixsocket"] = str(self.socket)
        self._settings.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0" if self.socket is None else f"unix://{self.socket}?db=0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it said since it was last started."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    @property
    def _settings(self) -> Path:
        return self.folder / "server.conf"

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    # --- talking ---

    def conversation(self, *, seconds: float = PATIENCE_S) -> Conversation:
        """A connection for more than one command."""
        return Conversation(self.port, self.password, seconds=seconds)

    def say(self, *command: Word) -> Any:
        """One command on a connection of its own."""
        with self.conversation() as conversation:
            return conversation.say(*command)

    def info(self) -> dict[str, str]:
        """What INFO says."""
        lines = self.say("INFO").decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))

    # --- life ---

    def again(self) -> None:
        """Start it with the same folder, port and options; return when it answers and has loaded what it kept."""
        assert not self.running, "it runs already"
        self.kill()
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [self._program, self._settings, *self._words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt at the keyboard is for the tests alone
            )
        self._guard = Guard(self.pid)
        try:
            self._until("it serves", self._serves)
            if self._serves_slots:
                self._until("the cluster is whole", self._is_whole)
        except BaseException:
            self.kill()
            raise

    def _serves(self) -> bool:
        try:
            facts = self.info()
        except (OSError, Refusal):
            return False
        if facts["process_id"] != str(self.pid):  # another server has our port, and ours is about to say so
            return False
        self.version = facts.get("valkey_version") or facts["redis_version"]
        return facts.get("loading", "0") == "0"  # a sentinel has nothing to load

    def _until(self, what: str, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            if not self.running or time.monotonic() > end:
                taken = "Address already in use" in self.log
                raise (PortTaken if taken else NotUp)(f"{self.kind}: never happened: {what}. Its log:\n{self.log}")
            time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL: nothing is saved, nobody is told. Harmless if it has ended."""
        if self._process is not None:
            self._process.kill()
            self._ended(self._process)

    def stop(self) -> None:
        """SIGTERM, and wait for its orderly end."""
        assert self._process is not None, "the server is not running"
        self.thaw()
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        finally:
            self.kill()

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        if self._guard is not None:
            self._guard.release()
        self._guard = self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay, nothing is answered. Returns when it stands."""
        os.kill(self.pid, signal.SIGSTOP)
        self._until("it stands", lambda: psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    # --- replicas ---

    def follow(self, primary: "Server") -> None:
        """Become a replica; return when all that the primary has is here."""
        primary.say("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        self.say("REPLICAOF", HOST, primary.port)
        self._until("it follows", lambda: self.info().get("master_link_status") == "up")

    def lose_primary(self) -> None:
        """Stay a replica, of a primary that is not there."""
        self.say("REPLICAOF", HOST, 1)

    def lead(self) -> None:
        """Become a primary with what is here."""
        self.say("REPLICAOF", "NO", "ONE")

    def take_all_slots(self) -> None:
        """Become a whole cluster of one node. One by one: ranges came after Redis 6.2."""
        self.say("CLUSTER", "ADDSLOTS", *range(SLOTS))
        self._serves_slots = True
        self._until("the cluster is whole", self._is_whole)

    def _is_whole(self) -> bool:
        return b"cluster_state:ok" in self.say("CLUSTER", "INFO")

    def close(self) -> None:
        """End it and leave nothing outside its folder."""
        self.kill()
        if self.socket is not None:
            self.socket.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def start(
    folder: Path,
    kind: str = "valkey-9",
    *,
    options: Mapping[str, str] | None = None,
    port: int | None = None,
    unix: bool = False,
) -> Server:
    """A running server on a free port, or on `port`. `options` are lines of its configuration by name.

    `unix`: `url` names a socket instead of the port. Raises Missing if there is no server of this kind here.
    """
    return started(Server, folder, kind, options or {}, port=port, unix=unix)


def started(
    make: type[S], folder: Path, kind: str, options: Mapping[str, str], *, port: int | None = None, unix: bool = False
) -> S:
    """A running server of this class."""
    ports = (port,) if port is not None else random.SystemRandom().sample(PORTS, ATTEMPTS)
    for chosen in ports:
        server = make(folder, kind, options, chosen, unix=unix)
        try:
            server.again()
        except PortTaken:
            if chosen == ports[-1]:
                raise
        else:
            return server
    raise AssertionError("unreachable")


def one_node_cluster(folder: Path, kind: str = "valkey-9", *, options: Mapping[str, str] | None = None) -> Server:
    """A running cluster whose only node holds every slot."""
    server = start(folder, kind, options={"cluster-enabled": "yes", "cluster-announce-ip": HOST, **(options or {})})
    try:
        server.take_all_slots()
    except BaseException:
        server.close()
        raise
    return server
