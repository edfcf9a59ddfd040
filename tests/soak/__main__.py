"""The soak: everything at once for minutes or hours, and everything that can go wrong; then one report.

python -m tests.soak [SECONDS] [--url URL] [--store sqlite|valkey] [--lease S] [--rate JOBS_A_SECOND] [--seed N]
"""

import argparse
import random
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from tests.soak.page import keep
from tests.soak.report import rows, story, table
from tests.soak.run import Plan, soak


def leave(number: int, _frame: FrameType | None) -> None:
    """Whoever stops us stops all that we started."""
    sys.exit(128 + number)


def main() -> int:
    """One store given, or a file and a server of our own, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("seconds", type=float, nargs="?", default=60, help="how long the faults last (60)")
    parser.add_argument("--url", help="a store of yours: it is neither restarted nor cut off")
    parser.add_argument("--store", choices=("sqlite", "valkey"), help="only this one")
    parser.add_argument("--lease", type=float, default=1, help="of the workers, in seconds (1)")
    parser.add_argument("--rate", type=float, default=60, help="jobs a second that are enqueued (60)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, leave)
    stores = [args.url] if args.url else [args.store] if args.store else ["sqlite", "valkey"]
    bad = 0
    for store in stores:
        plan = Plan(store, args.seconds, args.lease, args.rate, args.seed)
        with tempfile.TemporaryDirectory(prefix="surefoot-soak-") as folder:
            print(f"{store}, seed {args.seed}: {args.seconds:g} s in {folder}", file=sys.stderr, flush=True)
            outcome, facts = soak(plan, Path(folder))
            keep(urlsplit(store).scheme or store, rows(outcome, args.seed))
            print(table(outcome, args.seed), end="\n\n", flush=True)
            if outcome.tracebacks:
                print(outcome.tracebacks[0], file=sys.stderr)
            if not outcome.good:
                bad = 1
                print(story(outcome, facts), file=sys.stderr)
    return bad


if __name__ == "__main__":
    sys.exit(main())
