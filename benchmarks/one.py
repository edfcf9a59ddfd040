"""One measurement in a process of its own: prints jobs a second.

python -m benchmarks.one ours redis drain --at-once 100 --jobs 20000
"""

import argparse
import importlib
import logging
import os
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import uvloop
from tests import servers


def bare(args: argparse.Namespace, place: str | int) -> Awaitable[float]:
    """The bare loop's seconds for all jobs. `place`: the path of a file, or the port of a server."""
    store: Any = importlib.import_module(f"benchmarks.bare_{args.store}")
    seconds: Awaitable[float]
    if args.what == "enqueue":
        seconds = store.enqueue(place, args.jobs, args.how)
    else:
        seconds = store.drain(place, args.jobs, args.at_once)
    return seconds


def ours(args: argparse.Namespace, place: str | int) -> Awaitable[float]:
    """This queue's seconds for all jobs."""
    from benchmarks import ours

    logging.getLogger("surefoot").setLevel(logging.ERROR)  # the server keeps nothing on disk, and we know
    url = f"sqlite:///{place}" if args.store == "sqlite" else f"redis://{servers.HOST}:{place}/0"
    if args.what == "enqueue":
        return ours.enqueue(url, args.jobs, args.how)
    return ours.drain(url, args.jobs, args.at_once, args.how, args.keep)


async def measure(args: argparse.Namespace, place: str | int) -> float:
    """Seconds for all jobs."""
    return await (bare if args.who == "bare" else ours)(args, place)


def main() -> None:
    """Parse, measure on a fresh file of a real disk or on a fresh server, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("who", choices=["bare", "ours"])
    parser.add_argument("store", choices=["sqlite", "redis"])
    parser.add_argument("what", choices=["drain", "enqueue"])
    parser.add_argument("--how", default="loop")
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--keep", type=float, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        if args.store == "sqlite":
            seconds = uvloop.run(measure(args, os.path.join(folder, "bench.db")))
        else:
            with servers.start(Path(folder).absolute()) as server:
                seconds = uvloop.run(measure(args, server.port))
    print(args.jobs / seconds, flush=True)
    os._exit(0)  # the bare loop's thread never ends by itself


if __name__ == "__main__":
    main()
