"""Two queues with jobs in every state, hostile words in every field, and a visitor of their dashboard. No test."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.testclient import TestClient

from surefoot import Job, Queue, Reject, Retry, Worker
from surefoot.dashboard import Dashboard

HOSTILE = "<img src=x onerror=\"document.title='broken'\">'\"&{{7*7}}"
OURS = {"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver"}


class Shop:
    """The queues `mail` and `billing` in one store."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.mail = Queue(url, name="mail")
        self.billing = Queue(url, name="billing")

        @self.mail.task(name="welcome", retry=Retry(max_attempts=2, base=0.001), keep_result=600)
        async def welcome(address: str, *, language: str = "en") -> str:
            if "@" not in address:
                raise ValueError(f"no address: {address}")
            return f"sent to {address}"

        @self.mail.cron("0 6 * * mon-fri", name="nightly", timezone="Europe/Paris")
        async def nightly() -> None: ...

        @self.billing.task(name="close_month", retry=Retry(max_attempts=1))
        async def close_month(month: str) -> None:
            raise RuntimeError(f"card provider down for {month}")

        @self.billing.task(name="reject")
        async def reject(why: str) -> None:
            raise Reject(why)

        self.welcome, self.close_month, self.reject = welcome, close_month, reject

    def work(self) -> None:
        """Run all that is due."""
        asyncio.run(self._work())

    async def _work(self) -> None:
        await Worker(self.mail, self.billing, concurrency=4).serve(burst=True)
        await self.mail.close()

    def dead(self, *addresses: str) -> list[str]:
        """Jobs of mail that died, by their ids."""
        handles = [self.welcome.enqueue_sync(address) for address in addresses]
        while any(handle.status_sync() != "dead" for handle in handles):
            self.work()
        return [handle.id for handle in handles]

    def job(self, id: str, queue: Queue | None = None) -> Job:
        """What the store knows of one."""
        found = (queue or self.mail).get_sync(id)
        assert found is not None
        return found

    @contextmanager
    def site(self, **options: Any) -> Iterator[Visitor]:
        """Somebody at a dashboard of the two queues."""
        dashboard = Dashboard(self.mail, self.billing, **{"read_only": False, **options})
        with TestClient(dashboard, follow_redirects=False) as client:
            yield Visitor(client)
            assert client.portal is not None
            client.portal.call(dashboard.close)

    def close(self) -> None:
        """Let go of the store."""
        self.mail.close_sync()


class Visitor:
    """Looks at pages and sends forms as a browser would."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def page(self, path: str, *, status: int = 200, **query: Any) -> str:
        """The text of a page."""
        answer = self.client.get(path, params=query or None)
        assert answer.status_code == status, answer.text
        return answer.text

    def words(self, path: str, *, status: int = 200, **query: Any) -> str:
        """The words of a page, without its elements."""
        return words(self.page(path, status=status, **query))

    def send(self, path: str, *, status: int = 303, headers: dict[str, str] | None = None, **form: Any) -> str:
        """Send a form; where the browser goes then, or the words of the answer."""
        answer = self.client.post(path, data=form, headers=OURS if headers is None else headers)
        assert answer.status_code == status, (answer.status_code, words(answer.text))
        return answer.headers["location"] if status == 303 else words(answer.text)


def words(page: str) -> str:
    """The text of a page's content, or of a piece of one, with single spaces."""
    content = page.partition('<main id="main">')[2].partition("</main>")[0] or page
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", content)).split())


def older(page: str) -> str | None:
    """Where the link to older rows leads."""
    found = re.search(r'rel="next" href="([^"]*)"', page)
    return None if found is None else html.unescape(found[1])
