"""Transfers through `winslow.store.files` against plain minio-py on the same server, as ratios.

    python benchmarks/store_transfer.py [--size MIB] [--files N] [--rounds N] [--url URL]

Prints one JSON object. A ratio above 1 means that Winslow is faster; the sides alternate, and medians are
compared. Winslow's times include what minio-py leaves out: sha256 of everything, verification of what
arrives, fsync before the rename; `minio_verified` is minio-py with these two steps after it. Without
`--url` a SeaweedFS of its own runs on loopback; with it WINSLOW_STORE_ACCESS_KEY and
WINSLOW_STORE_SECRET_KEY are read from the environment, and a bucket is made.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from minio import Minio

from winslow.store.address import StoreConfig
from winslow.store.embedded import EmbeddedStore
from winslow.store.files import Download, Upload, download_file, download_many, upload_file, upload_many
from winslow.store.port import ObjectInfo
from winslow.store.s3 import S3Store

MIB = 1 << 20
SMALL = 20_000  # bytes
THREADS = 8


@contextmanager
def server(url: str | None, folder: Path) -> Iterator[StoreConfig]:
    """The given store, or one that ends with this program."""
    if url is not None:
        yield StoreConfig(
            url=url,
            access_key=os.environ["WINSLOW_STORE_ACCESS_KEY"],
            secret_key=os.environ["WINSLOW_STORE_SECRET_KEY"],
        )
        return
    keys = secrets.token_hex(8), secrets.token_hex(16)
    store = EmbeddedStore(folder, access_key=keys[0], secret_key=keys[1], bucket="bench")
    store.start()
    try:
        yield StoreConfig(url=f"http://127.0.0.1:{store.port}/bench", access_key=keys[0], secret_key=keys[1])
    finally:
        store.stop()


def timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def compare(rounds: int, amount: float, sides: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Amount per second (medians of alternating rounds), and Winslow's ratio to each other side."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            times[name].append(timed(call))
    rates = {name: amount / statistics.median(each) for name, each in times.items()}
    ratios = {
        f"ratio_to_{name}": rates["winslow"] / rate for name, rate in rates.items() if name != "winslow"
    }
    return {name: round(rate, 1) for name, rate in rates.items()} | {
        name: round(ratio, 2) for name, ratio in ratios.items()
    }


def verified(path: Path) -> str:
    """What minio-py leaves out of a download: the sha256, and a sync to the disk."""
    with path.open("rb+") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return digest


def large(
    config: StoreConfig, store: S3Store, plain: Minio, folder: Path, size: int, rounds: int
) -> dict[str, object]:
    """MB/s of one large file."""
    bucket, source = config.address.bucket, folder / "large"
    with source.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    place = folder / "plain"

    def fetch_plainly() -> None:
        plain.fget_object(bucket, "resources/plain", str(place))

    def fetch_and_verify() -> None:
        fetch_plainly()
        verified(place)

    up = compare(
        rounds,
        size / 1e6,
        {
            "winslow": lambda: upload_file(store, source, "resources/ours"),
            "minio": lambda: plain.fput_object(
                bucket, "resources/plain", str(source), part_size=64 * MIB, num_parallel_uploads=4
            ),
        },
    )
    down = compare(
        rounds,
        size / 1e6,
        {
            "winslow": lambda: download_file(store, "resources/ours", folder / "ours"),
            "minio": fetch_plainly,
            "minio_verified": fetch_and_verify,
        },
    )
    return {"upload": up, "download": down}


def small(
    config: StoreConfig, store: S3Store, plain: Minio, folder: Path, files: int, rounds: int
) -> dict[str, object]:
    """Files/s of many small files; minio-py in as many threads as ours."""
    bucket = config.address.bucket
    sources = [folder / f"s{number}" for number in range(files)]
    for source in sources:
        source.write_bytes(os.urandom(SMALL))
    (folder / "back").mkdir()
    turns = {"ours": itertools.count(), "plain": itertools.count()}

    def fresh(side: str) -> str:
        return f"projects/{side}/{next(turns[side])}"  # replacing an object costs more than making one

    def upload() -> list[ObjectInfo]:
        folder = fresh("ours")
        return upload_many(store, [Upload(path, f"{folder}/{path.name}") for path in sources])

    def upload_plainly() -> None:
        folder = fresh("plain")
        plainly(lambda path: plain.fput_object(bucket, f"{folder}/{path.name}", str(path)))

    def plainly(move: Callable[[Path], object]) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(move, sources))

    up = compare(rounds, files, {"winslow": upload, "minio": upload_plainly})
    sent = upload()
    wanted = [
        Download(info.key, folder / "back" / path.name, sha256=info.sha256, etag=info.etag, size=info.size)
        for info, path in zip(sent, sources, strict=True)
    ]

    def fetch_plainly(path: Path) -> Path:
        place = folder / "back" / path.name
        plain.fget_object(bucket, f"projects/plain/0/{path.name}", str(place))
        return place

    down = compare(
        rounds,
        files,
        {
            "winslow": lambda: download_many(store, wanted),
            "minio": lambda: plainly(fetch_plainly),
            "minio_verified": lambda: plainly(lambda path: verified(fetch_plainly(path))),
        },
    )
    return {"upload": up, "download": down}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Transfers against plain minio-py, as ratios")
    parser.add_argument("--size", type=int, default=512, help="MiB of the large file")
    parser.add_argument("--files", type=int, default=1_000, help="number of files of 20 kB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url", help="an S3 bucket to use instead of an own SeaweedFS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="winslow-bench-") as name:
        folder = Path(name)
        with server(options.url, folder / "server") as config:
            store = S3Store(config)
            store.ensure_bucket()
            address = config.address
            plain = Minio(
                address.host,
                access_key=config.access_key,
                secret_key=config.secret_key,
                secure=address.secure,
                region=config.region,
            )
            result = {
                "large_MB_per_s": large(config, store, plain, folder, options.size * MIB, options.rounds),
                "small_files_per_s": small(config, store, plain, folder, options.files, options.rounds),
            }
            store.delete_prefix("resources/")
            store.delete_prefix("projects/")
            store.close()
    json.dump(result, sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
