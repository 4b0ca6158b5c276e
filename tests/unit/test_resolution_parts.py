"""The small parts of resolving: sets of versions, metadata, METADATA out of wheels."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from aiocache_engine.errors import InvalidWheelError
from aiocache_engine.pipeline.inputs.pep508 import marker_holds
from aiocache_engine.pipeline.resolution.metadata import (
    MetadataError,
    check_requirements,
    demands_of,
    parse_metadata,
    seal,
    unseal,
)
from aiocache_engine.pipeline.resolution.wheel_metadata import Part, metadata_from_parts, metadata_in_file
from aiocache_engine.policy.choose import python_fits
from aiocache_engine.policy.span import Span, Universe
from aiocache_engine.testing.wheels import build_wheel

VERSIONS = [
    Version(text)
    for text in (
        "0.9", "1.0.dev1", "1.0a1", "1.0rc1", "1.0", "1.0+cpu", "1.0+cu118", "1.0.post1", "1.0.post1+x", "1.1.dev0",
        "1.1", "1.4", "1.4.5", "1.5", "2.dev0", "2.0rc1", "2.0", "2.1", "10.0", "2020.1", "1!0.1", "1!2.0",
    )
]  # fmt: skip
MARKERS = {
    "python_version": "3.11",
    "python_full_version": "3.11.7",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
}


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from([">=", "<=", ">", "<", "==", "!="]), st.sampled_from([*map(str, VERSIONS), "3"])),
            st.tuples(st.sampled_from(["==", "!="]), st.sampled_from(["1.*", "1.0.*", "2.*", "1!2.*", "7.*"])),
            st.tuples(st.just("==="), st.sampled_from([*map(str, VERSIONS), "1.0.0", "1.0.DEV1", "nonsense"])),
            st.tuples(st.just("~="), st.sampled_from(["1.0", "1.4.5", "2.0rc1", "1!2.0"])),
        ),
        max_size=3,
    )
)
def test_a_specifier_set_allows_what_packaging_says(parts: list[tuple[str, str]]) -> None:
    usable = [op + text for op, text in parts if "+" not in text or op in ("==", "!=", "===")]
    specifier = ",".join(usable)
    universe = Universe(sorted(VERSIONS, reverse=True))
    span = universe.span(specifier)
    ours = {version for version, place in universe.places.items() if place in span}
    assert ours == {v for v in VERSIONS if SpecifierSet(specifier).contains(v, prereleases=True)}


@given(st.integers(), st.integers())
def test_sets_of_versions_are_sets(one: int, other: int) -> None:
    a, b = Span(one), Span(other)
    assert ~(a & b) == ~a | ~b
    assert (a - b).is_disjoint(b)
    assert a.is_subset(a | b)
    assert (a | b).is_superset(b)
    assert a.relation(b) == (a.is_subset(b), a.is_disjoint(b))
    assert Span.full() - a == ~a
    assert (a & ~a).is_empty


def metadata(*lines: str, body: str = "") -> bytes:
    return "\n".join(["Metadata-Version: 2.1", "Name: Some.Thing", "Version: 1.0", *lines, "", body]).encode()


def demands(extra: str, *requires: str) -> list[str]:
    parsed = parse_metadata(metadata(*(f"Requires-Dist: {each}" for each in requires)))
    check_requirements(parsed, MARKERS)
    return [str(demand) for demand in demands_of(parsed, extra, MARKERS)]


def test_metadata_says_what_it_is_and_what_it_needs() -> None:
    parsed = parse_metadata(
        metadata("Requires-Python: >=3.8", "Provides-Extra: Fast_Mode", "Requires-Dist: b", body="Requires-Dist: no\n")
    )
    assert (parsed.project, parsed.version, parsed.requires_python) == ("some-thing", "1.0", ">=3.8")
    assert (parsed.requires, parsed.extras) == (("b",), frozenset({"fast-mode"}))


def test_metadata_with_windows_line_ends_and_a_body_in_another_encoding_is_read() -> None:
    parsed = parse_metadata(metadata("Requires-Dist: b").replace(b"\n", b"\r\n") + b"\r\n\xff\xfe body")
    assert parsed.requires == ("b",)


@pytest.mark.parametrize("content", [b"", b"<html>login</html>", b"Name: x\n\n", b"\x00\x01"])
def test_what_is_no_metadata_is_refused(content: bytes) -> None:
    with pytest.raises(MetadataError):
        parse_metadata(content)


def test_markers_choose_what_applies_and_extras_add_only_their_own() -> None:
    requires = (
        "a",
        "b; python_version < '3'",
        "c; extra == 'x'",
        "d; extra == 'Y_y' and sys_platform == 'linux'",
        "e; sys_platform == 'linux' or extra == 'x'",
        "f; extra == 'x' and python_version < '3'",
    )
    assert demands("", *requires) == ["a", "e"]
    assert demands("x", *requires) == ["c"]
    assert demands("y-y", *requires) == ["d"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a (>=1.0)", "a>=1.0"),
        ("a>=3.6.*", "a>=3.6"),
        ("a>=1.0<2.0", "a<2.0,>=1.0"),
        ("a>='1.0'", "a>=1.0"),
        ("a>=1.0,", "a>=1.0"),
        ("a (>=1.0,)", "a>=1.0"),
        ("A.b_C[X]>1", "a-b-c[x]>1"),
    ],
)
def test_old_spellings_are_read_as_they_can_only_be_meant(written: str, meant: str) -> None:
    assert demands("", written) == [meant]


@pytest.mark.parametrize("between", [" or ", "or", "\tor\t"])
def test_what_belongs_to_one_of_two_extras_comes_with_each_of_them(between: str) -> None:
    requires = (f"a; extra == 'x'{between}(extra=='y')", f"b; (extra=='x'){between}(extra == 'y')")
    assert demands("x", *requires) == demands("y", *requires) == ["a", "b"]
    assert demands("z", *requires) == demands("", *requires) == []


def test_an_extra_is_where_the_marker_says_so_and_nowhere_else() -> None:
    requires = ("a[extra]; python_version >= '3'", "b; 'extra==\"x\"' != os_name", "my-extra=='1.0'")
    assert demands("", *requires) == ["a[extra]", "b", "my-extra==1.0"]
    assert demands("y", "c; extra == 'y' and 'extra == \"x\"' != os_name") == ["c"]


def test_what_is_unreadable_in_another_extra_is_no_obstacle_to_what_is_there_already() -> None:
    parsed = parse_metadata(metadata("Requires-Dist: a", "Requires-Dist: b; extra == 'x' and nonsense == '1'"))
    assert [str(each) for each in demands_of(parsed, "", MARKERS)] == ["a"]
    assert demands_of(parsed, "y", MARKERS) == []
    with pytest.raises(MetadataError, match="requirement"):
        demands_of(parsed, "x", MARKERS)


@pytest.mark.parametrize(
    "written",
    [
        "a >= not-a-version",
        "a b c",
        "a>=1; nonsense == '1'",
        "a>=dev; extra == 'x'",
        "-a; extra == 'x'",
        "a; extra == 'x' and nonsense == '1'",
        "a; extra == 'x' or platform_machine ~= 'y'",
        "a>=1.x; extra == 'x'",
        "a~1; extra == 'x'",
    ],
)
def test_a_requirement_that_cannot_be_read_makes_the_version_unusable(written: str) -> None:
    with pytest.raises(MetadataError, match="requirement"):
        demands("", written)


@given(
    st.lists(
        st.sampled_from(
            [
                *("a", "-", ".", "[x]", "(", ")", ">=1", "==1.*", "~=2", "~=2.0", "<1rc1", ",", " ", "\t", ";", "; "),
                *("extra == 'x'", "extra=='y'", "python_version<'3'", "sys_platform != 'linux'", "os_name ~= 'a'"),
                *(" or ", "or", " and ", "and", "nonsense == '1'", "'x' == extra", "extra"),
            ]
        ),
        max_size=9,
    ).map("".join)
)
def test_metadata_that_passes_can_be_asked_for_any_extra(written: str) -> None:
    parsed = parse_metadata(metadata(f"Requires-Dist: {written}"))
    try:
        check_requirements(parsed, MARKERS)
    except MetadataError:
        return
    for extra in ("x", "y"):
        found = demands_of(parsed, extra, MARKERS)
        with suppress(InvalidRequirement):  # it is read as it can only be meant
            requirement = Requirement(parsed.requires[0])
            with_extra, without = marker_holds(requirement, MARKERS, extra), marker_holds(requirement, MARKERS)
            assert bool(found) is (with_extra and not without)


def test_stored_metadata_comes_back_only_whole_and_for_the_same_file() -> None:
    stored = seal(b"Name: x\nVersion: 1\n", "a" * 64)
    assert unseal(stored, "a" * 64) == b"Name: x\nVersion: 1\n"
    assert unseal(stored, "b" * 64) is None
    assert unseal(stored[:-1], "a" * 64) is None
    assert unseal(None, "a" * 64) is None
    assert unseal(b"", "a" * 64) is None


def read_file(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return metadata_in_file(fd, path.name)
    finally:
        os.close(fd)


class Server:
    """Gives parts of some bytes, and notes which."""

    def __init__(self, content: bytes, *, total: int | None = None) -> None:
        self.content = content
        self.total = total or len(content)
        self.parts: list[tuple[int, int]] = []

    async def read(self, start: int | None, length: int) -> Part | None:
        begin = max(0, len(self.content) - length) if start is None else start
        self.parts.append((begin, length))
        return Part(begin, self.content[begin : begin + length], self.total)


@pytest.mark.parametrize("count", [1, 3000])
@pytest.mark.parametrize("knows_size", [True, False])
async def test_metadata_is_read_from_a_few_parts(tmp_path: Path, *, count: int, knows_size: bool) -> None:
    path = build_wheel(
        tmp_path, "big", "1.0", requires=("dep",), files={"big/x.bin": os.urandom(300_000)}, file_count=count
    )
    content = path.read_bytes()
    server = Server(content)
    found = await metadata_from_parts(server.read, path.name, len(content) if knows_size else None)
    assert found == read_file(path)
    assert b"Requires-Dist: dep" in found
    assert len(server.parts) == (1 if count == 1 else 3)  # the tail; then the directory's front, and METADATA before it
    assert sum(length for _, length in server.parts) < len(content)


async def test_metadata_at_the_front_of_a_wheel_is_found_as_well(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a-1.0.dist-info/METADATA", "Name: a\nVersion: 1.0\n")
        archive.writestr("a/x.bin", os.urandom(200_000))
    server = Server(buffer.getvalue())
    assert await metadata_from_parts(server.read, "a-1.0-py3-none-any.whl", None) == b"Name: a\nVersion: 1.0\n"
    assert len(server.parts) == 2


async def test_parts_that_lie_lead_to_the_whole_wheel_or_to_an_error(tmp_path: Path) -> None:
    path = build_wheel(tmp_path, "a", "1.0", files={"a/x.bin": os.urandom(200_000)})
    content = path.read_bytes()
    assert await metadata_from_parts(Server(content, total=len(content) + 5).read, path.name, len(content)) is None
    assert await metadata_from_parts(Server(b"x" * 1000).read, path.name, None) is None

    async def nothing(_start: int | None, _length: int) -> None:
        return None

    assert await metadata_from_parts(nothing, path.name, None) is None
    broken = bytearray(content)
    broken[broken.rindex(b"METADATA")] ^= 1
    with pytest.raises(InvalidWheelError):
        await metadata_from_parts(Server(bytes(broken)).read, path.name, None)


def test_a_wheel_with_the_metadata_of_another_project_is_refused(tmp_path: Path) -> None:
    path = build_wheel(tmp_path, "a", "1.0")
    other = path.rename(tmp_path / "b-1.0-py3-none-any.whl")
    with pytest.raises(InvalidWheelError, match="no METADATA of its own"):
        read_file(other)


NEARLY = r"""
from aiocache_engine.pipeline.resolution.metadata import MetadataError, check_requirements, parse_metadata
lines = [
    "; " + "extra==''   and   " * 9 + "extra==x",
    "; (" + "extra=='')   or   (" * 9 + "extra==''",
    " " * 190 + "x",
    "[" + "b ,  " * 30 + "x",
    " (>=1" + " ," * 90 + "x",
]
for number in range(200):
    for line in lines:
        content = f"Name: a\nVersion: 1\nRequires-Dist: a{number}{line}\n".encode()
        try:
            check_requirements(parse_metadata(content), {"extra": ""})
        except MetadataError:
            print("refused")
"""


def test_requirements_that_nearly_fit_are_read_as_fast_as_others() -> None:
    command = [sys.executable, "-c", NEARLY]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)  # hours, if read in all ways
    assert ran.stdout == "refused\n" * 1000


@pytest.mark.parametrize(
    "line", [f"a{','.join(['>=1.0'] * 2000)}", f"a=={'1.' * 5000}0", "a>=1.0" + "\n ,>=1.0" * 2000]
)
def test_a_requirement_without_end_makes_its_version_unusable(line: str) -> None:
    with pytest.raises(MetadataError, match=r"its requirement 'a.*…' cannot be read") as caught:
        demands("", line)
    assert len(str(caught.value)) < 200


def test_requirements_of_more_than_anybody_has_are_refused() -> None:
    with pytest.raises(MetadataError, match="its requirements are longer than 2000000 characters"):
        parse_metadata(metadata(*[f"Requires-Dist: {'a' * 1000}"] * 2001))


def test_a_field_in_several_lines_is_read_as_one() -> None:
    assert demands("", "\n a\n   >=1.0\n \n\t,<2", "b") == ["a<2,>=1.0", "b"]
    assert demands("", "a\n\n", "b") == ["a"]  # an empty line ends them all


def test_a_field_in_lines_without_end_is_joined_once() -> None:
    content = metadata("Requires-Python: >=3", *[" as long as this"] * 1_000_000)
    started = time.process_time()
    assert parse_metadata(content).requires_python == ">=3" + " as long as this" * 1_000_000
    assert time.process_time() - started < 10  # it takes 0.5 s; a copy for each line takes many minutes


def test_a_requires_python_without_end_fits_none() -> None:
    assert python_fits(">=3.8", "3.11.7")
    assert not python_fits(",".join([">=3.8"] * 2000), "3.11.7")
