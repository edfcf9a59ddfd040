"""Floor 1: what is true about jobs. Pure: no I/O, no clock, no chance; the same input gives the same answer.

Files import only leftwards: names, errors, job, outcome, transition, retry, schedule, codec, signature, spec,
lifecycle, events.
"""
