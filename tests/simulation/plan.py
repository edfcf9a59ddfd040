"""What a life holds in store, drawn from its seed before it begins: numbers, weather, jobs, accidents."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal, TypeAlias

from tests.simulation.crew import Hand
from tests.simulation.network import FINE, Weather

Mode: TypeAlias = Literal["safety", "liveness"]
MODES: Final[tuple[Mode, ...]] = ("safety", "liveness")

_UNKNOWN: Final = frozenset({"rare"})

Act: TypeAlias = tuple[str, float]
"""What a handler does, and for how long."""


@dataclass
class Plan:
    """`calm`: nothing goes wrong between one worker and the store alone, so that a living one is never robbed."""

    seed: str
    mode: Mode
    calm: bool
    lease_s: float
    span_s: float
    weather: Weather
    stalls: float
    hands: list[Hand]
    puts: list[tuple[float, str, int]] = field(default_factory=list)  # when, what, the first number
    steers: list[tuple[float, str]] = field(default_factory=list)
    accidents: list[tuple[float, str]] = field(default_factory=list)
    acts: dict[int, list[Act]] = field(default_factory=dict)

    def act(self, n: int, attempt: int) -> Act:
        """What the job of this number does in this run; later runs get milder."""
        acts = self.acts.get(n, [])
        return acts[attempt - 1] if attempt <= len(acts) else ("return", 0.05)


_ENDS: Final = ("return", "return", "return", "raise", "raise", "snooze", "later", "reject", "give_up")
_ODD: Final = ("long", "long", "block", "deaf", "crash", "child", "progress")
_PUTS: Final = (
    "one",
    "one",
    "one",
    "many",
    "together",
    "key",
    "key",
    "replace",
    "delay",
    "expires",
    "priority",
    "wait",
)
_STEERS: Final = ("cancel", "cancel", "reschedule", "requeue", "pause", "delete", "cron")
_MISHAPS: Final = (
    "kill",
    "kill",
    "freeze",
    "suspend",
    "apart",
    "down",
    "drain",
    "drain_twice",
    "clock",
    "fresh",
    "wall",
    "full",
)
_CALM: Final = ("kill", "down", "down", "drain", "drain_twice", "clock", "fresh", "wall")


def drawn(seed: int, mode: Mode) -> Plan:
    draw = Random(f"{seed} {mode} plan")
    calm = draw.random() < 0.3
    lease_s = draw.choice((1.0, 2.0, 2.0, 4.0, 10.0))
    crons = draw.random() < 0.4
    plan = Plan(
        seed=f"{seed} {mode}", mode=mode, calm=calm, lease_s=lease_s, span_s=lease_s * draw.uniform(2, 6),
        weather=FINE if calm else _weather(draw), stalls=0.0 if calm else draw.choice((0.0, 0.0, 0.02)),
        hands=[_hand(draw, lease_s, crons) for _ in range(draw.randint(1, 3))],
    )  # fmt: skip
    span = plan.span_s
    n = 1
    for _ in range(draw.randint(3, 10)):
        plan.puts.append((draw.random() * span, draw.choice(_PUTS), n))
        n += 4
    for number in range(1, n):
        plan.acts[number] = [_act(draw, lease_s) for _ in range(draw.choice((1, 1, 2, 4)))]
        if draw.random() < 0.03:
            plan.acts[number] = [("crash", 0.0)] * 4
    for _ in range(draw.choice((0, 1, 1, 3))):
        plan.steers.append((draw.random() * span, draw.choice(_STEERS)))
    for _ in range(draw.choice((1, 2, 2, 3, 4))):
        plan.accidents.append((draw.random() * span, draw.choice(_CALM if calm else _MISHAPS)))
    return plan


def _weather(draw: Random) -> Weather:
    """Most of what can go wrong stays away from most lives, so that each is seen alone and together."""

    def some(most: float) -> float:
        return draw.random() * most if draw.random() < 0.4 else 0.0

    return Weather(
        slow_s=draw.choice((0.001, 0.01, 0.1)), lost_request=some(0.1), lost_reply=some(0.15), late=some(0.15),
        repeated=some(0.3), cut=some(0.1), lost_wake=some(0.5), late_wake=some(0.5), false_wake=some(0.3),
        lost_end=some(0.5),
    )  # fmt: skip


def _hand(draw: Random, lease_s: float, crons: bool) -> Hand:
    queues = draw.choice(((0,), (0,), (0, 1), (1, 0)))
    return Hand(
        concurrency=draw.choice((1, 2, 5)), lease_s=lease_s, drain_s=draw.choice((0.0, 0.5, 2.0)),
        fair=draw.random() < 0.5, queues=queues, unknown=_UNKNOWN if draw.random() < 0.4 else frozenset(), crons=crons,
    )  # fmt: skip


def _act(draw: Random, lease_s: float) -> Act:
    seconds = draw.choice((0.0, 0.02, 0.2, draw.random() * lease_s))
    if draw.random() < 0.75:
        return draw.choice(_ENDS), seconds
    what = draw.choice(_ODD)
    if what in ("long", "block", "deaf"):
        seconds = draw.uniform(0.3, 2.5) * lease_s
    return what, seconds
