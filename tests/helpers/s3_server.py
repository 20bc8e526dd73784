"""A server of S3 on loopback: an imitation in memory or, where S3_SERVER=weed, SeaweedFS from PATH."""

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import free_port, running, wait_for

s3fs = pytest.importorskip("s3fs")
_PROCESS = contextlib.ExitStack()  # what ends with this process
atexit.register(_PROCESS.close)


@contextlib.contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the bucket "bucket", empty, and set what finds the server: its URL. Processes that are started later find
    it, too."""
    with _seaweed() if os.environ.get("S3_SERVER") == "weed" else _imitation() as url:
        for name, value in (
            ("AWS_ENDPOINT_URL", url),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ):
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # one that is kept asks the server of another test
        _make_bucket()
        yield url


@contextlib.contextmanager
def _imitation() -> Iterator[str]:
    moto_server = pytest.importorskip("moto.server")
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    urllib.request.urlopen(f"{url}/moto-api/reset", data=b"").close()  # its memory is that of the whole process
    try:
        yield url
    finally:
        server.stop()


@contextlib.contextmanager
def _seaweed() -> Iterator[str]:
    if not shutil.which("weed"):
        pytest.skip("there is no program weed on PATH: docs/clusters.md says how to build it")
    yield _seaweed_of_this_process()


@functools.cache
def _seaweed_of_this_process() -> str:
    """Start SeaweedFS, which ends with this process; returns its URL. Starting takes it some seconds."""
    # Not in TMPDIR: tests look at what is left there.
    folder = _PROCESS.enter_context(tempfile.TemporaryDirectory(prefix="weed-", dir="/tmp", ignore_cleanup_errors=True))
    ports = {name: free_port() for name in ("s3", "master", "volume", "filer")}
    words = ["weed", "server", f"-dir={folder}", "-ip=127.0.0.1", "-s3", "-master.volumeSizeLimitMB=64"]
    for name, port in ports.items():
        words += [f"-{name}.port={port}", f"-{name}.port.grpc={free_port()}"]
    _PROCESS.enter_context(running(words, Path(folder), {**os.environ, "TMPDIR": folder}))
    url = f"http://127.0.0.1:{ports['s3']}"
    wait_for(lambda: _answers(url), 60, "SeaweedFS answers")
    return url


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/status", timeout=1):
        return True
    return False


def _make_bucket() -> None:
    """Make the bucket; where it is there, empty it."""
    client: Any = _client()
    with contextlib.closing(client):
        try:
            client.create_bucket(Bucket="bucket")
        except (client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            for page in client.get_paginator("list_objects_v2").paginate(Bucket="bucket"):
                for found in page.get("Contents", ()):
                    client.delete_object(Bucket="bucket", Key=found["Key"])
            for begun in client.list_multipart_uploads(Bucket="bucket").get("Uploads", ()):
                client.abort_multipart_upload(Bucket="bucket", Key=begun["Key"], UploadId=begun["UploadId"])


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
