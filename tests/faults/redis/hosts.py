"""Hosts with cables between them: network namespaces of the kernel, one for each, and the server's host is this one.

Needs root, `ip` and `nft`. All that is made is taken away again; what a killed test left behind goes at the next start.
"""

import contextlib
import functools
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
from tests.faults.processes import ROOT, Fleet, Process
from tests.servers import HOST, Server

_PREFIX = "sfhost"
_NET = "10.213"
CONTROL = "LOUD: hosts in network namespaces need root, ip and nft"


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Host:
    """One more host: a namespace at the end of a cable. `address` is that of the server's host, as seen from here."""

    def __init__(self, number: int) -> None:
        self.name = f"{_PREFIX}-{os.getpid()}-{number}"
        self._cable = f"sf{os.getpid() % 10**7}-{number}"
        low = number * 4
        self.net = f"{_NET}.{_third()}.{low}/30"
        self.address = f"{_NET}.{_third()}.{low + 1}"
        self._own = f"{_NET}.{_third()}.{low + 2}"
        with contextlib.ExitStack() as failing:
            failing.callback(self.close)
            _run("ip", "netns", "add", self.name)
            _run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            _run("ip", "address", "add", f"{self.address}/30", "dev", self._cable)
            _run("ip", "link", "set", self._cable, "up")
            # Nothing that is meant for this host may leave by another way while its cable is out.
            _run("ip", "route", "add", "blackhole", self.net, "metric", "9999")
            self._here("ip", "address", "add", f"{self._own}/30", "dev", "eth0")
            self._here("ip", "link", "set", "eth0", "up")
            self._here("ip", "link", "set", "lo", "up")
            for hook in ("input", "output"):
                self._nft("add table inet faults")
                self._nft(f"add chain inet faults {hook} {{ type filter hook {hook} priority 0; }}")
            failing.pop_all()

    def words(self, *command: str) -> list[str]:
        """A command that runs on this host; the process that is started becomes it."""
        return ["ip", "netns", "exec", self.name, *command]

    def _here(self, *command: str) -> None:
        _run(*self.words(*command))

    def _nft(self, line: str) -> None:
        self._here("nft", *line.split())

    # --- faults: nobody is told, no connection is reset ---

    def lose(self, *hooks: str) -> None:
        """Drop all that comes in (`input`), or goes out (`output`)."""
        for hook in hooks:
            self._nft(f"add rule inet faults {hook} drop")

    def unplug(self) -> None:
        """The cable is out."""
        _run("ip", "link", "set", self._cable, "down")

    def mend(self) -> None:
        """All is well again."""
        self._nft("flush table inet faults")
        _run("ip", "link", "set", self._cable, "up")

    def close(self) -> None:
        """Take it away; harmless if it is gone."""
        for words in (
            ("ip", "netns", "delete", self.name), ("ip", "link", "delete", self._cable),
            ("ip", "route", "delete", "blackhole", self.net, "metric", "9999"),
        ):  # fmt: skip
            with contextlib.suppress(OSError):
                _run(*words)


def _third() -> int:
    """A part of the addresses that two runs of the tests at a time do not share."""
    return os.getpid() % 250


@functools.cache
def why_no_hosts() -> str | None:
    """Why there can be none here, or None."""
    if sys.platform != "linux" or os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("nft")):
        return CONTROL
    _sweep()
    try:
        Host(60).close()
    except OSError as met:
        return f"{CONTROL}, and here: {met}"
    return None


def _sweep() -> None:
    """Take away what processes that are gone have left."""
    for line in _run("ip", "netns", "list").splitlines():
        name = line.split()[0]
        head, _, rest = name.partition("-")
        pid, _, number = rest.partition("-")
        if head == _PREFIX and pid.isdigit() and not psutil.pid_exists(int(pid)):
            with contextlib.suppress(OSError):
                _run("ip", "netns", "delete", name)  # its cable goes with it
            with contextlib.suppress(OSError):
                _run(
                    "ip",
                    "route",
                    "delete",
                    "blackhole",
                    f"{_NET}.{int(pid) % 250}.{int(number) * 4}/30",
                    "metric",
                    "9999",
                )


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    first = random.SystemRandom().randrange(0, 50, 2)
    with contextlib.ExitStack() as open_:
        hosts = []
        for number in (first, first + 1):
            hosts.append(Host(number))
            open_.callback(hosts[-1].close)
        yield hosts[0], hosts[1]


def serves(*hosts: Host) -> dict[str, str]:
    """Settings of a server that these hosts can reach, and this one."""
    return {"bind": " ".join([HOST, *[host.address for host in hosts]]), "protected-mode": "no"}


class Country(Fleet):
    """Processes on several hosts that share one store."""

    def __init__(self, folder: Path, server: Server) -> None:
        super().__init__(folder, server.url, server)
        self._port = server.port

    def on(self, host: Host, module: str, *options: str, query: str = "") -> Process:
        """A process of the tests' own on this host; its output goes to a file beside the store."""
        url = f"redis://{host.address}:{self._port}/0{query}"
        environment = {**os.environ, "FAULTS_URL": url, "FAULTS_LEDGER": str(self.ledger.path)}
        with (self.folder / f"process-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                host.words(sys.executable, "-m", module, *options), cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def worker(self, host: Host, *options: str) -> Process:
        """One more worker, on this host; returns when it serves."""
        process = self.on(host, "tests.faults.app", *options)
        self.ready(process)
        return process
