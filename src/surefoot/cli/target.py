"""Which queues a command is about: those of an application, or those of the store at a URL.

Every way in which loading an application can fail is one sentence, and its own traceback if it raised.
"""

import importlib
import inspect
import os
import pkgutil
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from itertools import dropwhile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard, TypeVar

import click

from surefoot.cli.exits import NotLoaded, StoreFault
from surefoot.core.errors import ConfigError
from surefoot.core.names import did_you_mean, is_name

if TYPE_CHECKING:
    from surefoot.brokers.broker import Verb
    from surefoot.client.queue import Queue
    from surefoot.worker import Worker

T = TypeVar("T")
Loaded: TypeAlias = "tuple[Queue, ...] | Worker"

_HOUSE: Final = str(Path(__file__).parents[1]) + os.sep
_PACKAGES: Final = re.compile(r"/(site|dist)-packages/")
_LAST_FRAMES: Final = 6
_SHAPE: Final = "module:queue, module:worker, module:factory or module"
_NEW_QUEUE: Final = " One begins with its first worker, or the first job of its application: --app module:queue."


class Scope:
    """The queues of one command. The command line wins over the environment, the environment over pyproject.toml."""

    def __init__(
        self,
        target: str | None,
        app: str | None,
        url: str | None,
        names: tuple[str, ...],
        *,
        default: str | None = None,
        folder: Path | None = None,
        verbose: bool = False,
    ) -> None:
        if target is not None and app is not None:
            raise click.UsageError(f"'{target}' and --app {app} both name the application; give one of them.")
        if url is not None and (target or app) is not None:
            raise click.UsageError(f"--url is for calls without an application; '{target or app}' names its own store.")
        self.names = names
        self._named = target or app
        self._url = url
        self._default = default
        self._folder = folder
        self._verbose = verbose

    @property
    def application(self) -> str | None:
        """The application's name as given or set; None where there is none, or a URL was given instead."""
        if self._named is not None or self._url is not None:
            return self._named
        return os.environ.get("SUREFOOT_APP") or self._default

    def queues(self) -> list["Queue"]:
        """The queues, opened; with names exactly those. None only where a store holds none."""
        application = self.application
        if application is None:
            return self._stored()
        loaded = load(application, folder=self._folder, verbose=self._verbose)
        found = chosen(queues_of(loaded), self.names, f"'{application}'")
        for queue in found:
            opened(queue, at_once=True)
        return found

    def _stored(self) -> list["Queue"]:
        from surefoot.client.queue import Queue

        url = self._url or os.environ.get("SUREFOOT_URL")
        if not url:
            raise click.UsageError(
                "this needs an application or a store: name the application (--app module:queue), "
                "or set SUREFOOT_APP or SUREFOOT_URL, or give --url."
            )
        stored = stored_names(url)
        for name in self.names:
            if name not in stored:
                raise _no_queue("the store", name, stored, _NEW_QUEUE)
        return [opened(Queue(url, name=name), at_once=True) for name in (self.names or stored)]


def load(text: str, *, folder: Path | None = None, verbose: bool = False) -> Loaded:
    """The queues or the worker that `text` names. The current directory and `folder` become importable."""
    make_importable(folder)
    if "://" in text:  # it may hold a password
        scheme = text.partition("://")[0]
        raise NotLoaded(
            f"cannot load '{scheme}://...': that is a URL, not {_SHAPE}. Commands that look at a store or steer it "
            "take --url; a worker's queues name their own store, or SUREFOOT_URL names it."
        )
    name, _, attribute = text.partition(":")
    if not name or name.endswith(".py") or not all(part.isidentifier() for part in name.split(".")):
        raise NotLoaded(f"cannot load '{text}': that is not {_SHAPE}{_dotted(name, attribute)}{_by_name(text)}")
    module = _imported(text, name, verbose)
    _refuse_hidden(text, name, module)
    if not attribute:
        return _all_queues(text, module)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise NotLoaded(f"cannot load '{text}': {name} has no '{attribute}'{_known(attribute, module)}")
        found = getattr(found, part)
    return _queue_or_worker(text, found, verbose)


def make_importable(folder: Path | None) -> None:
    """The modules of the current directory, and of `folder`, can be imported from here on."""
    for place in (folder, Path.cwd()):
        if place is not None and str(place) not in sys.path:
            sys.path.insert(_behind_python(), str(place))


def _behind_python() -> int:
    """Where an application's folder goes: a queue.py or types.py of its own must not replace Python's."""
    return next((place for place, path in enumerate(sys.path) if _PACKAGES.search(f"{path}/")), len(sys.path))


def queues_of(loaded: Loaded) -> list["Queue"]:
    """The queues of what was loaded."""
    return list(loaded) if isinstance(loaded, tuple) else list(loaded.queues)


def chosen(queues: list["Queue"], names: tuple[str, ...], owner: str) -> list["Queue"]:
    """The queues with these names, all of them where no name is given."""
    known = {queue.name: queue for queue in queues}
    for name in names:
        if name not in known:
            raise _no_queue(owner, name, known)
    return [known[name] for name in names] if names else queues


def opened(queue: "Queue", *, at_once: bool = False) -> "Queue":
    """The queue, with its store found to be there. `at_once`: asked a single time, because a person waits."""
    from surefoot.brokers.broker import Stats

    try:
        if at_once:
            _ask_once(queue, Stats(queue.full_name, 0))
        else:
            queue.open_sync()
    except ConfigError as fault:
        raise StoreFault(str(fault)) from None
    return queue


def _ask_once(queue: "Queue", verb: "Verb[T]") -> T:
    """The answer to a verb that only reads; a store that is away is not asked again, as an application would."""
    from surefoot.client.session import SyncSession

    answer: T
    (answer,) = SyncSession(queue.broker).ask([verb], deadline=0)
    return answer


def stored_names(url: str) -> list[str]:
    """The names of all queues that the store at `url` holds in its namespace, sorted."""
    from surefoot.brokers.broker import Queues
    from surefoot.brokers.connect import MEMORY, parse
    from surefoot.client.queue import Queue

    try:
        address = parse(url)
        if address.scheme == "sqlite" and address.path != MEMORY and not Path(address.path).exists():
            raise StoreFault(f"there is no file {address.path}; check the URL, or name the application.")
        door = Queue(url)
        namespace = door.full_name.partition(":")[0]
        found = _ask_once(door, Queues(f"{namespace}:"))
    except ConfigError as fault:
        raise StoreFault(str(fault)) from None
    return sorted(name.rpartition(f"{namespace}:")[2] for name in found)


def _no_queue(owner: str, name: str, known: Any, more: str = "") -> click.UsageError:
    listed = f" Known: {', '.join(sorted(known))}." if known else " It has none yet."
    return click.UsageError(f"{owner} has no queue '{name}'{did_you_mean(name, known) or '.'}{listed}{more}")


def _imported(text: str, name: str, verbose: bool) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is None or not (name == missing.name or name.startswith(missing.name + ".")):
            raise raised(
                f"cannot load '{text}': {name} raised while it was imported", missing, verbose=verbose
            ) from None
        raise NotLoaded(f"cannot load '{text}': {_no_module(name, missing.name)}{_by_name(text)}") from None
    except (Exception, SystemExit) as error:
        raise raised(f"cannot load '{text}': {name} raised while it was imported", error, verbose=verbose) from None


def _refuse_hidden(text: str, name: str, module: ModuleType) -> None:
    """A file here that has the name of a module loaded before it is never seen, and nobody would guess why."""
    here, loaded = Path.cwd() / f"{name}.py", getattr(module, "__file__", None)
    if here.exists() and (loaded is None or not here.samefile(loaded)):
        raise NotLoaded(
            f"cannot load '{text}': {name} is a module of Python or of a package ({loaded or 'built in'}) and hides "
            f"{here.name} in this directory; give the file another name."
        )


def _by_name(text: str) -> str:
    """The way out for one word that is no module: it may be a queue's name."""
    if not is_name(text) or ":" in text or "." in text:
        return ""
    return f" TARGET is module:queue; to choose a queue by its name write -q {text}."


def _no_module(name: str, missing: str) -> str:
    parent, _, last = missing.rpartition(".")
    owner = sys.modules.get(parent) if parent else None
    if owner is not None and last in _nouns(owner):
        return f"there is no module {missing}; did you mean '{parent}:{name[len(parent) + 1 :]}'?"
    if owner is not None and not hasattr(owner, "__path__"):
        return f"there is no module {missing}; {parent} is a module, not a package."
    children = _children([str(Path.cwd())] if owner is None else owner.__path__)
    holder = parent or "this directory"
    return f"there is no module {missing}; {holder} has: {', '.join(children)}." if children else (
        f"there is no module {missing}; {holder} has no modules."
    )  # fmt: skip


def _all_queues(text: str, module: ModuleType) -> "tuple[Queue, ...]":
    from surefoot.client.queue import Queue

    found = tuple(dict.fromkeys(value for value in vars(module).values() if isinstance(value, Queue)))
    if not found:
        raise NotLoaded(f"cannot load '{text}': {text} has no queue{_known(None, module)}")
    return found


def _queue_or_worker(text: str, found: object, verbose: bool) -> Loaded:
    from surefoot.client.queue import Queue
    from surefoot.client.task import Task

    if isinstance(found, Task):
        raise NotLoaded(f"cannot load '{text}': that is a task of queue '{found.queue.name}'; name the queue.")
    if inspect.iscoroutinefunction(found):
        raise NotLoaded(f"cannot load '{text}': it is an async function; a factory is a plain one.")
    if not isinstance(found, Queue) and not _is_worker(found) and callable(found) and not isinstance(found, type):
        try:
            found = found()
        except (Exception, SystemExit) as error:
            raise raised(f"cannot load '{text}': it raised", error, verbose=verbose) from None
    if isinstance(found, Queue):
        return (found,)
    if _is_worker(found):
        return found
    raise NotLoaded(
        f"cannot load '{text}': it is of type {type(found).__name__}, not a queue, a worker, or a function without "
        "parameters that returns one."
    )


def _is_worker(found: object) -> "TypeGuard[Worker]":
    """Whether this is a Worker; the worker's module is loaded only if the application has loaded it."""
    module = sys.modules.get("surefoot.worker")
    return module is not None and isinstance(found, module.Worker)


def _nouns(module: ModuleType) -> list[str]:
    from surefoot.client.queue import Queue

    return sorted(name for name, value in vars(module).items() if isinstance(value, Queue) or _is_worker(value))


def _known(attribute: str | None, module: ModuleType) -> str:
    nouns = _nouns(module)
    near = "" if attribute is None else did_you_mean(attribute, nouns)
    listed = f"It has: {', '.join(nouns)}." if nouns else "It has neither a queue nor a worker."
    children = [] if nouns else _children(getattr(module, "__path__", ()))
    inside = f" Its modules: {', '.join(children)}." if children else ""
    return f"{near or '.'} {listed}{inside}"


def _children(paths: Iterable[str]) -> list[str]:
    return sorted({child.name for child in pkgutil.iter_modules(paths) if not child.name.startswith("_")})


def _dotted(name: str, attribute: str) -> str:
    words = name.removesuffix(".py").replace("/", ".").strip(".")
    return "." if words == name else f"; did you mean '{words}{':' if attribute else ''}{attribute}'?"


def raised(sentence: str, error: BaseException, *, verbose: bool) -> NotLoaded:
    """The sentence and the end of the application's traceback: from its own first frame on, without frames of ours."""
    frames = list(dropwhile(lambda frame: not _outside(frame.filename), traceback.extract_tb(error.__traceback__)))
    frames = [frame for frame in frames if not frame.filename.startswith((_HOUSE, "<frozen importlib"))]
    if not verbose:
        frames = frames[-_LAST_FRAMES:]
    lines = [*traceback.format_list(frames), *traceback.format_exception_only(error)]
    return NotLoaded(f"{sentence}:", "".join(lines).rstrip())


def from_application(error: BaseException) -> bool:
    """Whether code of the application took part in raising this: code that was not installed as a package."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return any(_outside(file) and not _PACKAGES.search(file) for file in files)


def _outside(file: str) -> bool:
    """Whether a file is neither ours nor the standard library's."""
    library = file.startswith(sysconfig.get_path("stdlib")) and not _PACKAGES.search(file)
    return os.path.isabs(file) and not file.startswith(_HOUSE) and not library
