"""Where the mails go. The worker opens a client before its first job, and every handler can ask for it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage

import aiosmtplib
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True)
class SmtpClient:
    """Sends mails through one server."""

    host: str
    port: int

    async def send(self, to: str, subject: str, body: str, message_id: str) -> None:
        message = EmailMessage()
        message["From"], message["To"] = "shop@example.com", to
        message["Subject"], message["Message-ID"] = subject, message_id
        message.set_content(body)
        await aiosmtplib.send(message, hostname=self.host, port=self.port)


class Mailbox:
    """A mail server for trying out: it takes every mail and prints who it is for."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        print("mail for", *envelope.rcpt_tos, flush=True)
        return "250 OK"


@asynccontextmanager
async def smtp() -> AsyncIterator[SmtpClient]:
    if "SMTP_HOST" in os.environ:
        yield SmtpClient(os.environ["SMTP_HOST"], int(os.environ.get("SMTP_PORT", "25")))
        return
    async with await asyncio.get_running_loop().create_server(lambda: SMTP(Mailbox()), "127.0.0.1") as server:
        yield SmtpClient("127.0.0.1", server.sockets[0].getsockname()[1])
