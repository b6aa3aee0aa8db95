"""`python -m node_agent`: what `winslow agent` becomes. Its configuration is in the environment and files."""

from __future__ import annotations

import sys

from node_agent.main import fail, main
from winslow import config
from winslow.errors import WinslowError

try:
    sys.exit(main(config.load()))
except WinslowError as error:
    sys.exit(fail(error))
