"""Where the user's cache dir is: what platformdirs says, also where it is not asked."""

from __future__ import annotations

import os
import sys

import platformdirs
import pytest

from aiocache_engine.config import locate_cache_dir

HOMES = {
    "a home": "/home/somebody",
    "the root": "/",
    "a trailing slash": "/h/",
    "odd": "/h//./x",
    "blank": "/with blank",
    "empty": "",
    "relative": "home",
    "none": None,
}
CACHES = {
    "a place": "/var/tmp/caches",
    "odd": "/c//x/",
    "empty": "",
    "relative": "caches",
    "tilde": "~/c",
    "blank": "  ",
    "none": None,
}


@pytest.mark.parametrize("home", HOMES.values(), ids=[f"HOME: {name}" for name in HOMES])
@pytest.mark.parametrize("cache", CACHES.values(), ids=[f"XDG_CACHE_HOME: {name}" for name in CACHES])
def test_the_cache_dir_is_where_platformdirs_says(
    monkeypatch: pytest.MonkeyPatch, home: str | None, cache: str | None
) -> None:
    for name, text in (("HOME", home), ("XDG_CACHE_HOME", cache)):
        monkeypatch.delenv(name, raising=False)
        if text is not None:
            monkeypatch.setenv(name, text)
    expected = platformdirs.user_cache_path("aioc", appauthor=False)
    assert locate_cache_dir(None, {}) == os.path.abspath(expected)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is always asked")
def test_plain_cases_of_linux_ask_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert locate_cache_dir(None, {}) == "/caches/aioc"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert locate_cache_dir(None, {}) == "/home/somebody/.cache/aioc"
