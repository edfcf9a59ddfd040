"""Speed in ratios: this queue beside a bare loop, in one run."""
