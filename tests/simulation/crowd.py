"""Many lives on all cores: which of them broke, and the story of one that did. How a life goes is not decided here."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.simulation.life import Life, play
from tests.simulation.plan import MODES, Mode

_PORTION = 25


@dataclass(frozen=True)
class Found:
    """A life that broke a promise."""

    seed: int
    mode: Mode
    what: str

    def __str__(self) -> str:
        return (
            f"seed {self.seed}, {self.mode}: {self.what}\n  python -m tests.simulation {self.seed} --mode {self.mode}"
        )


def portion(mode: Mode, seeds: Sequence[int], life: type[Life] = Life) -> tuple[int, list[Found]]:
    """Play some lives, here; how many, and those that broke."""
    found = list[Found]()
    for seed in seeds:
        _, broken = play(seed, mode, life=life)
        if broken is not None:
            found.append(Found(seed, mode, str(broken.args[0])))
    return len(seeds), found


def crowd(seeds: Sequence[int], modes: Sequence[Mode] = MODES) -> Iterator[tuple[int, list[Found]]]:
    """Play all of them, on all cores; after each portion how many it was, and those that broke."""
    work = [(mode, seeds[at : at + _PORTION]) for at in range(0, len(seeds), _PORTION) for mode in modes]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count(), _quiet) as pool:
        yield from pool.imap_unordered(_portion, work)


def _portion(work: tuple[Mode, Sequence[int]]) -> tuple[int, list[Found]]:
    return portion(*work)


def _quiet() -> None:
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)


def story(seed: int, mode: Mode, life: type[Life] = Life) -> tuple[list[str], str | None]:
    """One life, told: what concerns the jobs that broke a promise, or all of it; and what broke."""
    played, broken = play(seed, mode, told=True, life=life)
    if broken is None:
        return played.story.about([]), None
    return played.story.about([id[-6:] for id in broken.args[1:]]), str(broken.args[0])


def first(life: Callable[[], type[Life]], seeds: Sequence[int], modes: Sequence[Mode] = MODES) -> Found | None:
    """The first life of this kind that breaks a promise."""
    kind = life()
    for seed in seeds:
        for mode in modes:
            _, broken = play(seed, mode, life=kind)
            if broken is not None:
                return Found(seed, mode, str(broken.args[0]))
    return None
