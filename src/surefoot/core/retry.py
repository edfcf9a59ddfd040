"""When a failed attempt is tried again: the policy and its arithmetic. It answers when; it never sleeps."""

import math
from dataclasses import dataclass
from typing import Self, TypeAlias, final

from surefoot.core.errors import ConfigError, Seconds, duration

Raisable: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]

_FOREVER_SHOWN = 64


@final
@dataclass(frozen=True, slots=True, init=False)
class Retry:
    """When a failed attempt is tried again.

    Delay after failure n: `min(cap, base * factor ** (n - 1))` seconds, of which the share `jitter` is random: between
    d * (1 - jitter) and d, evenly spread. `max_attempts` counts runs that raised or timed out; None is no limit.
    `within` (seconds): no new attempt later than this after the job was due, or requeued. `max_crashes`: runs that took
    the worker with them before the job is quarantined.

    Source of the shape: exponential backoff with jitter, M. Brooker, AWS Architecture Blog, 2015.
    """

    max_attempts: int | None
    base: float
    factor: float
    cap: float
    jitter: float
    retry_on: Raisable
    give_up_on: Raisable
    within: float | None
    max_crashes: int

    def __init__(
        self,
        *,
        max_attempts: int = 3,
        base: Seconds = 2,
        factor: float = 2,
        cap: Seconds = 600,
        jitter: float = 0.5,
        retry_on: Raisable = Exception,
        give_up_on: Raisable = (),
        within: Seconds | None = None,
        max_crashes: int = 3,
    ) -> None:
        put = object.__setattr__
        put(self, "max_attempts", _count(max_attempts, "Retry(max_attempts)", "; Retry.forever() has no limit"))
        put(self, "base", duration(base, "Retry(base)", least=0))
        put(self, "factor", _number(factor, "Retry(factor)", 1, math.inf))
        put(self, "cap", duration(cap, "Retry(cap)", least=0))
        put(self, "jitter", _number(jitter, "Retry(jitter)", 0, 1))
        put(self, "retry_on", _classes(retry_on, "Retry(retry_on)"))
        put(self, "give_up_on", _classes(give_up_on, "Retry(give_up_on)"))
        put(self, "within", None if within is None else duration(within, "Retry(within)"))
        put(self, "max_crashes", _count(max_crashes, "Retry(max_crashes)", ""))

    @classmethod
    def forever(
        cls,
        *,
        base: Seconds = 2,
        factor: float = 2,
        cap: Seconds = 600,
        jitter: float = 0.5,
        retry_on: Raisable = Exception,
        give_up_on: Raisable = (),
        within: Seconds | None = None,
        max_crashes: int = 3,
    ) -> Self:
        """The same policy without a limit of attempts."""
        policy = cls(
            base=base, factor=factor, cap=cap, jitter=jitter, retry_on=retry_on, give_up_on=give_up_on, within=within,
            max_crashes=max_crashes,
        )  # fmt: skip
        object.__setattr__(policy, "max_attempts", None)
        return policy

    def delays(self) -> list[tuple[float, float]]:
        """(least, most) seconds before each next attempt, in order; for `forever` until the cap is reached."""
        count = _FOREVER_SHOWN if self.max_attempts is None else self.max_attempts - 1
        found: list[tuple[float, float]] = []
        for failure in range(1, count + 1):
            most = self._most(failure)
            found.append((most * (1 - self.jitter), most))
            if self.max_attempts is None and (most >= self.cap or self.factor == 1):
                break
        return found

    def delay(self, failures: int, chance: float) -> float:
        """Seconds to wait after failure number `failures` (1, 2, ...); `chance` is a number from [0, 1)."""
        most = self._most(failures)
        return most - most * self.jitter * chance

    def tries(self, error: BaseException) -> bool:
        """Whether this exception is one that another attempt may cure: `give_up_on` wins over `retry_on`.

        One outside of Exception (SystemExit, CancelledError of the handler's own making) says nothing about the
        work: it is tried again.
        """
        if isinstance(error, self.give_up_on):
            return False
        return isinstance(error, self.retry_on) or not isinstance(error, Exception)

    def _most(self, failure: int) -> float:
        try:
            return min(self.cap, self.base * self.factor ** (failure - 1))
        except OverflowError:
            return self.cap if self.base else 0.0


def _count(value: object, what: str, hint: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{what}={value!r} is not a count; give a whole number >= 1{hint}.")
    return value


def _number(value: object, what: str, low: float, high: float) -> float:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= min(high, 1e300)
    if not fits:
        bound = f">= {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise ConfigError(f"{what}={value!r} does not fit; give a number {bound}.")
    return float(value)  # type: ignore[arg-type]  # the line above made sure of it


def _classes(value: object, what: str) -> Raisable:
    kinds: list[type[BaseException]] = []
    for kind in value if isinstance(value, tuple) else (value,):
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ConfigError(f"{what} takes exception classes, not {kind!r}.")
        kinds.append(kind)
    return tuple(kinds)
