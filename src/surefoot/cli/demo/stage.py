"""Sets the stage for the story and clears it again: a folder, a store, a mail server, the workers, the signals."""

import asyncio
import logging
import shutil
import signal
import tempfile
import traceback
from pathlib import Path

from surefoot import Queue
from surefoot.cli.demo.app import shop
from surefoot.cli.demo.crew import Crew
from surefoot.cli.demo.ground import File, Ground, Namespace
from surefoot.cli.demo.ledger import Ledger
from surefoot.cli.demo.mailbox import Mailbox
from surefoot.cli.demo.show import Show
from surefoot.cli.demo.story import DRAIN_S, FAST, NORMAL, Pace, Story
from surefoot.cli.exits import StoreFault
from surefoot.cli.target import opened
from surefoot.core.errors import ConfigError, StoreError
from surefoot.engine.fitness import Fitness


def play(*, redis: str | None, fast: bool, keep: bool) -> int:
    """The whole of it, from an empty folder to no folder. One that failed is kept, with the workers' logs."""
    namespace = None if redis is None else _namespace_on(redis)
    folder = Path(tempfile.mkdtemp(prefix="surefoot-demo-"))
    ground = namespace or File(folder)
    shop.bind(ground.url)
    with Show() as show:
        code = asyncio.run(_until_a_signal(folder, ground, FAST if fast else NORMAL, show))
    if code == 1:
        show.say(f"The workers' logs: {', '.join(str(log) for log in sorted(folder.glob('*.log')))}")
    if keep or code == 1:
        show.say(f"Kept: {folder}")
    else:
        shutil.rmtree(folder)
    return code


def _namespace_on(url: str) -> Namespace:
    """A place on this server, which was seen to be fit: before anything is begun that would have to be cleared away."""
    try:
        namespace = Namespace(url)
    except ConfigError as fault:
        raise StoreFault(str(fault)) from None
    queue = opened(Queue(namespace.url, name=shop.name), at_once=True)
    logging.getLogger("surefoot").addHandler(logging.NullHandler())  # what is no more than a warning, the story tells
    asyncio.run(Fitness(queue.broker, allow_eviction=False).look())
    queue.close_sync()
    return namespace


async def _until_a_signal(folder: Path, ground: Ground, pace: Pace, show: Show) -> int:
    loop = asyncio.get_running_loop()
    story = loop.create_task(_tell(folder, ground, pace, show))
    came: list[int] = []

    def leave(number: int) -> None:
        came.append(number)
        if len(came) == 1:
            story.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, leave, number)
    try:
        code = await story
    except asyncio.CancelledError:
        if not came:
            raise
        code = 128 + came[0]
    try:
        await ground.clear()
    except StoreError as fault:
        show.say(f"FAILED  {fault}")
        code = code or 1
    return code


async def _tell(folder: Path, ground: Ground, pace: Pace, show: Show) -> int:
    mailbox, ledger = Mailbox(), Ledger(folder / "ledger")
    environment = {
        "SUREFOOT_URL": ground.url, "DEMO_FOLDER": str(folder), "DEMO_SMTP_PORT": str(await mailbox.open()),
        "DEMO_LEASE": str(pace.lease_s), "DEMO_DRAIN": str(DRAIN_S),
    }  # fmt: skip
    crew = Crew(folder, environment)
    try:
        async with shop:
            show.say(await ground.told())
            try:
                return 0 if await Story(folder, pace, show, crew, mailbox, ledger).tell() else 1
            finally:
                await crew.close()
    except Exception:
        (folder / "story.log").write_text(traceback.format_exc())
        show.say("FAILED  the story itself broke; story.log says where.")
        return 1
    finally:
        await mailbox.close()
        ledger.close()
