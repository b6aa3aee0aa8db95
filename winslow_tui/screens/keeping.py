"""What a person does with runs that have ended: compare two, keep or remove their files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from winslow.placement import size_text
from winslow.run_diff import RunDiff
from winslow_tui.facade.pruning import PrunePlan
from winslow_tui.program import runrows
from winslow_tui.program.verbs import verb
from winslow_tui.screens.form import Question
from winslow_tui.screens.page import aligned, open_page
from winslow_tui.shown import runfacts

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp


def _numbers(keys: Sequence[str]) -> tuple[str, list[int]]:
    """The project and the numbers of its runs, from keys `PROJECT#RUN`."""
    project = keys[0].rpartition("#")[0]
    return project, sorted(int(key.rpartition("#")[2]) for key in keys)


@verb(
    "compare",
    "run",
    "compare two",
    key="c",
    hint="compare two",
    spare=True,
    bulk=True,
    changes=False,
    also=("diff",),
)
def compare(app: WinslowApp, keys: Sequence[str]) -> None:
    """What two marked runs have otherwise: environment, image, requirements, results, files."""
    if len(keys) != 2:
        app.told(f"mark two runs with {app.keymap.key('mark')} to compare them", bad=True)
        return
    project, (before, after) = _numbers(keys)
    open_page(
        app,
        f"{project}: run #{before} and run #{after}",
        lambda: difference(app.client.runs.diff(project, before, after), before, after),
    )


def difference(found: RunDiff, before: int, after: int) -> str:
    """A comparison as a page."""
    values, files = runfacts.diff_rows(found), runfacts.file_rows(found)
    told = [(name, _told(name, one), _told(name, other)) for name, one, other in values]
    parts = [aligned([("WHAT", f"#{before}", f"#{after}"), *told])] if told else []
    if files:
        parts.append(aligned([("FILE", "CHANGE", f"#{before}", f"#{after}"), *files]))
    return "\n\n".join(parts) or "nothing differs"


def _told(name: str, value: str) -> str:
    return runrows.state_told(value) if name == "state" and value else value or "-"


@verb("pin", "run", "pin, unpin", key="P", bulk=True, also=("unpin",))
def pin(app: WinslowApp, keys: Sequence[str]) -> None:
    """Let runs keep their files, whatever is pruned; on pinned ones: let the rule decide again."""
    project, runs = _numbers(keys)

    def work() -> str:
        held = set(app.client.project(project).pinned)
        if held.issuperset(runs):
            app.client.pruning.unpin(project, runs)
            return f"{_named(runs)}: no longer pinned"
        app.client.pruning.pin(project, runs)
        return f"{_named(runs)}: pinned"

    app.do(work, app.told)


@verb("prune", "run", "remove files", bulk=True)
def prune(app: WinslowApp, keys: Sequence[str]) -> None:
    """Free the space of these runs; records, results, logs and lists of files stay."""
    project, runs = _numbers(keys)
    app.do(lambda: app.client.pruning.plan(project, runs), lambda plan: _ask(app, plan))


@verb("tidy", "project", "remove files of old runs", also=("prune",))
def tidy(app: WinslowApp, keys: Sequence[str]) -> None:
    """Free the space of the runs that the project's rule lets go."""
    app.do(lambda: app.client.pruning.plan(keys[0]), lambda plan: _ask(app, plan))


def _ask(app: WinslowApp, plan: PrunePlan) -> None:
    if not plan.runs:
        app.told(f"{plan.project.id}: no run has files that can go")
        return

    lines = [f"Remove the files of {_named(plan.runs)}, {size_text(plan.bytes)}?"]
    lines += [f"#{n} is what a stage to come would have taken over" for n in plan.next_without]
    app.push_screen(
        Question(
            "\n".join(lines),
            lambda: app.client.pruning.prune(plan),
            done=lambda freed: app.told(f"{size_text(freed)} freed"),
        )
    )


def _named(runs: Sequence[int]) -> str:
    return ", ".join(f"#{n}" for n in runs)
