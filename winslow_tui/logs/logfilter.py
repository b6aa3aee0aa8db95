"""Some lines of a log as the log view shows them: those that a scan has found so far, and those to come."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from winslow_tui.logs.logblocks import LogLine
from winslow_tui.logs.loglines import LogLines
from winslow_tui.logs.logscan import Scan


class FilteredLines:
    """`LogLines` without what is not found. Keys are those of the whole log, so that a view may go from one to the
    other and stay where it is."""

    def __init__(self, lines: LogLines, scan: Scan) -> None:
        self._lines = lines
        self._scan = scan

    @property
    def count(self) -> int:
        """Lines found so far, and events."""
        return len(self._scan.found) + len(self._scan.events)

    @property
    def version(self) -> int:
        """Changes with what can be shown."""
        return self._lines.version + self._scan.version

    def line(self, number: int) -> LogLine | None:
        """See LogLines."""
        return self._lines.line_of(self.key(number))

    def key(self, number: int) -> int:
        """See LogLines."""
        events, low = self._scan.events, 0
        high = len(events)
        while low < high:
            middle = (low + high) // 2
            if self._at(middle) < number:
                low = middle + 1
            else:
                high = middle
        if low < len(events) and self._at(low) == number:
            return ~events[low]
        return self._scan.found[number - low]

    def number(self, key: int) -> int:
        """Where a line is now; of one that is left out, where the next one is."""
        events, found = self._scan.events, self._scan.found
        if key < 0:
            event = bisect_left(events, ~key)
            return bisect_left(found, self._lines.place_of(~key)) + event
        return bisect_left(found, key) + bisect_right(events, key, key=self._lines.place_of)

    def _at(self, event: int) -> int:
        return bisect_left(self._scan.found, self._lines.place_of(self._scan.events[event])) + event
