"""`surefoot dashboard`: the dashboard as a server of its own, on this machine unless told otherwise."""

import ipaddress
import os
import signal
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from surefoot.cli.exits import NotLoaded
from surefoot.cli.options import scoped
from surefoot.cli.output import Output
from surefoot.cli.target import Scope

if TYPE_CHECKING:
    from surefoot.dashboard import Dashboard

PASSWORD: Final = "SUREFOOT_DASHBOARD_PASSWORD"
_NEEDS: Final = ("jinja2", "leather", "sse_starlette", "starlette", "uvicorn")
_HERE: Final = ("localhost", "127.0.0.1", "::1")

_EXAMPLES: Final = f"""\b
Examples:
  surefoot dashboard app:mail
  surefoot dashboard --url redis://localhost:6379/0 --read-only
  surefoot dashboard app --host 0.0.0.0 --password-file /run/secrets/dashboard

Everybody on this machine can reach 127.0.0.1, and whoever reaches the dashboard may change jobs, unless --read-only.
Another address needs a password, from {PASSWORD} or a file; any user name goes with it, and it is what
the trail of changes shows. The password crosses the network as it is: put TLS in front.
"""


@click.command("dashboard", epilog=_EXAMPLES, short_help="Queues in a browser.")
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8420, show_default=True, help="0: any free one.")
@click.option("--read-only", is_flag=True, help="Nothing can be changed.")
@click.option(
    "--password-file", metavar="PATH", type=click.Path(dir_okay=False), help="Its first line is the password."
)
@click.option("--allow-host", metavar="NAME", multiple=True, help="A name by which it is reached, beside --host.")
@scoped(target=True)
def dashboard(
    out: Output,
    scope: Scope,
    *,
    host: str,
    port: int,
    read_only: bool,
    password_file: str | None,
    allow_host: tuple[str, ...],
) -> int:
    """Show the queues in a browser, live; look into jobs, mend and requeue them."""
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise NotLoaded(f"the dashboard needs {missing[0]}, which is not installed: pip install 'surefoot[dashboard]'")
    password = _password(password_file)
    if password is None and not _is_loopback(host):
        raise click.UsageError(
            f"--host {host} can be reached from other machines, and there is no password: set {PASSWORD}, "
            "or give --password-file."
        )
    door = _door(host, port)
    app = _application(scope, read_only=read_only, password=password, hosts=_hosts(host, allow_host))
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{door.getsockname()[1]}/"
    if out.json:
        out.record({"url": url, "read_only": read_only})
    out.say(f"surefoot: dashboard at {url}{' (read-only)' if read_only else ''}; Ctrl-C ends it.")
    _serve(app, door)
    return 0


def _password(file: str | None) -> str | None:
    if file is None:
        return os.environ.get(PASSWORD) or None
    try:
        found = (Path(file).read_text().splitlines() or [""])[0].strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise click.UsageError(f"cannot read the password from {file}: {fault}.") from None
    if not found:
        raise click.UsageError(f"the first line of {file} is empty; it should be the password.")
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _hosts(host: str, more: tuple[str, ...]) -> list[str] | None:
    """The names it may be reached by. On every address these are not known, and only the password guards it."""
    if _is_loopback(host):
        return [*_HERE, host, *more]
    return [host, *more] if more else None


def _door(host: str, port: int) -> socket.socket:
    """A socket that listens there: an address in use is told in a sentence, and whoever reads the URL is let in."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        door = socket.socket(family, socket.SOCK_STREAM)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
        door.listen(128)
    except OSError as fault:
        raise click.UsageError(
            f"nothing can listen on {host}:{port} ({fault.strerror}); give --host or --port another."
        ) from None
    return door


def _application(scope: Scope, **options: Any) -> "Dashboard":
    """Over the queues of the application; of a bare store over all that it holds, also those that come later."""
    from surefoot.dashboard import Dashboard

    queues = scope.queues()
    if scope.application is None and not scope.names:
        url = click.get_current_context().params["url"] or os.environ.get("SUREFOOT_URL")
        return Dashboard(url=url, **options)
    return Dashboard(*queues, **options)


def _serve(app: "Dashboard", door: socket.socket) -> None:
    """Until SIGINT or SIGTERM; both end it in order, with exit code 0."""
    import contextlib
    from collections.abc import Iterator

    import uvicorn

    class Server(uvicorn.Server):
        """uvicorn ends by raising the signal again; here a signal is an order, and it was followed."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            heard = (signal.SIGINT, signal.SIGTERM)
            before = {number: signal.signal(number, self.handle_exit) for number in heard}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await super().shutdown(sockets)
            await app.close()

    config = uvicorn.Config(app, log_level="warning", lifespan="off", server_header=False, timeout_graceful_shutdown=5)
    Server(config).run(sockets=[door])
