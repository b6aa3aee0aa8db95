"""Where a store is, and who asks: what `winslow.config` fills in and `s3.S3Store` is made from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from winslow.errors import InvalidInput

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_FORM = "http://HOST:PORT/BUCKET, https://HOST/BUCKET or s3://BUCKET (Amazon)"


@dataclass(frozen=True)
class StoreAddress:
    """A store URL taken apart; `host` may carry a port."""

    secure: bool
    host: str
    bucket: str

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.host}/{self.bucket}"


@dataclass(frozen=True)
class StoreConfig:
    """An S3 bucket and the keys for it; neither `repr` nor any error shows the secret.

    `url` is `http://HOST:PORT/BUCKET`, `https://HOST/BUCKET`, or `s3://BUCKET` for Amazon's own service in
    `region`. Objects are addressed path-style.
    """

    url: str
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    region: str = "us-east-1"

    @property
    def address(self) -> StoreAddress:
        """The URL's parts. Raises InvalidInput that shows the form, and no password that stood in the URL."""
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError as error:
            raise InvalidInput("the store URL cannot be read", hint=f"write it as {_FORM}") from error
        if parts.username is not None or parts.password is not None:
            raise InvalidInput(
                "the store URL holds a user name or password",
                hint="put the keys into WINSLOW_STORE_ACCESS_KEY and WINSLOW_STORE_SECRET_KEY",
            )
        if parts.scheme == "s3":
            host, bucket = f"s3.{self.region}.amazonaws.com", parts.netloc
            extra = parts.path.strip("/")
        else:
            host = (
                parts.netloc.removesuffix(f":{80 if parts.scheme == 'http' else 443}")
                if port
                else parts.netloc
            )
            bucket, _, extra = parts.path.strip("/").partition("/")
        if parts.scheme not in ("http", "https", "s3") or not parts.hostname or extra or parts.query:
            raise InvalidInput(f"'{self.url}' is not a store URL", hint=f"write it as {_FORM}")
        if not _BUCKET.fullmatch(bucket):
            raise InvalidInput(
                f"'{self.url}' names no bucket (3 to 63 small letters, digits, '-' or '.')",
                hint=f"write it as {_FORM}",
            )
        return StoreAddress(secure=parts.scheme != "http", host=host, bucket=bucket)
