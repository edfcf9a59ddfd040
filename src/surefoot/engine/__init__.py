"""Floor 4: the worker's parts, one duty each. No rule about jobs lives here: those are core's `admit` and `decide`."""
