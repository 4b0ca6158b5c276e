"""The index client against a real server on loopback that misbehaves in every way we know."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from aiocache_engine.errors import (
    HashMismatchError,
    IndexResponseError,
    InvalidNameError,
    NetworkError,
    OfflineError,
    OutOfSpaceError,
    SourceError,
)
from aiocache_engine.index.client import IndexClient
from aiocache_engine.index.download import _Receiving, no_progress
from aiocache_engine.index.exchange import Limits
from aiocache_engine.index.local import read_local_page, usable_page
from aiocache_engine.index.settings import IndexOptions, discover_settings
from aiocache_engine.index.urls import direct_file
from aiocache_engine.model.index import Index, IndexFile, IndexSettings
from aiocache_engine.model.page import StoredPage, load_page
from aiocache_engine.model.value import replace
from aiocache_engine.testing.index_server import Fault, IndexServer
from aiocache_engine.testing.wheels import build_wheel

WHEEL = "tiny-1.0-py3-none-any.whl"
FILE = f"/files/{WHEEL}"
PAGE = "/simple/tiny/"
QUICK = Limits(first_pause_seconds=0.001, longest_pause_seconds=0.01)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("built")
    build_wheel(directory, "tiny", "1.0", files={"tiny.bin": os.urandom(3_000_000)}, requires_python=">=3.8")
    build_wheel(directory, "tiny", "2.0")
    build_wheel(directory, "other", "1.0")
    return directory


@pytest.fixture
def wheels(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "wheels"))


@pytest.fixture
def server(wheels: Path) -> Iterator[IndexServer]:
    with IndexServer(wheels) as server:
        yield server


def settings_for(monkeypatch: pytest.MonkeyPatch, **options: object) -> IndexSettings:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return discover_settings(IndexOptions(**options), {})  # type: ignore[arg-type]


@pytest.fixture
def settings(server: IndexServer, monkeypatch: pytest.MonkeyPatch) -> IndexSettings:
    return settings_for(monkeypatch, index_url=server.index_url)


@pytest.fixture
async def client(settings: IndexSettings) -> AsyncIterator[IndexClient]:
    async with IndexClient(settings, limits=QUICK) as client:
        yield client


@pytest.fixture
def index(settings: IndexSettings) -> Index:
    return settings.indexes[0]


async def tiny(client: IndexClient, index: Index) -> IndexFile:
    page = await client.page("tiny", index)
    assert page is not None
    return page.files_of("1")[0]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("has_json", [True, False])
async def test_a_page_tells_what_the_server_has(
    *,
    server: IndexServer,
    wheels: Path,
    client: IndexClient,
    index: Index,
    has_json: bool,
) -> None:
    server.has_json = has_json
    server.yanked[WHEEL] = "broken"

    page = await client.page("tiny", index)

    assert page is not None
    assert page.versions() == ["1", "2"]
    file = page.files_of("1")[0]
    assert (file.url, file.sha256) == (server.file_url(WHEEL), sha256(wheels / WHEEL))
    assert (file.requires_python, file.yanked) == (">=3.8", "broken")
    assert file.size_bytes == ((wheels / WHEEL).stat().st_size if has_json else None)


async def test_an_unknown_project_is_none(client: IndexClient, index: Index) -> None:
    assert await client.page("absent", index) is None


async def test_a_stored_page_is_confirmed_without_being_sent_again(
    server: IndexServer, wheels: Path, client: IndexClient, index: Index
) -> None:
    first = await client.page("tiny", index)
    assert first is not None
    stored = load_page(first.dump())

    assert await client.page("tiny", index, stored=stored) is stored
    assert server.statuses[PAGE, 304] == 1

    build_wheel(wheels, "tiny", "3.0")
    page = await client.page("tiny", index, stored=stored)
    assert page is not None
    assert page.versions() == ["1", "2", "3"]


async def test_a_page_from_a_server_without_validators_is_fetched_and_compared(
    server: IndexServer, wheels: Path, client: IndexClient, index: Index
) -> None:
    server.has_etags = False
    stored = await client.page("tiny", index)
    assert stored is not None

    assert await client.page("tiny", index, stored=stored) is stored
    build_wheel(wheels, "tiny", "3.0")
    page = await client.page("tiny", index, stored=stored)
    assert page is not None
    assert page.versions() == ["1", "2", "3"]
    assert server.statuses[PAGE, 200] == 3


async def test_offline_a_stored_page_serves_and_anything_else_is_named(
    server: IndexServer, settings: IndexSettings, client: IndexClient, index: Index, tmp_path: Path
) -> None:
    stored = await client.page("tiny", index)
    file = await tiny(client, index)
    asked = server.counts.total()
    async with IndexClient(settings, offline=True) as offline:
        assert await offline.page("tiny", index, stored=stored) is stored
        assert await offline.revalidate(file, etag='"x"', last_modified=None)
        with pytest.raises(OfflineError, match="the page of other"):
            await offline.page("other", index)
        with pytest.raises(OfflineError, match=WHEEL):
            await offline.download(file, str(tmp_path / "new"))
        with pytest.raises(OfflineError, match="metadata"):
            await offline.metadata(file)
    assert asked == server.counts.total()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(body=b"<html><title>Sign in</title><form></form></html>", content_type="text/html"),
        Fault(status=403),
        Fault(status=418),
        Fault(status=304),
        Fault(redirect="/simple/tiny/"),
        Fault(body=b"\x1f\x8bgarbage", headers={"content-encoding": "gzip"}),
    ],
)
async def test_what_is_no_page_is_an_error_and_not_a_page(
    server: IndexServer, client: IndexClient, index: Index, fault: Fault
) -> None:
    server.fault(PAGE, fault)

    with pytest.raises(IndexResponseError, match="/simple/tiny/"):
        await client.page("tiny", index)


async def test_a_busy_or_broken_server_is_asked_again(server: IndexServer, client: IndexClient, index: Index) -> None:
    for fault in (
        Fault(status=503, headers={"retry-after": "0"}, times=2),
        Fault(cut_after_bytes=20, times=2),
        Fault(declared_length=10**6, times=1),
    ):
        server.fault(PAGE, fault)
        assert await client.page("tiny", index)
    assert server.counts[PAGE] == 3 + 3 + 2


async def test_a_server_that_stays_busy_is_an_error_in_the_end(
    server: IndexServer, client: IndexClient, index: Index
) -> None:
    server.fault(PAGE, Fault(status=503))

    with pytest.raises(NetworkError, match="503"):
        await client.page("tiny", index)

    assert server.counts[PAGE] == 6


async def test_a_server_slower_than_the_minimum_counts_as_gone(server: IndexServer, settings: IndexSettings) -> None:
    server.fault(PAGE, Fault(bytes_per_second=400))
    limits = replace(QUICK, minimum_bytes_per_second=1e6, rate_window_seconds=0.2)
    async with IndexClient(replace(settings, retries=0), limits=limits) as client:
        with pytest.raises(NetworkError, match="bytes came in"):
            await client.page("tiny", settings.indexes[0])


async def test_a_page_that_takes_too_long_in_all_is_given_up(server: IndexServer, settings: IndexSettings) -> None:
    server.fault(PAGE, Fault(bytes_per_second=400))
    async with IndexClient(settings, limits=replace(QUICK, page_seconds=0.2)) as client:
        with pytest.raises(NetworkError, match="not done after"):
            await client.page("tiny", settings.indexes[0])


async def test_nobody_listening_is_a_network_error_with_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(monkeypatch, index_url="http://me:hunter2@127.0.0.1:1/simple")
    async with IndexClient(settings, limits=QUICK) as client:
        with pytest.raises(NetworkError, match=r"127\.0\.0\.1:1") as caught:
            await client.page("tiny", settings.indexes[0])
    assert "hunter2" not in str(caught.value)


async def test_a_login_in_the_url_opens_page_and_file(
    server: IndexServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.login = ("me", "p@ss:word")
    settings = settings_for(monkeypatch, index_url=server.index_url.replace("//", "//me:p%40ss%3Aword@"))
    async with IndexClient(settings, limits=QUICK) as client:
        file = await tiny(client, settings.indexes[0])
        await client.download(file, str(tmp_path / "new"))
    assert "p@ss" not in file.url + settings.indexes[0].url


async def test_metadata_is_served_beside_the_wheel_and_checked(
    server: IndexServer, client: IndexClient, index: Index
) -> None:
    file = await tiny(client, index)

    content = await client.metadata(file)

    assert content is not None
    assert b"Name: tiny" in content
    assert await client.metadata(replace(file, metadata_sha256=None)) is None
    server.fault(FILE + ".metadata", Fault(body=b"Name: evil\n"))
    with pytest.raises(HashMismatchError):
        await client.metadata(file)


async def test_a_download_arrives_whole_with_progress(
    wheels: Path, client: IndexClient, index: Index, tmp_path: Path
) -> None:
    seen: list[tuple[int, int | None]] = []
    file = await tiny(client, index)

    got = await client.download(file, str(tmp_path / "new"), progress=lambda *step: seen.append(step))

    size = (wheels / WHEEL).stat().st_size
    assert (got.sha256, got.size_bytes) == (sha256(wheels / WHEEL), size)
    assert (tmp_path / "new").read_bytes() == (wheels / WHEEL).read_bytes()
    assert len(seen) == 3
    assert seen[-1] == (size, size)


@pytest.mark.parametrize("has_hashes", [True, False])
async def test_a_connection_broken_in_the_middle_is_resumed(
    *,
    server: IndexServer,
    wheels: Path,
    client: IndexClient,
    index: Index,
    tmp_path: Path,
    has_hashes: bool,
) -> None:
    server.has_hashes = has_hashes
    file = await tiny(client, index)
    server.fault(FILE, Fault(cut_after_bytes=1_300_000, times=1))

    got = await client.download(file, str(tmp_path / "new"))

    assert got.sha256 == sha256(wheels / WHEEL)
    assert server.statuses[FILE, 206] == 1
    ranges = [headers["range"] for path, headers in server.requests if path == FILE and "range" in headers]
    assert ranges == ["bytes=1300000-"]


async def test_a_connection_that_breaks_every_time_is_followed_as_long_as_it_leads_on(
    server: IndexServer, wheels: Path, settings: IndexSettings, index: Index, tmp_path: Path
) -> None:
    server.fault(FILE, Fault(cut_after_bytes=1_100_000))
    async with IndexClient(replace(settings, retries=1), limits=QUICK) as client:
        got = await client.download(await tiny(client, index), str(tmp_path / "new"))

    assert got.sha256 == sha256(wheels / WHEEL)


async def test_a_server_that_announces_more_than_it_has_is_given_up(
    server: IndexServer, client: IndexClient, index: Index, tmp_path: Path
) -> None:
    file = replace(await tiny(client, index), size_bytes=None)
    server.fault(FILE, Fault(declared_length=10**8, ignores_range=True))

    with pytest.raises(NetworkError, match=WHEEL):
        await client.download(file, str(tmp_path / "new"))

    assert server.counts[FILE] == 6


@pytest.mark.parametrize(
    ("ignores_range", "range_shift", "request_count"),
    [(True, 0, 2), (False, 7, 3), (False, 10**9, 3)],
    ids=["range ignored", "another part", "range not satisfiable"],
)
async def test_a_server_that_cannot_resume_sends_the_file_again(
    *,
    server: IndexServer,
    wheels: Path,
    client: IndexClient,
    index: Index,
    tmp_path: Path,
    ignores_range: bool,
    range_shift: int,
    request_count: int,
) -> None:
    file = await tiny(client, index)

    def broken_once_then(fault: Fault) -> Iterator[Fault]:
        yield Fault(cut_after_bytes=1_300_000, times=1)
        yield fault

    faults = broken_once_then(Fault(ignores_range=ignores_range, range_shift=range_shift, times=1))
    count = server.count
    server.count = lambda path, headers: next(faults, Fault()) if count(path, headers) and path == FILE else Fault()  # type: ignore[method-assign]

    got = await client.download(file, str(tmp_path / "new"))

    assert got.sha256 == sha256(wheels / WHEEL) == sha256(tmp_path / "new")
    assert server.counts[FILE] == request_count


async def test_a_file_that_changed_between_two_pieces_is_fetched_in_one(
    server: IndexServer, wheels: Path, client: IndexClient, index: Index, tmp_path: Path
) -> None:
    server.has_etags = False  # nothing tells the pieces apart but the hash at the end
    file = await tiny(client, index)
    whole = (wheels / WHEEL).read_bytes()
    faults = iter([Fault(body=b"x" * len(whole), cut_after_bytes=1_300_000), Fault()])
    count = server.count
    server.count = lambda path, headers: next(faults, Fault()) if count(path, headers) and path == FILE else Fault()  # type: ignore[method-assign]

    got = await client.download(file, str(tmp_path / "new"))

    assert got.sha256 == file.sha256 == sha256(tmp_path / "new")
    assert server.counts[FILE] == 3


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault(body=b"<html>", content_type="text/html"), IndexResponseError, "web page"),
        (Fault(status=404), IndexResponseError, "no such file"),
        (Fault(status=206), IndexResponseError, "206"),
        (Fault(cut_after_bytes=0), NetworkError, WHEEL),
        (Fault(declared_length=10**8), IndexResponseError, "promises"),
        (Fault(body=b"short"), IndexResponseError, "promises"),
        (Fault(redirect="https://127.0.0.1:1/x"), NetworkError, "cannot be reached"),
    ],
)
async def test_a_download_that_fails_says_why_and_leaves_nothing(
    *,
    server: IndexServer,
    client: IndexClient,
    index: Index,
    tmp_path: Path,
    fault: Fault,
    error: type[SourceError],
    words: str,
) -> None:
    file = await tiny(client, index)
    server.fault(FILE, fault)

    with pytest.raises(error, match=words):
        await client.download(file, str(tmp_path / "new"))

    assert not (tmp_path / "new").exists()


async def test_other_bytes_than_promised_are_refused(
    server: IndexServer, client: IndexClient, index: Index, tmp_path: Path
) -> None:
    server.wrong_hashes.add(WHEEL)

    with pytest.raises(HashMismatchError, match=WHEEL):
        await client.download(await tiny(client, index), str(tmp_path / "new"))

    assert not (tmp_path / "new").exists()


async def test_a_file_that_is_already_there_is_not_touched(client: IndexClient, index: Index, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("mine")
    file = await tiny(client, index)

    with pytest.raises(Exception, match="exists"):
        await client.download(file, str(tmp_path / "new"))

    assert (tmp_path / "new").read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists() or os.geteuid() != 0, reason="nobody can make a /dev/full here")
async def test_a_full_disk_is_named(client: IndexClient, index: Index, tmp_path: Path) -> None:
    file = await tiny(client, index)
    os.mknod(tmp_path / "new", stat.S_IFCHR | 0o600, os.stat("/dev/full").st_rdev)
    receiving = _Receiving(file, str(tmp_path / "new"), no_progress)
    receiving._is_made = True  # the stream is then opened for appending, which /dev/full allows

    async def one() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000

    with pytest.raises(OutOfSpaceError):
        await receiving.write(one())


async def test_a_cancelled_download_leaves_nothing(
    server: IndexServer, client: IndexClient, index: Index, tmp_path: Path
) -> None:
    file = await tiny(client, index)
    server.fault(FILE, Fault(bytes_per_second=20_000_000))
    for _ in range(5):
        with anyio.CancelScope() as scope:
            await client.download(file, str(tmp_path / "new"), progress=lambda *_, scope=scope: scope.cancel())
        assert scope.cancelled_caught
        assert not (tmp_path / "new").exists()


async def test_a_file_without_a_hash_is_asked_for_by_its_validators(
    server: IndexServer, wheels: Path, client: IndexClient, index: Index, tmp_path: Path
) -> None:
    server.has_hashes = False
    file = await tiny(client, index)
    got = await client.download(file, str(tmp_path / "new"))

    assert await client.revalidate(file, etag=got.etag, last_modified=got.last_modified)
    assert not await client.revalidate(file, etag=None, last_modified=None)
    (wheels / WHEEL).write_bytes(b"another")
    assert not await client.revalidate(file, etag=got.etag, last_modified=got.last_modified)
    (wheels / WHEEL).unlink()
    assert not await client.revalidate(file, etag=got.etag, last_modified=got.last_modified)


async def test_a_find_links_page_is_fetched_once_for_all_projects(
    server: IndexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(monkeypatch, find_links=(server.url + "/links.html",), index_url=server.index_url)
    links = settings.indexes[0]
    pages: dict[str, StoredPage | None] = {}

    async with IndexClient(settings, limits=QUICK) as client:

        async def ask(project: str) -> None:
            pages[project] = await client.page(project, links)

        async with anyio.create_task_group() as tasks:
            for project in ("tiny", "other", "absent"):
                tasks.start_soon(ask, project)

    assert {name: page and page.versions() for name, page in pages.items()} == {
        "tiny": ["1", "2"],
        "other": ["1"],
        "absent": None,
    }
    assert server.counts["/links.html"] == 1


async def test_a_directory_of_wheels_is_an_index_that_notices_changes(
    wheels: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = settings_for(monkeypatch, find_links=(str(wheels),))
    directory = settings.indexes[0]
    async with IndexClient(settings, offline=True) as client:
        page = await client.page("tiny", directory)
        assert page is not None
        assert await client.page("tiny", directory, stored=page) is page
        assert await client.page("absent", directory) is None
        file = page.files_of("1")[0]
        got = await client.download(file, str(tmp_path / "new"))
        assert got.sha256 == sha256(wheels / WHEEL)
        assert await client.revalidate(file, etag=got.etag, last_modified=None)

        (wheels / WHEEL).write_bytes(b"another")
        assert not await client.revalidate(file, etag=got.etag, last_modified=None)
        build_wheel(wheels, "tiny", "3.0")
        later = await client.page("tiny", directory, stored=page)
        assert later is not None
        assert later.versions() == ["1", "2", "3"]


async def test_a_file_index_is_read_by_plain_functions(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = wheels.parent / "my index"
    (root / "tiny").mkdir(parents=True)
    (root / "tiny" / "index.html").write_text(
        f'<a href="../../wheels/{WHEEL}#sha256={sha256(wheels / WHEEL)}">{WHEEL}</a>'
    )
    settings = settings_for(monkeypatch, index_url=str(root))

    page = read_local_page("tiny", settings.indexes[0], stored=None, now=1.0)

    assert page is not None
    assert page.files_of("1")[0].url == f"file://{wheels}/{WHEEL}"
    assert read_local_page("tiny", settings.indexes[0], stored=page, now=2.0) is page
    assert read_local_page("other", settings.indexes[0], stored=None, now=2.0) is None
    assert not usable_page(page, now=1.0, offline=True, refresh=False)


async def test_a_place_that_does_not_exist_is_skipped_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = settings_for(monkeypatch, find_links=(str(tmp_path / "gone"),))
    warnings: list[str] = []
    async with IndexClient(settings, warn=warnings.append) as client:
        assert await client.page("tiny", settings.indexes[0]) is None
        assert await client.page("other", settings.indexes[0]) is None

    assert warnings == [f"{tmp_path}/gone does not exist and is skipped"]


async def test_a_direct_url_is_downloaded_and_its_fragment_checked(
    server: IndexServer, wheels: Path, client: IndexClient, tmp_path: Path
) -> None:
    server.login = ("me", "s3cret")
    url = server.file_url(WHEEL).replace("//", "//me:s3cret@")
    _, file, secret = direct_file(f"{url}#sha256={sha256(wheels / WHEEL)}")
    client.credentials.remember(secret)

    await client.download(file, str(tmp_path / "new"))

    assert "s3cret" not in file.url
    _, wrong, _ = direct_file(f"{url}#sha256={'0' * 64}")
    with pytest.raises(HashMismatchError):
        await client.download(wrong, str(tmp_path / "again"))


async def test_a_direct_path_is_copied(wheels: Path, client: IndexClient, tmp_path: Path) -> None:
    _, file, _ = direct_file(str(wheels / WHEEL))

    got = await client.download(file, str(tmp_path / "new"))

    assert got.sha256 == sha256(wheels / WHEEL) == sha256(tmp_path / "new")
    _, absent, _ = direct_file(str(wheels / "gone-1.0-py3-none-any.whl"))
    with pytest.raises(IndexResponseError, match="does not exist"):
        await client.download(absent, str(tmp_path / "other"))


@pytest.mark.parametrize(
    "url", ["https://h.test/", "https://h.test/..%2Fx.whl", "ftp://h.test/x.whl", "https:///x.whl"]
)
def test_a_direct_url_without_a_safe_file_name_is_refused(url: str) -> None:
    with pytest.raises(InvalidNameError):
        direct_file(url)


async def test_sixteen_downloads_at_once_share_the_client(
    server: IndexServer, wheels: Path, client: IndexClient, index: Index, tmp_path: Path
) -> None:
    file = await tiny(client, index)
    async with anyio.create_task_group() as tasks:
        for number in range(16):
            tasks.start_soon(client.download, file, str(tmp_path / str(number)))

    assert {sha256(tmp_path / str(number)) for number in range(16)} == {sha256(wheels / WHEEL)}
    assert server.counts[FILE] == 16


def test_the_server_runs_as_a_program_and_counts_for_others(wheels: Path) -> None:
    arguments = [sys.executable, "-m", "aiocache_engine.testing.index_server", str(wheels)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(url + FILE) as answer:
                assert len(answer.read()) == (wheels / WHEEL).stat().st_size
            with urllib.request.urlopen(url + "/_counts") as answer:
                assert json.load(answer) == {FILE: 1, "/_counts": 1}
        finally:
            process.terminate()


def test_asking_for_usability_and_local_pages_imports_no_http_library() -> None:
    program = (
        "import sys, aiocache_engine.index.local, aiocache_engine.model.page;"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    names = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

    assert not any(f"'{name}'" in names for name in ("anyio", "asyncio", "httpx2", "hishel", "msgspec", "packaging"))
