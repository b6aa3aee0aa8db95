"""The command `winslow` that kills itself (SIGKILL) around the conditional write of an event, as `doomed` says it:
what it wrote stands, and nobody was told."""

from __future__ import annotations

from tests.acceptance.doomed import doom
from winslow.store.documents import Documents
from winslow_tui.cli.main import main

if __name__ == "__main__":
    doom(Documents, "update", lambda _project, event, **_: str(event.kind))
    main()
