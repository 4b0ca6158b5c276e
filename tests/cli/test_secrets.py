"""What a URL on the command line keeps secret is written nowhere and shown nowhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from aiocache_engine.testing.index_server import Fault, IndexServer

WHEEL = "tiny-1.0-py3-none-any.whl"
SECRET = "http://user:s3cr3t@127.0.0.1:9/alpha-1.0-py3-none-any.whl"


def test_a_wheel_from_a_signed_url_with_a_password_leaves_no_secret_on_disk(aioc, server: IndexServer) -> None:
    server.login = ("user", "s3cr3t")
    url = server.file_url(WHEEL)
    signed = url.replace("//", "//user:s3cr3t@") + "?sig=s3cr3t"
    ran = aioc("install", "--no-deps", "--json", "--target", "env", f"tiny @ {signed}")
    assert ran.code == 0, ran.err
    (told,) = (aioc.home / "env").glob("tiny-1.0.dist-info/direct_url.json")
    assert json.loads(told.read_text())["url"] == url
    assert "s3cr3t" not in ran.out + ran.err
    files = [path for path in Path(aioc.home).rglob("*") if path.is_file()]
    assert any(path.name == "METADATA" for path in files)
    assert [path for path in files if b"s3cr3t" in path.read_bytes()] == []


def test_what_the_query_of_an_index_or_of_a_file_holds_is_sent_and_not_kept(
    aioc, server: IndexServer, wheels: Path
) -> None:
    sha256 = hashlib.sha256((wheels / WHEEL).read_bytes()).hexdigest()
    page = f'<title>Links</title><a href="{server.file_url(WHEEL)}?sig=s3cr3t#sha256={sha256}">{WHEEL}</a>'
    server.fault("/links.html", Fault(body=page.encode(), content_type="text/html"))
    query = "?token=s3cr3t"
    for cache, requirement, *where in (
        ("one", "tiny", "--index-url", f"{server.index_url}/{query}"),
        ("two", "tiny==1.0", "--find-links", f"{server.url}/links.html{query}"),
        ("three", "--no-deps", "tiny==1.0", "--find-links", f"{server.url}/links.html{query}"),
    ):
        for _ in range(2):
            ran = aioc(
                "install", requirement, *where, "--target", f"to-{cache}", "--reinstall", "-v", "--cache-dir", cache
            )
            assert ran.code == 0, ran.err
            assert "s3cr3t" not in ran.out + ran.err
            files = [
                path for name in (cache, f"to-{cache}") for path in (aioc.home / name).rglob("*") if path.is_file()
            ]
            assert any(path.name == "page" for path in files)
            assert [path for path in files if b"s3cr3t" in path.read_bytes()] == []
        ran = aioc("install", requirement, *where, "--target", f"off-{cache}", "--offline", "--cache-dir", cache)
        assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("install", "--no-deps", "--offline", "--json", SECRET),
        ("install", "--no-deps", f"alpha @ {SECRET}", f"alpha @ {SECRET}#x"),
        ("clean", f"alpha @ {SECRET}"),
        ("ls", SECRET),
        ("fetch", "--no-deps", "tiny", "--index-url", "http://user:s3cr3t/x@127.0.0.1/simple"),
        ("fetch", "--no-deps", "tiny", "--index-url", "http://user:x/s3cr3t@127.0.0.1/simple"),
        ("fetch", "--no-deps", "-r", SECRET),
        ("fetch", f"--nonsense={SECRET}"),
        ("fetch", "--no-deps", "tiny", "--link-mode", SECRET),
        (SECRET,),
    ],
)
def test_a_command_that_fails_shows_no_secret(aioc, arguments: tuple[str, ...]) -> None:
    ran = aioc(*arguments, UV_HTTP_RETRIES="0")
    assert ran.code in {1, 2}
    assert "unexpected" not in ran.err
    assert "s3cr3t" not in ran.out + ran.err
