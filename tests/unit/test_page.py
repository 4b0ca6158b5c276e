from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocache_engine.model.index import IndexFile
from aiocache_engine.model.page import PageError, StoredPage, encode_lines, load_page
from aiocache_engine.model.value import replace

_text = st.text(max_size=20)
_urls = st.text(st.characters(codec="utf-8", exclude_characters="?"), max_size=20)
_files = st.builds(
    IndexFile,
    filename=_text,
    url=_urls,
    sha256=st.none() | _text,
    size_bytes=st.none() | st.integers(0, 10**12),
    requires_python=st.none() | _text,
    yanked=st.none() | _text,
    metadata_sha256=st.none() | _text,
)
_versions = st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}(rc1)?(\+local)?", fullmatch=True)


def page_of(files: dict[str, list[IndexFile]]) -> StoredPage:
    return StoredPage(
        project="tiny",
        index_digest="0" * 32,
        url="http://127.0.0.1/simple/tiny/",
        validated_at=100.0,
        fresh_until=700.0,
        headers={"etag": '"a"'},
        is_storable=True,
        lines=encode_lines(files),
    )


@given(st.dictionaries(_versions, st.lists(_files, min_size=1, max_size=3), max_size=6))
def test_a_page_comes_back_as_it_was_written(files: dict[str, list[IndexFile]]) -> None:
    page = load_page(page_of(files).dump())

    assert page_of(files) == page
    assert list(files) == page.versions()
    assert [(version, file) for version, group in files.items() for file in group] == list(page.all_files())
    assert all(group == page.files_of(version) for version, group in files.items())


def test_a_version_is_not_mistaken_for_one_that_ends_or_begins_alike() -> None:
    file = IndexFile("tiny-11.2-py3-none-any.whl", "u", None, None, None, None, None)
    page = page_of({"11.2": [file], "1.2.3": [file]})

    assert page.files_of("1.2") == []
    assert page.files_of("2") == []
    assert page.files_of("11.2") == [file]


def test_a_page_whose_files_have_queries_in_their_urls_is_kept_without_them_and_believed_no_longer() -> None:
    signed = IndexFile("tiny-1-py3-none-any.whl", "http://127.0.0.1/tiny.whl?sig=s3cr3t", "ab", 3, "?", "", None)
    plain = IndexFile("tiny-2-py3-none-any.whl", "http://127.0.0.1/tiny2.whl", None, None, None, None, None)
    content = page_of({"1": [signed], "2": [plain]}).dump()

    assert b"s3cr3t" not in content
    page = load_page(content)
    assert (page.fresh_until, page.headers) == (0.0, {})
    assert [file for _, file in page.all_files()] == [replace(signed, url="http://127.0.0.1/tiny.whl"), plain]


@given(st.data())
def test_one_flipped_byte_anywhere_is_found(data: st.DataObject) -> None:
    content = bytearray(page_of({"1": [IndexFile("tiny-1-py3-none-any.whl", "u", None, 3, None, "", None)]}).dump())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(PageError):
        load_page(bytes(content))


@pytest.mark.parametrize("content", [b"", b"\n", b"abc", b"0" * 64 + b"\n{}"])
def test_what_is_no_page_is_refused(content: bytes) -> None:
    with pytest.raises(PageError):
        load_page(content)
