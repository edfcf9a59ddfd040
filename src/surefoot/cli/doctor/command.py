"""The command doctor: which stores and queues are meant, the checks in their order, the exit code."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from surefoot import chance
from surefoot.cli.doctor.findings import Finding, fail, ok, tell, warn
from surefoot.cli.exits import NO, STORE, StoreFault
from surefoot.cli.options import scoped
from surefoot.cli.output import Output, counted
from surefoot.cli.settings import settings_of
from surefoot.cli.target import Scope, chosen, load, queues_of, stored_names
from surefoot.core.errors import ConfigError, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from surefoot.brokers.broker import Broker
    from surefoot.cli.doctor.queues import Ward
    from surefoot.client.queue import Queue

_EXAMPLES: Final = """\b
Examples:
  surefoot doctor                              the store and the queues of SUREFOOT_APP, or of SUREFOOT_URL
  surefoot doctor app:mail
  surefoot doctor --url redis://localhost:6379/0 --json
  surefoot doctor app --repair                 put right what an eviction or a careless hand broke

\b
One line a check: ok, warn or fail, each with the way out. Nothing is changed without --repair.
Exit codes: 0 ok or warn, 1 a fail, 4 the store cannot be reached.
"""


@click.command("doctor", epilog=_EXAMPLES, short_help="What is not fit, and the way out.")
@click.option("--repair", is_flag=True, help="Put broken jobs and keys right. Loses nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before a repair.")
@scoped(target=True)
def doctor(out: Output, scope: Scope, *, repair: bool, yes: bool) -> int:
    """Look at a store and its queues: what is not fit for jobs, and the way out of it."""
    told: list[Finding] = []
    code = 0
    for patient in _patients(out, scope, told):
        code = max(code, patient.examine(repair=repair, yes=yes))
        told += patient.told
    unreadable = any(finding.check == "url" and finding.result == "fail" for finding in told)
    bad = {result: sum(finding.result == result for finding in told) for result in ("warn", "fail")}
    if not out.json:
        out.say(f"{counted(len(told), 'check')}: {bad['fail']:,} failed, {counted(bad['warn'], 'warning')}.")
    return STORE if unreadable else code


def _patients(out: Output, scope: Scope, told: list[Finding]) -> "list[_Patient]":
    """The stores that are meant, each with its queues; a URL that cannot be read is a finding."""
    target = scope.application
    try:
        if target is None:
            return [_Patient(out, _door(), None, scope.names, "")]
        folder = settings_of(click.get_current_context()).folder
        loaded = load(target, folder=folder, verbose=out.verbose)
        queues = chosen(queues_of(loaded), scope.names, f"'{target}'")
        stores: dict[int, list[Queue]] = {}
        for queue in queues:
            stores.setdefault(id(queue.broker), []).append(queue)
        return [_Patient(out, some[0], some, scope.names, target) for some in stores.values()]
    except (ConfigError, StoreFault) as unreadable:
        told += tell(out, [fail("url", str(unreadable), None)])
        return []


def _door() -> "Queue":
    """A queue of the store that the URL names, for the way to it."""
    from surefoot.client.queue import Queue

    url = click.get_current_context().params.get("url") or os.environ.get("SUREFOOT_URL")
    if not url:
        raise click.UsageError(
            "this needs an application or a store: name the application (surefoot doctor module:queue), or set "
            "SUREFOOT_APP or SUREFOOT_URL, or give --url."
        )
    door = Queue(url)
    _ = door.broker  # reads the URL
    return door


class _Patient:
    """One store and its queues. `queues` None: those that the store holds, or those of `names`."""

    def __init__(
        self, out: Output, door: "Queue", queues: "list[Queue] | None", names: tuple[str, ...], target: str
    ) -> None:
        self._out = out
        self._door = door
        self._queues = queues
        self._names = names
        self._target = target
        self.told: list[Finding] = []

    def examine(self, *, repair: bool, yes: bool) -> int:
        """All checks; the exit code."""
        try:
            self._tell(self._store())
        except StoreUnavailable as away:
            self._tell([fail("reach", _sentence(str(away)), "Is it running, and is the URL right?")])
            return STORE
        if any(finding.check == "file" and not finding.details.get("exists") for finding in self.told):
            return self._code(STORE if self._queues is None else 0)
        try:
            wards = self._wards()
        except StoreError as unfit:
            if not any(finding.result == "fail" for finding in self.told):
                self._tell([fail("queues", str(unfit), None)])
            return self._code()
        damaged = any(finding.check == "soundness" and finding.result == "fail" for finding in self.told)
        if repair and damaged:
            self._tell([warn("repair", "nothing is repaired in a damaged file.", "Read out the rest of it first.")])
        return self._repair(wards, yes=yes) if repair and not damaged else self._code()

    def _tell(self, findings: Sequence[Finding] | Iterator[Finding]) -> None:
        self.told += tell(self._out, findings)

    def _code(self, least: int = 0) -> int:
        return max(least, NO if any(finding.result == "fail" for finding in self.told) else 0)

    # --- the store ---

    def _store(self) -> Iterator[Finding]:
        broker = self._door.broker
        namespace = self._door.full_name.partition(":")[0]
        first = ok("url", f"{broker.address}, namespace {namespace}.", url=broker.address, namespace=namespace)
        if broker.address.startswith("sqlite"):
            yield first
            yield from _file_findings(broker)
        else:
            findings = _server_findings(broker, namespace)
            second = next(findings)  # a server that is away is one line
            yield first
            yield second
            yield from findings

    # --- the queues ---

    def _wards(self) -> "list[Ward]":
        from surefoot.cli.doctor.queues import judge_queues, met, ownerless

        queues = self._found()
        if not queues:
            self._tell([ok("queues", "there is no queue in this store yet.")])
            return []
        wards, strays = ownerless([met(queue) for queue in queues], one=self._only_one(queues))
        self._tell(judge_queues(wards, self._target))
        if strays is not None:
            self._tell([strays])
        return wards

    def _found(self) -> "list[Queue]":
        from surefoot.client.queue import Queue

        if self._queues is not None:
            return self._queues
        url = click.get_current_context().params.get("url") or os.environ["SUREFOOT_URL"]
        if not self._names:
            return [Queue(url, name=name) for name in stored_names(url)]
        return [Queue(url, name=name) for name in self._names]

    def _only_one(self, queues: "Sequence[Queue]") -> bool:
        """Whether what does not say its queue can only be of this one: it was named, or there is no other."""
        from surefoot.brokers.broker import Queues

        if len(queues) > 1 or not queues[0].broker.address.startswith("sqlite"):
            return not queues[0].broker.address.startswith("sqlite")
        [names] = queues[0].sessions.ask_sync([Queues("")])
        return bool(self._names) or len([name for name in names if name]) <= 1

    def _repair(self, wards: "Sequence[Ward]", *, yes: bool) -> int:
        """Put right, then look again: what is whole now counts no more."""
        from surefoot.cli.doctor.mending import mend
        from surefoot.cli.doctor.queues import broken_words, search

        self._tell(mend(wards, yes=yes))
        names = [ward.queue.name for ward in wards if broken_words(ward.damage)]
        still = [ward.queue.name for ward in wards if ward.queue.name in names and broken_words(search(ward.queue))]
        if still:
            self._tell([fail("repair", f"still broken: {', '.join(still)}.", "Run it again.", queues=still)])
        mended = [one for one in self.told if one.check == "orphans" and one.details.get("queue") in names]
        return NO if any(one.result == "fail" and one not in mended for one in self.told) else 0


def _server_findings(broker: "Broker", namespace: str) -> Iterator[Finding]:
    from surefoot.brokers.broker import NoAnswer
    from surefoot.brokers.redis.broker import RedisBroker
    from surefoot.brokers.redis.exam import examine
    from surefoot.cli.doctor.server import judge_server

    if isinstance(broker, RedisBroker):
        try:
            facts = examine(broker.server, namespace, chance.token(4).hex())
        except NoAnswer as later:
            raise StoreUnavailable(str(later) or f"no answer from {broker.address}") from None
        yield from judge_server(facts, namespace)


def _file_findings(broker: "Broker") -> Iterator[Finding]:
    from surefoot.brokers.connect import MEMORY
    from surefoot.brokers.sqlite.broker import SqliteBroker
    from surefoot.brokers.sqlite.exam import examine
    from surefoot.cli.doctor.file import judge_file

    if not isinstance(broker, SqliteBroker):
        return
    if broker.path == MEMORY:
        yield warn("file", "in memory: its jobs are gone with their process.", "Use a file or a server.", exists=True)
    else:
        yield from judge_file(examine(broker.path, chance.token(4).hex()), broker.path)


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
