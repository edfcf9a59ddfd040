"""What goes wrong during a soak: workers killed, frozen, told to leave; a server restarted, its scripts forgotten, its
line cut; pauses, dead letters requeued. Each strike is a line of the ledger, written for the judge.
"""

import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
import psutil
from tests.faults.processes import Fleet, Process
from tests.faults.proxy import Proxy

from surefoot import Queue, StoreError

PLAIN: Final = 3
SUPERVISED: Final = 2


class Pace(msgspec.Struct, frozen=True):
    """How often each fault comes: from, to, in seconds. `lease`: that of the workers."""

    lease: float = 1.0
    kill: tuple[float, float] = (0.3, 2.0)
    freeze: tuple[float, float] = (4.0, 8.0)
    leave: tuple[float, float] = (5.0, 10.0)
    pause: tuple[float, float] = (10.0, 20.0)
    requeue: tuple[float, float] = (4.0, 8.0)
    restart: tuple[float, float] = (20.0, 40.0)
    forget: tuple[float, float] = (5.0, 15.0)
    cut: tuple[float, float] = (3.0, 6.0)
    partition: tuple[float, float] = (20.0, 40.0)


class Trouble:
    """Keeps the workers of a soak running and strikes them, and what they stand on, by the dice.

    `queue` talks to the store without the proxy. One worker, `steady`, is never struck: its memory is measured.
    """

    def __init__(self, fleet: "Crew", queue: Queue, proxy: Proxy | None, pace: Pace, dice: random.Random) -> None:
        self._fleet = fleet
        self._queue = queue
        self._proxy = proxy
        self._pace = pace
        self._dice = dice
        self._frozen: dict[int, tuple[Process, float, float]] = {}
        self._leaving: set[int] = set()
        self._paused: float | None = None
        self._cut: float | None = None
        self._ends: dict[str, float] = {}
        self.made = dict.fromkeys(("kills", "freezes", "leaves", "pauses", "requeues"), 0)
        self.crew: list[Process] = []
        self.steady = fleet.start_worker()
        self.supervisor = fleet.supervisor()
        acts: dict[str, Callable[[], None]] = {
            "kill": self._kill, "freeze": self._freeze, "leave": self._leave, "pause": self._pause,
            "requeue": self._requeue,
        }  # fmt: skip
        if fleet.server is not None:
            acts |= {"restart": self._restart, "forget": self._forget}
            self.made |= {"restarts": 0, "script flushes": 0}
        if proxy is not None:
            acts |= {"cut": self._cut_one, "partition": self._partition}
            self.made |= {"cuts": 0, "partitions": 0}
        self._acts = acts
        self._next = {name: self._later(name) for name in acts}

    def _later(self, name: str) -> float:
        return time.monotonic() + self._dice.uniform(*getattr(self._pace, name))

    # --- turns ---

    def turn(self) -> None:
        """Whatever is due now."""
        self.mend()
        self._go_on()
        now = time.monotonic()
        for name, at in self._next.items():
            if at <= now:
                with suppress(StoreError, psutil.NoSuchProcess):
                    self._acts[name]()
                self._next[name] = self._later(name)

    def mend(self) -> None:
        """Who died or left is replaced."""
        self.crew = [one for one in self.crew if one.poll() is None]
        while len(self.crew) < PLAIN:
            self.crew.append(self._fleet.start_worker())
        if self.supervisor.poll() is not None:
            self.supervisor = self._fleet.supervisor()

    def calm(self) -> None:
        """The end of all faults."""
        self._go_on(at_once=True)
        if self._proxy is not None:
            self._proxy.heal()
        self.mend()

    def _go_on(self, *, at_once: bool = False) -> None:
        """Who has been frozen, held or cut for long enough goes on."""
        now = time.monotonic()
        for pid, (process, began, until) in list(self._frozen.items()):
            if at_once or now >= until:
                self._fleet.thaw(process)
                self._tell("freeze", began, pid)
                del self._frozen[pid]
        if self._cut is not None and self._proxy is not None and (at_once or now >= self._ends["partition"]):
            self._proxy.heal()
            self._tell("cut", self._cut)
            self._cut = None
        if self._paused is not None and (at_once or now >= self._ends["pause"]):
            with suppress(StoreError):
                self._queue.resume_sync()
                self._tell("pause", self._paused)
                self._paused = None

    def _tell(self, how: str, began: float, victim: int | None = None) -> None:
        self._fleet.ledger.write("strike", how=how, began=began, ended=time.time(), victim=victim)

    # --- workers ---

    def _awake(self) -> list[Process]:
        return [one for one in self.crew if one.pid not in self._frozen and one.poll() is None]

    def _kill(self) -> None:
        """Mostly a worker, sometimes a supervisor's child, seldom the supervisor, whose children end by themselves.

        Who has not begun to serve is left alone: on a busy machine nobody would ever run a job.
        """
        serving = set(self._fleet.ledger.pids().values())
        children = [child.pid for child in psutil.Process(self.supervisor.pid).children() if child.pid in serving]
        awake = [one.pid for one in self._awake() if one.pid in serving]
        whom = self._dice.random()
        if not awake and not children:
            return
        self.made["kills"] += 1
        if awake and (whom < 0.75 or not children):
            self._strike(self._dice.choice(awake))
        elif whom < 0.95:
            self._strike(self._dice.choice(children))
        else:
            self._strike(self.supervisor.pid)
            for pid in children:
                self._tell("kill", time.time(), pid)

    def _strike(self, pid: int) -> None:
        began = time.time()
        psutil.Process(pid).send_signal(signal.SIGKILL)
        self._tell("kill", began, pid)
        for one in (*self.crew, self.supervisor):
            if one.pid == pid:
                one.wait()  # until then it seems to live, and might be chosen for something else

    def _freeze(self) -> None:
        """Longer than its lease. One that leaves would be gone before it stands."""
        if len(awake := [one for one in self._awake() if one.pid not in self._leaving]) > 1:
            one = self._dice.choice(awake)
            began = time.time()
            self._fleet.freeze(one)
            long_s = self._pace.lease * self._dice.uniform(1.3, 2.5)
            self._frozen[one.pid] = (one, began, time.monotonic() + long_s)
            self.made["freezes"] += 1

    def _leave(self) -> None:
        if awake := self._awake():
            one = self._dice.choice(awake)
            one.send_signal(signal.SIGTERM)
            self._leaving.add(one.pid)
            self._tell("leave", time.time(), one.pid)
            self.made["leaves"] += 1

    # --- the queue ---

    def _pause(self) -> None:
        if self._paused is None:
            self._queue.pause_sync("soak")
            self._paused, self._ends["pause"] = time.time(), time.monotonic() + self._dice.uniform(0.3, 1.5)
            self.made["pauses"] += 1

    def _requeue(self) -> None:
        """Half of the newest dead letters."""
        letters = [job.id for job in self._queue.dead.find_sync(limit=20) if self._dice.random() < 0.5]
        for id in letters:
            self._fleet.ledger.write("requeued", id)
        if letters:
            self.made["requeues"] += self._queue.dead.requeue_sync(*letters)

    # --- the server and the line ---

    def _restart(self) -> None:
        """kill -9, and a new start on what it kept."""
        assert self._fleet.server is not None
        began = time.time()
        self._fleet.server.kill()
        self._fleet.server.again()
        self._tell("restart", began)
        self.made["restarts"] += 1

    def _forget(self) -> None:
        assert self._fleet.server is not None
        self._fleet.server.say("SCRIPT", "FLUSH")
        self.made["script flushes"] += 1

    def _cut_one(self) -> None:
        """One connection, or the next reply of a script, or all connections."""
        assert self._proxy is not None
        match self._dice.choice(("one", "reply", "all")):
            case "one":
                self._proxy.cut_one(self._dice)
            case "reply":
                self._proxy.drop_reply(b"EVALSHA")
            case _:
                self._proxy.cut_all(reset=True)
        self.made["cuts"] += 1

    def _partition(self) -> None:
        """Nobody reaches the server for some time, sometimes for longer than a lease."""
        assert self._proxy is not None
        if self._cut is None:
            self._proxy.refuse(reset=True)
            self._cut = time.time()
            self._ends["partition"] = time.monotonic() + self._pace.lease * self._dice.uniform(0.3, 1.5)
            self.made["partitions"] += 1


class Crew(Fleet):
    """The processes of a soak; what they printed is searched for what went wrong."""

    def start_worker(self) -> Process:
        """One more worker."""
        return self.run("tests.soak.app")

    def supervisor(self) -> Process:
        """Several worker processes as one."""
        return self.run(
            "surefoot.cli.main", "worker", "tests.soak.app:worker", "--processes", str(SUPERVISED),
            "--log-level", "warning",
        )  # fmt: skip

    def produce(self, way: str, rate: float) -> Process:
        """One producer."""
        return self.run("tests.soak.producer", way, str(rate))

    def tracebacks(self) -> list[str]:
        """Whatever was raised and not caught, or logged with its stack."""
        return [text for path in sorted(self.folder.glob("process-*.log")) if "Traceback" in (text := path.read_text())]
