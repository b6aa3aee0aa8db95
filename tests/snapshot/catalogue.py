"""What there is to be looked at in the full-screen program, and the keys that lead there."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import winslow_tui
from tests import screens
from winslow_tui.screens.form import Form, Question
from winslow_tui.screens.page import Page, open_page
from winslow_tui.screens.project import TABS, ProjectScreen

ASKED = (Form, Question, Page)
"""What is laid over a screen for one thing only: each is to be seen from every place that makes one."""


@dataclass(frozen=True)
class Picture:
    """`keys` lead there and `leave` back; one that begins with a colon is typed behind `:`. `texts` must be readable
    there at any size. `kind` is one of `kinds()`."""

    kind: str
    keys: tuple[str, ...]
    texts: tuple[str, ...]
    leave: tuple[str, ...] = ("escape",)


def kinds() -> frozenset[str]:
    """Everything that has to be seen: each screen, each tab of a project, and each place in the program's text that
    makes a form, a question or a page."""
    alone = {each.__name__ for each in screens.every()} - {each.__name__ for each in (*ASKED, ProjectScreen)}
    return frozenset({*alone, *(f"ProjectScreen, {tab}" for tab in TABS), *_asked()})


def asked(kind: str, module: str, function: str) -> str:
    """The kind of a form, question or page that a function makes; of a method its class counts."""
    return f"{kind} of {module.rpartition('.')[2]}.{function.partition('.')[0]}"


def _asked() -> Iterator[str]:
    made = {each.__name__: each.__name__ for each in ASKED} | {open_page.__name__: Page.__name__}
    for path in Path(winslow_tui.__file__).parent.rglob("*.py"):
        for top in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(top, ast.FunctionDef | ast.ClassDef) or top.name == open_page.__name__:
                continue
            for node in ast.walk(top):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in made:
                    yield asked(made[node.func.id], path.stem, top.name)


TYPED = ("slash", *"ulm")
PROJECT = (*TYPED, "enter", "enter")

SCREENS: Mapping[str, Picture] = {
    "projects": Picture(
        "ProjectsScreen",
        (),
        ("b10-night-d2aa", "? needs you", "✗ failed", "◐ waiting", "● running", "set THRESHOLD"),
    ),
    "project-log": Picture("ProjectScreen, log", PROJECT, ("frame 28800/36000", "✗ oom", "queue  clean")),
    "project-log-read": Picture(
        "ProjectScreen, log", (*PROJECT, "enter", "g"), ("loading model v8", "of 83")
    ),
    "project-files": Picture("ProjectScreen, files", (*PROJECT, "2"), ("▸ #next", "workspace of detect")),
    "project-tree": Picture(
        "ProjectScreen, files",
        (*PROJECT, "2", "enter", "G", "right", "j", "right", "j", "space"),
        ("nothing here", "▾ #2", "▾ model/", "weights.bin", "boxes.csv"),
    ),
    "project-settings": Picture(
        "ProjectScreen, settings", (*PROJECT, "3"), ("priority", "# its own copy of traffic, revision 3")
    ),
    "project-facts": Picture(
        "ProjectScreen, facts", (*PROJECT, "j", "5"), ("registry.example/detect:3", "CONF=0.5")
    ),
    "project-compare": Picture(
        "Page of keeping.compare",
        (*PROJECT, "j", "space", "space", "c"),
        ("env CONF", "0.35 (pipeline)"),
    ),
    "project-metrics": Picture(
        "ProjectScreen, metrics", (*PROJECT, "4"), ("1.9 of 2 cores", "of 4 GiB", "at most")
    ),
    "project-asks": Picture(
        "ProjectScreen, log", ("enter",), ("? stage 'clean' needs THRESHOLD: enter answers",)
    ),
    "queue": Picture("QueueScreen", (*PROJECT, "Q"), ("Queue", "clean")),
    "start": Picture("Form of starting.run_form", ("s",), ("THRESHOLD (needed)", "workspace from")),
    "redo": Picture("Form of starting.run_form", (*PROJECT, "j", "r"), ("Redo", "CONF")),
    "answer": Picture("Form of steering.answer", ("a",), ("THRESHOLD",)),
    "confirm": Picture("Question of steering.answer", ("a",), ("waits for a confirmation", "Go on?")),
    "new": Picture("Form of steering.new_project", ("n",), ("New project", "pipeline")),
    "tags": Picture("Form of steering.tags", ("t",), ("b10",)),
    "explain": Picture("Page of particulars.explain", (*(("j",) * 2), "w"), ("why", "none free")),
    "delete": Picture(
        "Question of steering.delete",
        ("D",),
        ("Delete b10-night-d2aa", "type B10 by night to go on", "No", "Yes"),
    ),
    "nodes": Picture("NodesScreen", ("2",), ("● online", "◐ draining", "✗ offline", "gone since Tuesday")),
    "node": Picture("NodeScreen", ("2", "j", "enter"), ("Ryzen 9 7950X", "1 s behind", "180 GiB", "71 °C")),
    "files": Picture(
        "FilesScreen", ("3", "G", "k", "right"), ("▾ res:", "▸ models/", "▾ ulm/", "north.mp4", "readme.txt")
    ),
    "pipelines": Picture("PipelinesScreen", ("4", "j"), ("traffic", "who drives where")),
    "pipeline-change": Picture("PipelinesScreen", ("4", "j", "d"), ("0.35", "0.4")),
    "preview": Picture("Page of preview.open_file", ("3", "G", "enter"), ("readme.txt", "xxxx")),
    "preview-image": Picture(
        "Page of preview.open_file",
        ("3", "G", "enter"),
        ("tracks.png", "120 × 72 pixels", "8 bits each of red, green, blue"),
    ),
    "activity": Picture("ActivityScreen", ("5",), ("is to take nothing new", "pipeline traffic")),
    "transfers": Picture(
        "TransfersScreen", ("T", "j", "j"), ("42%", "north.mp4", "no room is left", "stopped")
    ),
    "transfers-none": Picture("TransfersScreen", ("T",), ("nothing is on its way",)),
    "first-run": Picture("FirstRun", (), ("winslow up", "~/.config/winslow/config.toml", "q leaves")),
    "help": Picture("Help", ("question_mark",), ("Project", ":queue", "what comes next")),
    "commands": Picture("CommandLine", ("colon",), ("answer what it asks",)),
    "away": Picture(
        "ProjectsScreen", (), ("✗ broker away 0h05", "wrong password", "nodes and progress are 0h05 old")
    ),
}

PLACES: Mapping[str, tuple[tuple[str, ...], Mapping[str, Picture]]] = {
    "projects": (
        (),
        {
            "filter": Picture("ProjectsScreen", ("slash",), ("filter: words, state:failed",)),
            "marked": Picture(
                "ProjectsScreen",
                ("space", "space"),
                ("*b10-night-d2aa", "*test-e5kd"),
                ("g", "space", "space", "g"),
            ),
            "abort": Picture("Question of steering.abort", ("x",), ("Abort what runs in b10-night-d2aa?",)),
            "choice": Picture(
                "Form of steering.new_project", ("n", "tab", "enter"), ("traffic",), ("escape",) * 2
            ),
            "refused": Picture("Form of steering.new_project", ("n", "ctrl+s"), ("needed: name",)),
            "clone": Picture("Form of particulars.clone", (":clone",), ("Clone", "its uploads too")),
            "people": Picture("Form of particulars.people", (":people",), ("People of b10",)),
            "env": Picture("Form of particulars.env", ("e",), ("Environment of",)),
            "comment": Picture("Form of particulars.comment", (":comment",), ("Comment on",)),
            "priority": Picture("Form of particulars.priority", (":priority",), ("Priority of b10",)),
            "rename": Picture("Form of steering.rename", (":rename",), ("Rename b10",)),
            "set-pipeline": Picture(
                "Form of particulars.set_pipeline", (":set-pipeline",), ("Pipeline of b10",)
            ),
            "update-pipeline": Picture(
                "Question of particulars._take_over", (":update-pipeline",), ("traffic revision 2?", "0.4")
            ),
            "apply": Picture("Form of pipelines.apply", ("A",), ("Apply a pipeline",)),
            "check": Picture("Form of pipelines.check", (":check",), ("Check a pipeline",)),
        },
    ),
    "project": (
        PROJECT,
        {
            "add": Picture("Form of queue.add", ("Q", "n"), ("Add to the queue",), ("escape",) * 2),
            "shell": Picture("Page of shell.shell", (":shell",), ("docker exec -it",)),
            "search": Picture("ProjectScreen, log", ("enter", "slash"), ("search: a word",)),
            "save": Picture("Form of logtaking.ask_to_save", ("ctrl+s",), ("Save the",)),
            "wide": Picture("ProjectScreen, log", ("z",), ("frame 28800/36000",)),
        },
    ),
    "asking": (
        ("enter", "tab", "j"),
        {"prune": Picture("Question of keeping._ask", (":prune",), ("Remove the files of #1",))},
    ),
    "nodes": (
        ("2", "j"),
        {
            "label": Picture("Form of nodes.label", ("t",), ("Labels of ws2",)),
            "forget": Picture("Question of nodes.forget", (":forget",), ("Forget node ws2 for good?",)),
        },
    ),
    "files": (
        ("3", "G"),
        {
            "upload": Picture("Form of files.upload", ("u",), ("Upload", "file or folder here")),
            "rename": Picture("Form of files.rename", ("R",), ("Rename res:readme.txt", "or a folder/")),
            "download": Picture("Form of files.download", ("d",), ("Download res:readme.txt",)),
            "remove": Picture("Question of files.remove", ("D",), ("Remove res:readme.txt?",)),
        },
    ),
    "pipelines": (
        ("4", "j"),
        {
            "compare": Picture("Form of pipelines.compare", ("c",), ("Compare traffic",)),
            "compared": Picture("Page of pipelines.compare", ("c", *"ulm", "enter"), ("ulm-crossing-7k2f",)),
            "delete": Picture("Question of pipelines.delete", ("D",), ("Delete pipeline traffic",)),
            "history": Picture("PipelinesScreen", ("h",), ("REVISION", "APPLIED"), ("h",)),
        },
    ),
}
"""What lies over a screen, seen one after the other from it: keys to the screen, and the pictures."""
