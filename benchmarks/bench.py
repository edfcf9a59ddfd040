"""One command, one table: this queue, the bare loop, the machine's limits, and with --peers other queues, each in its
own environment. Interleaved rounds; what was measured already is not measured again.

python benchmarks/bench.py [--peers] [--axis drain,latency] [--store sqlite|valkey] [--rounds N] [--again] [--page]
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
if str(ROOT) not in sys.path:  # run as a file
    sys.path.insert(0, str(ROOT))

from benchmarks import contenders, page, stores  # noqa: E402  # run as a file, they are not on the path before
from benchmarks.axes import AXES, Run, runs_of  # noqa: E402  # as above
from benchmarks.contenders import CONTENDERS, OURS, Contender, Failed, python_of  # noqa: E402  # as above
from benchmarks.measures import MEASURES  # noqa: E402  # as above
from benchmarks.results import Results  # noqa: E402  # as above

QUICK_SHARE = 0.05


def options_of(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="other queues too; their packages are installed first")
    parser.add_argument("--axis", help=f"only these, with commas: {', '.join(AXES)}")
    parser.add_argument("--who", help=f"only these, with commas: {', '.join(CONTENDERS)}")
    parser.add_argument("--store", choices=["sqlite", "valkey"], help="ours on this store only")
    parser.add_argument("--rounds", type=int, help="instead of each axis's own number")
    parser.add_argument("--quick", action="store_true", help="few jobs, one round, kept apart: tries the harness")
    parser.add_argument("--again", action="store_true", help="forget what was measured for these axes")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="where they are kept, else beside this file")
    parser.add_argument(
        "--page", action="store_true", help="write docs/benchmarks.md from what was measured; run nothing"
    )
    options = parser.parse_args(words)
    for given, known in ((options.axis, AXES), (options.who, CONTENDERS)):
        for name in given.split(",") if given else ():
            if name not in known:
                parser.error(f"there is no {name!r}; there are: {', '.join(known)}")
    return options


def wanted(run: Run, options: argparse.Namespace) -> bool:
    """Whether the command line asks for it."""
    if options.who and run.who not in options.who.split(","):
        return False
    return not (options.store and run.who in OURS and not run.who.endswith(options.store))


class Bench:
    """Makes the measurements that are asked for and not there yet, and keeps each as soon as it is made."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._results = Results(options.results, quick=options.quick)
        self._missing: dict[str, str] = {}
        self.bad: list[str] = []

    def run(self) -> None:
        """All axes, row by row, round by round."""
        names = self._options.axis.split(",") if self._options.axis else list(AXES)
        self._results.keep_facts(machine_facts())
        for name in names:
            axis = AXES[name]
            if self._options.again:
                shutil.rmtree(self._results.folder / name, ignore_errors=True)
            rounds = 1 if self._options.quick else self._options.rounds or axis.rounds
            for row in axis.rows:
                share = QUICK_SHARE if self._options.quick else 1.0
                runs = [one for one in runs_of(axis, row, peers=self._options.peers, share=share) if
                        wanted(one, self._options)]  # fmt: skip
                for number in range(rounds):
                    for run in runs:
                        if not self._results.has(run, number):
                            self._measure(run, number)

    def _measure(self, run: Run, number: int) -> None:
        figures: dict[str, Any]
        begun = time.monotonic()
        if run.row.measure == "machine":
            from benchmarks.machine import limits

            figures = limits()
        elif run.cannot or (reason := self._ready(CONTENDERS[run.who])):
            figures = {"cannot": run.cannot or reason}
        else:
            try:
                figures = MEASURES[run.row.measure](CONTENDERS[run.who], run.options, run.jobs)
            except Failed as sentence:
                figures = {"failed": str(sentence)}
            except Exception:
                traceback.print_exc()
                figures = {"failed": traceback.format_exc().strip().splitlines()[-1]}
        self._results.keep(run, number, figures)
        self._tell(run, number, figures, time.monotonic() - begun)

    def _ready(self, contender: Contender) -> str:
        """Why this one cannot run here; nothing if it can. Its packages are installed at its first turn."""
        if contender.name not in self._missing:
            self._missing[contender.name] = self._prepared(contender)
        return self._missing[contender.name]

    def _prepared(self, contender: Contender) -> str:
        if contender.on_node and not shutil.which("npm"):
            return "there is no Node here"
        if contender.store == "postgres" and stores.postgres_programs() is None:
            return "there is no PostgreSQL here"
        try:
            contenders.prepare(contender)
            command = [python_of(contender), str(contenders.PEERS / contender.adapter), "versions"]
            folder = contenders.ENVIRONMENTS / contender.environment if contender.environment else ROOT
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            with stores.opened(contender.store) as store:
                about = store.about
        except (RuntimeError, OSError, AssertionError, subprocess.SubprocessError) as error:
            return f"it cannot be made ready here: {str(error).splitlines()[0]}"
        found = json.loads(done.stdout.splitlines()[-1])
        self._results.keep_facts({"versions": {contender.name: found}, "stores": {contender.store: about}})
        return ""

    def _tell(self, run: Run, number: int, figures: dict[str, Any], seconds: float) -> None:
        what = f"{run.axis}/{run.row.name}".ljust(28) + " ".join(filter(None, [run.who, run.variant])).ljust(44)
        value = figures.get(run.row.figure)
        said = f"{value:>12,.2f}" if value is not None else figures.get("cannot") or figures.get("failed") or "ok"
        print(f"{what} round {number + 1}  {said.splitlines()[0]}  ({seconds:.0f} s)", file=sys.stderr, flush=True)
        trouble = [f"{figures[word]} {word}" for word in ("lost", "doubled") if figures.get(word)]
        if trouble or "failed" in figures:
            sentence = f"{run.axis}/{run.row.name} {run.who}: {', '.join(trouble) or figures['failed'].splitlines()[0]}"
            print(f"  !! {sentence}", file=sys.stderr, flush=True)
            if run.who in OURS:
                self.bad.append(sentence)


def machine_facts() -> dict[str, Any]:
    """What the table is from."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    described = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    model = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "machine": {
            "cores": os.cpu_count(), "processor": model[0] if model else platform.processor(),
            "memory_gib": round(int(memory[0]) / 1024**2) if memory else None, "system": platform.system(),
            "kernel": platform.release(),
        },
        "python": platform.python_version(), "source": described,
        "day": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }  # fmt: skip


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def main() -> None:
    """Measure, then print the table; or write the page."""
    options = options_of()
    results = Results(options.results, quick=options.quick)
    if options.page:
        print(page.write(results))
        return
    bench = Bench(options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: workers, servers and folders go too
    try:
        bench.run()
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    print(page.text(results, options.axis.split(",") if options.axis else list(AXES)))
    if bench.bad:
        sys.exit("\n".join(["not as it should be:", *bench.bad]))


if __name__ == "__main__":
    main()
