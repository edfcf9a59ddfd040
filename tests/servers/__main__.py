"""`python -m tests.servers [COMMAND...]`: a server for as long as a command runs, or without one until a signal.

`{url}` in the command stands for the server's URL. The command begins in a folder that is empty and removed at its end.
Signals are passed on to it, and its exit code is ours.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

from tests.servers.kinds import KINDS, Missing
from tests.servers.server import NotUp, Server, start

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Errand:
    """One command beside a server. It has a session of its own, so that each signal reaches it once: through us."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._came = threading.Event()
        self._number = 0

    def hear(self, number: int, _: FrameType | None) -> None:
        """A signal came to us."""
        self._number = number
        self._came.set()
        if self._process is not None:
            self._process.send_signal(number)

    def run(self, server: Server, folder: Path) -> int:
        """Run it to its end."""
        if not self._came.is_set():  # a signal may have come while the server came up
            words = [word.replace("{url}", server.url) for word in self._command]
            self._process = subprocess.Popen(words, cwd=folder, start_new_session=True)
            if self._came.is_set():  # before there was a process; if it was after that, a second time does no harm
                self._process.send_signal(self._number)
            code = self._process.wait()
            return code if code >= 0 else 128 - code
        return 128 + self._number

    def wait(self) -> int:
        """There is no command: stay until a signal."""
        self._came.wait()
        return 128 + self._number


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0])
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="a line of its configuration")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    asked = parser.parse_args()
    options = dict(line.split("=", 1) for line in asked.set)
    errand = Errand(asked.command)
    for number in SIGNALS:
        signal.signal(number, errand.hear)
    try:
        with tempfile.TemporaryDirectory(prefix="surefoot-server-") as place:
            folder = Path(place) / "empty"
            folder.mkdir()
            with start(Path(place) / "server", asked.kind, options=options) as server:
                settings = "".join(f", {name} {value}" for name, value in options.items())
                print(f"A private {asked.kind} ({server.version}{settings}) serves {server.url}.", file=sys.stderr)
                return errand.run(server, folder) if asked.command else errand.wait()
    except (Missing, NotUp, OSError) as fault:
        print(f"{parser.prog}: {fault}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
