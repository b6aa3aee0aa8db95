"""An agent that waits ten seconds for the others' bids, and as long for each that is cheaper to claim, so that a busy
machine decides no election. Everything else is the real agent. Run as a program, like `python -m node_agent`.
"""

from __future__ import annotations

import sys
from unittest.mock import patch

from node_agent.main import main
from winslow import config, election

if __name__ == "__main__":
    with patch.object(election, "WINDOW", 10.0), patch.object(election, "STEP", 10.0):
        sys.exit(main(config.load()))
