"""Options from variables and from [tool.surefoot]: every option of every command, which one wins, wrong values."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.core import ParameterSource
from tests.doors.cli_shop import Shop

from surefoot.cli.main import commands
from surefoot.cli.settings import read_settings


def options(
    group: click.Group = commands, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command, click.Option]]:
    """Every option of every command that a variable or a key may give."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from options(command, (*path, name))
            continue
        for param in command.params:
            if isinstance(param, click.Option) and not param.hidden:
                yield (*path, name), command, param


ALL = list(options())
IDS = [f"{' '.join(path)} {param.name}" for path, _, param in ALL]


def key(param: click.Option) -> str:
    return next(name[2:] for name in param.opts if name.startswith("--"))


def fit(param: click.Option) -> str:
    """A value that this option takes."""
    if param.is_flag:
        return "true"
    if isinstance(param.type, click.Choice):
        return str(param.type.choices[0])
    return "2"


def read(path: tuple[str, ...], param: click.Option, settings: dict[str, object]) -> ParameterSource | None:
    """Where click takes this option from, with these defaults; whether the value fits is another question."""
    context = click.Context(commands, info_name="surefoot", auto_envvar_prefix="SUREFOOT", default_map=settings)
    group = commands
    for word in path:
        command = group.commands[word]
        context = click.Context(command, info_name=word, parent=context)
        group = command if isinstance(command, click.Group) else group
    return param.consume_value(context, {})[1]


def table(path: tuple[str, ...], line: str) -> str:
    return f"[tool.surefoot.{'.'.join(path)}]\n{line}\n"


@pytest.mark.parametrize(("path", "command", "param"), ALL, ids=IDS)
def test_each_option_has_a_variable(
    path: tuple[str, ...], command: click.Command, param: click.Option, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = "_".join(("SUREFOOT", *path, key(param))).upper().replace("-", "_")
    monkeypatch.setenv(variable, fit(param))
    assert read(path, param, {}) == ParameterSource.ENVIRONMENT


@pytest.mark.parametrize(("path", "command", "param"), ALL, ids=IDS)
def test_each_option_has_a_key(path: tuple[str, ...], command: click.Command, param: click.Option, shop: Shop) -> None:
    shop.write("pyproject.toml", table(path, f'{key(param)} = "{fit(param)}"'))
    assert read(path, param, dict(read_settings(commands).defaults)) == ParameterSource.DEFAULT_MAP


# --- values ---


def check(shop: Shop, *args: str) -> dict[str, object]:
    """What `worker --json` says at the start of a burst."""
    ran = shop.apart("worker", "shop:billing", "--burst", "--json", *args)
    assert ran.code == 0, ran.err
    (record,) = ran.records()
    return record


def test_values_of_a_file_are_read_like_typed_ones(shop: Shop) -> None:
    text = 'concurrency = 7\nthreads = "3"\ndrain = "1m"\nlease = 2.5\nname = "night"\nlog_level = "error"'
    shop.write("pyproject.toml", table(("worker",), text))
    found = check(shop)
    assert [found[word] for word in ("concurrency", "threads", "drain", "name")] == [7, 3, 60, "night"]


def test_values_of_variables_are_read_like_typed_ones(shop: Shop) -> None:
    ran = shop.apart(
        "worker", SUREFOOT_APP="shop", SUREFOOT_WORKER_BURST="yes", SUREFOOT_WORKER_JSON="1",
        SUREFOOT_WORKER_QUEUE="billing,mail", SUREFOOT_WORKER_DRAIN="2m", SUREFOOT_WORKER_LOG_LEVEL="error",
    )  # fmt: skip
    (record,) = ran.records()
    queues = record["queues"]
    assert isinstance(queues, list)
    assert ([queue["queue"] for queue in queues], record["drain"]) == (["billing", "mail"], 120)


def test_an_option_that_is_repeated_is_a_list(shop: Shop) -> None:
    shop.write("pyproject.toml", table(("worker",), 'queue = ["billing", "mail"]\ncheck = true'))
    assert [one["queue"] for one in shop.here("worker", "shop", "--json").records()] == ["billing", "mail"]
    shop.write("pyproject.toml", table(("worker",), 'queue = "billing"\ncheck = true'))
    assert [one["queue"] for one in shop.here("worker", "shop", "--json").records()] == ["billing"]


def test_a_variable_holds_several_names_with_spaces_or_commas(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("billing mail", "billing,mail"):
        monkeypatch.setenv("SUREFOOT_WORKER_QUEUE", text)
        ran = shop.here("worker", "shop", "--check", "--json")
        assert [one["queue"] for one in ran.records()] == ["billing", "mail"]


def test_a_flag_of_a_file_can_be_false(shop: Shop) -> None:
    shop.write("pyproject.toml", table(("stats",), "json = false\nwatch = false"))
    assert shop.here("stats", "shop").out.startswith("queue ")
    shop.write("pyproject.toml", table(("stats",), "json = true"))
    assert len(shop.here("stats", "shop").records()) == 2


def test_typed_wins_over_the_variable_and_the_variable_over_the_file(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write("pyproject.toml", table(("worker",), "concurrency = 1\nthreads = 1"))
    monkeypatch.setenv("SUREFOOT_WORKER_CONCURRENCY", "2")
    found = check(shop)
    assert (found["concurrency"], found["threads"]) == (1, 1), "`apart` has no SUREFOOT_ variables"
    ran = shop.apart("worker", "shop:billing", "--burst", "--json", SUREFOOT_WORKER_CONCURRENCY="2")
    assert ran.records()[0]["concurrency"] == 2
    ran = shop.apart("worker", "shop:billing", "--burst", "--json", "-c", "3", SUREFOOT_WORKER_CONCURRENCY="2")
    assert ran.records()[0]["concurrency"] == 3


# --- which application ---


def queues(shop: Shop, *args: str) -> list[object]:
    ran = shop.here("stats", *args, "--json")
    assert ran.code == 0, ran.err
    return [record["queue"] for record in ran.records()]


def test_a_typed_target_hides_an_application_or_a_url_given_elsewhere(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write("pyproject.toml", '[tool.surefoot]\napp = "nothing:here"\n[tool.surefoot.stats]\napp = "no:where"\n')
    monkeypatch.setenv("SUREFOOT_STATS_URL", "sqlite:///elsewhere.db")
    assert queues(shop, "shop:mail") == ["mail"]
    assert queues(shop, "-A", "shop:billing") == ["billing"]
    monkeypatch.setenv("SUREFOOT_WORKER_APP", "nothing:here")
    assert [one["queue"] for one in shop.here("worker", "shop:mail", "--check", "--json").records()] == ["mail"]


def test_a_typed_url_hides_every_application(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.queue("other").by_name("x").enqueue_sync()
    shop.write("pyproject.toml", '[tool.surefoot]\napp = "nothing:here"\n')
    monkeypatch.setenv("SUREFOOT_APP", "nothing:here")
    monkeypatch.setenv("SUREFOOT_STATS_APP", "nothing:here")
    assert queues(shop, "--url", shop.url) == ["other"]


def test_two_that_are_equally_near_are_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUREFOOT_STATS_APP", "shop")
    monkeypatch.setenv("SUREFOOT_STATS_URL", shop.url)
    ran = shop.here("stats")
    assert (ran.code, ran.out) == (2, "")
    assert "--url is for calls without an application; 'shop' names its own store." in ran.err


# --- wrong values say where they came from ---


@pytest.mark.parametrize(
    ("line", "variable", "value", "sentence"),
    [
        ("worker shop:mail", "SUREFOOT_WORKER_CONCURRENCY", "many", "'many' is not a whole number."),
        ("worker shop:mail", "SUREFOOT_WORKER_BURST", "maybe", "'maybe' is neither true nor false."),
        ("worker shop:mail", "SUREFOOT_WORKER_LOG_FORMAT", "xml", "'xml' is not one of 'text', 'json'."),
        ("worker shop:mail", "SUREFOOT_WORKER_DRAIN", "-1", "'-1' is not a duration; write 90, 90s, 5m, 2h or 1d."),
        ("dead list", "SUREFOOT_DEAD_LIST_SINCE", "soon", "'soon' is not a duration; write 90, 90s, 5m, 2h or 1d."),
        ("dead requeue --all", "SUREFOOT_DEAD_REQUEUE_RATE", "x", "'x' is not a number."),
        ("jobs", "SUREFOOT_JOBS_LIST_LIMIT", "0", "0 is not in the range x>=1."),
    ],
)
def test_a_wrong_value_names_its_variable(
    line: str, variable: str, value: str, sentence: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    ran = shop.here(*line.split())
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"surefoot: invalid value for {variable}: {sentence} See `surefoot ")


@pytest.mark.parametrize(
    ("path", "line", "sentence"),
    [
        ("worker", "concurrency = 4.5", "'4.5' is not a whole number."),
        ("worker", "concurrency = true", "'true' is not a whole number."),
        ("worker", "burst = 5", "'5' is neither true nor false."),
        ("worker", 'log-level = "loud"', "'loud' is not one of 'debug', 'info', 'warning', 'error'."),
        ("dead.list", 'since = "soon"', "'soon' is not a duration; write 90, 90s, 5m, 2h or 1d."),
        ("stats", "watch = 0", "'0' must be above 0."),
    ],
)
def test_a_wrong_value_names_its_key_and_file(path: str, line: str, sentence: str, shop: Shop) -> None:
    file = shop.write("pyproject.toml", f"[tool.surefoot.{path}]\n{line}\n")
    ran = shop.here(*path.split("."), *(["shop"] if path == "worker" else []))
    assert (ran.code, ran.out) == (2, "")
    word = line.split()[0]
    begin = f"surefoot: invalid value for '{word}' of [tool.surefoot.{path}] in {file}: {sentence} See `surefoot "
    assert ran.err.startswith(begin)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[tool.surefoot]\nworker = 5", "[tool.surefoot.worker] in {path} is not a table."),
        ("[tool.surefoot]\nwroker = 5", "[tool.surefoot] in {path} has no key 'wroker'; did you mean 'worker'?"),
        ("[tool]\nsurefoot = 5", "[tool.surefoot] in {path} is not a table."),
        (
            "[tool.surefoot.worker]\nname = ['a']",
            "[tool.surefoot.worker] in {path}: 'name' is a list, and one value is wanted.",
        ),
        (
            "[tool.surefoot.worker]\nqueue = [{a = 1}]",
            "[tool.surefoot.worker] in {path}: 'queue' is a table, and one value is wanted.",
        ),
        (
            "[tool.surefoot.worker]\nhelp = true",
            "[tool.surefoot.worker] in {path} has no key 'help'; did you mean 'health'?",
        ),
    ],
)
def test_a_table_of_another_shape_is_refused(text: str, sentence: str, shop: Shop) -> None:
    path = shop.write("pyproject.toml", text)
    ran = shop.here("stats", "shop")
    assert (ran.code, ran.err) == (2, f"surefoot: {sentence.format(path=path)} See `surefoot --help`.\n")


def test_an_option_that_does_not_apply_names_its_variable_or_key(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shop.write("pyproject.toml", table(("worker",), "threads = 5"))
    does_not = "does not apply: 'shop:worker' is a Worker and has its own options; "
    assert shop.here("worker", "shop:worker").err.startswith(
        f"surefoot: 'threads' of [tool.surefoot.worker] in {path} {does_not}"
    )
    monkeypatch.setenv("SUREFOOT_WORKER_CONCURRENCY", "5")
    assert shop.here("worker", "shop:worker").err.startswith(f"surefoot: SUREFOOT_WORKER_CONCURRENCY {does_not}")


def test_a_directory_that_is_gone_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = shop.folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    ran = shop.here("stats")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("surefoot: the current directory is gone; change to one that is there.")
