"""Brings one file here, whole and checked, or not at all.

The body goes to disk in pieces of 1 MiB and through SHA-256 on the way. A connection that breaks in the middle is
resumed with a range request where that is safe: the server confirms by validator that the file is still the same one,
or a promised hash will tell. Wheels bypass the HTTP cache: what is kept of them is decided by their hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import anyio

from aiocache_engine.errors import HashMismatchError, IndexResponseError, NetworkError
from aiocache_engine.hints import BinaryIO
from aiocache_engine.index.exchange import Exchange, Limits
from aiocache_engine.index.local import is_local, local_path, local_validator
from aiocache_engine.index.transport import Answer
from aiocache_engine.index.urls import shown
from aiocache_engine.model.index import IndexFile
from aiocache_engine.model.value import value
from aiocache_engine.system import disk
from aiocache_engine.system.descent import remove_file

_PIECE_BYTES = 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)", re.ASCII)
_OK, _PARTIAL, _NOT_MODIFIED, _BAD_RANGE = 200, 206, 304, 416
_UNKNOWN = frozenset({404, 410})

Progress = Callable[[int, int | None], None]  #: bytes received so far, bytes in all where known; from the event loop


def no_progress(_received_bytes: int, _total_bytes: int | None) -> None:
    """Tell nobody."""


@value
class Downloaded:
    """A file that arrived."""

    sha256: str  #: of what was written, hexadecimal
    size_bytes: int
    etag: str | None  #: validators, for files whose page gives no hash
    last_modified: str | None


class _Receiving:
    """A file on its way, over as many connections as it takes."""

    def __init__(self, file: IndexFile, into: str, progress: Progress) -> None:
        self.file = file
        self.into = into
        self.received = 0  #: bytes written and hashed
        self.total: int | None = file.size_bytes
        self.etag: str | None = None
        self.last_modified: str | None = None
        self.was_resumed = False
        self._hash = hashlib.sha256()
        self._progress = progress
        self._is_made = False

    def begin_again(self) -> None:
        """Forget what has come."""
        self.discard()
        self.received = 0
        self.total = self.file.size_bytes
        self.was_resumed = False
        self._hash = hashlib.sha256()

    def discard(self) -> None:
        """Remove the file, if it is ours."""
        if self._is_made:
            remove_file(self.into)
        self._is_made = False

    def conditions(self) -> dict[str, str]:
        """Give the headers that ask for the rest; none if everything must come again."""
        validator = self.last_modified if self.etag is None or self.etag.startswith("W/") else self.etag
        if not self.received or not (validator or self.file.sha256):
            return {}
        return {"range": f"bytes={self.received}-", **({"if-range": validator} if validator else {})}

    async def write(self, chunks: AsyncIterator[bytes]) -> None:
        """Append what comes; what came before a broken connection is kept for the next one."""
        async with disk.open_stream(self.into, append=self._is_made) as stream:
            self._is_made = True
            piece = bytearray()
            try:
                async for chunk in chunks:
                    piece += chunk
                    if self.total is not None and self.received + len(piece) > self.total:
                        raise IndexResponseError(shown(self.file.url), f"more than {self.total} bytes came")
                    if len(piece) >= _PIECE_BYTES:
                        await self._append(stream, piece)
            except NetworkError:
                await self._append(stream, piece)
                raise
            await self._append(stream, piece)

    def result(self) -> Downloaded:
        """Check size and hash, and give what arrived."""
        if self.total is not None and self.received != self.total:
            raise IndexResponseError(shown(self.file.url), f"{self.received} bytes came instead of {self.total}")
        actual = self._hash.hexdigest()
        if self.file.sha256 and self.file.sha256 != actual:
            raise HashMismatchError(self.file.filename, expected=self.file.sha256, actual=actual)
        return Downloaded(actual, self.received, self.etag, self.last_modified)

    async def _append(self, stream: disk.ByteStream, piece: bytearray) -> None:
        if not piece:
            return
        content = bytes(piece)
        piece.clear()
        await stream.write(content)
        self._hash.update(content)
        self.received += len(content)
        self._progress(self.received, self.total)


class Downloader:
    """Downloads by the rules of an `Exchange`."""

    def __init__(self, exchange: Exchange, limits: Limits) -> None:
        self._exchange = exchange
        self._limits = limits

    async def fetch(self, file: IndexFile, into: str, progress: Progress) -> Downloaded:
        """Bring a file to the path `into`, where none is yet; what fails leaves none there."""
        receiving = _Receiving(file, into, progress)
        bring = self._copy if is_local(file.url) else self._receive
        try:
            await bring(receiving)
            try:
                return receiving.result()
            except HashMismatchError:
                if not receiving.was_resumed:
                    raise
            # The pieces may be of two different files: one try with a file in one piece.
            receiving.begin_again()
            await bring(receiving)
            return receiving.result()
        except BaseException:
            receiving.discard()
            raise

    async def is_unchanged(self, file: IndexFile, *, etag: str | None, last_modified: str | None) -> bool:
        """Ask whether a file still has these validators."""
        conditions = {"if-none-match": etag} if etag else {"if-modified-since": last_modified or ""}

        async def ask() -> bool:
            headers = {"accept-encoding": "identity", **conditions}
            async with self._exchange.open(file.url, headers=headers) as (_, answer):
                if answer.status == _OK:
                    # A server that knows no conditions sends the file again; its validators tell as well.
                    same_etag = etag is not None and answer.headers.get("etag") == etag
                    return same_etag or (not etag and answer.headers.get("last-modified") == last_modified)
                return answer.status == _NOT_MODIFIED

        return await self._exchange.retrying(file.url, self._limits.page_seconds, ask)

    async def _receive(self, receiving: _Receiving) -> None:
        url = receiving.file.url
        failures = furthest = 0
        try:
            with anyio.fail_after(self._limits.file_seconds):
                while True:
                    try:
                        return await self._receive_more(receiving)
                    except NetworkError as error:
                        # A peer that keeps breaking off may go on for as long as it brings us further than ever.
                        failures = 1 if receiving.received - furthest >= _PIECE_BYTES else failures + 1
                        furthest = max(furthest, receiving.received)
                        if failures > self._exchange.retries_after(error):
                            raise
                        await self._exchange.pause(failures, error)
        except TimeoutError as error:
            raise NetworkError(shown(url), f"not done after {self._limits.file_seconds:g} s") from error

    async def _receive_more(self, receiving: _Receiving) -> None:
        """Receive the file, or its rest, over one connection."""
        url = receiving.file.url
        conditions = receiving.conditions()
        if not conditions:
            receiving.begin_again()
        async with self._exchange.open(url, headers={"accept-encoding": "identity", **conditions}) as (_, answer):
            if answer.status == _PARTIAL and conditions:
                _check_range(receiving, answer)
                receiving.was_resumed = True
            else:
                receiving.begin_again()
                _check_head(receiving, answer)
                receiving.etag = answer.headers.get("etag")
                receiving.last_modified = answer.headers.get("last-modified")
            async with aclosing(self._exchange.paced(answer, url)) as chunks:
                await receiving.write(chunks)
        if receiving.total is not None and receiving.received < receiving.total:
            raise NetworkError(
                shown(url), f"the connection ended after {receiving.received} of {receiving.total} bytes"
            )

    async def _copy(self, receiving: _Receiving) -> None:
        """Copy a file of this machine, checked like any other."""
        path = local_path(receiving.file.url)
        receiving.etag = local_validator(receiving.file)
        if receiving.etag is None:
            raise IndexResponseError(path, "it does not exist")
        with disk.translated(path):
            source = await anyio.to_thread.run_sync(lambda: open(path, "rb"))  # noqa: SIM115 - closed below
            try:
                await receiving.write(_pieces(source))
            finally:
                source.close()


async def _pieces(source: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await anyio.to_thread.run_sync(source.read, _PIECE_BYTES):
        yield piece


def _check_head(receiving: _Receiving, answer: Answer) -> None:
    """Refuse what is not the file, before anything is written."""
    url = shown(receiving.file.url)
    if answer.status in _UNKNOWN:
        raise IndexResponseError(url, f"there is no such file ({answer.status})")
    if answer.status == _BAD_RANGE:
        raise NetworkError(url, "the server cannot continue the file")
    if answer.status != _OK:
        raise IndexResponseError(url, f"the server answers {answer.status}")
    if answer.headers.get("content-type", "").lower().startswith(("text/html", "application/xhtml")):
        raise IndexResponseError(url, "a web page came instead of the file; is a login needed there?")
    length = answer.headers.get("content-length", "")
    if not length.isdecimal():
        return
    if receiving.file.size_bytes is not None and receiving.file.size_bytes != int(length):
        raise IndexResponseError(url, f"it has {length} bytes, its page promises {receiving.file.size_bytes}")
    receiving.total = int(length)


def _check_range(receiving: _Receiving, answer: Answer) -> None:
    """Refuse a part that does not continue what has come (RFC 9110, 14.4)."""
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", "").strip())
    fits = match is not None and int(match[1]) == receiving.received
    if match and match[2] != "*" and receiving.total is not None:
        fits = fits and int(match[2]) == receiving.total
    if not fits:
        receiving.begin_again()
        raise NetworkError(shown(receiving.file.url), "the server sends another part of the file than was asked for")
