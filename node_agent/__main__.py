"""`python -m node_agent`: what `winslow agent` becomes. Its configuration is in the environment and files."""

from __future__ import annotations

import os
import sys

from node_agent.main import fail, main
from winslow import config
from winslow.errors import WinslowError

try:
    code = main(config.load())
except WinslowError as error:
    code = fail(error)
# The interpreter's own end waits for every thread, and one may be in the middle of a long transfer or wait for
# a server that is away. All that must be kept is on disk by now.
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
