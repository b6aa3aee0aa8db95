"""The person's editor for commands, with questions on the terminal."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from winslow_tui.cli.output import put, say
from winslow_tui.cli.question import asked, can_ask

if TYPE_CHECKING:
    from winslow_tui.facade.editing import Subject


def edited(subject: Subject) -> None:
    """Let the person change it; prints what was done."""
    done = in_editor(subject)
    if done is None:
        say(f"{subject.title}: nothing was changed")
    else:
        put(done)


def in_editor(subject: Subject) -> str | None:
    """Let the person change it: what was done, None when nothing was changed."""
    from winslow.config import state_folder
    from winslow_tui.facade import editing

    return editing.edit(
        subject,
        editor=editing.Editor.of(os.environ),
        folder=state_folder() / "drafts",
        say=say,
        ask=partial(asked, default=True) if can_ask() else None,
    )
