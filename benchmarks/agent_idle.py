"""What an idle agent costs: resident memory and processor time, with a broker and a store that are quiet.

    python benchmarks/agent_idle.py [--seconds 60] [--runtime docker|process]

Ends with 1 where it is over 90 MB resident or 1 % of a core.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import psutil

from winslow_tui.cli.up import wait_ready
from winslow_tui.site import Site

MOST_BYTES, MOST_SHARE = 90_000_000, 0.01
SETTLE_SECONDS = 5.0


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--runtime", default="auto")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="winslow-bench-") as folder:
        site = Site(Path(folder) / "site", agents=1, runtime=given.runtime, say=lambda _: None)
        try:
            site.start()
            wait_ready(site)
            time.sleep(SETTLE_SECONDS)
            process = psutil.Process(site.agent_pids()[0])
            before, begin = process.cpu_times(), time.monotonic()
            time.sleep(given.seconds)
            after, seconds = process.cpu_times(), time.monotonic() - begin
            memory = process.memory_info().rss
        finally:
            site.stop()
    share = (after.user + after.system - before.user - before.system) / seconds
    print(f"resident   {memory / 1e6:6.1f} MB   at most {MOST_BYTES / 1e6:.0f}")
    print(
        f"processor  {share * 100:6.2f} %    at most {MOST_SHARE * 100:.0f} of a core, over {seconds:.0f} s"
    )
    return 0 if memory <= MOST_BYTES and share <= MOST_SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
