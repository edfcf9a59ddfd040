"""GET /healthz and /readyz for whoever watches a worker: a thread of its own answers, from two questions."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

_WORDS: Final = {True: (200, b"ok\n"), False: (503, b"no\n")}


class Health:
    """Answers 200 or 503. `alive`: start me again if not; `ready`: counts as started, and not yet told to leave."""

    def __init__(self, host: str, port: int, *, alive: Callable[[], bool], ready: Callable[[], bool]) -> None:
        questions = {"/healthz": alive, "/readyz": ready}

        class Answer(BaseHTTPRequestHandler):
            """One request."""

            timeout = 10  # seconds for a slow client

            def do_GET(self) -> None:
                question = questions.get(self.path.partition("?")[0])
                status, body = (404, b"there is /healthz and /readyz\n") if question is None else _WORDS[question()]
                self.send_response(status)
                self.send_header("Content-Type", "text/plain")
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
