"""A producer as a process of its own: enqueues one job after the other and notes each that was accepted.

python -m tests.faults.producer [count] [task]      without a count until it is killed
"""

import itertools
import os
import sys
from pathlib import Path

from tests.faults.ledger import Ledger

from surefoot import Queue, SurefootError

queue = Queue(os.environ["FAULTS_URL"], name="jobs")
ledger = Ledger(Path(os.environ["FAULTS_LEDGER"]))


def produce(count: int | None, task: str = "work") -> None:
    """Enqueue so many jobs one by one; what the store refuses is noted too."""
    for _ in itertools.count() if count is None else range(count):
        draft = queue.by_name(task).draft(seconds=0)
        try:
            queue.enqueue_sync(draft)
        except SurefootError as error:
            ledger.write("refused", draft.id, error=f"{type(error).__name__}: {error}")
        else:
            ledger.write("accepted", draft.id)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    produce(int(arguments[0]) if arguments else None, *arguments[1:])
