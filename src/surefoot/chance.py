"""The only file that draws chance: for ids, tags and jitter. Ids ask the system each time: bytes drawn ahead would be
the same in a clone of a virtual machine.
"""

import base64
import os
import random
from collections.abc import Callable

share: Callable[[], float] = random.random
"""A number from [0, 1)."""

between: Callable[[float, float], float] = random.uniform
"""A number between two others, evenly spread."""

token: Callable[[int], bytes] = os.urandom
"""So many bytes of the system's randomness."""


def letters(count: int) -> str:
    """So many letters of the system's randomness, of the 32 that `base32` has."""
    return base64.b32encode(token((5 * count + 7) // 8))[:count].decode().lower()
