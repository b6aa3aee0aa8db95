"""The node's secrets: who may hold the file, and what is lent and taken back."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from node_agent.vault import Vault, leave_room, make_room, rooms
from winslow.errors import InvalidInput


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets.toml"
    path.touch(mode=0o600)
    path.write_text('TOKEN = "gr\u00fcn s3cret"\nOTHER = """two\nlines"""\n')
    return path


@pytest.fixture(params=["memory", "attempt"])
def vault(request: pytest.FixtureRequest, file: Path, tmp_path: Path) -> Vault:
    return Vault(file, room=tmp_path / "room" if request.param == "memory" else None)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "attempts" / "ulm" / "3.1"
    path.mkdir(parents=True)
    return path


def test_names(vault: Vault) -> None:
    assert vault.names() == ("OTHER", "TOKEN")
    assert Vault(None, room=None).names() == ()


def test_what_is_lent_is_for_one_reader_and_goes(vault: Vault, home: Path) -> None:
    lent = vault.lend(["TOKEN"], home)
    (path,) = lent.iterdir()
    assert (path.name, path.read_bytes()) == ("TOKEN", "gr\u00fcn s3cret".encode())
    assert [stat.S_IMODE(each.stat().st_mode) for each in (lent, path)] == [0o500, 0o400]
    vault.take_back(home)
    vault.take_back(home)
    assert not lent.exists()


def test_a_container_that_runs_keeps_what_it_was_lent(vault: Vault, home: Path, file: Path) -> None:
    lent = vault.lend(["TOKEN"], home)
    inode = lent.stat().st_ino
    file.write_text('TOKEN = "new"\n')
    assert vault.lend(["TOKEN"], home) == lent
    assert lent.stat().st_ino == inode


def test_what_was_lent_by_halves_is_lent_again(vault: Vault, home: Path) -> None:
    lent = vault.lend(["TOKEN"], home)
    lent.chmod(0o700)  # as it is until all files are written
    (lent / "TOKEN").unlink()
    assert [path.name for path in vault.lend(["OTHER"], home).iterdir()] == ["OTHER"]


def test_a_name_that_the_node_does_not_have(vault: Vault, home: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no secret GONE here"):
        vault.lend(["TOKEN", "GONE"], home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_given_to_another_user(vault: Vault, home: Path) -> None:
    lent = vault.lend(["TOKEN"], home)
    for user in (1234, 1234):
        vault.give(lent, user)
        assert {path.stat().st_uid for path in (lent, *lent.iterdir())} == {user}


def test_what_nobody_holds_any_more_is_taken_back(file: Path, tmp_path: Path, home: Path) -> None:
    vault = Vault(file, room=tmp_path / "room")
    kept, other = vault.lend(["TOKEN"], home), vault.lend(["TOKEN"], home.with_name("4.1"))
    vault.take_back_others([home])
    assert (kept.exists(), other.exists()) == (True, False)
    Vault(file, room=None).take_back_others([home])


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o700, 0o620])
def test_a_file_that_others_may_read_is_refused(vault: Vault, file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(InvalidInput, match=rf"may be read by others \(mode {mode:o}\)") as caught:
        vault.names()
    assert caught.value.hint.startswith(f"chmod 600 {file}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_somebody_else_is_refused(vault: Vault, file: Path) -> None:
    os.chown(file, 1234, -1)
    with pytest.raises(InvalidInput, match="belong to another user"):
        vault.names()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        Vault(tmp_path / "none.toml", room=None).names()


@pytest.mark.parametrize(
    "text",
    [
        "TOKEN = s3cret",
        "s3cret",
        'TOKEN = "s3cret',
        '"s3cret key" = "x"',
        "TOKEN = {s3cret = 1}",
        "TOKEN = 5",
    ],
)
def test_a_mistake_in_the_file_shows_nothing_of_it(vault: Vault, file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        vault.names()
    assert str(caught.value).startswith(f"{file}: ")
    assert "s3cret" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"


def test_a_room_is_the_agents_own(tmp_path: Path) -> None:
    own = tmp_path / "winslow-1234"
    assert make_room(own)
    assert make_room(own)
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    own.chmod(0o755)
    assert not make_room(own), "others could look into it"
    leave_room(own)
    assert not own.exists()
    own.symlink_to(tmp_path)
    assert not make_room(own)
    if os.geteuid() == 0:
        own.unlink()
        own.mkdir(mode=0o700)
        os.chown(own, 1234, -1)
        assert not make_room(own)


def test_nothing_is_lent_in_a_room_that_is_somebody_elses(file: Path, home: Path, tmp_path: Path) -> None:
    place = tmp_path / "room"
    place.mkdir(mode=0o755)
    with pytest.raises(InvalidInput, match="belongs to somebody else"):
        Vault(file, room=place).lend(["TOKEN"], home)


def test_a_room_comes_with_the_first_and_goes_with_the_last(file: Path, home: Path, tmp_path: Path) -> None:
    vault = Vault(file, room=tmp_path / "room")
    vault.lend(["TOKEN"], home)
    vault.lend(["TOKEN"], home.with_name("4.1"))
    vault.take_back(home)
    assert (tmp_path / "room").is_dir()
    vault.take_back_others([])
    assert not (tmp_path / "room").exists()


def test_rooms_are_in_memory() -> None:
    for path in rooms("1234"):
        assert path.name == "winslow-1234"
        assert str(path.parent) in ("/run", "/dev/shm")
        assert not path.exists()
