"""The full-screen program in a real terminal: lending it to other programs, leaving it, and losing it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests import screens
from tests.conftest import missing
from tests.services.installation import find_program
from tests.services.terminal import Terminal
from tests.services.waiting import wait_until

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
Open = Callable[..., Terminal]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens the program on a site in memory in a terminal, with some environment; `before` is run by its shell."""
    if find_program("tmux") is None:
        missing("tmux is not installed")
    with ExitStack() as ends:

        def open_(*arguments: str, before: str = "", **environ: str) -> Terminal:
            program = [sys.executable, "-m", "tests.screen_program", str(tmp_path / "state"), *arguments]
            made = Terminal(
                tmp_path,
                ["sh", "-c", f'{before} exec "$@"', "sh", *program],
                width=100,
                height=30,
                environ={"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path / "xdg"), **environ},
            )
            ends.callback(made.close)
            made.reads("kempten-north-aa2b", "● broker")
            return made

        yield open_


def program(folder: Path, name: str, text: str) -> str:
    """A program of a test's own, and its path."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def gone(process: psutil.Process) -> bool:
    """Whether it has ended, collected or not."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("over", ["", "192.0.2.1 50000 192.0.2.2 22"], ids=["here", "over SSH"])
def test_an_editor_gets_the_terminal_and_gives_it_back_with_the_mouse(
    opened: Open, tmp_path: Path, over: str
) -> None:
    editor = program(
        tmp_path, "editor", 'echo editing; read answer; sed -i "s/MODEL: v8/MODEL: $answer/" "$1"'
    )
    screen = opened(EDITOR=editor, VISUAL="", SSH_CONNECTION=over)
    assert not screen.mouse
    screen.press("m")
    screen.reads("mouse on")
    screen.until(lambda _: screen.mouse, what="the mouse")
    screen.press("4")
    screen.reads("busybox")
    screen.press("j")
    screen.reads("who drives where")
    screen.press("e")
    screen.reads("editing")
    assert not screen.mouse, "it is the editor's terminal"
    screen.type("v9")
    screen.press("Enter")
    screen.reads("Pipelines", "who drives where", "traffic revision 3")
    screen.until(lambda _: screen.mouse, what="the mouse is back")
    screen.press("m", "1")
    screen.until(lambda _: not screen.mouse, what="the mouse is off")
    screen.reads("kempten-north-aa2b")
    screen.press("4")
    screen.reads("MODEL: v9")
    screen.press("q")
    screen.ends()
    assert not screen.mouse


def test_an_editor_that_is_interrupted_stores_nothing_and_the_screen_comes_back(
    opened: Open, tmp_path: Path
) -> None:
    screen = opened(EDITOR=program(tmp_path, "editor", "echo editing; read answer"), VISUAL="")
    screen.press("4")
    screen.reads("busybox")
    screen.press("e")
    screen.reads("editing")
    screen.press("C-c")
    screen.reads("nothing was stored", "busybox")
    screen.press("q")
    screen.ends()


def test_a_pager_gets_the_log_and_gives_the_terminal_back(opened: Open, tmp_path: Path) -> None:
    pager = program(tmp_path, "pager", 'trap : INT; grep -c frame "$1"; echo reading; read a || read a')
    screen = opened(PAGER=pager)
    screen.press("/")
    screen.type(screens.ULM)
    screen.press("Enter")
    screen.until(lambda seen: "kempten" not in seen, what="the filter")
    screen.press("Enter")
    screen.reads("frame 28800/36000")
    screen.press("Tab")
    screen.reads("f follow")  # the log has the keys
    screen.press("v")
    screen.reads("reading")
    screen.press("C-c")  # as in less: it is the pager's
    screen.press("Enter")
    screen.reads("Projects › ", "detect ✓ → track")
    screen.press("C-q")
    screen.ends()


def test_q_leaves_at_once_though_the_store_says_nothing(opened: Open) -> None:
    screen = opened("silent")
    screen.press("3")
    screen.reads("res:")
    screen.press("q")
    screen.ends()


@pytest.mark.parametrize("before", ["", "trap '' HUP;"], ids=["told", "not told"])
def test_a_terminal_that_is_lost_ends_the_program(opened: Open, before: str) -> None:
    screen = opened("silent", before=before)
    screen.press("3")
    screen.reads("res:")
    process = psutil.Process(screen.pid)
    screen.close()
    wait_until(lambda: gone(process), seconds=PATIENCE, what="the program's end")


def test_a_terminal_that_takes_nothing_more_and_then_is_lost_ends_the_program(opened: Open) -> None:
    screen = opened()
    process, terminal = psutil.Process(screen.pid), screen.server
    os.kill(terminal, signal.SIGSTOP)  # as over a connection that is dead and does not know it
    try:
        for _ in range(40):  # each paints everything
            process.send_signal(signal.SIGWINCH)
            wait_until(lambda: process.status() in (psutil.STATUS_SLEEPING, psutil.STATUS_DISK_SLEEP))
    finally:
        os.kill(terminal, signal.SIGKILL)
    wait_until(lambda: gone(process), seconds=PATIENCE, what="the program's end")


def test_nobody_who_reads_what_a_command_prints_is_no_failure_of_the_program() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    winslow = Path(sys.executable).with_name("winslow")
    ended = subprocess.run(
        [winslow, "keys"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")
