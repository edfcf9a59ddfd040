"""A worker on a disk that fills up and gets room again, with jobs in its hands. The disk is in a namespace of its own.

unshare -rm python -m tests.faults.small_disk FOLDER
"""

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.faults.processes import Fleet, eventually

from surefoot import StoreError

_SIZE: Final = "2m"
_STEPS: Final = (1 << 20, 1 << 16, 1 << 12, 512)


def fill(file: Path) -> None:
    """Leave no room on the disk that this file is on."""
    with file.open("wb", buffering=0) as ballast:
        for size in _STEPS:
            with contextlib.suppress(OSError):
                while ballast.write(b"x" * size) == size:
                    pass


def refusal(fleet: Fleet) -> str:
    """What a producer is told; the log may have room for a few jobs yet."""
    while True:
        try:
            fleet.enqueue("work", seconds=0)
        except StoreError as full:
            return str(full)


def story(fleet: Fleet, disk: Path) -> None:
    """Fill it while five jobs run; they end, and nothing of it can be written until there is room."""
    worker = fleet.start()
    fleet.ready(worker)
    held = fleet.enqueue("large", 5, seconds=1.5, size=100_000)
    fleet.told("started", 5)
    fill(disk / "ballast")
    told = refusal(fleet)
    assert told.startswith(f"the disk under {disk}/jobs.db is full; nothing was stored. Make room on it"), told
    fleet.told("ended", 5)
    eventually("it keeps what finished, and tries again", lambda: "kept and settled later" in fleet.logs())
    assert refusal(fleet) == told
    (disk / "ballast").unlink()
    fleet.enqueue("work", 3, seconds=0)
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.doubled == {}, f"{verdict}"
    assert {fleet.record(id).state for id in held} == {"completed"}
    fleet.stop(worker)
    connection = sqlite3.connect(disk / "jobs.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def main(folder: Path) -> None:
    """Mount the disk and tell the story on it."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(disk)], check=True)
    fleet = Fleet(folder, f"sqlite:///{disk}/jobs.db")
    try:
        story(fleet, disk)
    finally:
        fleet.close()
        print(fleet.logs())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
