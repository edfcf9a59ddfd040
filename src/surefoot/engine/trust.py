"""What this worker knows of the store's clock, and how far it trusts it to take over the leases of others."""

from typing import Final

SLIP_MS: Final = 2_000
"""How far a reply may be off the estimate before contact counts as broken (a clock jump, a paused machine).

A quarter of a lease at most: whoever lives has three left when it renews, and no jump that goes unnoticed ends them.
"""


class Trust:
    """Estimates the store's time from its last reply. It believes an ended lease only after one lease of unbroken
    contact.

    So after an outage or a jump the living renew first, and nobody takes their jobs away.
    """

    def __init__(self, lease_ms: int, now: float) -> None:
        self._lease_s = lease_ms / 1000
        self._slip_ms = min(SLIP_MS, lease_ms // 4)
        self._silent = False
        self._since = now
        self._reply_ms: int | None = None
        self._reply_at = now

    def heard(self, store_ms: int, asked: float, now: float) -> None:
        """A reply that carries the store's time; `asked` and `now`: when the call was first sent and answered
        (monotonic).
        """
        self.answered(asked, now)
        if self._reply_ms is not None and abs(store_ms - self.estimate_ms(now)) > self._slip_ms:
            self._since = now
        self._reply_ms = store_ms
        self._reply_at = now

    def answered(self, asked: float, now: float) -> None:
        """Any reply. Contact begins with the first one after a failure, and anew with one that took so long that it may
        have waited out an outage, in which nobody could renew.
        """
        if self._silent or now - asked > self._lease_s / 4:
            self._since = now
        self._silent = False

    def broken(self, now: float) -> None:
        """A call failed: contact begins anew, with the next reply."""
        self._since = now
        self._silent = True

    def rested(self, until: float, now: float) -> None:
        """A rest that should have ended at `until` ended now. Much later: this machine was frozen, and the others
        with it.
        """
        if now - until > self._lease_s / 4:
            self._since = now

    def estimate_ms(self, now: float) -> int:
        """The store's time as far as known; 0 before the first reply."""
        if self._reply_ms is None:
            return 0
        return self._reply_ms + round((now - self._reply_at) * 1000)

    def until_ms(self, now: float) -> int:
        """The latest store time that this worker believes; 0 means: take nobody's lease."""
        if self._reply_ms is None or now < self.regained_at():
            return 0
        return self.estimate_ms(now) + self._slip_ms

    def regained_at(self) -> float:
        """When one lease of unbroken contact is over (monotonic)."""
        return self._since + self._lease_s
