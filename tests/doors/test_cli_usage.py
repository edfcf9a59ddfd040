"""Wrong usage, help, defaults from the environment and pyproject.toml: what comes before any store is asked."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.doors.cli_shop import Shop, clean_environment

from surefoot import __version__
from surefoot.cli.main import commands
from surefoot.cli.options import duration, duration_above_zero, names

_NAMES = (
    "audit bench cancel completion cron dashboard dead demo doctor enqueue explain init jobs metrics pause resume "
    "stats top version"
)
BUILT = {*_NAMES.split(), "worker", "workers"}


def all_commands(
    group: click.Group = commands, path: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, command in group.commands.items():
        found.append(((*path, name), command))
        if isinstance(command, click.Group):
            found += all_commands(command, (*path, name))
    return found


def test_exactly_what_is_built_is_offered() -> None:
    assert set(commands.commands) == BUILT


@pytest.mark.parametrize("path", [path for path, _ in all_commands()], ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...], shop: Shop) -> None:
    ran = shop.here(*path, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: surefoot {' '.join(path)} ")


@pytest.mark.parametrize(
    "path", [path for path, one in all_commands() if not isinstance(one, click.Group)], ids=" ".join
)
def test_every_command_but_the_demo_has_the_common_options(path: tuple[str, ...], shop: Shop) -> None:
    offered = {"--json", "--quiet", "--verbose", "--no-color"}
    words = set(shop.here(*path, "--help").out.split())
    assert path == ("demo",) or offered <= words


def examples() -> list[tuple[tuple[str, ...], str]]:
    """Each line of each help text that shows a call, with the command whose help it is."""
    shown = [((), commands), *all_commands()]
    lines = [(path, line.strip()) for path, one in shown for line in (one.epilog or "").splitlines()]
    return [(path, re.split(r" {3,}", line)[0]) for path, line in lines if line.startswith("surefoot ")]


@pytest.mark.parametrize(("path", "line"), examples(), ids=[line for _, line in examples()])
def test_each_example_of_a_help_text_is_a_call_of_its_command(
    path: tuple[str, ...], line: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    for of, command in all_commands():
        if not isinstance(command, click.Group):
            monkeypatch.setattr(command, "callback", lambda of=of, **_: called.append(" ".join(of)))
    ran = shop.here(*shlex.split(line)[1:])
    assert (ran.code, ran.err) == (0, "")
    assert called == [" ".join(path)] or not path


@pytest.mark.parametrize(
    "path", [path for path, one in all_commands() if not isinstance(one, click.Group)], ids=" ".join
)
def test_help_shows_examples(path: tuple[str, ...], shop: Shop) -> None:
    if path not in (("version",), ("demo",), ("dead", "show")):
        assert path in {of for of, _ in examples()}
    assert shop.here(*path, "--help").code == 0


@pytest.mark.parametrize(
    ("line", "sentence", "help_of"),
    [
        ("wroker", "there is no command 'wroker'; did you mean 'worker'?", ""),
        ("xyz", "there is no command 'xyz'.", ""),
        ("hlep", "there is no command 'hlep'.", ""),
        ("help", "there is no command 'help'.", ""),
        ("--versoin", "there is no option '--versoin'; did you mean '--version'?", ""),
        ("inti", "there is no command 'inti'; did you mean 'init'?", ""),
        ("worker --relaod", "there is no option '--relaod'; did you mean '--reload'?", "worker"),
        ("jobs lst", "there is no command 'lst'; did you mean 'list'?", "jobs"),
        ("dead shwo x", "there is no command 'shwo'; did you mean 'show'?", "dead"),
        ("worker --concurency 3", "there is no option '--concurency'; did you mean '--concurrency'?", "worker"),
        ("stats --zzz", "there is no option '--zzz'.", "stats"),
        (
            "worker --url redis://cache",
            "there is no option '--url': queues name their own store, Queue(\"redis://...\"), or SUREFOOT_URL names "
            "it.",
            "worker",
        ),
        (
            "enqueue welcome --timeout 5",
            "there is no option '--timeout': a run's time is its task's (timeout=60); to wait so long for the result "
            "give --wait D.",
            "enqueue",
        ),
        ("explain", "missing argument 'ID'.", "explain"),
        ("worker -c 0", "invalid value for '-c' / '--concurrency': 0 is not in the range x>=1.", "worker"),
        (
            "worker --drain soon",
            "invalid value for '--drain': 'soon' is not a duration; write 90, 90s, 5m, 2h or 1d.",
            "worker",
        ),
        ("worker --lease 0", "invalid value for '--lease': '0' must be above 0.", "worker"),
        (
            "stats -q a{b}",
            "invalid value for '-q' / '-Q' / '--queue': 'a{b}' is not a name; give 1 to 128 letters, digits or "
            "_ . : -.",
            "stats",
        ),
        (
            "worker",
            "a worker needs an application: surefoot worker module:queue, or set SUREFOOT_APP, or [tool.surefoot] app.",
            "worker",
        ),
        ("worker a:b -A c", "'a:b' and --app c both name the application; give one of them.", "worker"),
        ("stats a:b -A c", "'a:b' and --app c both name the application; give one of them.", "stats"),
        (
            "stats a:b --url sqlite:///x",
            "--url is for calls without an application; 'a:b' names its own store.",
            "stats",
        ),
        (
            "stats",
            "this needs an application or a store: name the application (--app module:queue), or set SUREFOOT_APP or "
            "SUREFOOT_URL, or give --url.",
            "stats",
        ),
        (
            "dead requeue",
            "say which: surefoot dead requeue ID, or a filter such as --task, or --all.",
            "dead requeue",
        ),
        ("dead delete x --all", "give ids, or filters, or --all: not ids and others together.", "dead delete"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_2(line: str, sentence: str, help_of: str, shop: Shop) -> None:
    ran = shop.here(*line.split())
    pointer = f"See `{' '.join(('surefoot', *help_of.split()))} --help`."
    assert (ran.code, ran.out, ran.err) == (2, "", f"surefoot: {sentence} {pointer}\n")


def test_no_word_at_all_is_answered_with_help(shop: Shop) -> None:
    ran = shop.here()
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Usage: surefoot [OPTIONS] COMMAND")


def test_the_real_command_gives_the_exit_code(shop: Shop) -> None:
    script = Path(sys.executable).with_name("surefoot")
    done = subprocess.run(
        [script, "wroker"], cwd=shop.folder, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "surefoot: there is no command 'wroker'; did you mean 'worker'? See `surefoot --help`.\n"


def test_version(shop: Shop) -> None:
    assert shop.here("version").out.startswith(f"surefoot {__version__} (Python 3.")
    assert shop.here("--version").out == f"surefoot {__version__}\n"
    (record,) = shop.here("version", "--json").records()
    assert list(record) == ["surefoot", "python", "sqlite"]
    assert record["surefoot"] == __version__


def test_help_and_errors_load_neither_a_store_nor_a_worker(shop: Shop) -> None:
    code = "import sys; from surefoot.cli.main import run; run(['stats', '--help']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=shop.folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split()) & {
        "rich",
        "redis",
        "surefoot.worker",
        "surefoot.client.queue",
        "sqlite3",
        "uvloop",
    }
    assert not loaded


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86400), ("1.5h", 5400), (" 0 ", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    context = click.Context(commands)
    assert duration(context, click.Option(["--drain"]), text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "5x", "1e3", "5 m m", "inf", "nan"])
def test_what_is_no_duration(text: str) -> None:
    context = click.Context(commands)
    with pytest.raises(click.BadParameter):
        duration_above_zero(context, click.Option(["--lease"]), text)


def test_queue_names_may_be_repeated_and_hold_commas() -> None:
    context = click.Context(commands)
    assert names(context, click.Option(["--queue"]), ("a,b", " c ", "a")) == ("a", "b", "c")


# --- defaults ---


def test_a_variable_that_names_a_release_is_not_the_option_version(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUREFOOT_VERSION", "1.0")
    assert shop.here("stats", "--help").out.startswith("Usage: surefoot stats")


def test_the_environment_gives_options(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUREFOOT_WORKER_CONCURRENCY", "many")
    ran = shop.here("worker", "shop:mail")
    assert ran.code == 2
    assert "invalid value for SUREFOOT_WORKER_CONCURRENCY: 'many' is not a whole number." in ran.err


def test_the_nearest_pyproject_names_the_application(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write("pyproject.toml", '[tool.surefoot]\napp = "shop:billing"\n')
    below = shop.folder / "docs" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    ran = shop.here("worker", "--check", "--json")
    assert [record["queue"] for record in ran.records()] == ["billing"]


def test_the_environment_wins_over_pyproject_and_the_command_line_over_both(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write("pyproject.toml", '[tool.surefoot]\napp = "nothing:here"\n')
    monkeypatch.setenv("SUREFOOT_APP", "shop:billing")
    assert [record["queue"] for record in shop.here("worker", "--check", "--json").records()] == ["billing"]
    assert [record["queue"] for record in shop.here("worker", "shop:mail", "--check", "--json").records()] == ["mail"]
    assert [record["queue"] for record in shop.here("worker", "-A", "shop:mail", "--check", "--json").records()] == [
        "mail"
    ]


def test_pyproject_gives_options_by_command(shop: Shop) -> None:
    shop.write("pyproject.toml", '[tool.surefoot.worker]\nqueue = "billing"\ncheck = true\n')
    assert [record["queue"] for record in shop.here("worker", "shop", "--json").records()] == ["billing"]
    shop.write("pyproject.toml", '[tool.surefoot.worker]\nlog-level = "loud"\n')
    assert "'loud' is not one of" in shop.here("worker", "shop").err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[tool.surefoot]\nap = 'x'", "[tool.surefoot] in {path} has no key 'ap'; did you mean 'app'?"),
        ("[tool.surefoot]\napp = 5", '[tool.surefoot] in {path}: app = 5 is not text; write app = "module:queue".'),
        (
            "[tool.surefoot.worker]\nthread = 5",
            "[tool.surefoot.worker] in {path} has no key 'thread'; did you mean 'threads'?",
        ),
        (
            "[tool.surefoot.jobs.lst]\nlimit = 5",
            "[tool.surefoot.jobs] in {path} has no key 'lst'; did you mean 'list'?",
        ),
        ("[tool.surefoot.stats]\nxyz = 5", "[tool.surefoot.stats] in {path} has no key 'xyz'."),
    ],
)
def test_a_key_that_nobody_reads_is_refused(text: str, sentence: str, shop: Shop) -> None:
    path = shop.write("pyproject.toml", text)
    ran = shop.here("stats", "shop")
    assert ran.code == 2
    assert ran.err == f"surefoot: {sentence.format(path=path)} See `surefoot --help`.\n"
    assert shop.here("--help").code == 0


def test_a_pyproject_that_cannot_be_read_is_told(shop: Shop) -> None:
    path = shop.write("pyproject.toml", "[tool")
    ran = shop.here("stats", "shop")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert ran.err.startswith(f"surefoot: cannot read {path}: ")
