"""An agent that keeps itself free for a run after a second of waiting, not after two minutes (`winslow.hold`).

Everything else is the real agent. Run as a program, like `python -m node_agent`.
"""

from __future__ import annotations

import sys
from functools import partial
from unittest.mock import patch

from node_agent import agent
from node_agent.main import main
from winslow import config
from winslow.hold import Keeper

if __name__ == "__main__":
    with patch.object(agent, "Keeper", partial(Keeper, after=1.0, look=0.2)):
        sys.exit(main(config.load()))
