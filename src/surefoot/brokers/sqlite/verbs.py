"""Which function runs which verb. The one table; a new verb is a new row."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from surefoot.brokers.broker import (
    READS,
    Amend,
    Beat,
    Call,
    Cancel,
    Changes,
    Claim,
    Configure,
    Delete,
    Extend,
    Find,
    Get,
    Move,
    Orphans,
    Prune,
    Put,
    Queues,
    Refused,
    Repair,
    Requeue,
    Settle,
    Stats,
    Tick,
    Verb,
)
from surefoot.brokers.sqlite.audit import changes
from surefoot.brokers.sqlite.claim import claim
from surefoot.brokers.sqlite.house import beat, configure, prune
from surefoot.brokers.sqlite.orphans import orphans, repair
from surefoot.brokers.sqlite.put import put, tick
from surefoot.brokers.sqlite.read import find, get, queues, stats
from surefoot.brokers.sqlite.settle import extend, settle
from surefoot.brokers.sqlite.tx import Tx
from surefoot.brokers.sqlite.waiting import amend, cancel, delete, move, requeue
from surefoot.core.errors import StoreUnsuitable, UsageError

VERBS: Final[Mapping[type[Any], Callable[[Tx, Any], Any]]] = MappingProxyType(
    {
        Put: put,
        Claim: claim,
        Settle: settle,
        Extend: extend,
        Cancel: cancel,
        Requeue: requeue,
        Move: move,
        Amend: amend,
        Delete: delete,
        Configure: configure,
        Tick: tick,
        Beat: beat,
        Prune: prune,
        Repair: repair,
        Get: get,
        Find: find,
        Stats: stats,
        Changes: changes,
        Orphans: orphans,
        Queues: queues,
    }
)


def answer(tx: Tx, verb: Verb[Any]) -> Any:
    """Run one verb. What it refuses before it writes is its answer; any other exception may have left half of it."""
    try:
        if type(verb) is not Queues:
            tx.house(verb.queue)
        return VERBS[type(verb)](tx, verb)
    except (Refused, StoreUnsuitable, UsageError) as refusal:
        return refusal


def only_reads(call: Call) -> bool:
    """Whether a call needs no writer."""
    return all(isinstance(verb, READS) for verb in call.verbs)


def weight(call: Call) -> int:
    """About how many rows a call touches."""
    rows = 0
    for verb in call.verbs:
        match verb:
            case Put(jobs=items) | Settle(transitions=items) | Extend(leases=items):
                rows += len(items)
            case Repair(ids=ids, keys=keys):
                rows += len(ids) + len(keys)
            case Claim(want=want):
                rows += want
            case Cancel(ids=ids) | Requeue(ids=ids) | Move(ids=ids) | Delete(ids=ids):
                rows += len(ids)
            case _:
                rows += 1
    return rows
