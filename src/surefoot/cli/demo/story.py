"""The story: enqueue, work, fail, kill, drain, count. It watches by the public interface; the ledger is its witness.

Each step holds what it promised against what was seen; a promise that was not seen fails the story.
"""

import asyncio
import csv
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from PIL import Image

from surefoot import Draft, JobFailed, JobHandle, State, clock
from surefoot.cli.demo.account import judge, summary
from surefoot.cli.demo.app import (
    PATIENT,
    Sale,
    ask_a_silent_partner,
    charge_card,
    encode_video,
    generate_report,
    look_after_stock,
    process_image,
    remind,
    send_email,
    shop,
)
from surefoot.cli.demo.crew import Crew
from surefoot.cli.demo.ledger import Ledger
from surefoot.cli.demo.mailbox import Mailbox
from surefoot.cli.demo.show import Show, Step

R = TypeVar("R")
T = TypeVar("T")

PATIENCE_S: Final = 60.0
"""How long any single thing is waited for before the story says that it did not come."""
RECOVERY_S: Final = 15.0
ON_TIME_S: Final = 5.0
DRAIN_S: Final = 2.0
HISTORY_MIN: Final = 60


class Pace(NamedTuple):
    """How long leases and the long jobs are, in seconds."""

    lease_s: float
    video_s: float


NORMAL: Final = Pace(lease_s=10, video_s=4)  # the default lease: the recovery that is shown is the one everybody gets
FAST: Final = Pace(lease_s=1, video_s=3)


class Unseen(Exception):
    """Something that the story promises did not happen."""

    def __init__(self, expected: str, seen: object) -> None:
        super().__init__(f"expected {expected}; seen: {seen}")


class Story:
    """Tells the whole of it in phases; the steps of one phase happen at the same time."""

    def __init__(self, folder: Path, pace: Pace, show: Show, crew: Crew, mailbox: Mailbox, ledger: Ledger) -> None:
        self._folder = folder
        self._pace = pace
        self._show = show
        self._crew = crew
        self._mailbox = mailbox
        self._ledger = ledger
        self._accepted: list[str] = []

    async def tell(self) -> bool:
        """Whether everything was seen."""
        phases: list[dict[str, Callable[[Step], Awaitable[str]]]] = [
            {"two workers": self._workers},
            {
                "ten mails": self._mails, "four pictures": self._pictures, "a report": self._report,
                "a delayed job": self._delayed, "a recurring job": self._recurring, "a failing job": self._failing,
                "a timeout": self._timeout,
            },
            {"kill -9": self._kill},
            {"SIGTERM": self._drain},
            {"the end": self._leave},
        ]  # fmt: skip
        for phase in phases:
            seen = await asyncio.gather(*(self._step(title, act) for title, act in phase.items()))
            if not all(seen):
                return False
        return await self._count()

    async def _step(self, title: str, act: Callable[[Step], Awaitable[str]]) -> bool:
        step = self._show.step(title)
        try:
            step.end("done", await act(step))
        except Exception as error:
            seen = str(error) if isinstance(error, Unseen) else f"{type(error).__name__}: {error}"
            step.end("failed", seen)
        self._show.ended(step)
        return step.state == "done"

    # --- the steps ---

    async def _workers(self, step: Step) -> str:
        for _ in range(2):
            await self._crew.start()

        async def alive() -> bool:
            return set(self._crew.pids) <= {worker.pid for worker in await shop.workers()}

        await self._until(alive, "both workers to serve", step)
        return "processes " + " and ".join(map(str, self._crew.pids))

    async def _mails(self, step: Step) -> str:
        readers = [f"reader{number}@example.com" for number in range(10)]
        handles = await self._enqueue([send_email.draft(reader, subject="Your order") for reader in readers])
        await self._results(handles, step)
        ids = [mail["Message-ID"] for mail in self._mailbox.mails]
        expect("one mail for each reader", sorted(readers), sorted(mail["To"] for mail in self._mailbox.mails))
        expect("the job's id in each mail", {f"<{handle.id}@shop.example.com>" for handle in handles}, set(ids))
        return f"{len(ids)} of {len(readers)} arrived over SMTP"

    async def _pictures(self, step: Step) -> str:
        colours = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200), "grey": (90, 90, 90)}
        for name, colour in colours.items():
            picture = Image.new("RGB", (1280, 960), colour)
            picture.paste((255, 255, 255), (0, 480, 1280, 960))
            picture.save(self._folder / f"{name}.png")
        handles = await self._enqueue([process_image.draft(f"{name}.png") for name in colours])
        await self._results(handles, step)
        for name, (red, green, blue) in colours.items():
            luma = round((red * 299 + green * 587 + blue * 114) / 1000)
            with Image.open(self._folder / f"small-{name}.png") as small:
                expect(f"{name}.png smaller", (320, 240), small.size)
                expect(
                    f"{name}.png without colour", [luma, 255], [small.getpixel((160, 60)), small.getpixel((160, 180))]
                )
        return f"{len(colours)} of {len(colours)} are smaller and without colour: every pixel looked at is right"

    async def _report(self, step: Step) -> str:
        sales = [Sale(f"product {number}", 100 * number) for number in range(1, 251)]
        handles = await self._enqueue([generate_report.draft("november", sales)])
        (total,) = await self._results(handles, step)
        with (self._folder / "november.csv").open(newline="") as file:
            rows = list(csv.reader(file))
        expect("the report's last line", ["total", str(sum(sale.cents for sale in sales))], rows[-1])
        return f"november.csv has {len(rows)} lines, total {total / 100:,.2f}"

    async def _delayed(self, step: Step) -> str:
        handles = await self._enqueue([remind.options(delay=3).draft("Ada")])
        await self._results(handles, step)
        job = await handles[0].job()
        if job is None or job.started_at is None:
            raise Unseen("a job with its times", job)
        late = (job.started_at - job.due_at).total_seconds()
        if not 0 <= late <= ON_TIME_S:
            raise Unseen("a start when it was due", f"{late:.3f} s after it")
        return f"due after 3 s, started {late * 1000:.0f} ms after that"

    async def _recurring(self, step: Step) -> str:
        async def thrice() -> bool:
            jobs = await shop.find(state="completed", task=look_after_stock.name)
            step.say(f"{len(jobs)} ticks so far")
            return len(jobs) >= 3

        await self._until(thrice, "three ticks", step)
        jobs = await shop.find(state="completed", task=look_after_stock.name)
        runs = self._ledger.runs()
        expect("one run of each tick", [1] * len(jobs), [len(runs[job.id]) for job in jobs])
        return f"{len(jobs)} ticks, one each 2 s; both workers know it, each tick ran once"

    async def _failing(self, step: Step) -> str:
        (handle,) = await self._enqueue([charge_card.draft("order 7")])

        async def given_up() -> bool:
            job = await handle.job()
            if job is not None and job.error is not None:
                step.say(f"failed {job.failures} of {job.max_attempts} times: {job.error.message}")
            return job is not None and job.state == "dead"

        await self._until(given_up, "the dead letters to have it", step)
        waits = self._waits(handle.id)
        if len(waits) != len(PATIENT.delays()) or any(
            wait < least for wait, (least, _) in zip(waits, PATIENT.delays(), strict=False)
        ):
            raise Unseen(f"retries after (least, most) {PATIENT.delays()} s", waits)
        letters = await shop.dead.find(task=charge_card.name)
        expect("the dead letter", [(handle.id, "exhausted")], [(letter.id, letter.reason) for letter in letters])
        (self._folder / "provider-is-up").touch()
        expect("one letter requeued", 1, await shop.dead.requeue(handle.id))
        expect("the work done", "order 7 charged on attempt 4", await handle.result(timeout=PATIENCE_S))
        tried = " and ".join(f"{wait:.1f} s" for wait in waits)
        return f"tried again after {tried}, dead after 3 failures, mended, requeued: done on attempt 4"

    async def _timeout(self, step: Step) -> str:
        (handle,) = await self._enqueue([ask_a_silent_partner.draft()])
        try:
            answer = await handle.result(timeout=PATIENCE_S)
        except JobFailed as failed:
            if not failed.error.matches(TimeoutError):
                raise Unseen("a timeout", failed.error) from None
            return f"stopped: {failed.error.message}; its dead letter waits for a decision"
        raise Unseen("no answer within 1 s", answer)

    async def _kill(self, step: Step) -> str:
        drafts = [encode_video.draft(f"film {number}", seconds=self._pace.video_s) for number in range(4)]
        handles = await self._enqueue(drafts)
        held = await self._running(handles, step)
        pid, jobs = max(held.items(), key=lambda item: len(item[1]))
        await clock.sleep(0.5)  # into the middle of their work
        killed_ms = clock.wall_ms()
        await self._crew.kill(pid)
        await self._crew.start()

        async def again() -> bool:
            runs = self._ledger.runs()
            back = [job for job in jobs if len(runs[job]) > 1]
            waited = (clock.wall_ms() - killed_ms) / 1000
            step.say(f"worker {pid} is gone for {waited:.0f} s; {len(back)} of its {len(jobs)} jobs run again")
            return len(back) == len(jobs)

        await self._until(again, "the jobs of the killed worker to run again", step)
        seconds = (max(self._ledger.runs()[job][1].started_ms for job in jobs) - killed_ms) / 1000
        if seconds > RECOVERY_S:
            raise Unseen(f"a recovery in {RECOVERY_S:g} s", f"{seconds:.1f} s")
        await self._results(handles, step)
        for job in [await shop.get(job) for job in jobs]:
            expect("a crash and no failure", (1, 0), job and (job.crashes, job.failures))
        return (
            f"worker {pid} killed in the middle of {len(jobs)} jobs: all ran again within {seconds:.1f} s and finished"
        )

    async def _drain(self, step: Step) -> str:
        lengths = [DRAIN_S / 2] * 3 + [DRAIN_S * 2]
        drafts = [encode_video.draft(f"clip {number}", seconds=length) for number, length in enumerate(lengths)]
        handles = await self._enqueue(drafts)
        held = await self._running(handles[-1:], step)
        (pid,) = held
        step.say(f"worker {pid} was told to leave")
        expect(f"exit code of worker {pid}", 0, await self._crew.drain(pid))
        await self._results(handles, step)
        runs = self._ledger.runs()
        jobs = [await handle.job() for handle in handles]
        expect("no failure counted", [0] * len(jobs), [job and job.failures for job in jobs])
        expect("the long job handed back once", 1, jobs[-1] and jobs[-1].interruptions)
        finished = [handle for handle in handles if [run.pid for run in runs[handle.id]] == [pid]]
        return (
            f"worker {pid} finished {len(finished)} jobs, handed back a long one uncharged and left with 0; "
            f"worker {runs[handles[-1].id][-1].pid} did that one"
        )

    async def _leave(self, step: Step) -> str:
        await shop.pause_cron(look_after_stock.name)

        async def quiet() -> bool:
            stats = await shop.stats()
            waiting = stats.scheduled + stats.pending + stats.parked + stats.processing
            step.say(f"{waiting} jobs left")
            return waiting == 0

        await self._until(quiet, "no job left", step)
        pids = self._crew.pids
        codes = await asyncio.gather(*(self._crew.drain(pid) for pid in pids))
        expect("exit codes of the last workers", [0] * len(pids), codes)
        return "the last workers left with 0"

    async def _count(self) -> bool:
        ticks = await shop.find(task=look_after_stock.name, limit=1000)
        ids = [*self._accepted, *(job.id for job in ticks)]
        states: dict[str, State | None] = {}
        for id in ids:
            job = await shop.get(id)
            states[id] = None if job is None else job.state
        told = sum(minute.enqueued for minute in await shop.history(HISTORY_MIN))
        account = judge(states, self._ledger.runs(), killed=self._crew.killed, drained=self._crew.drained, told=told)
        faults = list(account.faults)
        if account.ended.get("dead") != 1:
            faults.append("expected 1 dead letter, of the job that was timed out")
        last = [f"FAILED {fault}" for fault in faults] or ["Nothing was lost, and nothing ran twice without a cause."]
        for line in ["", *summary(account, ticks=len(ticks)), "", *last]:
            self._show.say(line)
        return not faults

    # --- what they have in common ---

    async def _enqueue(self, drafts: Iterable[Draft[R]]) -> list[JobHandle[R]]:
        handles = await shop.enqueue_many(drafts)
        self._accepted += [handle.id for handle in handles]
        return handles

    async def _results(self, handles: Sequence[JobHandle[R]], step: Step) -> list[R]:
        done = 0

        async def one(handle: JobHandle[R]) -> R:
            nonlocal done
            result = await handle.result(timeout=PATIENCE_S)
            done += 1
            step.say(f"{done} of {len(handles)} done")
            return result

        return await asyncio.gather(*map(one, handles))

    async def _running(self, handles: Sequence[JobHandle[Any]], step: Step) -> dict[int, list[str]]:
        """The jobs by the process that runs them, as soon as all have started."""
        wanted = {handle.id for handle in handles}
        held: dict[int, list[str]] = defaultdict(list)

        async def all_run() -> bool:
            jobs = [job for job in await shop.find(state="processing", task=encode_video.name) if job.id in wanted]
            pids = {worker.id: worker.pid for worker in await shop.workers()}
            held.clear()
            for job in jobs:
                if job.worker in pids:
                    held[pids[job.worker]].append(job.id)
            step.say(f"{len(jobs)} of {len(wanted)} running")
            return wanted == {id for ids in held.values() for id in ids} and wanted <= set(self._ledger.runs())

        await self._until(all_run, "all of them running", step)
        return held

    async def _until(self, seen: Callable[[], Awaitable[bool]], expected: str, step: Step) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not await seen():
                    left = self._crew.check()
                    if left is not None:
                        raise Unseen("every worker to go on", left)
                    await clock.sleep(0.05)
        except TimeoutError:
            raise Unseen(expected, f"{step.words or 'nothing'}, after {PATIENCE_S:g} s") from None

    def _waits(self, job: str) -> list[float]:
        """Seconds between the end of each run and the start of the next."""
        runs = self._ledger.runs()[job]
        return [(after.started_ms - (before.ended_ms or 0)) / 1000 for before, after in pairwise(runs)]


def expect(what: str, expected: object, seen: object) -> None:
    """One promise."""
    if expected != seen:
        raise Unseen(f"{what}: {expected}", seen)
