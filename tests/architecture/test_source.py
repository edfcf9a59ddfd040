"""The rules of rules.py and lua.py, held against every file in src/surefoot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.architecture import lua, rules

HOUSE = Path(__file__).parents[2] / "src" / "surefoot"
CLOCK = HOUSE / "clock.py"
CHANCE = HOUSE / "chance.py"
SCHEDULE = HOUSE / "core" / "schedule.py"
LUA = HOUSE / "brokers" / "redis" / "lua"
BROKER = HOUSE / "brokers" / "broker.py"


def sources(folder: Path = HOUSE) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found, f"no Python file in {folder}"
    return found


def complaints(paths: list[Path], rule: Callable[[str], Iterator[str]]) -> list[str]:
    return [f"{path.relative_to(HOUSE)}:{said}" for path in paths for said in rule(path.read_text())]


def hold(found: list[str]) -> None:
    assert not found, "\n" + "\n".join(found)


def test_core_is_pure() -> None:
    core = sources(HOUSE / "core")
    hold(complaints([path for path in core if path != SCHEDULE], rules.impurities))
    hold(complaints([path for path in core if path == SCHEDULE], partial(rules.impurities, cron=True)))


def test_only_clock_reads_time() -> None:
    assert CLOCK.exists()
    hold(complaints([path for path in sources() if path != CLOCK], rules.time_readings))


def test_only_chance_draws_chance() -> None:
    assert CHANCE.exists()
    hold(complaints([path for path in sources() if path != CHANCE], rules.chance_draws))


def test_S2_no_pickle_yaml_or_eval_in_the_source() -> None:
    hold(complaints(sources(), rules.unsafe_loading))


def test_files_functions_and_parameter_lists_stay_small() -> None:
    hold(complaints(sources(), rules.oversizes))


def test_a_module_docstring_has_one_to_six_lines() -> None:
    hold(complaints(sources(), rules.docstring_faults))


def test_no_file_is_named_for_nothing() -> None:
    nameless = [p for p in sources() if rules.NAMES_THAT_SAY_NOTHING & set(p.relative_to(HOUSE).with_suffix("").parts)]
    assert not nameless, f"A thing lives with the noun that owns it, not in {nameless}"


def test_a_script_header_and_its_body_agree() -> None:
    scripts = sorted((HOUSE / "brokers" / "sqlite" / "sql").glob("*.sql"))
    hold([f"{path.name}:{said}" for path in scripts for said in rules.script_faults(path.stem, path.read_text())])


def lua_files() -> dict[str, str]:
    """The scripts and their pieces by name: "put", "pieces/time"."""
    found = {path.relative_to(LUA).with_suffix("").as_posix(): path.read_text() for path in sorted(LUA.rglob("*.lua"))}
    assert found, f"no script in {LUA}"
    return found


def test_a_lua_header_and_its_body_agree() -> None:
    files = lua_files()
    hold([f"{name}.lua: {said}" for name in files for said in lua.script_faults(name, files)])


def test_every_lua_piece_is_used() -> None:
    hold(list(lua.unused_pieces(lua_files())))


def test_every_writing_verb_has_its_script_in_each_store() -> None:
    stores = [HOUSE / "brokers" / "sqlite" / "sql", LUA]
    for folder in (store for store in stores if store.exists()):
        scripts = {path.stem for path in folder.iterdir()}
        hold([f"{folder.relative_to(HOUSE)}: {said}" for said in rules.missing_scripts(BROKER.read_text(), scripts)])
