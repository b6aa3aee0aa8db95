"""docs/guide.md is true: its commands are run in their order by somebody whose home is empty, and what it shows is what
they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker.embedded import find_mosquitto
from tests.conftest import missing
from tests.services.engine import DockerService
from tests.services.waiting import wait_until
from winslow.store.embedded import find_weed

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXIT_CODE = re.compile(r"\s+# exit code (\d)$")
STAYS = re.compile(r"winslow (up|--config \S+ agent)\b")
IMAGE = "busybox:1"


@dataclass
class Reader:
    """Somebody who types what the guide says."""

    home: Path
    environment: dict[str, str]
    ends: ExitStack
    said: list[str] = field(default_factory=list)  # by the commands of the last block

    def type(self, block: str) -> None:
        """Run the commands of a block, one a line."""
        self.said = []
        for line in block.splitlines():
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").partition("=")
                self.environment[name] = value.replace("~", str(self.home), 1)
            elif STAYS.match(line):
                self._stay(line)
            else:
                self._run(line)

    def _run(self, line: str) -> None:
        code = EXIT_CODE.search(line)
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.home, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == (int(code[1]) if code else 0), f"{line}\n{done.stdout}"
        assert "Traceback" not in done.stdout, done.stdout
        self.said += done.stdout.splitlines()
        print(f"$ {line}\n{done.stdout}", end="")

    def _stay(self, line: str) -> None:
        """A program that stays: a whole site, which has to be ready, or one more agent."""
        log, ready = self.home / "stays.log", self.home / "ready"
        words = line.split()
        if words[1] == "up":
            words += ["--ready-file", str(ready)]
        with log.open("ab") as out:
            started = subprocess.Popen(
                words, cwd=self.home, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        self.ends.callback(_stop, started)
        if words[1] == "up":
            wait_until(lambda: ready.exists() or started.poll() is not None, seconds=120, what="the site")
        assert started.poll() is None, log.read_text()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(100)


@pytest.fixture
def reader(tmp_path: Path, docker_engine: DockerService) -> Iterator[Reader]:
    if find_weed() is None or find_mosquitto() is None:
        missing("mosquitto or weed is not installed")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WINSLOW_", "XDG_")) and name not in ("EDITOR", "VISUAL")
    }
    environment = {
        **kept,
        **docker_engine.environment,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
        "EDITOR": "sed -i s/25/40/",
        "LOGNAME": "anna",
        "NO_COLOR": "1",
    }
    with ExitStack() as ends:
        yield Reader(tmp_path, environment, ends)


def test_the_guide_is_true(reader: Reader, busybox_image: str) -> None:
    for kind, text in BLOCK.findall(GUIDE.read_text().replace(IMAGE, busybox_image)):
        match kind:
            case "yaml" | "toml":
                name = text.splitlines()[0].removeprefix("# ")
                (reader.home / name).write_text(text)
            case "sh":
                reader.type(text)
            case "text":
                _compare(text.splitlines(), reader.said)
            case _:
                pytest.fail(f"a block of {kind}, which nobody knows how to try")


def _compare(shown: list[str], said: list[str]) -> None:
    """Every line that is shown was said, in this order; others may stand between them."""
    rest = iter(said)
    for line in shown:
        pattern = _loose(line)
        assert any(re.fullmatch(pattern, each.strip()) for each in rest), "\n".join(
            [f"nothing is like: {line}", *said]
        )


LOOSE = {
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ",
    r"ulm-[a-z0-9]{4}": "ulm-[a-z0-9]{4}",
    r"\bws[12]\b": "ws[12]",
    r"\bhas \d+": r"has [\d.]+",  # cores of the machine
    r"\b0/0\b": r"\d+/\d+",  # its GPUs
    r"…": ".*",
    r"\s+": r"\s+",
}
"""What is different each time, and what may stand for it."""


def _loose(line: str) -> str:
    parts = re.split(f"({'|'.join(LOOSE)})", line.strip())
    return "".join(
        next((said for shown, said in LOOSE.items() if re.fullmatch(shown, part)), re.escape(part))
        for part in parts
    )
