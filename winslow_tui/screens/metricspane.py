"""What a run uses of its node while it is looked at, and the most it used once it has ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from broker import topics
from winslow import terminal_text
from winslow.metrics import ContainerSample
from winslow.project import Attempt, Run
from winslow_tui.program.runmetrics import RunUsage, recorded
from winslow_tui.program.sitewatch import Stream
from winslow_tui.shown.wording import lasting
from winslow_tui.widgets.facts import named
from winslow_tui.widgets.sheet import Sheet

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

DRAW_SECONDS = 1.0
_NAME = 12
_LEAST_CURVE = 8


class MetricsPane(Sheet):
    """See the module. It listens from the moment a run is shown, whether its tab is open or not."""

    DEFAULT_CSS = """
    MetricsPane { padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._run: Run | None = None
        self._attempt: Attempt | None = None
        self._where: tuple[str, int, int] | None = None
        self._usage = RunUsage()
        self._stream: Stream | None = None
        self._told = Content("")

    def compose(self) -> ComposeResult:
        yield Static(id="metrics-text", markup=False)

    @property
    def winslow(self) -> WinslowApp:
        """The app, as what it is."""
        from winslow_tui.program.app import WinslowApp

        assert isinstance(self.app, WinslowApp)
        return self.app

    def on_mount(self) -> None:
        self.set_interval(DRAW_SECONDS, self._listen)

    def on_unmount(self) -> None:
        self._end()

    def on_resize(self) -> None:
        self.draw()

    def show(self, project: str, run: Run | None) -> None:
        """The newest attempt of a run; called again when something happened to it."""
        attempt = run.attempt if run else None
        where = (project, run.n, attempt.k) if run and attempt else None
        self._run, self._attempt = run, attempt
        if where != self._where:
            self._end()
            self._where, self._usage = where, RunUsage()
        if run is None or attempt is None or run.state.ended:
            self._end()
        elif self._stream is None:
            stats = topics.Stats(project=project, run=run.n, attempt=attempt.k)
            self._stream = self.winslow.watch_.stream(stats.path)
        self.draw()

    def _end(self) -> None:
        if self._stream is not None:
            self.winslow.watch_.end(self._stream)
        self._stream = None

    def _listen(self) -> None:
        """Take over what came."""
        for received in self._stream.take() if self._stream is not None else ():
            if isinstance(received.payload, ContainerSample):
                self._usage.add(received.payload)
        self.draw()

    def draw(self) -> None:
        """Draw it, if it is looked at."""
        if not self.display or not self.is_mounted or not self.is_attached:
            return
        text = self._text()
        if text != self._told:
            self._told = text
            self.query_one("#metrics-text", Static).update(text)

    def _text(self) -> Content:
        run, attempt = self._run, self._attempt
        if run is None:
            return Content("no run yet")
        if attempt is None:
            return Content("it waits for a node: nothing is used yet")
        width = max(30, self.size.width - 3)
        parts = [*self._curves(run, width)]
        if parts:
            parts.append(_under("at most", self._usage.peaks(), width))
        elif not run.state.ended:
            parts.append(Content("no sample has come yet"))
        if kept := recorded(run, attempt):
            parts.append(_under("at most, as its node recorded it", kept, width))
        if run.state.ended and not parts[1:]:
            parts += [] if kept else [Content("what it used was not recorded")]
            parts.append(Content.styled("curves are drawn while it runs", "$dim"))
        return Content("\n\n").join(parts)

    def _curves(self, run: Run, width: int) -> Iterable[Content]:
        """All of them, under how long a time they are of."""
        rows = self._usage.rows(run, 1)
        if not rows:
            return
        words = max(len(text) for _, _, text in rows)
        drawn = self._usage.rows(run, max(_LEAST_CURVE, width - _NAME - words - 2))
        lines = [
            Content.assemble(
                (f"{name:<{_NAME}}", "$dim"), (curve, "$primary"), f"  {terminal_text.line(text):>{words}}"
            )
            for name, curve, text in drawn
        ]
        head = Content.styled(f"over {lasting(round(self._usage.seconds))}", "bold")
        yield Content("\n").join([head, *lines])


def _under(head: str, rows: Iterable[tuple[str, str]], width: int) -> Content:
    return Content("\n").join([Content.styled(head, "bold"), named(rows, width, indent=_NAME)])
