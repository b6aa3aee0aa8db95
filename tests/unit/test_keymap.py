"""Keys that a person chose: what may be written, what is refused, and that hints, help and texts follow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import screens
from tests.screen_person import Person
from winslow.config import Config
from winslow.errors import InvalidInput
from winslow_tui.cli.main import run
from winslow_tui.program.app import WinslowApp
from winslow_tui.program.keymap import Keymap, key_of, written
from winslow_tui.screens.contexts import contexts
from winslow_tui.screens.form import Form
from winslow_tui.screens.help import Help
from winslow_tui.screens.nodes import NodesScreen


def configured(keys: Mapping[str, tuple[str, ...]]) -> Config:
    """The example's configuration with `[keys]`."""
    return Config(
        settings=screens.CONFIG.settings.model_copy(update={"keys": dict(keys)}),
        origins={f"keys.{name}": "file config.toml" for name in keys},
    )


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("n", "n"), ("N", "N"), ("shift+n", "N"), ("?", "question_mark"), ("-", "minus"), ("+", "plus"), (" ", "space"),
        ("F5", "f5"), ("esc", "escape"), ("ctrl+N", "ctrl+n"), ("ctrl+i", "tab"), ("ctrl+[", "escape"),
        ("shift+ctrl+left", "ctrl+shift+left"), ("ctrl+m", "enter"), ("pagedown", "pagedown"), ("ä", "ä"),
    ],
)  # fmt: skip
def test_a_key_as_people_write_it(text: str, key: str) -> None:
    assert key_of(text) == key


@pytest.mark.parametrize(
    "text", ["", "ctlr+n", "ctrl+", "page down", "\x1b", "\t", "ctrl++", "hyper+x", "f99"]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no key|must be a sign"):
        key_of(text)


def test_every_key_there_is_can_be_written() -> None:
    keymap = Keymap.of(screens.CONFIG, contexts())
    for action in keymap.actions.values():
        for key in action.keys:
            assert key_of(written(key)) == key


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"strat": ("s",)}, "keys.strat: nothing has this name; did you mean 'start'"),
        ({"start": ("ctlr+n",)}, "keys.start: 'ctlr.n' is no key"),
        ({"start": ("t",)}, "keys.start: t is the key for 'tags' among projects"),
        ({"start": ("f",)}, "keys.start: f is the key for 'follow' in a project"),
        ({"down": ("q",)}, "keys.down: q is the key for 'leave' among projects"),
        ({"sooner": ("enter",)}, "keys.sooner: ⏎ is the key for '(back|open)' in a project's queue"),
        ({"start": ("f5",), "pause": ("f5",)}, "f5 is the key for"),
    ],
)
def test_mistakes_name_the_place(keys: Mapping[str, tuple[str, ...]], says: str) -> None:
    with pytest.raises(InvalidInput, match=f"file config.toml: .*{says}"):
        Keymap.of(configured(keys), contexts())


def test_two_may_change_places_and_what_shares_a_key_may_go_on_sharing_it() -> None:
    keys = {"start": ("p",), "pause": ("s",), "delete": ("D", "f8"), "open": ("enter", "o")}
    assert Keymap.of(configured(keys), contexts()).keys("delete") == ("D", "f8")


async def test_hints_help_and_texts_follow_what_was_chosen(tmp_path: Path) -> None:
    site = screens.site()
    config = configured(
        {"start": ("f5",), "nodes": ("ctrl+n",), "down": ("j", "i"), "help": ("f1",), "archive": ("Z",)}
    )
    app = screens.app(site, tmp_path, config=config)
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        anna = Person(pilot, site)
        await anna.until(lambda: len(app.site.projects) == len(site.summaries))
        await anna.reads("f5 start", "ctrl+n Nodes", "f1 help")
        await anna.press("s")
        assert not isinstance(app.screen, Form)
        before = anna.sees()
        await anna.press("i")
        assert anna.sees() != before
        await anna.press("f5")
        await anna.until(lambda: isinstance(app.screen, Form))
        await anna.press("escape", "f1")
        assert isinstance(app.screen, Help)
        assert "f5" in anna.sees()
        await anna.press("escape", "colon")
        await anna.type("archive")
        await anna.reads("archive         Z")
        await anna.press("escape", "ctrl+n")
        await anna.until(lambda: isinstance(app.screen, NodesScreen))


async def test_a_key_that_was_chosen_is_a_letter_where_one_types(tmp_path: Path) -> None:
    site = screens.site()
    app = screens.app(site, tmp_path, config=configured({"theme": ("T",), "transfers": ()}))
    async with app.run_test(size=(100, 30)) as pilot:
        anna = Person(pilot, site)
        before = app.theme
        await anna.press("slash", "T", "enter")
        await anna.reads("/T")
        assert app.theme == before
        await anna.press("escape", "T")
        assert app.theme != before


def test_a_wrong_key_is_told_before_the_screen_opens(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nothing has this name"):
        WinslowApp(lambda: configured({"go": ("x",)}))


def test_the_command_lists_names_and_where_keys_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[keys]\nstart = ["s", "f5"]\nabort = []\n')
    monkeypatch.setenv("WINSLOW_CONFIG", str(file))
    assert run(["keys"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "s, f5" in lines["start"]
    assert str(file) in lines["start"]
    assert lines["down"].split()[1:3] == ["j,", "down"]
    assert "stop what runs or waits" in lines["abort"] and "file" in lines["abort"].split()
