from __future__ import annotations

import pytest

from aiocache_engine.index.freshness import Confirmed, PageRequest, Replaced, fresh_until
from aiocache_engine.index.local import usable_page
from aiocache_engine.model.page import StoredPage

URL = "https://index.test/simple/tiny/"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"cache-control": "max-age=600, public"}, 1600.0),
        ({"cache-control": "max-age=600", "age": "200"}, 1400.0),
        ({"cache-control": "max-age=600", "age": "700"}, 0.0),
        ({"cache-control": "max-age=31536000"}, 87_400.0),
        ({"cache-control": "max-age=600, no-cache"}, 0.0),
        ({"cache-control": "no-store"}, 0.0),
        ({"date": "Thu, 01 Jan 2026 00:00:00 GMT", "expires": "Thu, 01 Jan 2026 00:01:00 GMT"}, 1060.0),
        ({"expires": "0"}, 0.0),
        ({"last-modified": "Thu, 01 Jan 2015 00:00:00 GMT"}, 0.0),
        ({"last-modified": "Thu, 01 Jan 2015 00:00:00 GMT", "cache-control": "max-age=soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_only_explicit_freshness_counts(headers: dict[str, str], expected: float) -> None:
    assert expected == fresh_until(URL, headers, now=1000.0)


def test_a_page_from_loopback_is_never_fresh() -> None:
    assert fresh_until("http://127.0.0.1:8080/simple/tiny/", {"cache-control": "max-age=600"}, now=1000.0) == 0.0


def test_a_stored_page_is_asked_for_with_its_validators() -> None:
    request = PageRequest(URL, {"accept": "x"}, {"etag": '"a"', "last-modified": "then", "cache-control": "max-age=1"})

    assert request.headers() == {"accept": "x", "if-none-match": '"a"', "if-modified-since": "then"}


def test_a_304_for_the_stored_page_confirms_it_with_new_headers() -> None:
    request = PageRequest(URL, {}, {"etag": '"a"', "cache-control": "max-age=1"})

    outcome = request.judge(304, {"etag": '"a"', "cache-control": "max-age=9"})

    assert outcome == Confirmed({"etag": '"a"', "cache-control": "max-age=9"})


def test_a_304_for_another_page_confirms_nothing() -> None:
    assert PageRequest(URL, {}, {"etag": '"a"'}).judge(304, {"etag": '"b"'}) is None


@pytest.mark.parametrize(("cache_control", "is_storable"), [("no-store", False), ("private, max-age=1", True)])
def test_a_page_that_must_not_be_stored_says_so(*, cache_control: str, is_storable: bool) -> None:
    outcome = PageRequest(URL, {}, None).judge(200, {"Cache-Control": cache_control, "Set-Cookie": "secret"})

    assert outcome == Replaced({"cache-control": cache_control}, is_storable=is_storable)


@pytest.mark.parametrize(
    ("now", "offline", "refresh", "expected"),
    [
        (150.0, False, False, True),
        (150.0, False, True, False),
        (250.0, False, False, False),
        (50.0, False, False, False),
        (250.0, True, True, True),
    ],
)
def test_a_stored_page_is_used_while_it_is_fresh_or_offline(
    *,
    now: float,
    offline: bool,
    refresh: bool,
    expected: bool,
) -> None:
    page = StoredPage("tiny", "0" * 32, URL, 100.0, 200.0, {}, is_storable=True, lines=b"")

    assert expected is usable_page(page, now=now, offline=offline, refresh=refresh)
