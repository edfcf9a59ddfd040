"""One finding of the doctor: its record, and the line that it is. Looks at nothing."""

import sys
from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

import click
import msgspec

from surefoot.cli.output import Output, clean

Result: TypeAlias = Literal["ok", "warn", "fail"]

_STYLES: Final[Mapping[Result, str]] = {"ok": "green", "warn": "yellow", "fail": "red"}
_WIDEST: Final = len("file_system")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check came to. `details` are the figures behind the sentence."""

    check: str
    result: Result
    sentence: str
    way_out: str | None = None
    details: Mapping[str, object] = {}


def ok(check: str, sentence: str, **details: object) -> Finding:
    """Nothing is wrong."""
    return Finding(check=check, result="ok", sentence=sentence, details=details)


def warn(check: str, sentence: str, way_out: str | None, **details: object) -> Finding:
    """Jobs run, and something is worth a look."""
    return Finding(check=check, result="warn", sentence=sentence, way_out=way_out, details=details)


def fail(check: str, sentence: str, way_out: str | None, **details: object) -> Finding:
    """Jobs do not run, or may be lost."""
    return Finding(check=check, result="fail", sentence=sentence, way_out=way_out, details=details)


def tell(out: Output, findings: Iterable[Finding]) -> list[Finding]:
    """Print each as it comes; gives them all."""
    told: list[Finding] = []
    for finding in findings:
        told.append(finding)
        if out.json:
            out.record(finding)
        else:
            _line(out, finding)
    return told


def _line(out: Output, finding: Finding) -> None:
    words = [sentence for sentence in (finding.sentence, finding.way_out) if sentence]
    result = f"{finding.result:<4}"
    if out.coloured(sys.stdout):
        result = click.style(result, fg=_STYLES[finding.result])
    click.echo(f"{result}  {finding.check:<{_WIDEST}}  {clean(' '.join(words))}", color=True)
