"""How the keys of a queue are called. What they hold is said where it is read and written."""


def key(queue: str, name: str) -> str:
    """The key of one thing of a queue. The braces keep all keys of a queue in one slot of a cluster."""
    return f"{{{queue}}}:{name}"
