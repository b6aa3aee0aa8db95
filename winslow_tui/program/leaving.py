"""The end of the full-screen program: what is under way gets a moment, then the process ends whatever a server does.

Python waits at its end for every thread of a pool, and one that waits for a server may do so for minutes. It need
not be waited for: a command that was cut off is done or is not, as after a power cut, and a transfer goes on from
the parts that have arrived.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

MOMENT_SECONDS = 1.0
"""For commands, and for parts of transfers, while somebody waits for the shell's prompt."""
PART_SECONDS = 30.0
"""For parts of transfers when nobody is there any more."""


def awaited(threads: Callable[[], list[threading.Thread]], *, seconds: float) -> list[threading.Thread]:
    """Wait for threads, and for those they leave behind; the ones that have not ended after so many seconds."""
    deadline = time.monotonic() + seconds
    while left := threads():
        left[0].join(max(0.0, deadline - time.monotonic()))
        if left[0].is_alive():
            return left
    return []


def busy() -> list[threading.Thread]:
    """The threads that Python would wait for."""
    main, own = threading.main_thread(), threading.current_thread()
    return [each for each in threading.enumerate() if each not in (main, own) and not each.daemon]


def end(code: int) -> NoReturn:
    """End the process now, with what was printed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)
