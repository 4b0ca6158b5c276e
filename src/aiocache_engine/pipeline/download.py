"""Download the file of a choice, with progress for those who wait, and held against the hashes that were asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiocache_engine.errors import HashMismatchError, OfflineError
from aiocache_engine.hints import TYPE_CHECKING
from aiocache_engine.index.urls import direct_file
from aiocache_engine.pipeline.find import Choice
from aiocache_engine.report import Reporter
from aiocache_engine.system.keylock import KeyHold

if TYPE_CHECKING:
    from aiocache_engine.index.client import IndexClient
    from aiocache_engine.index.download import Downloaded


async def download(
    choice: Choice,
    into: str,
    *,
    client: Callable[[], Awaitable[IndexClient]],
    reporter: Reporter,
    key_hold: KeyHold,
) -> Downloaded:
    """Download into a file that is not there yet; `key_hold` is that of the file's key lock.

    Raises:
        OfflineError, NetworkError, IndexResponseError: it could not be had.
        HashMismatchError: it is not what its page, or the requirement, promises.
        DiskError: the disk refused.
    """
    file = choice.file

    def progress(received_bytes: int, _total_bytes: int | None) -> None:
        key_hold.progress()
        reporter.download_advanced(file.filename, received_bytes)

    connected = await client()
    if choice.wanted.url is not None:
        connected.credentials.remember(direct_file(choice.wanted.url)[2])
    reporter.download_started(file.filename, file.size_bytes)
    try:
        downloaded = await connected.download(file, into, progress=progress)
    except OfflineError as error:
        raise OfflineError(f"{choice.wanted.text} ({file.filename})") from error
    finally:
        reporter.download_finished(file.filename)
    pinned = choice.wanted.sha256s
    if pinned and downloaded.sha256 not in pinned:
        raise HashMismatchError(file.filename, expected=" or ".join(sorted(pinned)), actual=downloaded.sha256)
    return downloaded
