"""What can go wrong with the file of a SQLite store, and what its users are told: rows Q1 to Q12 of the fault table."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conformance.sqlite_only.sender import Sender
from tests.conformance.stores import LEASE_MS, QUEUE, new

from surefoot.brokers.answers import PutAnswer
from surefoot.brokers.broker import Call, Claim, NoRoom, Put, Settle
from surefoot.brokers.sqlite import SqliteBroker, faults, gate, store
from surefoot.core.errors import StoreUnavailable, StoreUnsuitable
from surefoot.core.job import NewJob
from surefoot.core.transition import Finish, Transition

CREATED = PutAnswer("created")
PATIENCE = 30


def python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


PUTS = """
import sys
from surefoot.brokers.broker import Call, Put
from surefoot.brokers.sqlite import SqliteBroker
from surefoot.core.job import NewJob
path, name, count = sys.argv[1:]
broker = SqliteBroker(path)
for number in range(1, int(count) + 1):
    (answers,) = broker.run_sync(Call(name, number, "tag1", (Put("shop:mail", (NewJob(f"{name}-{number}", b"{}"),)),)))
    assert answers[0].word == "created"
    print(f"{name}-{number}", flush=True)
"""


# Q1: busy


def test_Q1_several_processes_write_one_file(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    writers = [python(PUTS, path, f"p{n}", 40) for n in range(3)]
    ids = [line for writer in writers for line in writer.communicate(timeout=PATIENCE)[0].split()]
    assert len(ids) == 120
    assert all(Sender(open_store()).known(*ids))


def test_Q1_another_program_in_the_file_is_waited_for_up_to_the_timeout(
    path: Path, open_store: Callable[..., SqliteBroker]
) -> None:
    sender = Sender(open_store(timeout=0.2))
    sender.put(new("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="another program holds the file"):
        sender.put(new("b"))
    other.execute("COMMIT")
    other.close()
    assert sender.put(new("c")) == [CREATED]
    assert sender.known("b", "c") == [False, True]


def test_Q1_a_busy_timeout_that_is_over_is_told(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    sender = Sender(open_store(busy_timeout=0.05))
    sender.put(new("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="is locked by another program; nothing was stored"):
        sender.put(new("b"))
    other.close()


# Q2: full


def test_Q2_a_full_disk_refuses_what_grows_and_serves_what_does_not(
    path: Path, open_store: Callable[..., SqliteBroker]
) -> None:
    sender = Sender(open_store())
    sender.put(new("a"))
    assert sender.broker._writer is not None
    connection = sender.broker._writer.store.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    (refused,) = sender.say(Put(QUEUE, (NewJob("large", b"x" * 100_000),)))
    assert isinstance(refused, NoRoom)
    assert str(refused).startswith(f"the disk under {path} is full; nothing was stored. Make room on it;")
    (claimed,) = sender.say(Claim(QUEUE, 5, LEASE_MS, 0))
    assert [job.id for job in claimed.jobs] == ["a"]
    done = Transition("a", claimed.jobs[0].token, Finish("completed"), "runs")
    assert sender.say(Settle(QUEUE, (done,))) == [["applied"]]
    connection.execute("PRAGMA max_page_count = 1000000").fetchone()
    assert sender.put(NewJob("large", b"x" * 100_000)) == [CREATED]
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


USES_UP_ITS_SHARE = """
import os, resource, sys
from surefoot import OutcomeUnknown, Queue
path = sys.argv[1]
queue = Queue(f"sqlite:///{path}?timeout=0.5")
store = queue.by_name("store")
store.enqueue_sync(text="")
resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat(path + "-wal").st_size + 100_000,) * 2)
try:
    store.enqueue_sync(text="x" * 1_000_000)
except OutcomeUnknown as unknown:
    print(unknown)
"""


def test_Q2_a_write_that_the_system_refuses_is_told_with_its_cause(path: Path) -> None:
    out, err = python(USES_UP_ITS_SHARE, path).communicate(timeout=PATIENCE)
    assert (out, err) == (
        f"cannot write {path} (disk I/O error): its disk fails, is gone, or this user's share of it is used up; it may "
        "or may not have been stored. Enqueue the same draft again: it is stored once.\n",
        "",
    )


def _io_error() -> sqlite3.OperationalError:
    failed = sqlite3.OperationalError("disk I/O error")
    failed.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    return failed


def test_Q2_a_failed_write_names_what_to_look_at(path: Path) -> None:
    told = faults.told(_io_error(), str(path))
    assert isinstance(told, StoreUnavailable)
    assert str(told) == (
        f"cannot write {path} (disk I/O error): its disk fails, is gone, or this user's share of it is used up; "
        "nothing was stored. See `df`, `quota`, `ulimit -f` and the system's log."
    )


@pytest.mark.skipif(sys.platform != "linux", reason="a file system without room that anybody may ask is Linux's /proc")
def test_Q2_a_failed_write_on_a_disk_without_room_says_that_it_is_full() -> None:
    assert str(faults.told(_io_error(), "/proc/jobs.db")).startswith(
        "cannot write /proc/jobs.db (disk I/O error): its disk is full; nothing was stored. Make room on it; workers go"
    )


# Q3: killed


def test_Q3_what_a_killed_process_had_acknowledged_is_there(
    path: Path, open_store: Callable[..., SqliteBroker]
) -> None:
    writer = python(PUTS, path, "p", 1_000_000)
    assert writer.stdout is not None and writer.stderr is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(50)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += [line for line in writer.communicate(timeout=PATIENCE)[0].split("\n")[:-1] if line]
    for place in range(0, len(acknowledged), 500):
        assert all(Sender(open_store(), f"r{place}").known(*acknowledged[place : place + 500]))


# Q5, Q6, Q12: what is looked at when it is opened


def test_a_library_without_returning_is_refused() -> None:
    gate.check_version((3, 35, 0))
    with pytest.raises(StoreUnsuitable, match=r"SQLite 3\.34\.1 is too old: surefoot needs 3\.35\.0 or newer"):
        gate.check_version((3, 34, 1))


@pytest.mark.parametrize(
    ("version", "exposed"),
    [
        ((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False), ((3, 45, 0), True), ((3, 50, 6), True),
        ((3, 50, 7), False), ((3, 51, 2), True), ((3, 51, 3), False), ((3, 53, 0), False),
    ],
)  # fmt: skip
def test_Q5_versions_with_the_wal_reset_bug_are_known(version: tuple[int, int, int], exposed: bool) -> None:
    assert gate.may_lose_wal(version) is exposed


MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/team\\040share rw - nfs4 server:/share rw
31 22 0:41 / /mnt/team\\040share/local rw - xfs /dev/sdb1 rw
"""


def test_Q6_the_file_system_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    kinds = [
        gate.file_system(f"/{path}", str(mounts)) for path in ("srv/a", "mnt/team share/a", "mnt/team share/local/a")
    ]
    assert kinds == ["ext4", "nfs4", "xfs"]
    assert gate.file_system("/srv/a", str(tmp_path / "missing")) is None


def test_Q6_a_network_file_system_is_refused_unless_it_is_allowed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "file_system", lambda _: "fuse.sshfs")
    with pytest.raises(StoreUnsuitable, match=r"network file system \(fuse\.sshfs\).*SUREFOOT_ANY_FILE_SYSTEM=1"):
        gate.check_file(str(path))
    monkeypatch.setenv("SUREFOOT_ANY_FILE_SYSTEM", "1")
    gate.check_file(str(path))


def test_Q12_the_files_are_their_owners_alone(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    Sender(open_store()).put(new("a"))
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(["jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db.lock"], 0o600)


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    broker = SqliteBroker(str(tmp_path / "nowhere" / "jobs.db"))
    with pytest.raises(StoreUnsuitable, match=r"there is no directory .*nowhere"):
        Sender(broker).put(new("a"))


UNPRIVILEGED = """
import os, sys
from surefoot.brokers.broker import Call, Put
from surefoot.brokers.sqlite import SqliteBroker
from surefoot.core.errors import StoreUnsuitable
from surefoot.core.job import NewJob
import surefoot.brokers.sqlite.gate
if os.geteuid() == 0:
    os.setuid(65534)
for path in sys.argv[1:]:
    broker = SqliteBroker(path)
    try:
        print(broker.run_sync(Call("c", 1, "tag1", (Put("shop:mail", (NewJob("a", b"{}"),)),))))
    except StoreUnsuitable as unfit:
        print(unfit)
"""


def test_Q12_rights_that_are_missing_are_told_in_a_sentence() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        closed, open_folder = folder / "closed", folder / "open"
        closed.mkdir(mode=0o555)
        closed.chmod(0o555)
        open_folder.mkdir()
        open_folder.chmod(0o777)
        file = open_folder / "read-only.db"
        SqliteBroker(str(file)).close_sync()
        file.touch()
        file.chmod(0o444)
        child = python(UNPRIVILEGED, closed / "jobs.db", file)
        out, errors = child.communicate(timeout=PATIENCE)
        assert child.returncode == 0, errors
        assert out.splitlines() == [
            f"{closed} cannot be written by this user; SQLite keeps files beside jobs.db there.",
            f"{file} cannot be read and written by this user.",
        ]
    finally:
        shutil.rmtree(folder)


# Q8: replaced


def test_Q8_a_file_that_was_replaced_is_not_written_and_its_successor_is_not_harmed(
    path: Path, open_store: Callable[..., SqliteBroker]
) -> None:
    sender = Sender(open_store())
    sender.put(new("old"))
    sender.known("old")
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        (path.parent / name).rename(path.parent / f"old-{name}")
    successor = Sender(open_store(), "successor")
    successor.put(new("new"))
    for attempt in (lambda: sender.put(new("lost")), lambda: sender.known("old")):
        with pytest.raises(StoreUnsuitable, match=f"{path} was deleted or replaced while it was open"):
            attempt()
    sender.broker.close_sync()
    assert (path.parent / f"{path.name}-wal").exists(), "it belongs to the successor"
    assert sender.known("old", "new") == [False, True], "after a close the new file is used"
    assert successor.put(new("more")) == [CREATED]


def test_Q8_a_file_that_was_deleted_is_told(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    sender = Sender(open_store())
    sender.put(new("old"))
    path.unlink()
    with pytest.raises(StoreUnsuitable, match="deleted or replaced"):
        sender.put(new("lost"))


# Q10: damaged, or not ours


def test_Q10_a_damaged_file_gets_no_further_write_and_says_how_to_recover(
    path: Path, open_store: Callable[..., SqliteBroker]
) -> None:
    sender = Sender(open_store())
    sender.put(*[new(f"j{n}") for n in range(100)])
    sender.broker.close_sync()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(
            StoreUnsuitable, match=rf"{path} is damaged .* nothing more is written .* sqlite3 {path} \.recover"
        ):
            sender.put(new("more"))
    sender.broker.close_sync()
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    path.write_bytes(b"dear diary " * 1000)
    with pytest.raises(StoreUnsuitable, match="file is not a database"):
        Sender(open_store()).put(new("a"))


def test_a_database_of_another_application_is_left_alone(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE customers(id)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnsuitable, match="is a SQLite file of another application"):
        Sender(open_store()).put(new("a"))
    assert path.read_bytes() == before


def test_another_layout_of_the_file_is_refused(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    sender = Sender(open_store())
    sender.put(new("a"))
    sender.broker.close_sync()
    change(path, "UPDATE meta SET value = 2 WHERE queue = '' AND name = 'layout'")
    with pytest.raises(StoreUnsuitable, match="is in layout 2 and this release reads layout 1"):
        sender.put(new("b"))


def test_another_layout_of_a_queue_is_refused_there_and_nowhere_else(
    path: Path, open_store: Callable[..., SqliteBroker]
) -> None:
    sender = Sender(open_store())
    sender.put(new("a"))
    change(path, f"UPDATE meta SET value = 2 WHERE queue = '{QUEUE}' AND name = 'layout'")
    puts = (Put(QUEUE, (new("b"),)), Put("shop:else", (new("b"),)))
    refused, stored = sender.broker.run_sync(Call("c", 1, "tag1", puts))
    assert isinstance(refused, StoreUnsuitable) and "layout 2" in str(refused)
    assert stored == [CREATED]


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement).rowcount == 1
    connection.close()


def test_a_restored_copy_gets_its_log_back(path: Path, open_store: Callable[..., SqliteBroker]) -> None:
    sender = Sender(open_store())
    sender.put(new("a"))
    sender.broker.close_sync()
    connection = sqlite3.connect(path)
    connection.execute(f"VACUUM INTO '{path}.copy'")
    connection.close()
    os.replace(f"{path}.copy", path)
    assert sender.put(new("b")) == [CREATED]
    assert (path.parent / f"{path.name}-wal").exists()
    assert sender.known("a", "b") == [True, True]


# Q11: a reader that does not end


def test_Q11_a_log_that_grows_without_end_is_told(
    path: Path,
    open_store: Callable[..., SqliteBroker],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(store, "_WAL_LOOK_EVERY", 1)
    monkeypatch.setattr(store, "_WAL_LARGE_BYTES", 200_000)
    sender = Sender(open_store())
    sender.put(new("a"))
    assert not caplog.records
    for n in range(3):
        sender.put(NewJob(f"large-{n}", b"x" * 100_000))
    told = [record.getMessage() for record in caplog.records]
    assert len(told) in (1, 2) and f"{path}-wal has grown to 0 MiB" in told[0], "once, and again when it has doubled"


def test_threads_of_one_process_write_one_file(open_store: Callable[..., SqliteBroker]) -> None:
    broker = open_store()

    def work(name: str) -> None:
        sender = Sender(broker, name)
        for n in range(20):
            assert sender.put(new(f"{name}-{n}")) == [CREATED]

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert all(Sender(broker, "reader").known(*[f"t{t}-{n}" for t in range(8) for n in range(20)]))
