"""The tables and charts, for a terminal and for docs/benchmarks.md, made from the results alone. Measures nothing."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.axes import Axis, Row
from benchmarks.chart import Bar, chart
from benchmarks.contenders import CONTENDERS, OURS
from benchmarks.results import Found, Results, ratios, spread_of

PAGE = Path(__file__).parent.parent / "docs/benchmarks.md"
RAW = "benchmarks.json"
OPEN, CLOSE = "<!-- table -->\n", "<!-- /table -->"
MANY_LEFT = 3
_BRACES = re.compile(r"^\{[^}]*\}:")
SAMPLE = """\
**Not the figures yet.** This is a sample of few jobs, taken on a busy machine to show that the command works; it says
nothing about anybody's speed. The figures are to be taken by `make bench PEERS=1` and `make bench PAGE=1`.
"""


class Table(NamedTuple):
    """A title, the heads of the columns, and rows of words."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


# --- from results to words ---


def tables(axis: Axis, found: dict[str, list[Found]]) -> list[Table]:
    """The tables of one axis: one for the bare loop, the machine and each row with peers or variants."""
    rows = [(row, found[row.name]) for row in axis.rows if row.name in found]
    if axis.name == "machine":
        return [Table("A second", ("", "here"), _machine(rows[0][1]))]
    if axis.name == "bare":
        return [_bare(store, rows) for store in ("sqlite", "valkey") if _of_store(rows, store)]
    made = []
    for row, ones in rows:
        if row.variants:
            made += [_variants(axis, row, [one for one in ones if one.who == who]) for who in row.ours]
        else:
            made.append(_peers(axis, row, ones))
    return [table for table in made if table.rows]


def _machine(ones: list[Found]) -> list[tuple[str, ...]]:
    names = dict.fromkeys(name for one in ones for figures in one.rounds.values() for name in figures)
    return [(name, _number(one.median(name))) for one in ones for name in names]


def _of_store(rows: list[tuple[Row, list[Found]]], store: str) -> bool:
    return any(one.who.endswith(store) for _, ones in rows for one in ones)


def _bare(store: str, rows: list[tuple[Row, list[Found]]]) -> Table:
    lines = []
    for row, ones in rows:
        by_variant = {one.variant: one for one in ones if one.who.endswith(store)}
        if {"bare", "ours"} <= by_variant.keys():
            ours, bare = by_variant["ours"], by_variant["bare"]
            ratio = ratios(ours, bare, "rate", "more")
            lines.append((row.title, *_ratio(ratio), _number(ours.median("rate")), _number(bare.median("rate"))))
    return Table("Valkey" if store == "valkey" else "SQLite", ("", "ratio", "spread", "jobs/s", "bare loop"), lines)


def _variants(axis: Axis, row: Row, ones: list[Found]) -> Table:
    by_name = {one.variant: one for one in ones}
    ordered = [by_name[name] for name in row.variants if name in by_name]
    first = ordered[0] if ordered else None
    label = CONTENDERS[ordered[0].who].label if ordered else ""
    lines = []
    for one in ordered:
        assert first is not None
        ratio = ratios(one, first, row.figure, row.better)
        lines.append((one.variant, *_ratio(ratio), *_figures(axis, row, one)))
    return Table(f"{row.title}: {label}", ("", "ratio", "spread", *_heads(axis)), lines)


def _peers(axis: Axis, row: Row, ones: list[Found]) -> Table:
    by_name = {one.who: one for one in ones}
    ordered = sorted(ones, key=lambda one: _rank(row, one))
    lines = []
    for one in ordered:
        label = CONTENDERS[one.who].label
        if one.cannot:
            lines.append((label, "", "", *[""] * (len(_heads(axis)) - 1), one.cannot))
            continue
        reference = by_name.get(_reference(one.who))
        ratio = [] if reference is None or one.who in OURS else ratios(reference, one, row.figure, row.better)
        lines.append((label, *_ratio(ratio, times=True), *_figures(axis, row, one)))
    return Table(row.title, ("", "surefoot is better by", "spread", *_heads(axis)), lines)


def _rank(row: Row, one: Found) -> tuple[bool, float]:
    value = one.median(row.figure)
    return value is None, 0 if value is None else -value if row.better == "more" else value


def _reference(who: str) -> str:
    """Ours that a contender is compared with: on the same kind of store; PostgreSQL's with the server's."""
    return "surefoot-sqlite" if CONTENDERS[who].store == "sqlite" else "surefoot-valkey"


def _heads(axis: Axis) -> tuple[str, ...]:
    shown = [] if axis.name in ("latency", "delayed") else [axis.unit]
    return (*shown, *[title for _, title in axis.columns], "lost", "doubled", "still in the store", "")


def _figures(axis: Axis, row: Row, one: Found) -> tuple[str, ...]:
    shown = [] if axis.name in ("latency", "delayed") else [_number(one.median(row.figure))]
    counted = any("lost" in figures for figures in one.rounds.values())
    exact = [str(one.total("lost")), str(one.total("doubled"))] if counted else ["", ""]
    note = one.note if one.who not in OURS else ""
    return (*shown, *[_number(one.median(name)) for name, _ in axis.columns], *exact, _left(one), note)


def _left(one: Found) -> str:
    """What the store still held after the last round: a few names and how many more."""
    held = next((figures["left"] for figures in reversed(one.rounds.values()) if "left" in figures), None)
    if held is None:
        return ""
    largest = sorted(held.items(), key=lambda item: -item[1])
    words = [f"{_BRACES.sub('', name)} {size:,}" for name, size in largest[:MANY_LEFT]]
    more = len(largest) - MANY_LEFT
    return ", ".join([*words, *([f"{more} more"] if more > 0 else [])]) or "nothing"


def _ratio(values: list[float], *, times: bool = False) -> tuple[str, str]:
    found = spread_of(values)
    if found is None:
        return "", ""
    middle, least, most = found
    return f"{middle:.2f}{' x' if times else ''}", f"{least:.2f} to {most:.2f}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


# --- for a terminal ---


def text(results: Results, names: list[str]) -> str:
    """The tables of these axes in columns."""
    parts = []
    for axis, found in results.axes():
        if axis.name in names:
            parts.append(f"\n{axis.title}")
            parts += [_columns(table) for table in tables(axis, found)]
    facts = results.facts()
    versions = [_columns(_versions(facts))] if facts.get("versions") else []
    return "\n".join([*_about(facts), *versions, *parts])


def _columns(table: Table) -> str:
    kept = _used(table)
    lines = [tuple(table.heads[place] for place in kept), *[tuple(row[place] for place in kept) for row in table.rows]]
    widths = [max(len(line[place]) for line in lines) for place in range(len(kept))]
    made = [f"\n{table.title}"] if table.title else [""]
    for line in lines:
        first, *rest = [cell.ljust(width) if place in (0, len(kept) - 1) else cell.rjust(width)
                        for place, (cell, width) in enumerate(zip(line, widths, strict=True))]  # fmt: skip
        made.append("  ".join([first, *rest]).rstrip())
    return "\n".join(made)


def _used(table: Table) -> list[int]:
    """The columns that hold anything."""
    return [place for place in range(len(table.heads)) if any(row[place] for row in table.rows)]


# --- for the page ---


def write(results: Results, place: Path = PAGE) -> str:
    """Put the tables and charts into the page; what was written."""
    charts = place.parent / "charts"
    before, _, rest = place.read_text().partition(OPEN)
    after = rest.partition(CLOSE)[2]
    charts.mkdir(exist_ok=True)
    for old in charts.glob("*.svg"):
        old.unlink()
    parts = [*([SAMPLE] if results.quick else []), "\n".join(_about(results.facts())), ""]
    if results.facts().get("versions"):
        parts += [_markdown(_versions(results.facts())), ""]
    raw: dict[str, Any] = {"facts": results.facts(), "axes": {}}
    for axis, found in results.axes():
        parts += [f"### {axis.title}", ""]
        for row in axis.rows:
            parts += _drawn(axis, row, found.get(row.name, []), charts)
        for table in tables(axis, found):
            parts += [f"**{table.title}**\n" if table.title else "", _markdown(table), ""]
        raw["axes"][axis.name] = {
            name: [
                {"who": one.who, "variant": one.variant, "note": one.note, "rounds": _short(one.rounds)} for one in ones
            ]
            for name, ones in found.items()
        }
    place.write_text(before + OPEN + "\n".join(parts).strip() + "\n" + CLOSE + after)
    (charts / RAW).write_text(json.dumps(raw, separators=(",", ":")) + "\n")
    return f"{place}, {len(list(charts.glob('*.svg')))} charts and {RAW} in {charts}"


def _short(rounds: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Figures to five digits, and the largest of what is left: the file goes into the repository."""

    def one(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.5g}")
        if isinstance(value, dict):
            return dict(sorted(value.items(), key=lambda item: -item[1])[:MANY_LEFT])
        return value

    return {number: {name: one(value) for name, value in figures.items()} for number, figures in rounds.items()}


def _about(facts: dict[str, Any]) -> list[str]:
    if not facts:
        return ["Nothing is measured yet."]
    machine = facts["machine"]
    lines = [
        f"{facts['day']}, source {facts['source']}, Python {facts['python']}. {machine['cores']} cores "
        f"({machine['processor']}), {machine['memory_gib']} GiB, {machine['system']} {machine['kernel']}.",
    ]
    if stores := facts.get("stores", {}):
        lines.append(f"{'; '.join(stores.values())}.")
    return lines


def _versions(facts: dict[str, Any]) -> Table:
    known = facts.get("versions", {})
    rows = [
        (CONTENDERS[name].label, ", ".join(f"{package} {version}" for package, version in found.items()))
        for name, found in known.items()
    ]
    return Table("Versions", ("", "versions"), rows)


def _drawn(axis: Axis, row: Row, found: list[Found], charts: Path) -> list[str]:
    """The chart of a row with peers, as a file and the line that shows it."""
    bars = [
        Bar(CONTENDERS[one.who].label, value, one.who in OURS)
        for one in found
        if one.who in CONTENDERS and not one.variant and (value := one.median(row.figure)) is not None
    ]
    if len(bars) <= len(OURS):
        return []
    ordered = sorted(bars, key=lambda bar: -bar.value if row.better == "more" else bar.value)
    name = f"{axis.name}-{row.name}.svg"
    better = "more is better" if row.better == "more" else "less is better"
    title = f"{axis.title}: {row.title} ({axis.unit}, {better})"
    (charts / name).write_text(chart(title, ordered, _number))
    return [f"![{title}](charts/{name})", ""]


def _markdown(table: Table) -> str:
    kept = _used(table)
    numbers = {place for place in kept if place and all(row[place][:1].isdigit() for row in table.rows if row[place])}
    lines = [
        "| " + " | ".join(table.heads[place] for place in kept) + " |",
        "|" + "|".join("---:" if place in numbers else "---" for place in kept) + "|",
        *["| " + " | ".join(_cell(row[place]) for place in kept) + " |" for row in table.rows],
    ]
    return "\n".join(lines)


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
