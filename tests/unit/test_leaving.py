"""The end of the full-screen program: who is waited for, and a terminal that is gone."""

from __future__ import annotations

import errno
import threading
from io import StringIO

from tests.services.waiting import wait_until
from winslow_tui.program import leaving
from winslow_tui.program.terminal import Outlet


def _thread(work: threading.Event) -> threading.Thread:
    thread = threading.Thread(target=work.wait, args=(60.0,))
    thread.start()
    return thread


def test_what_ends_in_time_is_waited_for_and_so_is_what_it_leaves_behind() -> None:
    first, second = threading.Event(), threading.Event()
    second.set()
    begun: list[threading.Thread] = []
    threads = [_thread(first)]

    def found() -> list[threading.Thread]:
        if first.is_set() and not begun:
            begun.append(_thread(second))
        first.set()
        return [each for each in (*threads, *begun) if each.is_alive()]

    assert leaving.awaited(found, seconds=60.0) == []
    assert begun and not begun[0].is_alive()


def test_what_does_not_end_is_left_behind_and_named() -> None:
    release = threading.Event()
    stuck = _thread(release)
    try:
        assert leaving.awaited(lambda: [each for each in (stuck,) if each.is_alive()], seconds=0.0) == [stuck]
        assert stuck in leaving.busy()
    finally:
        release.set()
        stuck.join()
    assert stuck not in leaving.busy()


def test_a_daemon_is_nobody_to_wait_for() -> None:
    release = threading.Event()
    daemon = threading.Thread(target=release.wait, args=(60.0,), daemon=True)
    daemon.start()
    assert daemon not in leaving.busy()
    release.set()
    wait_until(lambda: not daemon.is_alive())


class HungUp(StringIO):
    """A terminal whose other end is closed."""

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")

    flush = write  # type: ignore[assignment]


def test_a_terminal_that_is_gone_takes_everything_and_tells_it_once() -> None:
    told: list[bool] = []
    outlet = Outlet(HungUp(), lambda: told.append(True))
    assert outlet.write("a picture") == len("a picture")
    outlet.flush()
    outlet.write("another")
    assert told == [True]


def test_a_terminal_that_is_there_gets_it() -> None:
    file = StringIO()
    Outlet(file, lambda: None).write("a picture")
    assert file.getvalue() == "a picture"
