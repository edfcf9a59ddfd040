"""`surefoot demo`: the whole story in a minute, with real workers, a real kill and a count at the end.

Only the door is here: what the story needs is looked for before it is imported.
"""

import sys
from importlib.util import find_spec

_NEEDED = {"aiosmtpd": "aiosmtpd", "aiosmtplib": "aiosmtplib", "PIL": "pillow"}


def run(*, redis: str | None = None, fast: bool = False, keep: bool = False) -> int:
    """Tell the story, once a process, and return the exit code: 0 only if everything that it promises was seen.

    `redis`: the URL of a server to tell it on, instead of a file. `fast`: leases of 1 s, so that the recovery after a
    kill needs no patience. `keep`: leave the folder behind.
    """
    missing = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    if missing:
        sys.stderr.write(f"surefoot: the demo needs {', '.join(missing)}: run `pip install 'surefoot[demo]'` first.\n")
        return 1
    from surefoot.cli.demo.stage import play

    return play(redis=redis, fast=fast, keep=keep)
