"""Somebody else's server, which webhooks.py talks to: it fails once, then asks for a second's time, then works. What
comes to /old it refuses.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Receiver(BaseHTTPRequestHandler):
    """Answers POST, and prints what it answered to which key."""

    answers = iter([503, 429, 200])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(410 if self.path == "/old" else next(self.answers))
        self.send_header("Retry-After", "1")
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        print(f"{self.path} answers {code} to key {self.headers['Idempotency-Key']}", flush=True)


@contextmanager
def receiver() -> Iterator[str]:
    """A receiver on a free port; gives its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.serve_forever).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
