"""Where a site is and what an agent may do: the one file that reads configuration files and the environment.

Strongest first: flags, the environment, one TOML file, defaults. The file is `WINSLOW_CONFIG`, else
`winslow/config.toml` in the user's configuration folder (XDG), else `/etc/winslow/config.toml`:

    site = "main"
    [broker]
    url = "mqtt://broker.example:1883"        # a login may stand in it, or in username and password
    [store]
    url = "http://store.example:9000/winslow" # the last part is the bucket
    access_key = "…"
    secret_key = "…"
    [agent]                                   # read by the agent alone
    name = "ws1"
    runtime = "docker"
    labels = ["fast-disk"]
    [site_env]                                # environment for every stage of the site
    TZ = "Europe/Berlin"
    [screen]                                  # the full-screen program; also read from the user's own file where
    theme = "light"                           # WINSLOW_CONFIG names another
    [keys]                                    # of the full-screen program: a command or movement, and its keys
    start = ["s", "f5"]
"""

from __future__ import annotations

import os
import re
import socket
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from winslow.errors import InvalidInput, UsageError
from winslow.pipeline import Env, Name
from winslow.quantities import Size
from winslow.store.address import StoreConfig
from winslow.validation import explain, shown

SYSTEM_FILE = Path("/etc/winslow/config.toml")
ENVIRONMENT: Mapping[str, tuple[str, ...]] = {
    "WINSLOW_SITE": ("site",),
    "WINSLOW_BROKER_URL": ("broker", "url"),
    "WINSLOW_STORE_URL": ("store", "url"),
    "WINSLOW_STORE_ACCESS_KEY": ("store", "access_key"),
    "WINSLOW_STORE_SECRET_KEY": ("store", "secret_key"),
    "WINSLOW_AGENT_NAME": ("agent", "name"),
    "WINSLOW_AGENT_DATA_DIR": ("agent", "data_dir"),
    "WINSLOW_AGENT_RUNTIME": ("agent", "runtime"),
}
_SECRETS = {("store", "secret_key"), ("broker", "password")}
_BUCKET = "winslow"
_MAX_FILE = 256 * 1024
PERSONAL = ("screen", "keys")
"""Sections that go with a person, whatever site is looked at."""


def _listed(value: object) -> object:
    """A list may be written as one text, its parts separated by commas."""
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _pressed(value: object) -> object:
    """Keys as `_listed`; a comma alone is the key."""
    return ("comma",) if value == "," else _listed(value)


def _bucketed(url: str) -> str:
    parts = urlsplit(url)
    bare = parts.scheme in ("http", "https") and parts.path in ("", "/")
    return urlunsplit(parts._replace(path=f"/{_BUCKET}")) if bare else url


def _absolute(path: Path) -> Path:
    """What `~` and a relative path stand for where the program is started: engines and probes need to know."""
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(str(error)) from error


Place = Annotated[Path, AfterValidator(_absolute)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
PressedKeys = Annotated[tuple[str, ...], BeforeValidator(_pressed)]
Runtime = Literal["auto", "docker", "process"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class BrokerSettings(_Section):
    """The MQTT broker. `url` holds no login: `load` moves one that stood there into the other two."""

    url: str = ""
    username: str | None = None
    password: SecretStr | None = None


class StoreSettings(_Section):
    """The S3 store; a URL without a bucket means the bucket `winslow`."""

    url: Annotated[str, AfterValidator(_bucketed)] = ""
    access_key: SecretStr = SecretStr("")
    secret_key: SecretStr = SecretStr("")
    region: str = "us-east-1"


class AgentSettings(_Section):
    """What the agent of this machine is called, what share of the machine it gives, and what it allows."""

    name: Name = "local"
    data_dir: Place = Path("/var/lib/winslow")
    runtime: Annotated[tuple[Runtime, ...], BeforeValidator(_listed), Field(min_length=1)] = ("auto",)
    allow_process: bool = False  # stages as plain processes of the agent's own user
    cpus: float | None = Field(default=None, gt=0)  # cores; None: all
    memory: Size | None = None  # bytes; None: what the machine has, less a reserve
    gpus: Names | None = None  # UUIDs; None: all that are found
    labels: Names = ()
    images: Names = ("*",)  # patterns (fnmatch) of the images that may run here
    allow_user: bool = False  # a stage may name the user it runs as; a root agent's stages may anyway
    allow_host_network: bool = False  # a stage may use the machine's own network (`network: host`)
    secrets: Place | None = (
        None  # a TOML file NAME = "value" for `secret:NAME`; mode 600, of the agent's user
    )
    log_limit: Size = 1 << 30  # bytes of log per attempt
    cache_limit: Size | None = None  # bytes of cached files; None: a share of the disk


class ScreenSettings(_Section):
    """How the full-screen program begins. None: as it was left the last time."""

    theme: Literal["dark", "light", "contrast", "colour-blind", "mono"] | None = None
    mouse: bool | None = None
    notices: bool | None = (
        None  # the terminal is called when a project of one's own needs somebody, fails or is done
    )


class Settings(_Section):
    """Everything that can be configured. `keys` are by the name of what they do; `winslow keys` lists those."""

    site: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")] = "main"
    broker: BrokerSettings = BrokerSettings()
    store: StoreSettings = StoreSettings()
    agent: AgentSettings = AgentSettings()
    site_env: Env = {}
    screen: ScreenSettings = ScreenSettings()
    keys: Mapping[str, PressedKeys] = {}


@dataclass(frozen=True)
class Value:
    """One value as `winslow info` shows it: secrets masked, `origin` in words."""

    key: str
    shown: str
    origin: str


@dataclass(frozen=True)
class Config:
    """The settings in force; `origins` says where each one comes from, by its key (`store.url`)."""

    settings: Settings
    origins: Mapping[str, str]
    path: Path | None = None  # the file that was read

    @property
    def store(self) -> StoreConfig:
        """What `S3Store` is made from. Raises UsageError where nothing says where the store is."""
        store = self.settings.store
        if not store.url:
            raise UsageError(
                "nothing says where the store is",
                hint="`winslow up` starts a site on this machine; for another one set WINSLOW_STORE_URL or write "
                f"{self.path or user_file()}",
            )
        return StoreConfig(
            url=store.url,
            access_key=store.access_key.get_secret_value(),
            secret_key=store.secret_key.get_secret_value(),
            region=store.region,
        )

    def values(self) -> Iterator[Value]:
        """Every value with its origin, in the order of the sections."""
        for path, value in _flat(self.settings.model_dump()):
            key = shown(path)
            origin = self.origins.get(key) or self.origins.get(shown(path[:1])) or "default"
            yield Value(key=key, shown=_text(value), origin=origin)


def user_file(environ: Mapping[str, str] | None = None) -> Path:
    """Where the user's own configuration file is, or would be."""
    base = (os.environ if environ is None else environ).get("XDG_CONFIG_HOME", "")
    if Path(base).is_absolute():
        return Path(base) / "winslow" / "config.toml"
    from platformdirs import user_config_path

    return user_config_path("winslow") / "config.toml"


def state_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where this user's programs keep what should outlive them: drafts of texts."""
    base = (os.environ if environ is None else environ).get("XDG_STATE_HOME", "")
    if Path(base).is_absolute():
        return Path(base) / "winslow"
    from platformdirs import user_state_path

    return user_state_path("winslow")


def load(
    *,
    flags: Mapping[str, str | None] | None = None,
    environ: Mapping[str, str] | None = None,
    personal: bool = False,
) -> Config:
    """The configuration in force. `flags` by key (`store.url`), None where a flag was not given. `personal`: what the
    user's own file says of screen and keys counts also where another file is named, which is the stronger.

    Raises InvalidInput naming the file or variable and the key: for a file that is missing though
    WINSLOW_CONFIG names it, that is not TOML, or that holds secrets and can be read by others.
    """
    environ = os.environ if environ is None else environ
    path = _file(environ)
    layers: list[tuple[str, dict[str, Any]]] = [("default", _defaults(environ))]
    own = user_file(environ)
    if personal and path not in (None, own) and own.is_file():
        table = _read(own)
        layers.append((f"file {own}", {name: table[name] for name in PERSONAL if name in table}))
    if path is not None:
        layers.append((f"file {path}", _read(path)))
    for variable, place in ENVIRONMENT.items():
        if environ.get(variable):
            layers.append((f"environment {variable}", _nested(place, environ[variable])))
    for key, value in (flags or {}).items():
        if value is not None:
            layers.append(
                (f"flag --{key.replace('.url', '').replace('.', '-')}", _nested(tuple(key.split(".")), value))
            )
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        _split_login(layer, origin)
        if _has(layer, ("broker", "url")):  # a login belongs to the URL it was given with
            merged.get("broker", {}).pop("username", None)
            merged.get("broker", {}).pop("password", None)
        for place, value in _flat(layer):
            _put(merged, place, value)
            origins[shown(place)] = origin
    try:
        return Config(settings=Settings.model_validate(merged), origins=origins, path=path)
    except ValidationError as error:
        raise InvalidInput("\n".join(_complaints(error, origins))) from None


def _complaints(error: ValidationError, origins: Mapping[str, str]) -> Iterator[str]:
    for fault in explain(error, Settings):
        key = shown(fault.path)
        place = next((origin for name, origin in origins.items() if _related(name, key)), "configuration")
        message = fault.message
        if any(key == shown(secret) or key.startswith("broker.url") for secret in _SECRETS):
            message = message.partition(" (found:")[0]
        yield f"{place}: {key}: {message}"


def _related(name: str, key: str) -> bool:
    """Whether one of two keys is the other, or holds it."""
    return name == key or name.startswith((f"{key}.", f"{key}[")) or key.startswith((f"{name}.", f"{name}["))


def _file(environ: Mapping[str, str]) -> Path | None:
    named = environ.get("WINSLOW_CONFIG")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            what = "is no file" if path.exists() else "is not there"
            raise InvalidInput(
                f"the configuration file {path} (--config or WINSLOW_CONFIG) {what}",
                hint="write it, or name another",
            )
        return path
    return next((path for path in (user_file(environ), SYSTEM_FILE) if path.is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > _MAX_FILE:
        raise InvalidInput(f"{path}: longer than {_MAX_FILE // 1024} KiB")
    try:
        table = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"{path}: not TOML: {error}") from error
    secret = any(_has(table, place) for place in _SECRETS) or "@" in str(_get(table, ("broker", "url")) or "")
    if secret and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InvalidInput(
            f"{path}: holds secrets, and others on this machine may read it (mode {stat.S_IMODE(mode):o})",
            hint=f"chmod 600 {path}",
        )
    return table


def _defaults(environ: Mapping[str, str]) -> dict[str, Any]:
    """What depends on the machine: its name, and a place for the agent's data (systemd's, root's or the user's)."""
    name = re.sub(r"[^a-z0-9._-]+", "-", socket.gethostname().split(".")[0].lower()).strip("-._")[:63]
    data_dir = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if not data_dir and os.geteuid() != 0:
        from platformdirs import user_data_dir

        data_dir = user_data_dir("winslow")
    agent = {"name": name or "local"} | ({"data_dir": data_dir} if data_dir else {})
    return {"agent": agent}


def _split_login(layer: dict[str, Any], origin: str) -> None:
    """Take user name and password out of the broker's URL, so that it can be shown."""
    broker = layer.get("broker")
    url = broker.get("url") if isinstance(broker, dict) else None
    if not isinstance(broker, dict) or not isinstance(url, str) or "@" not in url:
        return
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        if parts.username:
            broker["username"] = unquote(parts.username)
        if parts.password:
            broker["password"] = unquote(parts.password)
        broker["url"] = urlunsplit(parts._replace(netloc=host))
    except ValueError:
        raise InvalidInput(f"{origin}: the broker's URL cannot be read") from None


def _nested(place: tuple[str, ...], value: str) -> dict[str, Any]:
    return {place[0]: value if len(place) == 1 else _nested(place[1:], value)}


def _flat(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, (*above, key))
        else:
            yield (*above, key), value


def _put(table: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    for part in place[:-1]:
        below = table.setdefault(part, {})
        if not isinstance(below, dict):
            below = table[part] = {}
        table = below
    table[place[-1]] = value


def _get(table: Any, place: tuple[str, ...]) -> Any:
    for part in place:
        table = table.get(part) if isinstance(table, dict) else None
    return table


def _has(table: Any, place: tuple[str, ...]) -> bool:
    return bool(_get(table, place))


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else ""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None or value == {} else str(value)
