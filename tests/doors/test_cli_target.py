"""How TARGET is found and loaded, and every sentence for an application that cannot be."""

from __future__ import annotations

import pytest
from tests.doors.cli_shop import Shop


def served(shop: Shop, *args: str) -> list[object]:
    """The queues that `worker --check` finds."""
    ran = shop.here("worker", *args, "--check", "--json")
    assert (ran.code, ran.err) == (0, "")
    return [record["queue"] for record in ran.records()]


@pytest.mark.parametrize(
    ("target", "queues"),
    [
        ("shop:mail", ["mail"]),
        ("shop:worker", ["mail", "billing"]),
        ("shop:factory", ["mail"]),
        ("shop", ["mail", "billing"]),
    ],
)
def test_a_target_is_a_queue_a_worker_a_factory_or_a_module(target: str, queues: list[str], shop: Shop) -> None:
    assert served(shop, target) == queues


def test_several_targets_are_served_together_each_queue_once(shop: Shop) -> None:
    assert served(shop, "shop:billing", "shop") == ["billing", "mail"]


def test_queues_of_the_application_are_chosen_by_name(shop: Shop) -> None:
    assert served(shop, "shop", "-q", "billing") == ["billing"]
    assert served(shop, "shop", "-Q", "billing,mail") == ["billing", "mail"]
    ran = shop.here("worker", "shop", "-q", "mial", "--check")
    assert (ran.code, ran.out) == (2, "")
    sentence = "'shop' has no queue 'mial'; did you mean 'mail'? Known: billing, mail."
    assert ran.err == f"surefoot: {sentence} See `surefoot worker --help`.\n"


def test_an_object_in_an_object_is_found(shop: Shop) -> None:
    shop.write("nested.py", "import shop\nclass Queues:\n    post = shop.mail\n")
    assert served(shop, "nested:Queues.post") == ["mail"]


@pytest.fixture
def package(shop: Shop) -> Shop:
    """The package of the page on the command line, with modules that are wrong in many ways."""
    for name in ("invoices", "mails", "_private"):
        shop.write(f"store/{name}.py", "")
    shop.write("store/__init__.py", "")
    shop.write("store/queues.py", "from shop import mail, billing\nlimit = 5\ndef nothing(): return None\n")
    shop.write("store/worker.py", "from shop import worker\n")
    shop.write("store/bad.py", "def part(): raise KeyError('no settings')\npart()\n")
    shop.write("store/lacking.py", "import nowhere_installed\n")
    shop.write("store/leaving.py", "raise SystemExit('set DATABASE_URL')\n")
    shop.write("store/wrong.py", "def f(:\n")
    shop.write(
        "store/task.py",
        "from shop import mail\nclass A:\n    @mail.task\n    def resize(self, path: str) -> None: ...\n",
    )
    shop.write("store/sub/__init__.py", "")
    shop.write("store/sub/more.py", "")
    shop.write("store/sub/deep.py", "")
    shop.write("folder/queues.py", "from shop import mail\n")
    shop.write("store/circle.py", "from store import half\nfrom shop import mail\n")
    shop.write("store/half.py", "from store.circle import mail\n")
    shop.write(
        "store/factories.py",
        "async def later(): ...\ndef broken():\n    raise OSError('no secrets file')\ndef needs(x): ...\n",
    )
    return shop


HAS = "bad, circle, factories, half, invoices, lacking, leaving, mails, queues, sub, task, worker, wrong"


def test_a_url_in_the_place_of_a_target_is_told_without_its_password(shop: Shop) -> None:
    ran = shop.here("stats", "redis://ann:secret@cache/0")
    assert (ran.code, ran.out, "secret" in ran.err) == (3, "", False)
    assert ran.err == (
        "surefoot: cannot load 'redis://...': that is a URL, not module:queue, module:worker, module:factory or "
        "module. Commands that look at a store or steer it take --url; a worker's queues name their own store, or "
        "SUREFOOT_URL names it.\n"
    )


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("store.wroker:worker", f"there is no module store.wroker; store has: {HAS}."),
        ("stroe.queues", "there is no module stroe; this directory has: shop, store."),
        ("store.queues.mail", "there is no module store.queues.mail; did you mean 'store.queues:mail'?"),
        ("store.queues.more:mail", "there is no module store.queues.more; store.queues is a module, not a package."),
        ("store.queues:mial", "store.queues has no 'mial'; did you mean 'mail'? It has: billing, mail."),
        ("store.queues:xyz", "store.queues has no 'xyz'. It has: billing, mail."),
        ("store.invoices:mail", "store.invoices has no 'mail'. It has neither a queue nor a worker."),
        ("store.invoices", "store.invoices has no queue. It has neither a queue nor a worker."),
        ("store.worker", "store.worker has no queue. It has: worker."),
        (
            "store.queues:limit",
            "it is of type int, not a queue, a worker, or a function without parameters that returns one.",
        ),
        (
            "store.queues:nothing",
            "it is of type NoneType, not a queue, a worker, or a function without parameters that returns one.",
        ),
        (
            "store/queues.py:mail",
            "that is not module:queue, module:worker, module:factory or module; did you mean 'store.queues:mail'?",
        ),
        (":mail", "that is not module:queue, module:worker, module:factory or module."),
        (
            "shop.py:mail",
            "that is not module:queue, module:worker, module:factory or module; did you mean 'shop:mail'?",
        ),
        ("shop.py", "that is not module:queue, module:worker, module:factory or module; did you mean 'shop'?"),
        ("shop:welcome", "that is a task of queue 'mail'; name the queue."),
        ("shop:send_receipt", "that is a task of queue 'mail'; name the queue."),
        ("store.factories:later", "it is an async function; a factory is a plain one."),
        ("store.sub:mail", "store.sub has no 'mail'. It has neither a queue nor a worker. Its modules: deep, more."),
        ("folder", "folder has no queue. It has neither a queue nor a worker. Its modules: queues."),
        ("folder.quues:mail", "there is no module folder.quues; folder has: queues."),
        ("sto re", "that is not module:queue, module:worker, module:factory or module."),
        (
            "billing",
            "there is no module billing; this directory has: shop, store. TARGET is module:queue; to choose a "
            "queue by its name write -q billing.",
        ),
        (
            "my-mail",
            "that is not module:queue, module:worker, module:factory or module. TARGET is module:queue; to choose a "
            "queue by its name write -q my-mail.",
        ),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence_and_exit_3(target: str, sentence: str, package: Shop) -> None:
    for command in ("worker", "stats", "pause"):
        ran = package.here(command, target)
        assert (ran.code, ran.out, ran.err) == (3, "", f"surefoot: cannot load '{target}': {sentence}\n")


@pytest.mark.parametrize(
    ("target", "first", "inner", "last"),
    [
        ("store.bad:mail", "store.bad raised while it was imported:", ("part()", "bad.py"), "KeyError: 'no settings'"),
        (
            "store.lacking",
            "store.lacking raised while it was imported:",
            ("import nowhere_installed",),
            "ModuleNotFoundError: No module named 'nowhere_installed'",
        ),
        ("store.leaving", "store.leaving raised while it was imported:", (), "SystemExit: set DATABASE_URL"),
        (
            "store.circle:mail",
            "store.circle raised while it was imported:",
            ("from store import half", "from store.circle import mail"),
            "ImportError: cannot import name 'mail' from partially initialized module 'store.circle'",
        ),
        ("store.wrong", "store.wrong raised while it was imported:", ("def f(:",), "SyntaxError: "),
        (
            "store.task",
            "store.task raised while it was imported:",
            ("@mail.task",),
            "surefoot.core.errors.TaskDefinitionError: resize looks like a method",
        ),
        ("store.factories:broken", "it raised:", ("in broken",), "OSError: no secrets file"),
        ("store.factories:needs", "it raised:", (), "TypeError: needs() missing 1 required positional argument: 'x'"),
    ],
)
def test_a_module_that_raises_shows_the_end_of_its_own_traceback(
    target: str, first: str, inner: tuple[str, ...], last: str, package: Shop
) -> None:
    ran = package.here("stats", target)
    lines = ran.err.splitlines()
    assert (ran.code, ran.out) == (3, "")
    assert lines[0] == f"surefoot: cannot load '{target}': {first}"
    assert lines[-1].startswith(last)
    assert all(words in ran.err for words in inner)
    assert "surefoot/cli" not in ran.err
    assert "surefoot/client" not in ran.err
    assert "importlib" not in ran.err


def test_only_the_end_of_a_long_traceback_is_shown_unless_asked(shop: Shop) -> None:
    steps = [f"def f{n}(): f{n + 1}()\n" for n in range(30)]
    shop.write("deep.py", "".join(steps) + "def f30(): raise OSError('at the bottom')\nf0()\n")
    short, long = shop.here("stats", "deep").err, shop.here("stats", "deep", "--verbose").err
    assert short.count("File ") == 6
    assert long.count("File ") == 32
    assert short.endswith("OSError: at the bottom\n")


def test_an_installed_application_shows_its_lines_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write("venv/lib/site-packages/deployed.py", "def start(): raise OSError('no secrets file')\nstart()\n")
    monkeypatch.syspath_prepend(shop.folder / "venv" / "lib" / "site-packages")
    ran = shop.here("stats", "deployed")
    assert ran.err.splitlines()[0] == "surefoot: cannot load 'deployed': deployed raised while it was imported:"
    assert ran.err.count("deployed.py") == 2


def test_imports_of_the_worker_are_loaded_and_can_fail(package: Shop) -> None:
    package.write("late.py", "from shop import mail\n@mail.task\ndef late() -> None: ...\n")
    (record,) = package.here("worker", "shop:mail", "--import", "late", "--check", "--json").records()
    assert record["tasks"] == ["late", "nightly", "receipt", "welcome"]
    ran = package.here("worker", "shop:mail", "--import", "store.*.jobs", "--check")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("surefoot: cannot load 'store.*.jobs': imports='store.*.jobs' matches no module; ")
    ran = package.here("worker", "shop:mail", "--import", "store.bad", "--check")
    assert ran.code == 3
    assert ran.err.startswith("surefoot: cannot load 'store.bad': it raised while it was imported:\n")
    assert ran.err.endswith("KeyError: 'no settings'\n")


def test_imports_are_loaded_before_the_target_which_may_need_them(package: Shop) -> None:
    package.write("late.py", "ready = True\n")
    package.write("needs.py", "import sys\nfrom shop import mail\nassert sys.modules['late'].ready\n")
    assert package.here("worker", "needs", "--check").code == 3
    assert served(package, "needs", "--import", "late") == ["mail"]


def test_a_worker_keeps_its_own_options(shop: Shop) -> None:
    for word, value in (("concurrency", "5"), ("threads", "5"), ("drain", "5s"), ("name", "x"), ("queue", "mail")):
        ran = shop.here("worker", "shop:worker", f"--{word}", value)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == (
            f"surefoot: --{word} does not apply: 'shop:worker' is a Worker and has its own options; set it there, or "
            "name queues instead of the Worker. See `surefoot worker --help`.\n"
        )
    ran = shop.here("worker", "shop:worker", "shop:mail")
    assert ran.code == 2
    assert ran.err.startswith("surefoot: 'shop:worker' is a Worker and serves its own queues; name it alone.")


def test_a_task_that_no_child_process_could_find_is_found_by_check(shop: Shop) -> None:
    shop.write(
        "heavy.py",
        "from shop import mail\ndef make():\n    @mail.task(name='heavy', executor='process')\n"
        "    def heavy() -> None: ...\nmake()\n",
    )
    ran = shop.here("worker", "heavy:mail", "--check")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith(
        "surefoot: task 'heavy' of queue 'mail' wants executor=\"process\" and is an inner function"
    )


def test_a_file_with_the_name_of_a_module_of_python_breaks_nothing_and_is_told(shop: Shop) -> None:
    shop.write("queue.py", "from shop import mail\n")
    shop.write("click.py", "from shop import mail\n")
    for name in ("queue", "click"):
        ran = shop.apart("stats", f"{name}:mail", PYTHONSAFEPATH="1")
        assert (ran.code, ran.out) == (3, "")
        assert ran.err.startswith(
            f"surefoot: cannot load '{name}:mail': {name} is a module of Python or of a package ("
        )
        assert ran.err.endswith(f") and hides {name}.py in this directory; give the file another name.\n")
    assert shop.apart("stats", "shop:mail", PYTHONSAFEPATH="1").code == 0


def test_a_task_is_not_called_because_it_was_taken_for_a_factory(shop: Shop) -> None:
    shop.write("careless.py", "from shop import mail\n@mail.task\ndef wipe() -> None:\n    open('wiped', 'x')\n")
    assert shop.here("stats", "careless:wipe").code == 3
    assert not (shop.folder / "wiped").exists()
