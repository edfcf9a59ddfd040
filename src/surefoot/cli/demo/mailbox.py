"""A mail server for as long as the story lasts: it takes every mail and keeps it in memory."""

import asyncio
import warnings
from email import message_from_bytes, policy
from email.message import EmailMessage

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it rests since 2024 and uses what newer Pythons deprecate
    from aiosmtpd.smtp import SMTP, Envelope, Session


class Mailbox:
    """Listens on the caller's loop. The system picks the port while it binds, so nobody else can take it in between."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self._server: asyncio.Server | None = None

    async def open(self) -> int:
        """Listen; returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(self, loop=loop, hostname="localhost"), host="127.0.0.1", port=0
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Called by the server for each mail."""
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content, EmailMessage, policy=policy.default))
        return "250 OK"
