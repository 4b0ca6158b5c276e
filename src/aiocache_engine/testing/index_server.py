"""A real package index on loopback, for tests: it serves a directory of wheels, counts, and misbehaves on request.

    with IndexServer(directory) as server:
        server.fault("/files/tiny-1.0-py3-none-any.whl", Fault(cut_after_bytes=1000, times=1))
        ...  # ask server.index_url
        assert server.counts["/files/tiny-1.0-py3-none-any.whl"] == 2

Pages are under `/simple/<project>/` in JSON or HTML, as the client prefers; files under `/files/`, their metadata
beside them (PEP 658); one find-links page is `/links.html`; `/_counts` gives the counters as JSON to other processes.
As a program, `python -m aiocache_engine.testing.index_server DIRECTORY` prints its URL and serves until it is ended.
Files may come and go while it runs. It answers 304, ranges and If-Range like a good server, and knows no TLS.
"""

from __future__ import annotations

import base64
import collections
import email.parser
import functools
import hashlib
import html
import json
import os
import re
import socket
import sys
import threading
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote

_JSON = "application/vnd.pypi.simple.v1+json"
_SUFFIXES = (".whl", ".tar.gz", ".zip")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)|bytes=-(\d+)")
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to misbehave on one path. Fields that are left out leave the answer as it would be."""

    times: int | None = None  #: how many requests it meets; None: all
    status: int | None = None  #: answered instead, with a short body
    headers: Mapping[str, str] = field(default_factory=dict)  #: added to the answer
    body: bytes | None = None  #: sent instead
    content_type: str | None = None  #: sent instead
    redirect: str | None = None  #: a location to send the client to
    cut_after_bytes: int | None = None  #: of the body; then the connection breaks
    declared_length: int | None = None  #: sent as Content-Length, whatever the body has
    bytes_per_second: int | None = None
    ignores_range: bool = False
    range_shift: int = 0  #: added to the start of a part that is sent
    range_total: str | None = None  #: said of a part that is sent, instead of the size of the whole


@dataclass(slots=True)
class _Answer:
    status: int
    body: bytes
    content_type: str
    headers: dict[str, str]


class IndexServer:
    """The server, in a thread of this process. What it says is changed by setting attributes at any time."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = os.fspath(directory)
        self.counts: collections.Counter[str] = collections.Counter()  #: requests by path
        self.statuses: collections.Counter[tuple[str, int]] = collections.Counter()  #: answers by path and status
        self.requests: list[tuple[str, dict[str, str]]] = []  #: path and headers (lower case) of each, in order
        self.has_json = True
        self.has_hashes = True
        self.has_metadata = True
        self.has_ranges = True
        self.has_etags = True
        self.cache_control: str | None = None  #: of pages
        self.login: tuple[str, str] | None = None  #: user name and password asked for everywhere
        self.yanked: dict[str, str] = {}  #: by file name
        self.requires_python: dict[str, str] = {}  #: by file name, instead of what the metadata says
        self.wrong_hashes: set[str] = set()  #: file names
        self.heal_count = 0
        self._faults: dict[str, Fault] = {}
        self._lock = threading.Lock()
        self._hashes: dict[tuple[str, int, int], str] = {}
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        """The root, without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def index_url(self) -> str:
        """What to give as index URL."""
        return f"{self.url}/simple"

    def file_url(self, filename: str) -> str:
        """Give the URL of a file."""
        return f"{self.url}/files/{quote(filename)}"

    def fault(self, path: str, fault: Fault) -> None:
        """Misbehave on a path ("/simple/tiny/") from now on."""
        with self._lock:
            self._faults[path] = fault

    def heal(self) -> None:
        """Behave again; what is being sent slowly goes on at full speed."""
        with self._lock:
            self._faults.clear()
            self.heal_count += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop at once, breaking what is still being sent."""
        self._server.shutdown()
        self._server.break_connections()
        self._server.server_close()
        self._thread.join()

    def count(self, path: str, headers: dict[str, str]) -> Fault:
        """Note a request, and give what is wrong with its answer."""
        with self._lock:
            self.counts[path] += 1
            self.requests.append((path, headers))
            fault = self._faults.get(path)
            if fault is None:
                return Fault()
            if fault.times is not None:
                self._faults[path] = replace(fault, times=fault.times - 1)
                if fault.times <= 1:
                    del self._faults[path]
            return fault

    def answer(self, path: str, headers: Mapping[str, str]) -> _Answer:
        """Give what a good server answers."""
        if self.login and headers.get("authorization") != _basic(*self.login):
            return _Answer(401, b"who are you?", "text/plain", {"www-authenticate": 'Basic realm="index"'})
        if path == "/_counts":
            return _Answer(200, json.dumps(self.counts).encode(), "application/json", {})
        if path == "/links.html":
            return self._page(self._html(self._names(), "Links for everything"), "text/html")
        _, room, name, *rest = [*path.split("/"), "", ""]
        if room == "simple" and rest[:1] == [""]:
            return self._project_page(name, headers)
        return self._file(unquote(name)) if room == "files" else _Answer(404, b"nothing here", "text/plain", {})

    def _project_page(self, project: str, headers: Mapping[str, str]) -> _Answer:
        names = [name for name in self._names() if _project(name) == project]
        if not names:
            return _Answer(404, b"no such project", "text/plain", {})
        if self.has_json and _JSON in headers.get("accept", ""):
            return self._page(self._json(names, project), _JSON)
        return self._page(self._html(names, f"Links for {project}"), "text/html; charset=utf-8")

    def _page(self, text: str, content_type: str) -> _Answer:
        body = text.encode()
        headers = {"etag": f'"{hashlib.sha256(body).hexdigest()[:16]}"'} if self.has_etags else {}
        if self.cache_control:
            headers["cache-control"] = self.cache_control
        return _Answer(200, body, content_type, headers)

    def _file(self, name: str) -> _Answer:
        path = os.path.join(self.directory, name)
        if name.endswith(".metadata") and self.has_metadata:
            metadata = _metadata(path.removesuffix(".metadata"))
            if metadata is not None:
                return _Answer(200, metadata, "application/octet-stream", {})
        if not os.path.isfile(path):
            return _Answer(404, b"no such file", "text/plain", {})
        with open(path, "rb") as file:
            body = file.read()
        headers = {"etag": f'"{self._sha256(name)[:16]}"'} if self.has_etags else {}
        return _Answer(200, body, "application/octet-stream", headers)

    def _names(self) -> list[str]:
        return sorted(name for name in os.listdir(self.directory) if name.endswith(_SUFFIXES))

    def _sha256(self, name: str) -> str:
        path = os.path.join(self.directory, name)
        status = os.stat(path)
        key = (name, status.st_mtime_ns, status.st_size)
        if key not in self._hashes:
            with open(path, "rb") as file:
                self._hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._hashes[key]

    def _promised(self, name: str) -> str:
        return "0" * 64 if name in self.wrong_hashes else self._sha256(name)

    def _python(self, name: str) -> str | None:
        metadata = _metadata(os.path.join(self.directory, name))
        stated = email.parser.BytesHeaderParser().parsebytes(metadata).get("Requires-Python") if metadata else None
        return self.requires_python.get(name, stated)

    def _metadata_hash(self, name: str) -> str | None:
        metadata = _metadata(os.path.join(self.directory, name)) if self.has_metadata else None
        return hashlib.sha256(metadata).hexdigest() if metadata is not None else None

    def _json(self, names: list[str], project: str) -> str:
        files = []
        for name in names:
            entry: dict[str, object] = {
                "filename": name,
                "url": f"../../files/{quote(name)}",
                "hashes": {"sha256": self._promised(name)} if self.has_hashes else {},
                "size": os.path.getsize(os.path.join(self.directory, name)),
                "yanked": self.yanked.get(name, False),
            }
            if python := self._python(name):
                entry["requires-python"] = python
            if metadata := self._metadata_hash(name):
                entry["core-metadata"] = {"sha256": metadata}
            files.append(entry)
        return json.dumps({"meta": {"api-version": "1.1"}, "name": project, "files": files})

    def _html(self, names: list[str], title: str) -> str:
        return (
            f"<!DOCTYPE html><html><head><title>{title}</title></head><body>\n"
            + "".join(self._anchor(name) for name in names)
            + "</body></html>\n"
        )

    def _anchor(self, name: str) -> str:
        attributes = {"href": f"/files/{quote(name)}" + (f"#sha256={self._promised(name)}" if self.has_hashes else "")}
        if name in self.yanked:
            attributes["data-yanked"] = self.yanked[name]
        if python := self._python(name):
            attributes["data-requires-python"] = python
        if metadata := self._metadata_hash(name):
            attributes["data-core-metadata"] = f"sha256={metadata}"
        text = " ".join(f'{key}="{html.escape(value)}"' for key, value in attributes.items())
        return f"<a {text}>{name}</a><br>\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, index: IndexServer) -> None:
        self.index = index
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        if isinstance(request, socket.socket):
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        if isinstance(request, socket.socket):
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that break off are part of the tests."""

    def break_connections(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    _heal_count = 0  #: of the server, when the request came

    def do_GET(self) -> None:
        """Answer, with whatever fault is set for the path."""
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        index = self.server.index
        self._heal_count = index.heal_count
        fault = index.count(path, headers)
        answer = _conditional(_spoilt(index.answer(path, headers), fault), headers)
        has_range = index.has_ranges and not fault.ignores_range and fault.status is None
        if has_range and (part := _part(answer, headers, fault)):
            answer = part
        index.statuses[path, answer.status] += 1
        self._send(answer, fault)

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
        """Log nothing."""

    def _send(self, answer: _Answer, fault: Fault) -> None:
        self.send_response(answer.status)
        for name, value in {"content-type": answer.content_type, **answer.headers}.items():
            self.send_header(name, value)
        length = len(answer.body) if fault.declared_length is None else fault.declared_length
        if answer.status != 304:  # noqa: PLR2004 - Not Modified has no body
            self.send_header("content-length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        body = answer.body if fault.cut_after_bytes is None else answer.body[: fault.cut_after_bytes]
        self._write(body, fault.bytes_per_second)
        if len(body) != length:
            self.close_connection = True

    def _write(self, body: bytes, bytes_per_second: int | None) -> None:
        step = _PIECE_BYTES if bytes_per_second is None else max(1, bytes_per_second // 20)
        index = self.server.index
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            if bytes_per_second is not None and index.heal_count == self._heal_count:
                time.sleep(step / bytes_per_second)


def _spoilt(answer: _Answer, fault: Fault) -> _Answer:
    headers = {**answer.headers, **fault.headers}
    if fault.redirect is not None:
        return _Answer(fault.status or 302, b"", "text/plain", {**headers, "location": fault.redirect})
    if fault.status is not None:
        return _Answer(fault.status, fault.body or b"not now", fault.content_type or "text/plain", headers)
    body = answer.body if fault.body is None else fault.body
    return _Answer(answer.status, body, fault.content_type or answer.content_type, headers)


def _conditional(answer: _Answer, headers: Mapping[str, str]) -> _Answer:
    etag = answer.headers.get("etag")
    if answer.status == 200 and etag and etag == headers.get("if-none-match"):  # noqa: PLR2004 - OK
        return _Answer(304, b"", answer.content_type, answer.headers)
    return answer


def _part(answer: _Answer, headers: Mapping[str, str], fault: Fault) -> _Answer | None:
    match = _RANGE.fullmatch(headers.get("range", ""))
    condition = headers.get("if-range")
    if not match or answer.status != 200 or (condition and condition != answer.headers.get("etag")):  # noqa: PLR2004 - OK
        return None
    total = len(answer.body)
    start = (max(0, total - int(match[3])) if match[3] else int(match[1])) + fault.range_shift
    end = min(int(match[2]) if match[2] else total - 1, total - 1)
    if start > end:
        return _Answer(416, b"", answer.content_type, {"content-range": f"bytes */{total}"})
    headers = {**answer.headers, "content-range": f"bytes {start}-{end}/{fault.range_total or total}"}
    return _Answer(206, answer.body[start : end + 1], answer.content_type, dict(headers))


def _metadata(path: str) -> bytes | None:
    """Give what a wheel says of itself, or of an sdist what lies beside it in a file of its name and ".metadata"."""
    try:
        if not path.endswith(".whl"):
            with open(f"{path}.metadata", "rb") as file:
                return file.read()
        status = os.stat(path)
    except OSError:
        return None
    return _read_metadata(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=4096)
def _read_metadata(path: str, _mtime_ns: int, _size_bytes: int) -> bytes | None:
    try:
        with zipfile.ZipFile(path) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            return wheel.read(name)
    except (OSError, zipfile.BadZipFile, StopIteration):
        return None


def _project(filename: str) -> str:
    stem = filename.partition("-")[0] if filename.endswith(".whl") else filename.rpartition("-")[0]
    return re.sub(r"[-_.]+", "-", stem).lower()


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def main() -> None:
    """Serve the directory named on the command line until this process is ended."""
    with IndexServer(sys.argv[1]) as server:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
