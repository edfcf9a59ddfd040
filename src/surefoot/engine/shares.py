"""How a worker's free slots are dealt among its queues. Pure."""

from collections.abc import Sequence


def strict(candidates: Sequence[bool], free: int) -> list[int]:
    """All free slots to the first queue that may have work."""
    wants = [0] * len(candidates)
    for place, may_have in enumerate(candidates):
        if may_have:
            wants[place] = free
            break
    return wants


class Fair:
    """Deals by weight among the queues that may have work; what does not divide goes round (smooth weighted round
    robin).

    A queue's credit remembers what it is owed, so that even one slot at a time is shared by weight in the long run.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = tuple(weights)
        self._credit = [0] * len(weights)

    def __call__(self, candidates: Sequence[bool], free: int) -> list[int]:
        """How many slots each queue gets; the sum is `free` if any queue may have work."""
        places = [place for place, may_have in enumerate(candidates) if may_have]
        wants = [0] * len(candidates)
        if not places:
            return wants
        if len(places) == 1:
            wants[places[0]] = free
            return wants
        total = sum(self._weights[place] for place in places)
        for place in places:
            wants[place] = free * self._weights[place] // total
        for _ in range(free - sum(wants)):
            for place in places:
                self._credit[place] += self._weights[place]
            winner = max(places, key=lambda place: self._credit[place])
            self._credit[winner] -= total
            wants[winner] += 1
        return wants
