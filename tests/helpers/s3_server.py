"""An S3-compatible server in memory, on loopback."""

import contextlib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

moto_server = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")


@contextlib.contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the bucket "bucket", empty, and set what finds the server: its URL. Processes that are started later find
    it, too."""
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    for name, value in (
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # one that is kept asks the server of another test
    urllib.request.urlopen(f"{url}/moto-api/reset", data=b"").close()  # its memory is that of the whole process
    client: Any = _client()
    try:
        client.create_bucket(Bucket="bucket")
        yield url
    finally:
        client.close()
        server.stop()


def _client() -> Any:
    import boto3

    return boto3.client("s3")


def upload(folder: Path, address: str) -> str:
    """Copy the files below a local folder to s3://BUCKET/KEY; return that."""
    client = _client()
    bucket, _, key = address.removeprefix("s3://").partition("/")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            client.put_object(Bucket=bucket, Key=f"{key}/{name}" if key else name, Body=path.read_bytes())
    client.close()
    return address
