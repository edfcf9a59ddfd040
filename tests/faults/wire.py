"""Every place where the wire can be cut under a scripted scenario, and the scenario's run under each. Knows no jobs."""

from collections.abc import Callable, Iterator
from typing import Generic, Literal, TypeAlias, TypeVar

import msgspec
from tests.faults.proxy import Proxy
from tests.faults.proxy_faults import Fault

T = TypeVar("T")

Run: TypeAlias = Callable[[str], T]
"""A scenario: takes a URL, opens and closes its own connections, gets over one that is cut, returns a summary.

Every run sends the same commands if nobody disturbs it; it starts by itself from an empty store or with new names.
"""


class Cut(msgspec.Struct, frozen=True):
    """One cut: before a command, instead of its reply, or right behind a byte of one direction. The first is 1."""

    kind: Literal["before command", "instead of reply", "behind byte to server", "behind byte to client"]
    place: int

    def __str__(self) -> str:
        return f"{self.kind} {self.place}"

    def arm(self, proxy: Proxy, *, reset: bool = False) -> Fault:
        """Have a fresh proxy make this cut."""
        match self.kind:
            case "before command":
                return proxy.cut_before(nth=self.place, reset=reset)
            case "instead of reply":
                return proxy.drop_reply(nth=self.place, reset=reset)
            case "behind byte to server":
                return proxy.cut_after_bytes(self.place, "to_server", reset=reset)
            case "behind byte to client":
                return proxy.cut_after_bytes(self.place, "to_client", reset=reset)


class Calm(msgspec.Struct, Generic[T], frozen=True):
    """What a run without faults showed: its summary, and how much passed."""

    summary: T
    commands: int
    bytes_to_server: int
    bytes_to_client: int

    def cuts(self, *, step: int = 1, first: int = 1) -> list[Cut]:
        """Before and after all commands, then behind each `step`-th byte of both directions from `first` on."""
        commands = range(1, self.commands + 1)
        return [
            *(Cut("before command", place) for place in commands),
            *(Cut("instead of reply", place) for place in commands),
            *(Cut("behind byte to server", place) for place in range(first, self.bytes_to_server + 1, step)),
            *(Cut("behind byte to client", place) for place in range(first, self.bytes_to_client + 1, step)),
        ]


class Outcome(msgspec.Struct, Generic[T], frozen=True):
    """What a run under one cut gave, beside what it gives when calm. `struck`: whether the run came to the cut."""

    cut: Cut
    summary: T
    calm: T
    struck: bool


def undisturbed(run: Run[T], target_port: int) -> Calm[T]:
    """The run without faults."""
    with Proxy(target_port) as proxy:
        summary = run(proxy.url())
        commands, seen = proxy.counts().total(), dict(proxy.bytes_seen)
    return Calm(summary, commands, seen["to_server"], seen["to_client"])


def under(cut: Cut, run: Run[T], target_port: int, *, reset: bool = False) -> tuple[T, bool]:
    """The summary of a run under one cut, and whether the run came to it. What it raises names the cut."""
    with Proxy(target_port) as proxy:
        fault = cut.arm(proxy, reset=reset)
        try:
            summary = run(proxy.url())
        except BaseException as error:
            error.add_note(f"under a cut {cut}")
            raise
        return summary, fault.struck == 1


def every_cut(
    run: Run[T], target_port: int, *, step: int = 1, first: int = 1, reset: bool = False
) -> Iterator[Outcome[T]]:
    """Run a scenario once without faults, then once under every cut of `Calm.cuts`."""
    calm = undisturbed(run, target_port)
    for cut in calm.cuts(step=step, first=first):
        summary, struck = under(cut, run, target_port, reset=reset)
        yield Outcome(cut, summary, calm.summary, struck)
