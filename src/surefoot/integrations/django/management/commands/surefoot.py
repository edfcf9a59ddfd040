"""`manage.py surefoot ...`: surefoot's command line, with Django set up before."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):  # type: ignore[misc]  # Django is untyped
    """Hands every word to surefoot's own command line, but for the two options that Django has read already."""

    help = "The command line of surefoot: manage.py surefoot worker shop.queues:mail"
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """From the shell: the exit code is surefoot's."""
        sys.exit(_command_line()(_without_djangos(argv[2:])))

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """For call_command."""
        parser.add_argument("words", nargs=argparse.REMAINDER)

    def handle(self, *args: Any, **options: Any) -> None:
        """From call_command: any exit code but 0 is a CommandError that carries it."""
        code = _command_line()(options["words"])
        if code:
            words = " ".join(options["words"])
            raise CommandError(f"`surefoot {words}` ended with exit code {code}.", returncode=code)


def _command_line() -> Callable[[Sequence[str]], int]:
    """By its name: integrations and the command line stand beside each other, and neither imports the other."""
    run: Callable[[Sequence[str]], int] = import_module("surefoot.cli.main").run
    return run


def _without_djangos(words: list[str]) -> list[str]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--settings")
    parser.add_argument("--pythonpath")
    return parser.parse_known_args(words)[1]
