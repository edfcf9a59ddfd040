"""What `SUREFOOT` in Django's settings may say."""

from typing import Any, Final

import msgspec

from surefoot.core.errors import ConfigError
from surefoot.core.names import did_you_mean

SETTING: Final = "SUREFOOT"


class Said(msgspec.Struct, frozen=True):
    """The setting as it was given; None where nothing was."""

    url: str | None = None
    namespace: str | None = None


def read(given: Any) -> Said:
    """The setting, checked. ConfigError for what surefoot does not know."""
    if not isinstance(given, dict):
        raise ConfigError(f'{SETTING} = {given!r}: give a dict, {SETTING} = {{"url": "sqlite:///jobs.db"}}.')
    for word, value in given.items():
        if word not in Said.__struct_fields__:
            known = ", ".join(Said.__struct_fields__)
            near = did_you_mean(word, Said.__struct_fields__) if isinstance(word, str) else ""
            raise ConfigError(f"{SETTING} has no key {word!r}{near or '.'} Known: {known}.")
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{SETTING}[{word!r}] is {value!r}; give text.")
    return Said(**given)
