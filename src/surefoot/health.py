"""GET /healthz and /readyz for whoever watches a worker, and pages beside them: a thread of its own answers."""

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, TypeAlias

Page: TypeAlias = tuple[int, str, bytes]
"""An answer: its status, content type and body."""

_PLAIN: Final = "text/plain; charset=utf-8"
_WORDS: Final[Mapping[bool, Page]] = {True: (200, _PLAIN, b"ok\n"), False: (503, _PLAIN, b"no\n")}


class Health:
    """Answers 200 or 503. `alive`: start me again if not; `ready`: counts as started, and not yet told to leave.

    `pages`: what else there is, by path.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        alive: Callable[[], bool],
        ready: Callable[[], bool],
        pages: Mapping[str, Callable[[], Page]],
    ) -> None:
        answers: dict[str, Callable[[], Page]] = {
            "/healthz": lambda: _WORDS[alive()],
            "/readyz": lambda: _WORDS[ready()],
            **pages,
        }
        *but_last, last = answers
        nothing = (404, _PLAIN, f"there is {', '.join(but_last)} and {last}\n".encode())

        class Answer(BaseHTTPRequestHandler):
            """One request."""

            timeout = 10  # seconds for a slow client

            def do_GET(self) -> None:
                page = answers.get(self.path.partition("?")[0])
                status, kind, body = nothing if page is None else page()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: a probe comes every few seconds."""

        self._server = ThreadingHTTPServer((host, port), Answer)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="surefoot-health", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
