"""The bench itself: its ledger loses no run, its counts find every lost and doubled job, an interrupted run goes on
where it stopped, and tables and charts say what was measured. No test here looks at how fast anything is.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import struct
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchmarks.axes import AXES, DRAIN, GROWTH, IDLE, Run, runs_of
from benchmarks.chart import Bar, chart
from benchmarks.contenders import CONTENDERS, OURS, PEERS
from benchmarks.measures import MEASURES, counted, spread
from benchmarks.results import Results, ratios

from benchmarks import bench, contenders, page

ROOT = Path(__file__).parent.parent.parent
ROW = DRAIN.rows[0]


@pytest.fixture(scope="module")
def frame() -> ModuleType:
    """The adapters' common part, as they import it: by path."""
    found = importlib.util.spec_from_file_location("bench_frame", PEERS / "frame.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def rows_of(path: Path) -> list[tuple[int, int]]:
    return list(struct.iter_unpack("<qq", path.read_bytes()))


def kept(results: Results, who: str, values: list[float], *, axis: str = "drain", row: Any = ROW, **more: Any) -> None:
    """Results as a run would leave them: one value a round."""
    for number, value in enumerate(values):
        run = Run(axis, row, who, more.get("variant", ""), {}, 10, note=more.get("note", ""))
        results.keep(
            run, number, {row.figure: value, "lost": 0, "doubled": 0, "left": {"a": 1}, **more.get("also", {})}
        )


# --- what ran ---


def test_the_ledger_keeps_every_run_of_every_thread(frame: ModuleType, tmp_path: Path) -> None:
    ledger = frame.Ledger(str(tmp_path / "ledger"))
    threads = [
        threading.Thread(target=lambda k=k: [ledger.note(n) for n in range(k * 20_000, (k + 1) * 20_000)])
        for k in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until = time.monotonic() + 30
    while (tmp_path / "ledger").stat().st_size < 160_000 * 16 and time.monotonic() < until:
        time.sleep(0.01)
    assert counted([n for n, _ in rows_of(tmp_path / "ledger")], 160_000) == {"lost": 0, "doubled": 0}


def test_a_forked_child_keeps_its_own_runs_and_none_of_its_parents(frame: ModuleType, tmp_path: Path) -> None:
    code = f"""
import sys, os, time
sys.path.insert(0, {str(PEERS)!r})
from frame import Ledger
ledger = Ledger({str(tmp_path / "ledger")!r})
ledger.note(1)
time.sleep(0.2)
if os.fork() == 0:
    ledger.note(2)
    time.sleep(0.5)
    os._exit(0)
os.wait()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert sorted(n for n, _ in rows_of(tmp_path / "ledger")) == [1, 2]


def test_a_direct_ledger_needs_no_time(frame: ModuleType, tmp_path: Path) -> None:
    frame.Ledger(str(tmp_path / "ledger"), direct=True).note(7)
    [(n, at)] = rows_of(tmp_path / "ledger")
    assert n == 7
    assert 0 < at <= time.monotonic_ns()


def test_lost_and_doubled_jobs_are_found() -> None:
    assert counted([0, 1, 2], 3) == {"lost": 0, "doubled": 0}
    assert counted([0, 2, 2, 2], 4) == {"lost": 2, "doubled": 2}
    assert counted([], 2) == {"lost": 2, "doubled": 0}


def test_percentiles() -> None:
    assert spread([float(ms) for ms in range(1, 101)]) == {"p50_ms": 50.5, "p99_ms": 99, "max_ms": 100}
    assert spread([3.0]) == {"p50_ms": 3, "p99_ms": 3, "max_ms": 3}


# --- who and what ---


@pytest.mark.parametrize("name", sorted(CONTENDERS))
def test_everybody_has_an_adapter_and_pinned_packages(name: str) -> None:
    one = CONTENDERS[name]
    assert (PEERS / one.adapter).is_file()
    if one.environment:
        pins = (PEERS / "requirements" / f"{one.environment}.txt").read_text().split()
        assert pins
        assert all(re.fullmatch(r"[\w\[\],-]+(==|@)[\d.]+", pin) for pin in pins)


def test_no_adapter_and_no_pin_is_forgotten() -> None:
    adapters = {path.name for path in PEERS.iterdir() if "_peer." in path.name}
    assert adapters == {one.adapter for one in CONTENDERS.values()}
    pins = {path.stem for path in (PEERS / "requirements").iterdir()}
    assert pins == {one.environment for one in CONTENDERS.values()} - {""}


def test_every_row_can_be_measured_and_has_a_name_of_its_own() -> None:
    for axis in AXES.values():
        assert len({row.name for row in axis.rows}) == len(axis.rows)
        for row in axis.rows:
            assert row.measure in MEASURES or row.measure == "machine"
            assert row.better in ("more", "less")
            for peers in (False, True):
                runs = runs_of(axis, row, peers=peers)
                assert len({(run.who, run.variant) for run in runs}) == len(runs) > 0
                assert peers or {run.who for run in runs} <= {*OURS, "machine"}


def test_who_has_no_coroutines_runs_threads_and_says_so() -> None:
    runs = {run.who: run for run in runs_of(DRAIN, ROW, peers=True)}
    assert runs["dramatiq"].options["how"] == "thread"
    assert "no coroutines" in runs["dramatiq"].note
    assert (runs["taskiq"].options["how"], runs["taskiq"].note) == ("loop", "")
    assert runs["rq"].cannot == "one job a process: 100 at once is 100 processes"
    idle = {run.who: run for run in runs_of(IDLE, IDLE.rows[0], peers=True)}
    assert idle["dramatiq"].note == ""  # it matters only where many run at once


def test_a_quick_run_has_fewer_jobs_and_less_beside_them() -> None:
    row = GROWTH.rows[0]
    whole, part = (runs_of(GROWTH, row, peers=False, share=share)[-1] for share in (1.0, 0.05))
    assert whole.options["ballast"] == (1_000_000, 100_000, 100_000, 10_000)
    assert part.options["ballast"] == (2_500, 250, 250, 25)
    assert part.jobs == whole.jobs * 0.05


# --- results ---


def test_what_was_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure(contender: Any, options: dict[str, Any], jobs: int) -> dict[str, Any]:
        measured.append((contender.name, options["at_once"]))
        if len(measured) == 3:
            raise KeyboardInterrupt
        return {"rate": 5.0, "lost": 0, "doubled": 0}

    monkeypatch.setitem(MEASURES, "drain", measure)
    monkeypatch.setattr(bench.Bench, "_ready", lambda self, contender: "")
    options = bench.options_of(["--axis", "drain", "--rounds", "1", "--results", str(tmp_path)])
    with pytest.raises(KeyboardInterrupt):
        bench.Bench(options).run()
    first = list(measured)
    bench.Bench(options).run()
    everything = [(who, at_once) for at_once in (100, 10, 1) for who in OURS]
    assert first == everything[:3]
    assert measured == [*first, *everything[2:]]
    bench.Bench(options).run()
    assert len(measured) == len(everything) + 1
    again = bench.options_of(["--axis", "drain", "--rounds", "1", "--results", str(tmp_path), "--again"])
    bench.Bench(again).run()
    assert len(measured) == 2 * len(everything) + 1


def test_rounds_are_interleaved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def measure(contender: Any, options: dict[str, Any], jobs: int) -> dict[str, Any]:
        measured.append(contender.name)
        return {"rate": 5.0, "lost": 0, "doubled": 0}

    monkeypatch.setitem(MEASURES, "drain", measure)
    monkeypatch.setattr(bench.Bench, "_ready", lambda self, contender: "")
    bench.Bench(bench.options_of(["--axis", "results", "--rounds", "3", "--results", str(tmp_path)])).run()
    assert measured == [*OURS, *OURS, *OURS]


def test_a_lost_job_of_ours_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEASURES, "drain", lambda *_: {"rate": 5.0, "lost": 1, "doubled": 2})
    monkeypatch.setattr(bench.Bench, "_ready", lambda self, contender: "")
    one = bench.Bench(bench.options_of(["--axis", "results", "--rounds", "1", "--results", str(tmp_path)]))
    one.run()
    assert one.bad == [f"results/kept-100 {who}: 1 lost, 2 doubled" for who in OURS]


def test_who_cannot_be_made_ready_says_why_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MEASURES, "drain", lambda *_: {"rate": 5.0, "lost": 0, "doubled": 0})
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(contenders, "prepare", lambda _: None)
    words = [
        "--axis",
        "results",
        "--rounds",
        "1",
        "--peers",
        "--who",
        "bullmq,surefoot-sqlite",
        "--results",
        str(tmp_path),
    ]
    bench.Bench(bench.options_of(words)).run()
    found = {one.who: one for one in Results(tmp_path).of(AXES["results"].rows[0], "results")}
    assert found["bullmq"].cannot == "there is no Node here"
    assert found["surefoot-sqlite"].median("rate") == 5.0


def test_a_ratio_compares_rounds_with_each_other(tmp_path: Path) -> None:
    results = Results(tmp_path)
    kept(results, "surefoot-valkey", [100, 300, 50])
    kept(results, "taskiq", [50, 100, 50])
    found = {one.who: one for one in results.of(ROW, "drain")}
    assert ratios(found["surefoot-valkey"], found["taskiq"], "rate", "more") == [1, 2, 3]
    assert ratios(found["surefoot-valkey"], found["taskiq"], "rate", "less") == [1 / 3, 1 / 2, 1]


# --- the table and the page ---


def test_the_table_has_the_quickest_first_and_the_ratio_to_ours(tmp_path: Path) -> None:
    results = Results(tmp_path)
    kept(results, "surefoot-valkey", [100, 300, 50])
    kept(results, "taskiq", [50, 100, 50], note="a note")
    results.keep(Run("drain", ROW, "rq", "", {}, 0), 0, {"cannot": "one job a process"})
    [(axis, found)] = results.axes()
    [table] = page.tables(axis, found)
    assert [row[0] for row in table.rows] == ["surefoot, Valkey", "taskiq, streams", "RQ"]
    assert table.rows[1][1:4] == ("2.00 x", "1.00 to 3.00", "50.0")
    assert table.rows[0][1:3] == ("", "")
    assert (table.rows[1][-1], table.rows[2][-1]) == ("a note", "one job a process")
    text = page.text(results, ["drain"])
    assert re.search(r"taskiq, streams +2\.00 x +1\.00 to 3\.00 +50\.0 ", text)
    assert page.text(results, ["idle"]).strip() == "Nothing is measured yet."


def test_the_page_is_written_between_its_marks_and_again_the_same(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    kept(results, "surefoot-valkey", [100, 300])
    kept(results, "surefoot-sqlite", [90])
    kept(results, "taskiq", [50, 100], also={"left": {"a|b<c>_d": 5}})
    results.keep_facts(bench.machine_facts())
    place = tmp_path / "benchmarks.md"
    place.write_text(f"before\n{page.OPEN}old\n{page.CLOSE}\nafter\n")
    page.write(results, place)
    text = place.read_text()
    assert text.startswith(f"before\n{page.OPEN}")
    assert text.endswith(f"{page.CLOSE}\nafter\n")
    assert "old" not in text
    assert "Not the figures yet" not in text
    assert "a\\|b&lt;c>\\_d 5" in text
    [image] = re.findall(r"!\[[^]]*\]\((charts/[\w-]+\.svg)\)", text)
    assert ET.parse(tmp_path / image).getroot().tag.endswith("svg")
    raw = json.loads((tmp_path / "charts/benchmarks.json").read_text())
    assert {one["who"] for one in raw["axes"]["drain"]["drain-100"]} == {"surefoot-valkey", "surefoot-sqlite", "taskiq"}
    page.write(results, place)
    assert place.read_text() == text


def test_a_sample_says_that_it_is_none(tmp_path: Path) -> None:
    results = Results(tmp_path, quick=True)
    kept(results, "surefoot-valkey", [100])
    place = tmp_path / "benchmarks.md"
    place.write_text(f"{page.OPEN}{page.CLOSE}")
    page.write(results, place)
    assert "**Not the figures yet.**" in place.read_text()


def test_a_chart_is_drawn_to_scale_and_shows_hostile_words_as_words() -> None:
    drawn = chart('a "b" <c>', [Bar("x<y>", 10, True), Bar("z", 5, False)], lambda value: f"{value:.0f}&")
    root = ET.fromstring(drawn)
    space = "{http://www.w3.org/2000/svg}"
    long = [float(bar.attrib["width"]) for bar in root.iter(f"{space}rect")]
    assert long[0] == pytest.approx(2 * long[1], abs=0.2)
    assert [text.text for text in root.iter(f"{space}text")] == ['a "b" <c>', "x<y>", "10&", "z", "5&"]
    assert root.attrib["aria-label"] == 'a "b" <c>'


def test_the_page_in_docs_has_the_marks() -> None:
    text = page.PAGE.read_text()
    assert text.count(page.OPEN) == text.count(page.CLOSE) == 1


# --- the whole of it, small ---


@pytest.mark.parametrize("axis", ["retries", "delayed"])
def test_a_small_run_from_start_to_end(axis: str, tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/bench.py", "--quick", "--axis", axis, "--results", str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SUREFOOT_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    for _, found in Results(tmp_path).axes():
        for row in AXES[axis].rows:
            assert {one.who for one in found[row.name]} == set(OURS)
            for one in found[row.name]:
                assert one.cannot == ""
                assert (one.total("lost"), one.total("doubled"), one.total("early")) == (0, 0, 0)
                value = one.median(row.figure)
                assert value is not None
                assert value > 0
    assert "surefoot, SQLite" in done.stdout


def test_an_unknown_axis_is_refused_with_the_known_ones() -> None:
    command = [sys.executable, "benchmarks/bench.py", "--axis", "drian"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no 'drian'; there are: machine, bare, drain" in done.stderr
