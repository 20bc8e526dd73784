"""A proxy before a server of S3, which fails as real stores do."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import s3fs

BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class Proxy:
    """A server before another one. `fail(number, method, path)` returns what becomes of a request: "" lets it pass,
    "busy" answers 503, "cut" ends the answer in the middle, "drop" closes the connection after the request is done.

    requests: (method, path, Range) of each request so far.
    """

    def __init__(self, url: str, fail: Callable[[int, str, str], str] = lambda *_: "") -> None:
        self.fail, self.requests, self._lock = fail, list[tuple[str, str, str]](), threading.Lock()
        proxy, behind = self, url.removeprefix("http://")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def handle_one_request(self) -> None:
                with contextlib.suppress(ConnectionError):
                    return super().handle_one_request()
                self.close_connection = True

            def _pass(self) -> None:
                body = self._body()
                with proxy._lock:
                    proxy.requests.append((self.command, self.path, self.headers.get("Range", "")))
                    fate = proxy.fail(len(proxy.requests), self.command, self.path)
                if fate == "busy":
                    return self._answer(503, {}, BUSY)
                connection = http.client.HTTPConnection(behind, timeout=60)
                passed = {k: v for k, v in self.headers.items() if k.lower() not in ("transfer-encoding", "expect")}
                passed["Content-Length"] = str(len(body))
                connection.request(self.command, self.path, body, passed)
                answer = connection.getresponse()
                data = answer.read()
                connection.close()
                if fate == "drop":
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self._answer(answer.status, dict(answer.getheaders()), data, cut=fate == "cut" and len(data) > 1)

            def _body(self) -> bytes:
                if self.headers.get("Expect", "").lower() == "100-continue":
                    pass  # http.server has answered it
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                while self.rfile.readline().strip():
                    pass
                return body

            def _answer(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
                        self.send_header(name, value)
                length = headers.get("Content-Length", str(len(data)))
                self.send_header("Content-Length", length if self.command == "HEAD" else str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data[: len(data) // 2] if cut else data)
                if cut:
                    self.close_connection = True

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def ranges(self) -> list[str]:
        """The ranges of the GET requests for parts of files, and "" for whole ones."""
        return [found for method, path, found in self.requests if method == "GET" and "list-type" not in path]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def proxied(
    patch: pytest.MonkeyPatch, url: str, fail: Callable[[int, str, str], str] = lambda *_: ""
) -> Iterator[Proxy]:
    """Put a proxy before the server at `url`, here and for the processes that are started from here."""
    proxy = Proxy(url, fail)
    patch.setenv("AWS_ENDPOINT_URL", proxy.url)
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        yield proxy
    finally:
        patch.setenv("AWS_ENDPOINT_URL", url)
        s3fs.S3FileSystem.clear_instance_cache()
        proxy.close()
