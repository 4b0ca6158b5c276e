from __future__ import annotations

import json
import subprocess
import sys

import pytest

from aiocache_engine.errors import IndexResponseError
from aiocache_engine.index.page_parser import by_version, parse_page
from aiocache_engine.model.index import IndexFile

URL = "https://index.test/simple/tiny/"
JSON = "application/vnd.pypi.simple.v1+json"
SHA = "ab" * 32


def html(body: str, head: str = "<title>Links for tiny</title>") -> list[IndexFile]:
    text = f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>"
    return parse_page(text.encode(), content_type="text/html; charset=utf-8", url=URL)


def json_page(*files: object, **more: object) -> list[IndexFile]:
    page = {"meta": {"api-version": "1.1"}, "name": "tiny", "files": files, **more}
    return parse_page(json.dumps(page).encode(), content_type=JSON, url=URL)


def test_both_forms_of_a_page_say_the_same() -> None:
    expected = IndexFile(
        filename="tiny-1.0-py3-none-any.whl",
        url="https://index.test/files/tiny-1.0-py3-none-any.whl",
        sha256=SHA,
        size_bytes=None,
        requires_python=">=3.9",
        yanked="bad",
        metadata_sha256=SHA,
    )

    assert [expected] == html(
        f'<a href="../../files/tiny-1.0-py3-none-any.whl#sha256={SHA}" data-yanked="bad"'
        f' data-requires-python="&gt;=3.9" data-core-metadata="sha256={SHA}">tiny</a>'
    )
    assert [expected] == json_page(
        {
            "filename": "tiny-1.0-py3-none-any.whl",
            "url": "../../files/tiny-1.0-py3-none-any.whl",
            "hashes": {"sha256": SHA},
            "requires-python": ">=3.9",
            "yanked": "bad",
            "core-metadata": {"sha256": SHA},
        }
    )


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("", None),
        ('data-core-metadata="true"', ""),
        ("data-core-metadata", ""),
        ('data-core-metadata="false"', None),
        (f'data-dist-info-metadata="sha256={SHA}"', SHA),
    ],
)
def test_metadata_beside_a_file_is_announced_in_several_ways(attribute: str, expected: str | None) -> None:
    assert [expected] == [f.metadata_sha256 for f in html(f'<a href="tiny-1.0-py3-none-any.whl" {attribute}>x</a>')]


@pytest.mark.parametrize(
    "malformed",
    [
        {"core-metadata": {"sha256": 5}},
        {"core-metadata": {"sha256": "zz"}},
        {"core-metadata": 7, "data-dist-info-metadata": []},
        {"size": "much"},
        {"requires-python": 3},
        {"yanked": {}},
        {"yanked": None, "size": 1.5},
    ],
    ids=str,
)
def test_a_malformed_field_that_need_not_be_there_costs_no_more_than_itself(malformed: dict[str, object]) -> None:
    good = {"filename": "tiny-1.0-py3-none-any.whl", "url": "tiny.whl", "hashes": {"sha256": SHA}}

    assert json_page(good) == json_page({**good, **malformed})


def test_what_can_be_read_beside_a_malformed_field_counts() -> None:
    good = {"filename": "tiny-1.0-py3-none-any.whl", "url": "tiny.whl"}
    (file,) = json_page({**good, "core-metadata": 5, "size": 17, "requires-python": ">=3", "yanked": "bad"})

    assert (file.size_bytes, file.requires_python, file.yanked) == (17, ">=3", "bad")


@pytest.mark.parametrize(
    "malformed", [{"filename": 1}, {"url": None}, {"hashes": {"sha256": 5}}, {"hashes": []}], ids=str
)
def test_a_file_without_sound_name_url_and_hashes_is_left_out(malformed: dict[str, object]) -> None:
    good = {"filename": "tiny-1.0-py3-none-any.whl", "url": "tiny.whl", "hashes": {"sha256": SHA}}

    assert json_page({**good, **malformed}, {**good, "filename": "tiny-2.0-py3-none-any.whl"})[0].filename[5] == "2"


@pytest.mark.parametrize(("attribute", "expected"), [("", None), ("data-yanked", ""), ('data-yanked="why"', "why")])
def test_a_yanked_file_keeps_its_reason(attribute: str, expected: str | None) -> None:
    assert [expected] == [file.yanked for file in html(f'<a href="tiny-1.0-py3-none-any.whl" {attribute}>x</a>')]


def test_relative_links_belong_to_the_base_that_the_page_names() -> None:
    files = html('<a href="x/tiny-1.0-py3-none-any.whl">t</a>', '<base href="https://other.test/d/">')

    assert [file.url for file in files] == ["https://other.test/d/x/tiny-1.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    "link",
    [
        "file:///etc/tiny-1.0-py3-none-any.whl",
        "ftp://index.test/tiny-1.0-py3-none-any.whl",
        "http://index.test/tiny-1.0-py3-none-any.whl",
        "javascript:tiny-1.0-py3-none-any.whl",
        "https://[bad/tiny-1.0-py3-none-any.whl",
        "tiny-1.0-py3-none-any.whl#sha256=zz",
        "tiny-1.0-py3-none-any.exe",
    ],
)
def test_a_link_that_must_not_be_followed_is_left_out(link: str) -> None:
    assert html(f'<a href="{link}">x</a>') == []


def test_a_user_name_and_password_in_a_link_are_dropped() -> None:
    assert [f.url for f in html('<a href="https://u:secret@h.test/tiny-1.0-py3-none-any.whl">x</a>')] == [
        "https://h.test/tiny-1.0-py3-none-any.whl"
    ]


@pytest.mark.parametrize(
    "link",
    [
        "https://h.test:port/tiny-1.0-py3-none-any.whl",
        f"tiny-1.0-py3-none-any.whl?&#{'1' * 5000};",
    ],
)
def test_a_link_that_cannot_be_read_does_not_hide_the_others(link: str) -> None:
    files = html(f'<a href="{link}">x</a><a href="tiny-2.0-py3-none-any.whl">x</a>')

    assert "tiny-2.0-py3-none-any.whl" in [file.filename for file in files]


@pytest.mark.parametrize(
    "hidden",
    [
        "<!-- LINK -->",
        "<!DOCTYPE LINK",
        "<?LINK?",
        "<script>LINK</scripted></script>",
        "<STYLE >LINK</Style >",
        "<img alt='LINK'>",
        "<p title=LINK>",
        "</a LINK",
    ],
)
def test_what_only_looks_like_a_link_is_none(hidden: str) -> None:
    body = hidden.replace("LINK", "<a href=tiny-1.0-py3-none-any.whl ") + "><a href=tiny-2.0-py3-none-any.whl>"

    assert [file.filename for file in html(body)] == ["tiny-2.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    "link",
    [
        "<a href=tiny-1.0-py3-none-any.whl>",
        "<A\n HREF = 'tiny-1.0-py3-none-any.whl'/>",
        '<a class="a"href="tiny-1.0-py3-none-any.whl"id=b>',
        '<a/href="tiny-1.0-py3-none-any.whl">',
        '<a title=">" = == href="tiny-1.0-py3-none-any.whl">',
        '<<a href="tiny-1.0&#45;py3&#x2D;none-any.whl">',
        '<1 < <a href="tiny-1.0-py3-none-any.whl">',
        '<!--><a href="tiny-1.0-py3-none-any.whl">',
        '<script></script ><a href="tiny-1.0-py3-none-any.whl">',
    ],
)
def test_a_link_is_read_however_it_is_written(link: str) -> None:
    assert [file.filename for file in html(link)] == ["tiny-1.0-py3-none-any.whl"]


@pytest.mark.parametrize("rest", ["<a href='tiny-2.0-py3-none-any.whl", "<!--", "<script>", "</a", "<"])
def test_what_is_not_finished_at_the_end_counts_for_nothing(rest: str) -> None:
    page = f"<a href=tiny-1.0-py3-none-any.whl>{rest}<a href=tiny-3.0-py3-none-any.whl"

    assert [file.filename for file in parse_page(page.encode(), content_type="text/html", url=URL)] == [
        "tiny-1.0-py3-none-any.whl"
    ]


def test_large_pages_that_are_hard_to_read_end_in_an_answer() -> None:
    shapes = ["<a ", "<!--", "<![CDATA[", "</", "<!", "<?", '<a x="', "<a x='\"", "<script>", "<title>", "<a <", "&#1"]
    code = """
import sys
from aiocache_engine.errors import IndexResponseError
from aiocache_engine.index.page_parser import parse_page
for shape in sys.argv[1:]:
    try:
        parse_page((shape * (3_000_000 // len(shape))).encode(), content_type="text/html", url="https://index.test/x/")
    except IndexResponseError as error:
        print(error)
"""
    # Not a matter of speed: reading what was read before, these pages would take an hour, and else two seconds.
    ran = subprocess.run([sys.executable, "-c", code, *shapes], capture_output=True, text=True, check=True, timeout=100)

    assert ran.stdout.count("https://index.test/x/: a web page without a single file came") == len(shapes)


def test_one_malformed_entry_does_not_hide_the_others() -> None:
    files = json_page(
        {"filename": 7},
        {"filename": "tiny-1.0-py3-none-any.whl", "url": ["t.whl"]},
        {"filename": "tiny-2.0-py3-none-any.whl", "url": "t.whl"},
    )

    assert [file.filename for file in files] == ["tiny-2.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"<html><head><title>Sign in</title></head><form><input></form></html>", "text/html"),
        (b"<html><a href='/help'>help</a></html>", "text/html"),
        (b"", "text/html"),
        (b"PK\x03\x04", "application/octet-stream"),
        (b"{}", ""),
        (b"not json", JSON),
        (b'{"files": 3}', JSON),
        (b'{"files": ' + b"[" * 100_000, JSON),
        (b'{"meta": {"api-version": "2.0"}, "files": []}', JSON),
        (b'<meta name="pypi:repository-version" content="2.0"><a href="tiny-1.0.zip">x</a>', "text/html"),
    ],
)
def test_what_is_no_page_of_an_index_is_an_error(content: bytes, content_type: str) -> None:
    with pytest.raises(IndexResponseError):
        parse_page(content, content_type=content_type, url=URL)


@pytest.mark.parametrize(
    "head", ["<title>Links for tiny</title>", '<meta name="pypi:repository-version" content="1.1">']
)
def test_a_project_without_files_is_a_page_all_the_same(head: str) -> None:
    assert html("", head) == []


def test_files_are_grouped_by_canonical_version() -> None:
    names = ["Tiny-1.0.0-py3-none-any.whl", "tiny-1.0.tar.gz", "tiny-1.0.1rc1-py3-none-any.whl", "tiny-1.0-2.tar.gz"]
    files = [IndexFile(name, name, None, None, None, None, None) for name in names]

    groups = by_version(files, "tiny")

    assert {key: [file.filename for file in group] for key, group in groups.items()} == {
        "1": names[:2],
        "1.0.1rc1": [names[2]],
        "1.post2": [names[3]],
    }


@pytest.mark.parametrize(
    "name",
    [
        "tinier-1.0-py3-none-any.whl",
        "tiny-latest-py3-none-any.whl",
        "tiny-1.0-py3-none.whl",
        "tiny-1.0.exe",
        "tiny.tar.gz",
        "../tiny-1.0.tar.gz",
        ".tiny-1.0.tar.gz",
    ],
)
def test_a_file_of_no_known_grammar_or_another_project_is_left_out(name: str) -> None:
    assert by_version([IndexFile(name, name, None, None, None, None, None)], "tiny") == {}
