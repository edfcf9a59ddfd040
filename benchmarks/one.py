"""One measurement in a process of its own: prints jobs a second.

python -m benchmarks.one ours drain --at-once 100 --jobs 20000
"""

import argparse
import os
import tempfile

import uvloop

from benchmarks import bare_sqlite


async def measure(args: argparse.Namespace, path: str) -> float:
    """Seconds for all jobs."""
    if args.who == "ours":
        from benchmarks import ours_sqlite

    if args.what == "enqueue":
        if args.who == "bare":
            return await bare_sqlite.enqueue(path, args.jobs, args.how)
        return await ours_sqlite.enqueue(path, args.jobs, args.how)
    if args.who == "bare":
        return await bare_sqlite.drain(path, args.jobs, args.at_once)
    return await ours_sqlite.drain(path, args.jobs, args.at_once, args.how, args.keep)


def main() -> None:
    """Parse, measure on a fresh file of a real disk, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("who", choices=["bare", "ours"])
    parser.add_argument("what", choices=["drain", "enqueue"])
    parser.add_argument("--how", default="loop")
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--keep", type=float, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        seconds = uvloop.run(measure(args, os.path.join(folder, "bench.db")))
    print(args.jobs / seconds, flush=True)
    os._exit(0)  # the bare loop's thread never ends by itself


if __name__ == "__main__":
    main()
