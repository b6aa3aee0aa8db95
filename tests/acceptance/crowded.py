"""An agent on whose disk nothing more fits. Everything else is the real agent. Run like `python -m node_agent`."""

from __future__ import annotations

import sys
from unittest.mock import patch

from node_agent import main
from winslow import config

if __name__ == "__main__":
    with patch.object(main, "KEEP_FREE", 1 << 60):
        sys.exit(main.main(config.load()))
