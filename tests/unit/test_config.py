"""Configuration: precedence, origins, secrets (design 10 of the layout: winslow/config.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from winslow.config import ENVIRONMENT, load, user_file
from winslow.errors import InvalidInput, UsageError

FILE = """
site = "crossing"
[broker]
url = "mqtt://broker:1883"
username = "winslow"
password = "from-file"
[store]
url = "http://store:9000/bucket"
access_key = "key"
secret_key = "from-file"
[agent]
name = "ws1"
runtime = "docker, process"
allow_process = true
memory = "8 GiB"
labels = ["fast", "big"]
[site_env]
TZ = "Europe/Berlin"
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment whose file is FILE."""
    path = tmp_path / "config.toml"
    path.write_text(FILE)
    path.chmod(0o600)
    return {"WINSLOW_CONFIG": str(path)}


def test_nothing_configured(tmp_path: Path) -> None:
    config = load(environ={"XDG_CONFIG_HOME": str(tmp_path)})
    assert config.settings.site == "main"
    assert config.path is None
    assert config.settings.broker.url == ""
    with pytest.raises(UsageError) as caught:
        _ = config.store
    assert "WINSLOW_STORE_URL" in caught.value.hint
    assert {value.origin for value in config.values()} == {"default"}


def test_the_file_says_everything(environ: dict[str, str]) -> None:
    settings = load(environ=environ).settings
    assert settings.agent.runtime == ("docker", "process")
    assert settings.agent.memory == 8 << 30
    assert settings.agent.labels == ("fast", "big")
    assert settings.site_env == {"TZ": "Europe/Berlin"}


def test_flags_over_environment_over_file(environ: dict[str, str]) -> None:
    environ |= {"WINSLOW_SITE": "env", "WINSLOW_STORE_URL": "http://env:1/b"}
    config = load(flags={"site": "flag", "store.url": None}, environ=environ)
    origins = {value.key: (value.shown, value.origin) for value in config.values()}
    assert origins["site"] == ("flag", "flag --site")
    assert origins["store.url"] == ("http://env:1/b", "environment WINSLOW_STORE_URL")
    assert origins["agent.name"] == ("ws1", f"file {environ['WINSLOW_CONFIG']}")
    assert origins["site_env.TZ"] == ("Europe/Berlin", f"file {environ['WINSLOW_CONFIG']}")
    assert origins["store.region"] == ("us-east-1", "default")


def test_every_documented_variable_counts(tmp_path: Path) -> None:
    values = {
        "WINSLOW_SITE": "s",
        "WINSLOW_BROKER_URL": "mqtt://h:1",
        "WINSLOW_STORE_URL": "http://h:1/b",
        "WINSLOW_STORE_ACCESS_KEY": "a",
        "WINSLOW_STORE_SECRET_KEY": "b",
        "WINSLOW_AGENT_NAME": "n",
        "WINSLOW_AGENT_DATA_DIR": "/d",
        "WINSLOW_AGENT_RUNTIME": "process",
    }
    assert set(values) == set(ENVIRONMENT)
    config = load(environ=values | {"XDG_CONFIG_HOME": str(tmp_path)})
    origins = {value.origin for value in config.values()}
    assert origins >= {f"environment {name}" for name in values}
    assert config.store.secret_key == "b"
    assert config.settings.agent.data_dir == Path("/d")


def test_a_login_leaves_the_broker_url(environ: dict[str, str]) -> None:
    environ["WINSLOW_BROKER_URL"] = "mqtts://me:p%40ss@[::1]:8883"
    broker = load(environ=environ).settings.broker
    assert (broker.url, broker.username) == ("mqtts://[::1]:8883", "me")
    assert broker.password is not None
    assert broker.password.get_secret_value() == "p@ss"


def test_a_login_never_goes_to_another_broker(environ: dict[str, str]) -> None:
    environ["WINSLOW_BROKER_URL"] = "mqtt://elsewhere:1883"
    broker = load(environ=environ).settings.broker
    assert (broker.username, broker.password) == (None, None)


def test_a_store_url_without_a_bucket_means_winslow() -> None:
    config = load(environ={"WINSLOW_STORE_URL": "http://127.0.0.1:9000", "XDG_CONFIG_HOME": "/nowhere"})
    assert config.store.address.bucket == "winslow"


def test_no_secret_is_shown(environ: dict[str, str]) -> None:
    config = load(environ=environ)
    assert "from-file" not in repr(config)
    assert "from-file" not in repr(config.store)
    shown = {value.key: value.shown for value in config.values()}
    assert "from-file" not in str(shown)
    assert shown["store.secret_key"] == shown["broker.password"] == "(set)"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_with_secrets_is_for_its_owner_alone(environ: dict[str, str], mode: int) -> None:
    path = Path(environ["WINSLOW_CONFIG"])
    path.chmod(mode)
    with pytest.raises(InvalidInput, match="others on this machine may read it") as caught:
        load(environ=environ)
    assert caught.value.hint == f"chmod 600 {path}"
    path.write_text("site = 'a'\n[broker]\nurl = 'mqtt://u:p@h:1'\n")
    with pytest.raises(InvalidInput, match="holds secrets"):
        load(environ=environ)
    path.write_text("site = 'a'\n")
    assert load(environ=environ).settings.site == "a"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("site = ", "not TOML"),
        ("[broker]\nurll = 'x'\n", "broker.urll: unknown key 'urll'; did you mean 'url'?"),
        ("[agent]\nmemory = '8 GX'\n", "agent.memory: not a size"),
        ("[agent]\nruntime = 'dokcer'\n", "did you mean 'docker'?"),
        ("[agent]\ncpus = 0\n", "agent.cpus: .*greater than 0"),
        ("[site_env]\nWINSLOW_X = '1'\n", "site_env.WINSLOW_X: .*set by Winslow itself"),
        ("site = 'a/b'\n", "site: "),
        ("store = 5\n", "store: a table is expected here"),
        ("[store]\nurl = 5\n", "store.url: text is expected here"),
        ("[screen]\ntheme = 'drak'\n", "screen.theme: .*did you mean 'dark'?"),
        ("[screen]\nmouse = 'perhaps'\n", "screen.mouse: "),
        ("[keys]\nstart = 5\n", "keys.start: a list is expected here"),
        ("keys = 5\n", "keys: a table is expected here"),
    ],
)
def test_mistakes_name_file_and_key(environ: dict[str, str], text: str, says: str) -> None:
    Path(environ["WINSLOW_CONFIG"]).write_text(text)
    with pytest.raises(InvalidInput, match=says) as caught:
        load(environ=environ)
    assert environ["WINSLOW_CONFIG"] in str(caught.value)


def test_a_mistake_in_the_environment_names_the_variable() -> None:
    with pytest.raises(InvalidInput, match="environment WINSLOW_SITE: site: "):
        load(environ={"WINSLOW_SITE": "a b", "XDG_CONFIG_HOME": "/nowhere"})


def test_a_wrong_secret_is_not_repeated(environ: dict[str, str]) -> None:
    Path(environ["WINSLOW_CONFIG"]).write_text("[store]\nsecret_key = ['hunter2']\n")
    with pytest.raises(InvalidInput) as caught:
        load(environ=environ)
    assert "hunter2" not in str(caught.value)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not there"):
        load(environ={"WINSLOW_CONFIG": str(tmp_path / "none.toml")})
    with pytest.raises(InvalidInput, match="is no file"):
        load(environ={"WINSLOW_CONFIG": str(tmp_path)})


def test_the_users_own_file_is_found(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    path = user_file(environ)
    assert path == tmp_path / "winslow" / "config.toml"
    path.parent.mkdir()
    path.write_text("site = 'mine'\n")
    config = load(environ=environ)
    assert (config.settings.site, config.path) == ("mine", path)


def test_systemds_folder_holds_the_agents_data() -> None:
    settings = load(environ={"STATE_DIRECTORY": "/var/lib/winslow-x", "XDG_CONFIG_HOME": "/nowhere"}).settings
    assert settings.agent.data_dir == Path("/var/lib/winslow-x")
    assert settings.agent.name


def test_paths_may_be_relative_or_begin_with_the_home_folder(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container engine takes absolute ones alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/anna")
    Path(environ["WINSLOW_CONFIG"]).write_text("[agent]\ndata_dir = 'ws3'\nsecrets = '~/secrets.toml'\n")
    agent = load(environ=environ).settings.agent
    assert (agent.data_dir, agent.secrets) == (tmp_path / "ws3", Path("/home/anna/secrets.toml"))


def test_the_home_folder_of_nobody_is_a_mistake(environ: dict[str, str]) -> None:
    Path(environ["WINSLOW_CONFIG"]).write_text("[agent]\ndata_dir = '~nobody-of-this-name/x'\n")
    with pytest.raises(InvalidInput, match=r"agent\.data_dir: "):
        load(environ=environ)


def test_keys_are_one_a_list_or_a_text_with_commas(environ: dict[str, str]) -> None:
    Path(environ["WINSLOW_CONFIG"]).write_text(
        '[keys]\na = "s"\nb = "s, f5"\nc = ["s", ","]\nd = ","\ne = []\n'
    )
    config = load(environ=environ)
    assert config.settings.keys == {"a": ("s",), "b": ("s", "f5"), "c": ("s", ","), "d": ("comma",), "e": ()}
    assert config.origins["keys.b"] == f"file {environ['WINSLOW_CONFIG']}"


def test_what_is_a_persons_own_is_read_beside_a_sites_file(environ: dict[str, str], tmp_path: Path) -> None:
    own = tmp_path / "winslow" / "config.toml"
    own.parent.mkdir()
    own.write_text('site = "own"\n[screen]\ntheme = "light"\nmouse = true\n[keys]\nstart = "f5"\n')
    environ |= {"XDG_CONFIG_HOME": str(tmp_path)}
    Path(environ["WINSLOW_CONFIG"]).write_text('site = "theirs"\n[screen]\nmouse = false\n')
    config = load(environ=environ, personal=True)
    assert config.settings.site == "theirs"
    assert (config.settings.screen.theme, config.settings.screen.mouse) == ("light", False)
    assert config.origins["keys.start"] == f"file {own}"
    assert load(environ=environ).settings.screen.theme is None
