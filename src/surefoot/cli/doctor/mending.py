"""What --repair does: asks, puts broken jobs and keys right by the store's own verb, says what became of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from surefoot.brokers.broker import VERB_LIMIT, Repair
from surefoot.cli.bulk import ask
from surefoot.cli.doctor.findings import Finding, ok
from surefoot.cli.doctor.queues import Ward

if TYPE_CHECKING:
    from surefoot.brokers.answers import RepairWord

_WORDS: Final = {
    "buried": ("job without a body is a dead letter now", "jobs without a body are dead letters now"),
    "filled": ("job that was over has an empty body now", "jobs that were over have an empty body now"),
    "returned": ("body is a pending job again", "bodies are pending jobs again"),
    "dead": ("body is a dead letter again", "bodies are dead letters again"),
    "kept": ("body is a finished job again", "bodies are finished jobs again"),
    "freed": ("key is free", "keys are free"),
    "sound": ("needed nothing any more", "needed nothing any more"),
}


def mend(wards: Sequence[Ward], *, yes: bool) -> Iterator[Finding]:
    """Put right what was found broken, after a question; a finding for each queue."""
    counts = {ward.queue: len(_ids(ward)) + len(ward.damage.keys) for ward in wards}
    if not any(counts.values()):
        yield ok("repair", "there is nothing to repair.")
        return
    if not yes:
        ask(counts, "broken record", "put right")
    for ward in wards:
        if counts[ward.queue]:
            done = _mended(ward)
            said = ", ".join(f"{count:,} {_WORDS[word][count > 1]}" for word, count in done.items())
            yield ok("repair", f"queue '{ward.queue.name}': {said}.", queue=ward.queue.name, done=dict(done))


def _ids(ward: Ward) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*ward.damage.lost, *ward.damage.strays)))


def _mended(ward: Ward) -> "Counter[RepairWord]":
    """Ids before keys: a holder that comes back keeps its key."""
    name, done = ward.queue.full_name, Counter["RepairWord"]()
    ids, keys = _ids(ward), ward.damage.keys
    verbs = [Repair(name, ids=ids[first : first + VERB_LIMIT]) for first in range(0, len(ids), VERB_LIMIT)]
    verbs += [Repair(name, keys=keys[first : first + VERB_LIMIT]) for first in range(0, len(keys), VERB_LIMIT)]
    for verb in verbs:
        [words] = ward.queue.sessions.ask_sync([verb])
        done.update(words)
    return done
