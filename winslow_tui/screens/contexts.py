"""Where keys mean something: the screens, each with what in it can have the keys."""

from __future__ import annotations

from functools import cache

from winslow_tui.program.keymap import Context


@cache
def contexts() -> tuple[Context, ...]:
    """All of them, with the program's own keys where no page lies over it."""
    from winslow_tui.program.app import WinslowApp
    from winslow_tui.screens.activity import ActivityScreen
    from winslow_tui.screens.files import FilesScreen, TransfersScreen
    from winslow_tui.screens.help import Help
    from winslow_tui.screens.logpane import LogPane
    from winslow_tui.screens.nodes import NodeScreen, NodesScreen
    from winslow_tui.screens.page import Page
    from winslow_tui.screens.pipelines import PipelinesScreen
    from winslow_tui.screens.project import Banner, ProjectScreen
    from winslow_tui.screens.projects import ProjectsScreen
    from winslow_tui.screens.queue import QueueScreen
    from winslow_tui.widgets.browser import Browser
    from winslow_tui.widgets.logview import LogView
    from winslow_tui.widgets.sheet import Sheet
    from winslow_tui.widgets.table import VirtualTable

    return (
        Context("among projects", (ProjectsScreen, VirtualTable, WinslowApp)),
        Context(
            "in a project",
            (ProjectScreen, VirtualTable, Banner, LogPane, LogView, Browser, Sheet, WinslowApp),
        ),
        Context("in a project's queue", (QueueScreen, VirtualTable, WinslowApp)),
        Context("among nodes", (NodesScreen, VirtualTable, WinslowApp)),
        Context("at a node", (NodeScreen, Sheet, WinslowApp)),
        Context("among files", (FilesScreen, Browser, VirtualTable, WinslowApp)),
        Context("among pipelines", (PipelinesScreen, VirtualTable, Sheet, WinslowApp)),
        Context("in the activity", (ActivityScreen, VirtualTable, WinslowApp)),
        Context("among transfers", (TransfersScreen, VirtualTable, WinslowApp)),
        Context("on a page", (Page, Sheet)),
        Context("in the help", (Help, Sheet)),
    )
