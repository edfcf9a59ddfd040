"""`surefoot metrics`: what the store holds as Prometheus reads it, once or for whoever scrapes."""

import threading
from importlib.util import find_spec
from typing import Final

import click

from surefoot.cli.exits import NotLoaded
from surefoot.cli.options import scoped
from surefoot.cli.output import Output
from surefoot.cli.supervise import listen
from surefoot.cli.target import Scope

_EXAMPLES: Final = """\b
Examples:
  surefoot metrics app:mail
  surefoot metrics --url redis://localhost:6379/0 --listen 9464

What workers count themselves is at /metrics of surefoot worker --health.
"""


@click.command("metrics", epilog=_EXAMPLES, short_help="The store's figures for Prometheus.")
@click.option("--listen", metavar="[HOST:]PORT", callback=listen, help="Serve them at /metrics, until Ctrl-C.")
@scoped(target=True)
def metrics(out: Output, scope: Scope, *, listen: tuple[str, int] | None) -> int:
    """Depth by state, oldest age, pauses, workers and slots of each queue, in the text format of Prometheus."""
    if find_spec("prometheus_client") is None:
        raise NotLoaded("metrics need the client of Prometheus: pip install surefoot[metrics]")
    from surefoot.health import Health
    from surefoot.metrics import StoreMetrics, page

    store = StoreMetrics(*scope.queues())
    if listen is None:
        out.answer(page(store)[2].decode().rstrip("\n"))
        return 0
    try:
        server = Health(*listen, alive=_yes, ready=_yes, pages={"/metrics": lambda: page(store)})
    except OSError as error:
        host, port = listen
        raise click.UsageError(
            f"nothing can listen on {host}:{port} ({error.strerror}); give --listen another."
        ) from None
    server.start()
    out.say(f"surefoot: http://{listen[0]}:{server.port}/metrics; Ctrl-C ends it.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        out.say("")
    finally:
        server.close()
    return 0


def _yes() -> bool:
    return True
