"""A small HTTP server of a folder, on loopback: with parts of files, ETags, pages of links, and faults to order."""

import contextlib
import html
import http.server
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote


class Web:
    """What a test sees of the server. requests: (method, path, range asked for). fault: called with the number of each
    request, from 0, and what it asks for; "drop" ends the connection before the answer, "half" in the middle of it, and
    a number is the status of an answer without content."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, ""
        self.requests: list[tuple[str, str, str]] = []
        self.fault: Callable[[int, tuple[str, str, str]], str | int | None] = lambda number, request: None
        self.ranges = self.etags = self.pages = self.lengths = True

    @property
    def bytes_asked(self) -> int:
        """Of the ranges of all GET requests."""
        return sum(
            int(found[2]) - int(found[1]) + 1
            for method, _, said in self.requests
            if method == "GET" and (found := re.fullmatch(r"bytes=(\d+)-(\d+)", said))
        )


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Web]:
    """Serve a folder at `Web.url`, which ends without a slash."""
    web = Web(folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": web}))
    server.daemon_threads = True
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, with_content: bool) -> None:
        web, asked = self.web, self.headers.get("Range", "")
        request = (self.command, unquote(self.path), asked)
        number = len(web.requests)
        web.requests.append(request)
        fault = web.fault(number, request)
        path = web.folder / unquote(self.path).lstrip("/")
        if fault == "drop":
            self.close_connection = True
            return
        if isinstance(fault, int):
            self._send(fault, b"", {})
        elif path.is_dir() and not self.path.endswith("/"):
            self._send(301, b"", {"Location": self.path + "/"})
        elif path.is_dir() and web.pages:
            names = sorted(one.name + "/" * one.is_dir() for one in path.iterdir())
            links = "".join(f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names)
            page = f"<html><body>{links}</body></html>".encode()
            self._send(200, page if with_content else b"", {"Content-Type": "text/html"})
        elif path.is_file():
            self._send_file(path.read_bytes(), asked, with_content, fault == "half")
        else:
            self._send(404, b"", {})

    def _send_file(self, data: bytes, asked: str, with_content: bool, half: bool) -> None:
        etag = f'"{zlib.crc32(data):08x}"'
        headers = {"Content-Type": "application/octet-stream"}
        if self.web.etags:
            headers["ETag"] = etag
        if self.headers.get("If-Match", etag) != etag:
            self._send(412, b"", {})
            return
        part, status = data, 200
        if not self.web.ranges:
            headers["Accept-Ranges"] = "none"
        elif found := re.fullmatch(r"bytes=(\d+)-(\d+)", asked):
            start, stop = int(found[1]), min(int(found[2]) + 1, len(data))
            part, status = data[start:stop], 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        if not self.web.lengths:
            self.close_connection = True
        self._send(status, part if with_content else b"", headers, len(part) if self.web.lengths else None, half)

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], length: int | None = -1, half: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(len(content) if length == -1 else length))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content[: len(content) // 2] if half else content)
        self.close_connection |= half
