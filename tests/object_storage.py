"""An S3 with one bucket that runs in this process, on a port of its own: what a reader of objects asks for."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "bucket"
DATE = "2026-11-01T00:00:00.000Z"
HTTP_DATE = "Sun, 01 Nov 2026 00:00:00 GMT"


@contextlib.contextmanager
def object_storage(folder: Path) -> Iterator[str]:
    """Serves the files below a folder as `s3://bucket/PATH`; yields host and port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self._answer(with_body=False)

        def do_GET(self):
            self._answer(with_body=True)

        def log_message(self, *_):
            pass

        def _answer(self, with_body: bool) -> None:
            address = urlsplit(self.path)
            key = unquote(address.path).removeprefix(f"/{BUCKET}").lstrip("/")
            file = folder / key
            if not key:
                prefix = parse_qs(address.query).get("prefix", [""])[0]
                self._send(200, _listing(folder, prefix), with_body, {"Content-Type": "application/xml"})
            elif not file.is_file():
                self._send(404, b"<Error><Code>NoSuchKey</Code></Error>", with_body)
            else:
                self._send_file(file.read_bytes(), with_body)

        def _send_file(self, data: bytes, with_body: bool) -> None:
            headers = {"ETag": '"1"', "Last-Modified": HTTP_DATE, "Content-Type": "text/plain"}
            if "Range" not in self.headers:
                return self._send(200, data, with_body, headers)
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
            if start >= len(data):
                return self._send(416, b"<Error><Code>InvalidRange</Code></Error>", with_body)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            return self._send(206, data[start : end + 1], with_body, headers)

        def _send(self, code: int, body: bytes, with_body: bool, headers: dict[str, str] | None = None) -> None:
            self.send_response(code)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _listing(folder: Path, prefix: str) -> bytes:
    """The answer to ListObjectsV2."""
    keys = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    found = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>{DATE}</LastModified><ETag>&quot;1&quot;</ETag>"
        f"<Size>{(folder / key).stat().st_size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key in keys
        if key.startswith(prefix)
    )
    count = found.count("<Key>")
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{count}</KeyCount><MaxKeys>1000</MaxKeys>"
        f"<IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
    ).encode()
