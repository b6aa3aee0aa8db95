"""AWS Signature Version 4 for S3 requests, in the Authorization header.

minio-py signs only the calls it offers itself, and a link it presigns covers no header: SeaweedFS and
Amazon refuse `x-amz-meta-*` headers that are not signed, and a bucket's own calls (listing open
uploads) have no presigned form. The rule: Amazon S3 API Reference, "Signature Calculations for the
Authorization Header: Transferring Payload in a Single Chunk".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
_ALGORITHM = "AWS4-HMAC-SHA256"


def encoded_path(path: str) -> str:
    """The path as it is signed and sent: UTF-8, everything escaped but letters, digits, `-._~` and `/`."""
    return quote(path, safe="/-._~")


def encoded_query(query: Mapping[str, str]) -> str:
    """The query as it is signed and sent: escaped, sorted, `=` even where the value is empty."""
    return "&".join(
        f"{name}={value}"
        for name, value in sorted((quote(n, safe="-._~"), quote(v, safe="-._~")) for n, v in query.items())
    )


def authorization(
    *,
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    access_key: str,
    secret_key: str,
    region: str,
    moment: datetime,
) -> str:
    """The value of the Authorization header.

    `path` and `query` are plain (not escaped); `headers` are all that are signed, `host`, `x-amz-date`
    and `x-amz-content-sha256` among them, names in small letters; `moment` is UTC.
    """
    names = sorted(headers)
    signed = ";".join(names)
    canonical = "\n".join(
        [
            method,
            encoded_path(path),
            encoded_query(query),
            *(f"{name}:{' '.join(headers[name].split())}" for name in names),
            "",
            signed,
            headers["x-amz-content-sha256"],
        ]
    )
    day = moment.strftime("%Y%m%d")
    scope = f"{day}/{region}/s3/aws4_request"
    to_sign = "\n".join(
        [_ALGORITHM, moment.strftime("%Y%m%dT%H%M%SZ"), scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key = f"AWS4{secret_key}".encode()
    for step in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return f"{_ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={signed}, Signature={signature}"
