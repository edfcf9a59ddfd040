"""The command line and a server that is away, strange or locked: one sentence, soon, the way out, and no password."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.doors.cli_shop import Ran, Shop, clean_environment, source
from tests.servers import HOST, KINDS, Server, start, why_not

if reason := why_not(KINDS[0]):
    pytest.skip(reason, allow_module_level=True)

PASSWORD = "open-sesame"
ANY_ID = "01999c0e7d1a9b1f0d7e5a1c2f44"
COMMANDS = [
    "stats",
    "stats --watch",
    "jobs",
    "jobs list --state dead",
    f"jobs show {ANY_ID}",
    f"explain {ANY_ID}",
    "pause --reason x",
    "resume",
    "dead list",
    f"dead show {ANY_ID}",
    "dead requeue --all --yes",
    f"dead delete {ANY_ID}",
]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a password."""
    with start(tmp_path_factory.mktemp("locked"), options={"requirepass": PASSWORD}) as server:
        yield server


def with_password(server: Server, password: str = PASSWORD, number: int = 0) -> str:
    return f"redis://:{password}@{HOST}:{server.port}/{number}"


def shown(server: Server) -> str:
    return f"redis://:***@{HOST}:{server.port}/0"


class Deaf:
    """Listens where a server could be, and closes what comes; it counts."""

    def __init__(self) -> None:
        self._socket = socket.create_server((HOST, 0))
        self.port: int = self._socket.getsockname()[1]
        self.came = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.came += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def deaf() -> Iterator[Deaf]:
    listener = Deaf()
    yield listener
    listener.close()


# --- a server that is away ---


@pytest.mark.parametrize("line", COMMANDS)
def test_a_server_that_is_not_running_is_one_sentence_and_exit_4(line: str, shop: Shop) -> None:
    for ran in (
        shop.here(*line.split(), "--url", f"redis://:{PASSWORD}@127.0.0.1:1/0"),
        from_application(shop, line, f"redis://:{PASSWORD}@127.0.0.1:1/0"),
    ):
        assert (ran.code, ran.out) == (4, "")
        assert ran.err == (
            "surefoot: cannot reach redis://:***@127.0.0.1:1/0 (connection refused); nothing was done. "
            "Is the server running? Try `surefoot doctor`.\n"
        )


def from_application(shop: Shop, line: str, url: str) -> Ran:
    """The command about an application whose store is at `url`."""
    shop.write("far.py", source(url))
    sys.modules.pop("far", None)
    return shop.here(*line.split(), "--app", "far")


@pytest.mark.parametrize("line", COMMANDS)
def test_a_server_that_is_away_is_asked_only_once(line: str, shop: Shop, deaf: Deaf) -> None:
    ran = shop.here(*line.split(), "--url", f"redis://{HOST}:{deaf.port}/0")
    assert (ran.code, ran.out, deaf.came) == (4, "", 1)
    assert ran.err.startswith(f"surefoot: cannot reach redis://{HOST}:{deaf.port}/0 (")
    ran = from_application(shop, line, f"redis://{HOST}:{deaf.port}/0")
    assert (ran.code, deaf.came) == (4, 2)


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_the_url_says(shop: Shop) -> None:
    with socket.create_server((HOST, 0)) as silent:  # the system accepts for it, and nobody answers
        url = f"redis://{HOST}:{silent.getsockname()[1]}/0?timeout=0.9"
        ran = shop.here("stats", "--url", url)
    assert (ran.code, ran.out) == (4, "")
    assert "no answer" in ran.err
    assert "within 0.3 s" in ran.err
    assert ran.err.count("\n") == 1


def test_something_else_that_answers_there_is_told(shop: Shop) -> None:
    with socket.create_server((HOST, 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        ran = shop.here("stats", "--url", f"redis://{HOST}:{listener.getsockname()[1]}/0")
    assert (ran.code, ran.out) == (4, "")
    assert "(what answers there does not speak the Redis protocol)" in ran.err


def test_a_worker_whose_server_is_not_there_at_the_start_leaves_with_4(shop: Shop) -> None:
    shop.write("far.py", source("redis://127.0.0.1:1/0?timeout=0.3"))
    ran = shop.apart("worker", "far")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.count("\n") == 1
    assert "cannot reach redis://127.0.0.1:1/0?timeout=0.3 (connection refused)" in ran.err


# --- passwords ---


@pytest.mark.parametrize(
    ("login", "seen", "why"),
    [
        ("", "", "the server asks for a password"),
        (":guessed@", ":***@", "the server refuses the password"),
        ("nobody:guessed@", "nobody:***@", "the server refuses the password"),
    ],
)
def test_without_the_right_password_it_is_one_sentence(
    login: str, seen: str, why: str, shop: Shop, locked: Server
) -> None:
    ran = shop.here("stats", "--url", f"redis://{login}{HOST}:{locked.port}/0", "--verbose")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith(f"surefoot: cannot reach redis://{seen}{HOST}:{locked.port}/0 ({why});")
    assert ran.err.count("\n") == 1


def test_a_password_is_used_and_never_shown(shop: Shop, locked: Server) -> None:
    shop.write("shop.py", source(with_password(locked)))
    made = "import shop; print(shop.close_month.enqueue_sync('may').id)"
    id = subprocess.run(
        [sys.executable, "-c", made],
        cwd=shop.folder, env=clean_environment(), capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    worker = shop.apart("worker", "shop:billing", "--burst", "--verbose")
    record = shop.apart("worker", "shop:billing", "--burst", "--json", "--log-format", "json")
    assert f"  {shown(locked)}  namespace surefoot\n" in worker.err
    assert f'"url":"{shown(locked)}"' in record.out
    said = [worker, record]
    for line in (
        "stats",
        "jobs",
        f"jobs show {id}",
        f"explain {id}",
        "dead list",
        f"dead show {id}",
        "pause",
        "resume",
    ):
        for form in ("--verbose", "--json"):
            ran = shop.here(*line.split(), "--url", with_password(locked), form)
            assert ran.code == 0, ran.err
            said.append(ran)
    assert not any(PASSWORD in ran.out + ran.err for ran in said)


# --- what a URL can be wrong in ---


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            f"redis//:{PASSWORD}@cache/0",
            "cannot read the URL 'redis//:***@cache/0': the scheme is missing its colon; did you mean "
            "'redis://:***@cache/0'?",
        ),
        (
            f"redsi://:{PASSWORD}@cache/0",
            "cannot read the URL 'redsi://...': surefoot stores jobs in sqlite, redis or valkey; did you mean "
            "'redis://...'?",
        ),
        (
            "cache:6379",
            "cannot read the URL 'cache:6379': it has no scheme; write sqlite:///jobs.db, or redis://host:6379.",
        ),
        (
            f"redis://:{PASSWORD}@cache:sixthousand/0",
            "cannot read the URL 'redis://:***@cache:***/0': its port is not a number from 1 to 65535.",
        ),
        (
            f"redis://:{PASSWORD}@cache/mail",
            "cannot read the URL 'redis://:***@cache/mail': 'mail' is not a database; give its number, 0 on most "
            "servers.",
        ),
        (
            f"redis://:{PASSWORD}@cache/0?nmespace=shop",
            "cannot read the URL 'redis://:***@cache/0?nmespace=***': there is no option 'nmespace'; did you mean "
            "'namespace'?",
        ),
        (
            f"redis+sentinel://:{PASSWORD}@a,b/0",
            "cannot read the URL 'redis+sentinel://:***@a,b/0': it does not name the primary; write "
            "redis+sentinel://host:26379/mymaster/0.",
        ),
        (
            f"valkeys+cluster://:{PASSWORD}@a,b/1",
            "cannot read the URL 'valkeys+cluster://:***@a,b/1': a cluster has no databases; write "
            "valkeys+cluster://... without /1.",
        ),
    ],
)
def test_a_url_that_cannot_be_used_is_one_sentence_and_exit_4(url: str, sentence: str, shop: Shop) -> None:
    for ran in (shop.here("stats", "--url", url), from_application(shop, "stats", url)):
        assert (ran.code, ran.out, ran.err) == (4, "", f"surefoot: {sentence}\n")


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_both_names_of_the_scheme_are_known(scheme: str, shop: Shop, locked: Server) -> None:
    shop.here("pause", "--app", "shop")
    url = with_password(locked).replace("redis", scheme)
    ran = from_application(shop, "pause", url)
    assert ran.code == 0
    ran = shop.here("stats", "--url", url, "--json")
    assert {"mail", "billing"} <= {record["queue"] for record in ran.records()}


def test_a_database_that_the_server_does_not_have_is_told(shop: Shop, locked: Server) -> None:
    ran = shop.here("stats", "--url", with_password(locked, number=99))
    assert (ran.code, ran.out, ran.err.count("\n")) == (4, "", 1)
    assert f"redis://:***@{HOST}:{locked.port}/99 (DB index is out of range)" in ran.err


# --- what is not installed ---


@pytest.mark.parametrize("package", ["redis", "hiredis"])
@pytest.mark.parametrize("line", ["stats --url {}", "jobs --url {}", "stats far", "worker far", "demo --redis {}"])
def test_without_the_extra_one_sentence_names_it(line: str, package: str, shop: Shop) -> None:
    url = f"redis://:{PASSWORD}@cache/0"
    shop.write("far.py", source(url))
    hidden = f"import sys; sys.modules[{package!r}] = None; from surefoot.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", hidden, *line.format(url).split()],
        cwd=shop.folder, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    # A worker finds its queues' stores while it is put together: to it the application cannot be loaded.
    assert (done.returncode, done.stdout) == (3 if line.startswith("worker") else 4, "")
    assert re.fullmatch(
        rf"surefoot: cannot use redis://:\*\*\*@cache/0(\?namespace=demo-\w+)?: '{package}' is not installed; "
        r"pip install 'surefoot\[redis\]'\.\n",
        done.stderr,
    )


def test_a_file_needs_no_client_of_a_server(shop: Shop) -> None:
    hidden = (
        "import sys; sys.modules['redis'] = sys.modules['hiredis'] = None; from surefoot.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", hidden, "worker", "shop", "--burst"],
        cwd=shop.folder, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- a worker ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_W7_a_worker_on_a_server_drains_and_leaves_with_0(
    number: signal.Signals, shop: Shop, locked: Server, tmp_path: Path
) -> None:
    shop.write("shop.py", source(with_password(locked)))
    with subprocess.Popen(
        [sys.executable, "-m", "surefoot.cli.main", "worker", "shop:mail"],
        cwd=shop.folder, env=clean_environment(), stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if "Ctrl-C once to drain" in line:
                    break
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, said
