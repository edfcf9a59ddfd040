"""A loop that is gone for good: its keeper settles the culprit as timed out, hands the others back, leaves with 75."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from surefoot import Queue

BOUND_S = 30
STUCK = Path(__file__).with_name("stuck.py")


def test_P6_a_loop_that_is_blocked_for_good_is_rescued_by_its_keeper(url: str) -> None:
    with Queue(url, name="jobs", namespace="test") as jobs:
        others = [jobs.by_name("waits").enqueue_sync() for _ in range(3)]
        culprit = jobs.by_name("blocks").enqueue_sync()
        left = subprocess.run(
            [sys.executable, str(STUCK), url],
            timeout=BOUND_S, check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert left.returncode == 75, left.stderr
        job = culprit.job_sync()
        assert job is not None and job.error is not None
        assert (job.state, job.reason, job.failures, job.crashes) == ("dead", "exhausted", 1, 0)
        assert job.error.kind == "TimeoutError"
        for other in others:
            handed_back = other.job_sync()
            assert handed_back is not None
            assert (handed_back.state, handed_back.interruptions, handed_back.crashes) == ("pending", 1, 0)
