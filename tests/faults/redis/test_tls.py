"""TLS with certificates of one's own, and each way in which it can go wrong (R23): a sentence with the way out."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.doors.cli_shop import clean_environment
from tests.faults.processes import Fleet, eventually
from tests.servers import HOST
from tests.servers.tls import NO_TLS, Authority, Pair, Secure, start_tls, tls_kind

from surefoot import ConfigError, Queue, StoreUnavailable

pytestmark = pytest.mark.skipif(tls_kind() is None, reason=NO_TLS)

SHORT = "timeout=3"

# What is wrong, and what the sentence says of it.
WRONG = {
    "no authority": "its TLS certificate is signed by nobody known here: name its CA with ssl_ca_certs=",
    "another authority": "its TLS certificate is signed by nobody known here: ssl_ca_certs={other} is not its CA",
    "expired": "its TLS certificate has expired: renew it on the server",
    "other name": "its TLS certificate is not for '127.0.0.1': use a name that stands in it",
    "no client certificate": "asks for a client certificate",
    "stranger": "client certificate",
    "expired client": "client certificate",
    "other key": "ssl_keyfile= is not the key of ssl_certfile=",
}


class Town:
    """Authorities, certificates, and servers that use them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.authority = Authority(folder / "authority")
        self.other = Authority(folder / "other")
        self.client = self.authority.sign("client")
        self.open: list[Secure] = []

    def start(self, pair: Pair | None = None, *, clients: bool = False) -> Secure:
        pair = self.authority.sign("localhost", HOST) if pair is None else pair
        made = start_tls(self._folder / f"server-{len(self.open)}", self.authority, pair, clients=clients)
        self.open.append(made)
        return made

    def wrong(self, what: str) -> str:
        """A URL that has this wrong."""
        ours, other = self.authority, self.other
        stranger, old = other.sign("client"), ours.sign("client", days=-1)
        match what:
            case "no authority":
                return self.start().url(SHORT)
            case "another authority":
                return self.start().url(SHORT, other.query)
            case "expired":
                return self.start(ours.sign("localhost", HOST, days=-1)).url(SHORT, ours.query)
            case "other name":
                return self.start(ours.sign("cache.example")).url(SHORT, ours.query)
            case "no client certificate":
                return self.start(clients=True).url(SHORT, ours.query)
            case "stranger":
                return self.start(clients=True).url(SHORT, ours.query, stranger.query)
            case "expired client":
                return self.start(clients=True).url(SHORT, ours.query, old.query)
            case "other key":
                mixed = Pair(self.client.certificate, stranger.key)
                return self.start(clients=True).url(SHORT, ours.query, mixed.query)
        raise AssertionError(what)

    def close(self) -> None:
        for one in self.open:
            one.server.close()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    one = Town(tmp_path)
    try:
        yield one
    finally:
        one.close()


def enqueue(url: str) -> None:
    queue = Queue(url, name="jobs")
    try:
        queue.enqueue_sync(queue.by_name("work").draft())
    finally:
        queue.close_sync()


async def enqueue_on_loop(url: str) -> None:
    queue = Queue(url, name="jobs")
    try:
        await queue.enqueue(queue.by_name("work").draft())
    finally:
        await queue.close()


def test_R23_an_authority_of_one_s_own_and_client_certificates(town: Town) -> None:
    plain, strict = town.start(), town.start(clients=True)
    for url in (
        plain.url(town.authority.query),
        plain.url(town.authority.query, host="localhost"),
        strict.url(town.authority.query, town.client.query),
    ):
        enqueue(url)
        asyncio.run(enqueue_on_loop(url))
        with Queue(url, name="jobs") as queue:
            assert queue.stats_sync().pending in (2, 4)


@pytest.mark.parametrize("what", WRONG)
def test_R23_what_is_wrong_with_TLS_is_said_with_the_way_out(town: Town, what: str) -> None:
    url = town.wrong(what)
    words = WRONG[what].format(other=town.other.file)
    with pytest.raises(StoreUnavailable) as blocking:
        enqueue(url)
    with pytest.raises(StoreUnavailable) as looped:
        asyncio.run(enqueue_on_loop(url))
    for met in (blocking, looped):
        assert words in str(met.value)
        assert "ssl.c" not in str(met.value)
        assert str(met.value).endswith("the job was not accepted.")


@pytest.mark.parametrize("what", ["another authority", "no client certificate"])
def test_R23_the_command_line_says_the_same_without_a_traceback(town: Town, what: str, tmp_path: Path) -> None:
    url = town.wrong(what)
    done = subprocess.run(
        [sys.executable, "-m", "surefoot.cli.main", "stats", "--url", url], cwd=tmp_path, env=clean_environment(),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert WRONG[what].format(other=town.other.file) in done.stderr
    assert "Traceback" not in done.stderr


def test_R23_a_worker_waits_for_a_certificate_that_was_renewed(town: Town, tmp_path: Path) -> None:
    old = town.authority.sign("localhost", HOST, days=-1)
    secure = town.start(old)
    fleet = Fleet(tmp_path, secure.url(town.authority.query))
    try:
        worker = fleet.start()
        eventually("it said why", lambda: "its TLS certificate has expired: renew it on the server" in fleet.logs())
        assert worker.poll() is None
        fresh = town.authority.sign("localhost", HOST)
        os.replace(fresh.certificate, old.certificate)
        os.replace(fresh.key, old.key)
        secure.server.stop()
        secure.server.again()
        fleet.ready(worker)
        fleet.enqueue("work", 3, seconds=0)
        fleet.all_over().assert_nothing_lost()
        fleet.stop(worker)
        assert "Traceback" not in fleet.logs()
    finally:
        fleet.close()
        print(fleet.logs())


def test_R1_workers_and_producers_survive_a_restart_under_TLS(town: Town, tmp_path: Path) -> None:
    secure = town.start(clients=True)
    fleet = Fleet(tmp_path, secure.url(town.authority.query, town.client.query), secure.server)
    try:
        worker = fleet.start()
        fleet.ready(worker)
        fleet.enqueue("work", 20, seconds=0.05)
        fleet.restart_server()
        fleet.enqueue("work", 20, seconds=0)
        verdict = fleet.all_over()
        verdict.assert_nothing_lost()
        fleet.stop(worker)
        assert "Traceback" not in fleet.logs()
    finally:
        fleet.close()
        print(fleet.logs())


def test_files_that_are_not_there_are_named_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file /nowhere/ca.pem \(ssl_ca_certs\)"):
        enqueue("rediss://cache:6379/0?ssl_ca_certs=/nowhere/ca.pem")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://cache/0?ssl_ca_certs=/ca.pem", "'ssl_ca_certs' is for connections with TLS; write rediss://..."),
        ("valkey+cluster://cache?ssl_ca_certs=/ca.pem", "write valkeys+cluster://..."),
        ("rediss://cache/0?ssl_keyfile=/key.pem", "it names a key without its certificate; add ssl_certfile="),
        ("rediss://cache/0?ssl_ca_certs=", "ssl_ca_certs= names no file; give its path."),
        ("rediss://cache/0?ssl_cacerts=/ca.pem", "did you mean 'ssl_ca_certs'?"),
    ],
)
def test_a_URL_says_TLS_whole_or_not_at_all(url: str, words: str) -> None:
    with pytest.raises(ConfigError) as met:
        enqueue(url)
    assert words in str(met.value)
