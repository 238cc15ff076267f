"""An S3 with one bucket, in this process, on a port of its own: as much as reading and writing files asks for."""

from __future__ import annotations

import collections
import contextlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4
from xml.sax.saxutils import escape, unescape

BUCKET = "bucket"
DATE = "2026-11-01T00:00:00.000Z"
HTTP_DATE = "Sun, 01 Nov 2026 00:00:00 GMT"


@contextlib.contextmanager
def object_storage(folder: Path) -> Iterator[str]:
    """Serves the files below a folder as `s3://bucket/PATH`; yields host and port."""

    parts = collections.defaultdict(list)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self._answer(with_body=False)

        def do_GET(self):
            self._answer(with_body=True)

        def do_POST(self):
            """Begins an upload, ends it, or deletes objects."""
            body, address = self._body(), urlsplit(self.path)
            if "uploads" in address.query:
                begun = f"<UploadId>{uuid4().hex}</UploadId>"
                answer = f"<InitiateMultipartUploadResult>{begun}</InitiateMultipartUploadResult>"
            elif "delete" in address.query:
                keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
                for key in keys:
                    (folder / unescape(key)).unlink(missing_ok=True)
                deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
                answer = f"<DeleteResult>{deleted}</DeleteResult>"
            else:
                file = folder / self._key()
                file.parent.mkdir(parents=True, exist_ok=True)
                upload = parts.pop(parse_qs(address.query)["uploadId"][0])  # fails without a part, as S3 does
                file.write_bytes(b"".join(data for _, data in sorted(upload)))
                answer = "<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>"
            self._send(200, answer.encode(), True, {"Content-Type": "application/xml"})

        def do_PUT(self):
            """Takes a part of an upload, or a whole object."""
            query = parse_qs(urlsplit(self.path).query)
            if not query:
                (folder / self._key()).parent.mkdir(parents=True, exist_ok=True)
                (folder / self._key()).write_bytes(self._body())
                return self._send(200, b"", False, {"ETag": '"1"'})
            parts[query["uploadId"][0]].append((int(query["partNumber"][0]), self._body()))
            self._send(200, b"", False, {"ETag": '"1"'})

        def do_DELETE(self):
            (folder / self._key()).unlink(missing_ok=True)
            self._send(204, b"", False)

        def _key(self) -> str:
            return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").lstrip("/")

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def log_message(self, *_):
            pass

        def _answer(self, with_body: bool) -> None:
            key = self._key()
            file = folder / key
            if not key:
                prefix = parse_qs(urlsplit(self.path).query).get("prefix", [""])[0]
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
