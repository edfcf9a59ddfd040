"""What the bare loops of all stores share: the job as bytes, and the coroutine that runs one. Knows no store."""

import asyncio
import time
from typing import Any, Generic, TypeVar

import msgspec

Id = TypeVar("Id")


class Envelope(msgspec.Struct, frozen=True):
    """The job as the bare loop stores it."""

    id: int | str
    task: str
    payload: msgspec.Raw
    created_ms: int


class Arguments(msgspec.Struct):
    """The arguments of the benchmark's handler."""

    n: int
    to: str


_decode = msgspec.json.Decoder(Envelope).decode
_load = msgspec.json.Decoder(Arguments).decode


def envelope(id: int | str, n: int) -> bytes:
    """A job as bytes."""
    payload = msgspec.Raw(msgspec.json.encode(Arguments(n, "user@example.com")))
    return msgspec.json.encode(Envelope(id, "noop", payload, time.time_ns() // 1_000_000))


class Runner(Generic[Id]):
    """Runs jobs as tasks; what finished waits in `done`, with its token, for the next turn's settle."""

    def __init__(self) -> None:
        self.done: list[tuple[Id, str]] = []
        self.running = 0
        self.bell = asyncio.Event()
        self.begun = 0.0
        self._loop = asyncio.get_running_loop()
        self._keep: set[asyncio.Task[None]] = set()

    def start(self, id: Id, body: bytes, token: str) -> None:
        """One task for this job."""
        task = self._loop.create_task(self._run(id, body, token))
        self._keep.add(task)
        task.add_done_callback(self._keep.discard)

    async def _run(self, id: Id, body: bytes, token: str) -> None:
        arguments = _load(_decode(body).payload)
        await self.noop(n=arguments.n, to=arguments.to)
        self.done.append((id, token))
        self.running -= 1
        self.bell.set()

    async def noop(self, n: int, to: str) -> None:
        """The handler."""
        if not self.begun:
            self.begun = time.perf_counter()


async def enqueue(jobs: int, how: str, put: Any) -> float:
    """Seconds to store jobs with `await put(numbers)`: `many` (500 a call), `together` (100 awaited at once), `one`."""
    begun = time.perf_counter()
    if how == "many":
        for start in range(0, jobs, 500):
            await put(range(start, min(start + 500, jobs)))
    elif how == "together":
        numbers = iter(range(jobs))

        async def client() -> None:
            for n in numbers:
                await put((n,))

        await asyncio.gather(*(client() for _ in range(100)))
    else:
        for n in range(jobs):
            await put((n,))
    return time.perf_counter() - begun
