"""Replay one life as a story, or play many.

python -m tests.simulation 1489 --mode safety     what happened in it
python -m tests.simulation --seeds 10000          both modes, on all cores
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from tests.simulation.crowd import crowd, story
from tests.simulation.life import Life
from tests.simulation.mutants import MUTANTS
from tests.simulation.plan import MODES
from tests.simulation.sqlite_server import SqliteLife

_SHOWN = 10


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Replay one life, or play many.")
    parser.add_argument("seed", type=int, nargs="?", help="the life to replay")
    parser.add_argument("--mode", choices=MODES, help="replay: safety unless told; many: both unless told")
    parser.add_argument("--mutant", choices=MUTANTS, help="with this mistake built in")
    parser.add_argument("--sqlite", action="store_true", help="replay: on SQLite's statements instead of the model")
    parser.add_argument("--seeds", type=int, default=10_000, help="how many lives of each mode, without a seed")
    parser.add_argument("--first", type=int, default=0, help="the first of these seeds")
    told: Any = parser.parse_args(words)
    if told.seed is not None:
        life = SqliteLife if told.sqlite else MUTANTS[told.mutant]() if told.mutant else Life
        return replay(told.seed, told.mode or "safety", life)
    return many(range(told.first, told.first + told.seeds), (told.mode,) if told.mode else MODES)


def replay(seed: int, mode: Any, life: type[Life]) -> int:
    lines, broken = story(seed, mode, life)
    print("\n".join(lines))
    print(f"\nseed {seed}, {mode}: {broken or 'nothing broke'}")
    return 0 if broken is None else 1


def many(seeds: range, modes: Any) -> int:
    begin, done, bad, shown = time.monotonic(), 0, 0, sys.stderr.isatty()
    whole = len(seeds) * len(modes)
    for count, found in crowd(seeds, modes):
        done += count
        bad += len(found)
        if shown:
            print(f"\r{done} of {whole} lives, {bad} broken", end="", file=sys.stderr)
        for one in found[: max(0, _SHOWN - bad + len(found))]:
            print(f"{chr(13) if shown else ''}{one}")
    seconds = time.monotonic() - begin
    if shown:
        print("\r", end="", file=sys.stderr)
    print(f"{done} lives ({' and '.join(modes)}) in {seconds:.0f} s, {done / seconds:.0f} a second: {bad} broken")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
