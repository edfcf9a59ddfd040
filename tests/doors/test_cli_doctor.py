"""doctor on files that are made unfit one by one, and on queues whose state was spoiled by hand; then its repair.

Without --repair it changes nothing: a dump is the same before and after.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from tests.doors.cli_shop import Ran, Shop, at_work, clean_environment, eventually
from tests.doors.doctor_ward import Found, file_dump, found, server_dump
from tests.servers import Server

from surefoot.brokers.broker import Beat
from surefoot.brokers.sqlite import gate
from surefoot.brokers.sqlite.exam import FileFacts
from surefoot.cli.doctor.file import judge_file
from surefoot.client.presence import PresenceInfo

BUG = {"version": "warn"} if gate.may_lose_wal() else {}
OF_A_FILE = ("url", "version", "file", "file_system", "disk", "rights", "soundness", "log", "clock", "write")
OF_QUEUES = ("workers", "tasks", "leases", "paused", "dead", "orphans")
NOBODY = 65534


def look(shop: Shop, *words: str) -> Found:
    return found(shop.here("doctor", "--json", *(words or ("shop",))))


def unchanged(shop: Shop, *words: str) -> Found:
    """What is found in a file; nothing is changed."""
    before = file_dump(shop.folder / "jobs.db")
    seen = look(shop, *words)
    assert file_dump(shop.folder / "jobs.db") == before
    return seen


def by_hand(shop: Shop, *statements: str) -> None:
    """A careless hand in the file."""
    connection = sqlite3.connect(shop.folder / "jobs.db")
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


# --- a file ---


def test_a_fit_file_is_ok_line_by_line_and_nothing_is_changed(file_shop: Shop) -> None:
    file_shop.queue("mail").resume_sync()
    file_shop.queue("billing").resume_sync()
    seen = unchanged(file_shop)
    assert (seen.code, seen.bad(), tuple(seen.checks)) == (0, BUG, OF_A_FILE + OF_QUEUES)
    assert seen.details("version")["software"] == f"SQLite {sqlite3.sqlite_version}"
    assert seen.details("orphans") == {"queues": ["mail", "billing"]}
    assert seen.details("write")["median_ms"] > 0
    ran = file_shop.here("doctor", "shop")
    assert [line.split()[1] for line in ran.out.splitlines()] == [*OF_A_FILE, *OF_QUEUES]
    assert (ran.code, ran.err) == (0, f"16 checks: 0 failed, {'1 warning' if BUG else '0 warnings'}.\n")
    assert file_shop.here("doctor", "shop", "--quiet").err == ""


def test_Q5_a_version_with_the_wal_reset_bug_says_what_that_means() -> None:
    facts = FileFacts(sqlite="3.46.1", exposed=True, exists=True, file_system="ext4", mode=0o600, damage=())
    (version,) = [one for one in judge_file(facts, "/srv/jobs.db") if one.check == "version"]
    assert version.result == "warn"
    assert "SQLite 3.46.1 has the WAL-reset bug (3.7.0 to 3.51.2): several processes are safe here" in version.sentence
    assert "jobs.db.lock" in version.sentence
    sound = msgspec.structs.replace(facts, sqlite="3.51.3", exposed=False)
    assert [one.result for one in judge_file(sound, "/srv/jobs.db") if one.check == "version"] == ["ok"]


def test_a_file_that_is_not_there_is_not_made(file_shop: Shop) -> None:
    seen = look(file_shop, "shop")
    assert (seen.code, seen.bad()) == (0, BUG | {"file": "warn"})
    assert seen.words("file").endswith("jobs.db yet. The first job or worker makes it.")
    (file_shop.folder / "jobs.db").touch()
    assert look(file_shop, "shop").bad() == BUG | {"file": "warn"}
    assert (file_shop.folder / "jobs.db").stat().st_size == 0
    (file_shop.folder / "jobs.db").unlink()
    assert look(file_shop, "--url", "sqlite:///jobs.db").code == 4
    assert not list(file_shop.folder.glob("jobs.db*"))
    seen = look(file_shop, "--url", "sqlite:///nowhere/jobs.db")
    assert (seen.code, seen.result("file")) == (4, "fail")
    assert "there is no directory" in seen.words("file")


@pytest.mark.parametrize(("at", "many"), [(0, 3_000), (2 * 4_096, 4 * 4_096)], ids=["head", "pages"])
def test_Q10_a_damaged_file_is_told_with_what_to_do_and_not_written(file_shop: Shop, at: int, many: int) -> None:
    mail, path = file_shop.queue("mail"), file_shop.folder / "jobs.db"
    for number in range(20):
        mail.by_name("welcome").enqueue_sync(address=f"{number}" * 500)
    mail.close_sync()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * many)
    before = path.read_bytes()
    seen = look(file_shop, "--url", "sqlite:///jobs.db")
    assert (seen.code, seen.result("soundness")) == (1, "fail")
    assert seen.words("soundness").startswith("damaged: ")
    assert f"sqlite3 {path} .recover" in seen.words("soundness")
    assert "write" not in seen.checks
    assert path.read_bytes() == before


def test_Q10_nothing_is_repaired_in_a_damaged_file(file_shop: Shop) -> None:
    mail, path = file_shop.queue("mail"), file_shop.folder / "jobs.db"
    job = mail.by_name("welcome").enqueue_sync(address="ada@example.org")
    mail.close_sync()
    by_hand(file_shop, f"DELETE FROM body WHERE seq = (SELECT seq FROM job WHERE id = '{job.id}')")
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'period_until'").fetchone()
    connection.close()
    with path.open("r+b") as file:  # an index that no other check reads
        file.seek((page - 1) * 4_096)
        file.write(b"\xff" * 4_096)
    before = path.read_bytes()
    seen = look(file_shop, "shop:mail", "--repair", "--yes")
    assert (seen.code, seen.result("soundness"), seen.result("orphans")) == (1, "fail", "fail")
    assert seen.words("repair").startswith("nothing is repaired in a damaged file.")
    assert path.read_bytes() == before
    assert not Path(f"{path}-wal").exists() or not Path(f"{path}-wal").stat().st_size


def test_Q12_a_file_that_others_may_read_is_a_warning(file_shop: Shop) -> None:
    file_shop.queue("mail").resume_sync()
    (file_shop.folder / "jobs.db").chmod(0o644)
    seen = unchanged(file_shop, "shop:mail")
    assert (seen.code, seen.bad()) == (0, BUG | {"rights": "warn"})
    assert "mode 0644" in seen.words("rights")
    assert f"chmod 600 {file_shop.folder}/jobs.db" in seen.words("rights")


AS_NOBODY = """
import contextlib
import io
import os
import sys

from surefoot.cli.main import run

with contextlib.redirect_stdout(io.StringIO()):
    run(["doctor", "--json", "--url", sys.argv[1]])  # loads all modules: the next user may not read them
if os.geteuid() == 0:
    os.setuid(65534)
code = run(["doctor", "--json", "--url", sys.argv[2]])
sys.stdout.flush()
os._exit(code)  # the first file is not this user's to close
"""


@pytest.mark.parametrize("what", ["file", "folder"])
def test_Q12_a_file_that_this_user_may_not_write_is_told(file_shop: Shop, what: str) -> None:
    file_shop.queue("mail").resume_sync()
    file_shop.queue("mail").close_sync()
    folder = Path(tempfile.mkdtemp(prefix="doctor-"))
    try:
        shutil.copy(file_shop.folder / "jobs.db", folder)
        (folder / "jobs.db").chmod(0o444 if what == "file" else 0o666)
        folder.chmod(0o777 if what == "file" else 0o555)
        before = (folder / "jobs.db").read_bytes()
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, f"sqlite:///{file_shop.folder}/jobs.db", f"sqlite:///{folder}/jobs.db"],
            cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (folder / "jobs.db").read_bytes() == before
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)
    seen = found(Ran(done.returncode, done.stdout, done.stderr))
    assert (seen.code, seen.result("file")) == (1, "fail")
    assert f"cannot be {'read and ' if what == 'file' else ''}written by this user" in seen.words("file")


READER = """
import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM job").fetchone()
print("reads", flush=True)
input()
"""


@contextmanager
def long_reader(path: Path) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        try:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "reads\n"
            yield reader.pid
            reader.communicate("\n", timeout=60)
        finally:
            reader.kill()


def test_Q11_a_long_reader_is_named_and_a_log_that_it_let_grow(file_shop: Shop) -> None:
    mail = file_shop.queue("mail")
    mail.resume_sync()
    with long_reader(file_shop.folder / "jobs.db") as pid:
        if Path("/proc/locks").exists():
            assert [f"({pid})" in one for one in look(file_shop, "shop:mail").details("log")["readers"]] == [True]
        welcome = mail.by_name("welcome")
        for _ in range(10):
            mail.enqueue_many_sync([welcome.draft(address="x" * 700_000) for _ in range(10)])
        seen = unchanged(file_shop, "shop:mail")
        assert (seen.code, seen.result("log")) == (0, "warn")
        assert "it cannot shrink while a transaction reads" in seen.words("log")
        assert seen.details("log")["wal_bytes"] > 64 << 20
    assert look(file_shop, "shop:mail").details("log")["readers"] == []


def test_a_process_that_stands_still_with_the_lock_is_named(file_shop: Shop) -> None:
    file_shop.queue("mail").resume_sync()
    holds = "import fcntl, sys; lock = open(sys.argv[1]); fcntl.flock(lock, 2); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holds, str(file_shop.folder / "jobs.db.lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "1\n"
            seen = unchanged(file_shop, "shop:mail")
        finally:
            holder.kill()
    assert (seen.code, seen.result("write")) == (1, "fail")
    assert re.search(rf"({holder.pid}|another process).* has held .*jobs.db.lock for 5 s", seen.words("write"))


def test_Q6_a_network_file_system_and_a_disk_without_room() -> None:
    facts = FileFacts(
        sqlite="3.51.3", exposed=False, exists=True, refused="on nfs.", file_system="nfs4", network=True,
        mode=0o600, damage=(), free_bytes=1 << 20, commit_ms=900.0,
    )  # fmt: skip
    results = {one.check: one.result for one in judge_file(facts, "/mnt/jobs.db")}
    assert results == {
        "version": "ok", "file": "fail", "file_system": "fail", "disk": "fail", "rights": "ok", "soundness": "ok",
        "log": "ok", "clock": "ok", "write": "warn",
    }  # fmt: skip
    allowed = msgspec.structs.replace(facts, refused=None, free_bytes=100 << 20, commit_ms=None, commit_refused="full.")
    results = {one.check: one.result for one in judge_file(allowed, "/mnt/jobs.db")}
    assert [results[check] for check in ("file", "file_system", "disk", "write")] == ["ok", "warn", "warn", "fail"]


def test_Q13_a_change_from_the_future_is_told(file_shop: Shop) -> None:
    file_shop.queue("mail").resume_sync()
    file_shop.queue("mail").close_sync()
    by_hand(file_shop, "UPDATE meta SET value = value + 7200000 WHERE queue = '' AND name = 'last'")
    seen = unchanged(file_shop, "shop:mail")
    assert seen.result("clock") == "warn"
    assert "s in the future of this machine's clock. Set the clock by NTP." in seen.words("clock")


def test_a_file_of_another_application_is_refused_in_a_sentence(file_shop: Shop) -> None:
    connection = sqlite3.connect(file_shop.folder / "jobs.db")
    connection.execute("CREATE TABLE users(name)")
    connection.close()
    os.chmod(file_shop.folder / "jobs.db", 0o600)
    before = (file_shop.folder / "jobs.db").read_bytes()
    seen = look(file_shop, "shop")
    assert (seen.code, "is a SQLite file of another application" in seen.words("write")) == (1, True)
    assert (file_shop.folder / "jobs.db").read_bytes() == before


def test_a_store_in_memory_says_so(file_shop: Shop) -> None:
    file_shop.write("memo.py", "from surefoot import Queue\nmail = Queue('sqlite:///:memory:', name='mail')\n")
    seen = look(file_shop, "memo")
    assert (seen.code, seen.bad()) == (0, {"file": "warn"})


def test_wrong_usage_and_an_application_that_does_not_load(file_shop: Shop) -> None:
    assert file_shop.here("doctor").code == 2
    file_shop.write("broken.py", "1 / 0\n")
    assert file_shop.here("doctor", "broken").code == 3
    assert file_shop.here("doctor", "shop", "-q", "maill").code == 2
    file_shop.write("unset.py", "from surefoot import Queue\nmail = Queue(name='mail')\n")
    ran = file_shop.here("doctor", "unset")
    assert (ran.code, "queue 'mail' has no store" in ran.out) == (4, True)


# --- queues ---


@pytest.fixture
def shop(any_shop: Shop) -> Shop:
    return any_shop


@pytest.fixture
def dump(request: pytest.FixtureRequest) -> Callable[[Shop], object]:
    """How the whole store of a shop is read."""

    def read(shop: Shop) -> object:
        if shop.url.startswith("sqlite"):
            return file_dump(shop.folder / "jobs.db")
        server: Server = request.getfixturevalue("server")
        return server_dump(server)

    return read


def test_what_waits_dead_letters_and_a_pause_are_warnings(
    any_shop: Shop, ids: dict[str, str], dump: Callable[[Shop], object]
) -> None:
    any_shop.queue("billing").pause_sync("card provider down")
    before = dump(any_shop)
    seen = look(any_shop, "shop")
    assert dump(any_shop) == before
    assert seen.code == 0
    bad = {check: result for check, result in seen.bad().items() if check in OF_QUEUES}
    assert bad == dict.fromkeys(("workers", "paused", "dead"), "warn")
    assert "queue 'mail' has jobs (2 waiting) and no living worker. Start one: surefoot worker shop" in (
        seen.words("workers")
    )
    assert "queue 'billing' is paused since " in seen.words("paused")
    assert ": card provider down. Resume it: surefoot resume -q billing" in seen.words("paused")
    assert "2 dead letters in queue 'billing'. Look at them: surefoot dead list -q billing" in seen.words("dead")
    assert [one["details"]["queue"] for one in seen.checks["workers"]] == ["mail", "billing"]
    assert list(look(any_shop, "--url", any_shop.url, "-q", "mail").checks["paused"][0]["details"]) == ["queues"]


def test_D3_jobs_and_tasks_that_no_living_worker_serves(any_shop: Shop) -> None:
    mail = any_shop.queue("mail")
    for _ in range(2):
        mail.by_name("gone").enqueue_sync()
    with at_work(any_shop, "shop:mail"):
        eventually(lambda: mail.stats_sync().parked == 2)
        any_shop.write("newer.py", (any_shop.folder / "shop.py").read_text() + "\n\n@mail.task\ndef fresh(): ...\n")
        seen = look(any_shop, "newer:mail")
    assert (seen.code, [one["result"] for one in seen.checks["tasks"]]) == (0, ["warn", "warn"])
    assert "2 jobs of queue 'mail' are parked for task 'gone', which no living worker has." in seen.words("tasks")
    assert "no living worker of queue 'mail' has fresh. Start its workers anew" in seen.words("tasks")
    assert seen.result("workers") == "ok"


def test_an_ended_lease_that_nobody_takes(any_shop: Shop) -> None:
    mail = any_shop.queue("mail")
    any_shop.write(
        "slow.py",
        f"""
import os
from surefoot import Queue

mail = Queue("{any_shop.url}", name="mail")


@mail.task
def die() -> None:
    os._exit(9)
""",
    )
    mail.by_name("die").enqueue_sync()
    any_shop.apart("worker", "slow:mail", "--lease", "0.2", "--burst", "--quiet")
    eventually(lambda: look(any_shop, "shop:mail").bad().get("leases"))
    seen = look(any_shop, "shop:mail")
    assert "1 job of queue 'mail' lost their worker" in seen.words("leases")
    # The one that died is seen for a while yet.
    ways_out = ("Start a worker: surefoot worker shop:mail", "A worker with a free slot takes them within seconds")
    assert any(way_out in seen.words("leases") for way_out in ways_out)
    mail.pause_sync()
    assert "Resume it: surefoot resume -q mail" in look(any_shop, "shop:mail").words("leases")


def test_what_a_store_says_does_not_steer_the_terminal(any_shop: Shop) -> None:
    mail = any_shop.queue("mail")
    mail.pause_sync("evil \x1b[2J")
    said = PresenceInfo(name="evil\x1b[2J", tasks=("x\x1b",))
    mail.sessions.ask_sync([Beat(mail.full_name, "w" * 16, said.encode())])
    ran = any_shop.here("doctor", "shop")
    assert "\x1b" not in ran.out
    assert "evil \\x1b[2J" in ran.out
