"""The results: one JSON file a measurement, so that an interrupted run goes on where it stopped, and a table can be
made from whatever is there.
"""

import json
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.axes import AXES, Axis, Row, Run

HERE = Path(__file__).parent


class Found(NamedTuple):
    """All rounds of one contender, or of one variant, in one row: its figures by round."""

    who: str
    variant: str
    note: str
    rounds: dict[int, dict[str, Any]]

    @property
    def cannot(self) -> str:
        """Why there are no figures."""
        reasons = [one.get("cannot") or f"failed: {one['failed']}" for one in self.rounds.values()
                   if "cannot" in one or "failed" in one]  # fmt: skip
        return reasons[0] if reasons else ""

    def values(self, figure: str) -> dict[int, float]:
        """This figure by round, where there is one."""
        return {number: one[figure] for number, one in sorted(self.rounds.items()) if figure in one}

    def median(self, figure: str) -> float | None:
        values = self.values(figure).values()
        return statistics.median(values) if values else None

    def total(self, figure: str) -> int:
        return sum(int(one.get(figure, 0)) for one in self.rounds.values())


class Results:
    """A folder of results. `quick`: of runs that only tried the harness; they never mix with real ones."""

    def __init__(self, folder: Path | None = None, *, quick: bool = False) -> None:
        self.folder = folder or HERE / ("results-quick" if quick else "results")
        self.quick = quick

    def path(self, run: Run, number: int) -> Path:
        name = "~".join(filter(None, [run.who, _slug(run.variant)]))
        return self.folder / run.axis / run.row.name / f"{name}.{number}.json"

    def has(self, run: Run, number: int) -> bool:
        return self.path(run, number).exists()

    def keep(self, run: Run, number: int, figures: dict[str, Any]) -> None:
        """Write one down, whole or not at all."""
        path = self.path(run, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "axis": run.axis, "row": run.row.name, "who": run.who, "variant": run.variant, "round": number,
            "jobs": run.jobs, "note": run.note, "options": run.options, "figures": figures,
        }  # fmt: skip
        part = path.with_suffix(".part")
        part.write_text(json.dumps(record, indent=1, default=str) + "\n")
        part.rename(path)

    def keep_facts(self, facts: dict[str, Any]) -> None:
        """The machine and the versions; newer ones are added to those before."""
        known = self.facts()
        for name, value in facts.items():
            known[name] = {**known.get(name, {}), **value} if isinstance(value, dict) else value
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "facts.json").write_text(json.dumps(known, indent=1) + "\n")

    def facts(self) -> dict[str, Any]:
        path = self.folder / "facts.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def of(self, row: Row, axis: str) -> list[Found]:
        """What there is for a row, in the order in which it was measured."""
        found: dict[tuple[str, str], Found] = {}
        for path in sorted((self.folder / axis / row.name).glob("*.json")):
            record = json.loads(path.read_text())
            key = record["who"], record["variant"]
            one = found.setdefault(key, Found(*key, record["note"], {}))
            one.rounds[record["round"]] = record["figures"]
        return list(found.values())

    def axes(self) -> Iterator[tuple[Axis, dict[str, list[Found]]]]:
        """Each axis that has results, with them by row."""
        for axis in AXES.values():
            rows = {row.name: found for row in axis.rows if (found := self.of(row, axis.name))}
            if rows:
                yield axis, rows


def ratios(mine: Found, other: Found, figure: str, better: str) -> list[float]:
    """By how much `mine` is better than `other`, round by round: above 1 is better."""
    theirs = other.values(figure)
    pairs = [(value, theirs[number]) for number, value in mine.values(figure).items() if number in theirs]
    both = [(one, two) for one, two in pairs if one > 0 and two > 0]
    return sorted(one / two if better == "more" else two / one for one, two in both)


def spread_of(values: Sequence[float]) -> tuple[float, float, float] | None:
    """Median, least and most."""
    return (statistics.median(values), min(values), max(values)) if values else None


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
