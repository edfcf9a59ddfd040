"""The exit codes that the command line gives, and the exceptions that carry them with their sentence."""

from typing import Final

import click

NO: Final = 1
USAGE: Final = 2
APPLICATION: Final = 3
STORE: Final = 4
INTERRUPTED: Final = 130


class AnswerIsNo(click.ClickException):
    """Nothing is wrong with the question; the answer is no: not found, nothing matched, declined."""

    exit_code = NO


class NotLoaded(click.ClickException):
    """The application cannot be loaded. `lines` are the end of its own traceback, if it raised."""

    exit_code = APPLICATION

    def __init__(self, sentence: str, lines: str = "") -> None:
        super().__init__(sentence)
        self.lines = lines


class StoreFault(click.ClickException):
    """The store cannot be reached, or its URL cannot be used."""

    exit_code = STORE
