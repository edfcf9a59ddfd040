"""What a Worker refuses at its door or at its start, each time in one sentence with the way out; and its imports."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engine.stage import Stage, burst

from surefoot import ConfigError, Queue, SurefootError, UsageError, Worker
from surefoot.engine.modules import load_modules

BAD: list[tuple[dict[str, Any], type[SurefootError], str]] = [
    ({"concurrency": 0}, ConfigError, "Worker(concurrency=0): give a whole number >= 1."),
    ({"concurrency": 2.5}, ConfigError, "Worker(concurrency=2.5): give a whole number >= 1."),
    ({"concurrency": True}, ConfigError, "Worker(concurrency=True): give a whole number >= 1."),
    ({"threads": -1}, ConfigError, "Worker(threads=-1): give a whole number >= 1."),
    ({"drain": -1}, ConfigError, "Worker(drain)=-1 is not a duration; give seconds >= 0."),
    ({"drain": "25"}, ConfigError, "Worker(drain)='25' is not a duration; give seconds as a number, or a timedelta."),
    ({"lease": 0}, ConfigError, "Worker(lease)=0 is not a duration; give seconds > 0."),
    ({"lease": float("inf")}, ConfigError, "Worker(lease)=inf is not a duration; give seconds > 0."),
    ({"unknown_ttl": 0}, ConfigError, "Worker(unknown_ttl)=0 is not a duration; give seconds > 0."),
    ({"dead_max": -1}, ConfigError, "Worker(dead_max=-1): give a whole number >= 0."),
    ({"dead_age": -5}, ConfigError, "Worker(dead_age)=-5 is not a duration; give seconds > 0."),
    ({"order": "round"}, ConfigError, 'Worker(order=\'round\'): give "fair" or "strict".'),
    ({"name": "web 1"}, ConfigError, "Worker(name='web 1'): give 1 to 128 letters, digits or _ . : -"),
    ({"name": ""}, ConfigError, "Worker(name=''): give 1 to 128 letters, digits or _ . : -"),
    ({"process_pool": 0}, ConfigError, "Worker(process_pool=0): give a whole number >= 1."),
    (
        {"concurency": 5},
        ConfigError,
        "Worker(concurency=5): there is no option 'concurency'; did you mean 'concurrency'?",
    ),
]


@pytest.mark.parametrize(("options", "kind", "sentence"), BAD, ids=[str(options) for options, _, _ in BAD])
def test_a_wrong_option_is_answered_with_one_sentence(
    jobs: Queue, options: dict[str, Any], kind: type[SurefootError], sentence: str
) -> None:
    with pytest.raises(kind) as caught:
        Worker(jobs, **options)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "options",
    [{"imports": "shop.jobs"}, {"imports": [5]}, {"middleware": [5]}, {"on_event": 5}, {"lifespan": 5}],
    ids=str,
)
def test_what_would_fail_later_is_refused_at_the_door(jobs: Queue, options: dict[str, Any]) -> None:
    [word] = options
    with pytest.raises(SurefootError, match=rf"Worker\({word}"):
        Worker(jobs, **options)


def test_a_worker_serves_queues_and_at_least_one() -> None:
    with pytest.raises(UsageError, match=r"a Worker serves at least one queue: write Worker\(mail\)\."):
        Worker()
    with pytest.raises(UsageError, match=r"Worker serves queues, not 'mail': write Worker\(mail\)\."):
        Worker("mail")  # type: ignore[arg-type]


def test_weights_are_of_its_own_queues_and_whole_numbers(stage: Stage, jobs: Queue) -> None:
    with pytest.raises(ConfigError, match="this worker does not serve the queue 'other'"):
        Worker(jobs, weights={stage.queue("other"): 2})
    with pytest.raises(ConfigError, match=r"weights.*0.*whole number >= 1"):
        Worker(jobs, weights={jobs: 0})


def test_a_queue_named_twice_is_served_once(jobs: Queue) -> None:
    assert Worker(jobs, jobs).queues == (jobs,)


def test_two_queues_of_one_name_are_refused(jobs: Queue, stage: Stage) -> None:
    again = stage.queue()
    with pytest.raises(ConfigError, match=r"two queues of this Worker have one name \(jobs, jobs\); make one Queue"):
        asyncio.run(Worker(jobs, again).serve(burst=True))


async def test_queues_of_two_stores_are_refused(jobs: Queue) -> None:
    other = Stage()
    try:
        with pytest.raises(ConfigError, match=r"'jobs' and 'elsewhere' live in different stores .*make two workers"):
            await Worker(jobs, other.queue("elsewhere")).serve(burst=True)
    finally:
        other.store.close_sync()


async def test_queues_of_two_namespaces_of_one_store_are_served_together(url: str) -> None:
    blue, green = Queue(url, namespace="blue"), Queue(url, namespace="green")

    @blue.task(name="work", keep_result=60)
    async def work() -> None: ...

    green.add(work)
    handles = [await work.enqueue(), await work.options(queue=green).enqueue()]
    await burst(blue, green)
    assert [await handle.status() for handle in handles] == ["completed", "completed"]
    blue.broker.close_sync()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package: shop.jobs, shop.mail.jobs, shop.mail.deep.jobs, shop.mail.views, and one that fails to import."""
    root = tmp_path / "shop"
    for folder in (root, root / "mail", root / "mail" / "deep", root / "broken"):
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
    for module in ("jobs", "mail/jobs", "mail/deep/jobs", "mail/views"):
        (root / f"{module}.py").write_text("")
    (root / "broken" / "__init__.py").write_text("import nothing_of_this_name\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    forget("shop")  # another test's package of this name
    yield root
    forget("shop")


def forget(package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("shop.jobs", ["shop.jobs"]),
        ("shop.mail.*", ["shop.mail.deep", "shop.mail.jobs", "shop.mail.views"]),
        ("shop.mail.**.jobs", ["shop.mail.deep.jobs", "shop.mail.jobs"]),
        ("shop.*.jobs", ["shop.mail.jobs"]),
        ("shop.mail.**", ["shop.mail.deep", "shop.mail.deep.jobs", "shop.mail.jobs", "shop.mail.views"]),
    ],
)
def test_imports_load_names_and_patterns(shop: Path, pattern: str, found: list[str]) -> None:
    if pattern == "shop.*.jobs":
        (shop / "broken" / "__init__.py").write_text("")
    assert load_modules([pattern]) == found
    assert set(found) <= set(sys.modules)


@pytest.mark.parametrize("pattern", ["shop.broken", "shop.*", "shop.**.jobs"])
def test_a_module_that_fails_to_import_stops_the_start(shop: Path, pattern: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        load_modules([pattern])


@pytest.mark.parametrize("pattern", ["shop.mail.**.tasks", "shop.mail.deep.*.x", "shop.jobs.*"])
def test_a_pattern_that_matches_nothing_stops_the_start(shop: Path, pattern: str) -> None:
    with pytest.raises(
        ConfigError, match=r"matches no module; give a module's name, or a pattern like 'shop\.\*\*\.jobs'"
    ):
        load_modules([pattern])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("shop.wrong", "imports='shop.wrong': there is no module shop.wrong."),
        ("shopp.jobs", "imports='shopp.jobs': there is no module shopp."),
        ("*.jobs", "imports='*.jobs': a pattern begins with the name of a package, like 'shop.*'."),
    ],
)
def test_a_name_that_is_none_is_said(shop: Path, name: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_modules([name])
    assert str(caught.value) == sentence


async def test_a_worker_imports_before_it_claims(shop: Path, jobs: Queue) -> None:
    with pytest.raises(ConfigError, match="there is no module"):
        await Worker(jobs, imports=["shop.wrong"]).serve(burst=True)
    (shop / "jobs.py").write_text("loaded = True\n")
    await burst(jobs, imports=["shop.jobs"])
    assert sys.modules["shop.jobs"].loaded is True
