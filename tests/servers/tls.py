"""Servers that speak TLS, and certificates of an authority of the tests' own. The plain port stays open for tests."""

import datetime
import functools
import random
import tempfile
from pathlib import Path

import msgspec
import trustme
from tests.servers.conversation import HOST
from tests.servers.kinds import KINDS, Missing, why_not
from tests.servers.server import ATTEMPTS, PORTS, NotUp, PortTaken, Server, start

NO_TLS = "LOUD: no server here speaks TLS (Debian's redis-server does: apt-get install redis-server)"


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    @property
    def query(self) -> str:
        """As a URL gives the client's own."""
        return f"ssl_certfile={self.certificate}&ssl_keyfile={self.key}"


class Authority:
    """Signs certificates and keeps them in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ca = trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    @property
    def query(self) -> str:
        """As a URL names it."""
        return f"ssl_ca_certs={self.file}"

    def sign(self, *names: str, days: int = 30) -> Pair:
        """A certificate for these names; with less than 0 days it has expired."""
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        made = self._ca.issue_cert(*names, not_after=until)
        stem = f"{names[0]}-{random.randrange(10**9)}"
        pair = Pair(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        made.cert_chain_pems[0].write_to_path(pair.certificate)
        made.private_key_pem.write_to_path(pair.key)
        return pair


class Secure(msgspec.Struct, frozen=True):
    """A server and the port on which it speaks TLS."""

    server: Server
    port: int

    def url(self, *query: str, host: str = HOST) -> str:
        return f"rediss://{host}:{self.port}/0?" + "&".join(query)


def start_tls(
    folder: Path, authority: Authority, pair: Pair, *, clients: bool = False, kind: str | None = None
) -> Secure:
    """A running server with this certificate. `clients`: it demands one of them, too. Missing if none speaks TLS."""
    kind = tls_kind() if kind is None else kind
    if kind is None:
        raise Missing(NO_TLS)
    for port in random.SystemRandom().sample(PORTS, ATTEMPTS):
        options = {
            "tls-port": str(port), "tls-cert-file": str(pair.certificate), "tls-key-file": str(pair.key),
            "tls-ca-cert-file": str(authority.file), "tls-auth-clients": "yes" if clients else "no",
            "appendonly": "yes", "appendfsync": "always",
        }  # fmt: skip
        try:
            return Secure(start(folder, kind, options=options), port)
        except PortTaken:
            continue
    raise AssertionError("no free port")


@functools.cache
def tls_kind() -> str | None:
    """The first kind of server here that speaks TLS."""
    with tempfile.TemporaryDirectory(prefix="surefoot-tls-") as place:
        authority = Authority(Path(place))
        pair = authority.sign("localhost")
        for kind in KINDS:
            if why_not(kind) is None:
                try:
                    start_tls(Path(place) / kind, authority, pair, kind=kind).server.close()
                except NotUp:
                    continue
                return kind
    return None
