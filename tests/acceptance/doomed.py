"""An agent that kills itself (SIGKILL) at one moment of an attempt, named by the variable DOOM:

    before|after STEP      around the journal's write of a step (`node_agent.journal.Step`)
    before|after WANTED    around the journal's write of the next number, which it will ask for
    before|after NUMBER    around the journal's write under another number than the container was made as
    before|after EVENT     around the conditional write of an event (`winslow.lifecycle`, its kind)
    before|after remove    around the removal of the journal

Everything else is the real agent. Run as a program, like `python -m node_agent`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from node_agent.journal import AttemptJournal, Journals
from node_agent.main import main
from winslow import config
from winslow.store.documents import Documents


def doom(owner: type, method: str, name_of: Callable[..., str]) -> None:
    """Let calls of a method whose name is the doomed one be this process's last."""
    when, _, what = os.environ["DOOM"].partition(" ")
    original = getattr(owner, method)

    @wraps(original)
    def around(self: object, *args: Any, **more: Any) -> Any:
        doomed = name_of(*args, **more) == what
        if doomed and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(self, *args, **more)
        if doomed:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, method, around)


def name_of_journal(journal: AttemptJournal) -> str:
    if journal.wanted is not None:
        return "WANTED"
    return "NUMBER" if journal.origin is not None else str(journal.step.value)


if __name__ == "__main__":
    doom(Journals, "write", name_of_journal)
    doom(Journals, "remove", lambda *_: "remove")
    doom(Documents, "update", lambda _project, event, **_: str(event.kind))
    sys.exit(main(config.load()))
