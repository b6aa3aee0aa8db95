"""What commands print is harmless, whole on a pipe, and its exit codes are those of the errors."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from winslow import errors
from winslow.errors import UsageError
from winslow_tui.cli import commands, main
from winslow_tui.cli.output import harmless_json, pairs, put, put_fields, put_table, say, time_shown

HOSTILE = "a\x1b]52;c;ZXZpbA==\x07b\u202egpj\x9b31m[/red]c\x7f\nd"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration but what a test sets."""
    for name in ("WINSLOW_CONFIG", "WINSLOW_STORE_URL", "WINSLOW_BROKER_URL", "WINSLOW_SITE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def acts(text: str) -> bool:
    return any(c in text for c in "\x1b\x07\u202e\x9b\x7f")


def test_tables_fields_and_sentences_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    put_table(("A", HOSTILE), [(HOSTILE, 1), ("x" * 3000, "[bold]")])
    put_fields({"name": HOSTILE, "empty": "", "none": None})
    put(HOSTILE)
    say(HOSTILE)
    out, err = capsys.readouterr()
    assert not acts(out + err)
    assert "abgpj[/red]c d" in out  # no markup is read, and a cell is one line
    assert "[bold]" in out
    assert "x" * 3000 in out  # nothing is cut on a pipe
    assert "empty" not in out
    assert err == "abgpj[/red]c\nd\n"


def test_a_terminal_gets_colours_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    shown = {}
    for no_color in ("", "1"):
        monkeypatch.setenv("NO_COLOR", no_color)
        screen = Terminal()
        monkeypatch.setattr(sys, "stdout", screen)
        put_table(("STATE",), [("FAILED",)])
        shown[no_color] = screen.getvalue()
    assert "\x1b[31m" in shown[""]
    assert "\x1b[31m" not in shown["1"]
    assert "FAILED" in shown["1"]


def test_json_is_harmless_and_true() -> None:
    text = harmless_json({"k": HOSTILE}, indent=None)
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == {"k": HOSTILE}


def test_pairs() -> None:
    assert pairs(["A=1", "B=x=y", "C="], "--env") == {"A": "1", "B": "x=y", "C": ""}
    for wrong in ("A", "=1", ""):
        with pytest.raises(UsageError, match="NAME=VALUE"):
            pairs([wrong], "--env")


def test_times_are_short() -> None:
    assert time_shown("2026-01-02T03:04:05.678Z") == "2026-01-02 03:04:05Z"
    assert time_shown("") == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.WinslowError("x"), 1),
        (errors.InvalidInput("x"), 1),
        (errors.UsageError("x"), 2),
        (errors.NotFound("x"), 3),
        (errors.Conflict("x"), 4),
        (errors.StoreUnreachable("x"), 5),
        (errors.BrokerUnreachable("x"), 5),
    ],
)
def test_each_error_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: errors.WinslowError, code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    error.hint = "do \x1b[31mthat"
    monkeypatch.setattr(commands, "app", fail)
    assert main.run(["info"]) == code
    assert capsys.readouterr().err == "winslow: x\n  do that\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["pipeline", "--help"], 0),
        ([], 2),
        (["nothing"], 2),
        (["pipeline", "check"], 2),
        (["runs", "p", "--output", "xml"], 2),
        (["wait", "p", "--for", "rain"], 2),
        (["pipeline", "list"], 2),  # nothing says where the store is
        (["node", "list"], 2),
        (["pipeline", "check", "/nonexistent.yaml"], 3),
        (["pipeline", "check", "/"], 1),
        (["--config", "/nonexistent.toml", "info"], 1),
        (["files", "ls", "nonsense"], 1),
        (["files", "put", "res:"], 2),
    ],
)
def test_exit_codes_of_command_lines(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert (out if code == 0 else err).strip()


def test_lists_of_commands_say_a_whole_sentence_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    for group in ([], ["project"], ["pipeline"], ["files"], ["node"], ["queue"]):
        assert main.run([*group, "--help"]) == 0
        listed = capsys.readouterr().out.partition("Commands:")[2]
        assert listed
        assert "..." not in listed, group


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("runs", "{PROJECT} [RUN]"),
        ("prune", "{PROJECT} [RUN]..."),
        ("pin", "{PROJECT} {RUN}..."),
        ("pipeline check", "{FILE}"),
        ("project create", "{NAME}"),
    ],
)
def test_usage_names_arguments_in_one_way(
    command: str, usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([*command.split(), "--help"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(f" {command} [OPTIONS] {usage}")


def test_check_names_file_line_column_and_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("name: p\nstages:\n  - name: a\n    imge: x\n    requires: {memory: 8GX}\n")
    assert main.run(["pipeline", "check", str(path)]) == 1
    err = capsys.readouterr().err
    assert f"{path}:4:5: stages[0].imge: unknown key 'imge'; did you mean 'image'?" in err
    assert f"{path}:5:24: stages[0].requires.memory: not a size" in err
    path.write_bytes(b"name: p\nst\xe4ges: 1\n")
    assert main.run(["pipeline", "check", str(path)]) == 1
    assert f"{path}:2:3: not UTF-8" in capsys.readouterr().err


def test_check_reads_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(b"name: p\nstages: [{name: a, image: b}]\n"))
    )
    assert main.run(["pipeline", "check", "-", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"][0]["name"] == "a"


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["pipeline", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "PipelineDefinition"


def test_info_shows_origins_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WINSLOW_STORE_SECRET_KEY", "hunter2")
    monkeypatch.setenv("WINSLOW_BROKER_URL", "mqtt://me:hunter3@h:1")
    assert main.run(["--site", "bern", "info", "-o", "json"]) == 0
    out = capsys.readouterr().out
    settings = json.loads(out)["settings"]
    assert settings["site"] == {"value": "bern", "origin": "flag --site"}
    assert settings["store.secret_key"] == {
        "value": "(set)",
        "origin": "environment WINSLOW_STORE_SECRET_KEY",
    }
    assert "hunter" not in out
    assert main.run(["info"]) == 0
    assert "hunter" not in capsys.readouterr().out


def test_a_reader_that_leaves_is_no_defect() -> None:
    command = (
        f"{sys.executable} -c 'from winslow_tui.cli.main import main; main()' pipeline schema | head -c 1"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout == "{"
    assert done.stderr == ""


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; from winslow_tui.cli.main import run; run(['--help']);"
        "heavy = {'pydantic', 'minio', 'aiomqtt', 'rich.table', 'textual', 'docker', 'ruamel.yaml', 'psutil'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_full_screen_program_begins_without_what_only_commands_or_pictures_need() -> None:
    code = (
        "import sys; from winslow_tui.cli.main import run; run([]);"
        "import winslow_tui.program.app; sys.exit(bool({'typer', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "needs a terminal" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["agent"], 2, "where the broker is"),
        (["agent", "--name", "Not A Name"], 1, "environment WINSLOW_AGENT_NAME: agent.name"),
        (["--site", "a/b", "agent"], 1, "flag --site: site"),
    ],
)
def test_the_agents_mistakes_are_sentences_too(
    arguments: list[str], code: int, says: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", "from winslow_tui.cli.main import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
