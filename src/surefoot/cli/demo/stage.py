"""Sets the stage for the story and clears it again: a folder, a mail server, the worker processes, the signals."""

import asyncio
import shutil
import signal
import tempfile
import traceback
from pathlib import Path

from surefoot.cli.demo.app import shop
from surefoot.cli.demo.crew import Crew
from surefoot.cli.demo.ledger import Ledger
from surefoot.cli.demo.mailbox import Mailbox
from surefoot.cli.demo.show import Show
from surefoot.cli.demo.story import DRAIN_S, FAST, NORMAL, Pace, Story


def play(*, fast: bool, keep: bool) -> int:
    """The whole of it, from an empty folder to no folder. One that failed is kept, with the workers' logs."""
    folder = Path(tempfile.mkdtemp(prefix="surefoot-demo-"))
    with Show() as show:
        show.say(f"One queue in {folder / 'jobs.db'}; nothing else is used, nothing stays behind.")
        code = asyncio.run(_until_a_signal(folder, FAST if fast else NORMAL, show))
    if code == 1:
        show.say(f"The workers' logs: {', '.join(str(log) for log in sorted(folder.glob('*.log')))}")
    if keep or code == 1:
        show.say(f"Kept: {folder}")
    else:
        shutil.rmtree(folder)
    return code


async def _until_a_signal(folder: Path, pace: Pace, show: Show) -> int:
    loop = asyncio.get_running_loop()
    story = loop.create_task(_tell(folder, pace, show))
    came: list[int] = []

    def leave(number: int) -> None:
        came.append(number)
        if len(came) == 1:
            story.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, leave, number)
    try:
        return await story
    except asyncio.CancelledError:
        if not came:
            raise
        return 128 + came[0]


async def _tell(folder: Path, pace: Pace, show: Show) -> int:
    mailbox, ledger = Mailbox(), Ledger(folder / "ledger")
    url = f"sqlite:///{folder}/jobs.db"
    environment = {
        "SUREFOOT_URL": url, "DEMO_FOLDER": str(folder), "DEMO_SMTP_PORT": str(await mailbox.open()),
        "DEMO_LEASE": str(pace.lease_s), "DEMO_DRAIN": str(DRAIN_S),
    }  # fmt: skip
    crew = Crew(folder, environment)
    try:
        shop.bind(url)
        async with shop:
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
