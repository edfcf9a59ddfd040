"""A guard over one process of ours: it must not outlive us. Never over processes that somebody else started."""

import os
import subprocess


class Guard:
    """Kills a process as soon as this one has ended, however it ended.

    A shell reads a pipe whose other end only we hold; that needs no thread, nothing of Linux alone, and nothing between
    fork and exec. A forked child that does not exec holds the pipe too: the process then lives as long as both.
    """

    def __init__(self, pid: int) -> None:
        read_end, self._write_end = os.pipe()
        script = 'read -r word || kill -9 "$1"'
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", script, "guard", str(pid)],
            stdin=read_end,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read_end)

    def release(self) -> None:
        """The process has ended: its number may soon be another's."""
        os.write(self._write_end, b"\n")
        os.close(self._write_end)
        self._shell.wait()
