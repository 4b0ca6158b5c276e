"""What people ask for: requirement strings, paths, URLs, requirements files, and what a clean names."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiocache_engine.errors import InvalidNameError, InvalidRequirementError, UsageError
from aiocache_engine.index.urls import direct_file, index_of, told_subdirectory
from aiocache_engine.model.index import IndexKind
from aiocache_engine.model.removal import CleanTarget, TargetKind
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.pipeline.inputs.requirements import (
    clean_targets,
    one_per_project,
    parse_clean_target,
    parse_requirement,
)

MARKERS = {
    "python_version": "3.11", "python_full_version": "3.11.7", "sys_platform": "linux", "os_name": "posix",
    "platform_machine": "x86_64", "platform_system": "Linux", "implementation_name": "cpython",
    "implementation_version": "3.11.7", "platform_python_implementation": "CPython", "platform_release": "6",
    "platform_version": "1", "extra": "",
}  # fmt: skip
SHA_A, SHA_B = "a" * 64, "B" * 64


def parse(text: str) -> Wanted | None:
    return parse_requirement(text, MARKERS)


def merged(*texts: str, constraints: tuple[str, ...] = ()) -> tuple[Wanted, ...]:
    wanted, limits = ([found for text in part if (found := parse(text))] for part in (texts, constraints))
    return one_per_project(wanted, limits)


@pytest.mark.parametrize(
    ("text", "project", "specifier", "pinned"),
    [
        ("Tiny_Tools", "tiny-tools", "", None),
        ("tiny==1.0", "tiny", "==1.0", "1"),
        ("tiny == 1.0.0", "tiny", "==1.0.0", "1"),
        ("tiny===1.0", "tiny", "===1.0", "1"),
        ("tiny==1.*", "tiny", "==1.*", None),
        ("tiny[extra,other]>=1", "tiny", ">=1", None),
        ("tiny (>=1,<2)", "tiny", "<2,>=1", None),
        ("tiny; python_version >= '3.9'", "tiny", "", None),
    ],
)
def test_requirement_strings(text: str, project: str, specifier: str, pinned: str | None) -> None:
    wanted = parse(text)
    assert wanted is not None
    assert (wanted.project, wanted.specifier, wanted.pinned) == (project, specifier, pinned)


WHEEL = "tiny-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (f"./{WHEEL} ; python_version>='3'", f"./{WHEEL}"),
        (f"{WHEEL};python_version>='3'", WHEEL),
        (f"./{WHEEL}[x]", f"./{WHEEL}"),
        (f"my [x]/{WHEEL}[x, y] ; python_version>='3'", f"my [x]/{WHEEL}"),
        (f"file:///{WHEEL}[x] ; python_version>='3'", f"file:///{WHEEL}"),
        (f"http://[::1]/{WHEEL}?a;b#sha256=00[x]; os_name=='posix'", f"http://[::1]/{WHEEL}?a;b#sha256=00"),
        (f"tiny[x]@ ./{WHEEL} ; python_version>='3'", f"./{WHEEL}"),
        (f"tiny@./{WHEEL}", f"./{WHEEL}"),
    ],
)
def test_extras_and_markers_may_follow_a_path_or_url(text: str, url: str) -> None:
    wanted = parse(text)
    assert wanted is not None
    assert (wanted.project, wanted.url) == ("tiny", url)


@pytest.mark.parametrize("place", [f"./{WHEEL}", f"{WHEEL}[x]", f"file:///{WHEEL}", "./other.tar.gz"])
def test_a_path_whose_marker_does_not_apply_is_dropped(place: str) -> None:
    assert parse(f"{place} ; python_version<'3'") is None


@pytest.mark.parametrize("rest", [" ; nonsense", "[x", "[!]", "; python_version <"])
def test_a_malformed_extra_or_marker_after_a_path_is_refused(rest: str) -> None:
    with pytest.raises(InvalidRequirementError):
        parse(f"./{WHEEL}{rest}")


@pytest.mark.parametrize(
    "text",
    [
        f"tiny{','.join(['>=1.0'] * 2000)}",
        f"tiny=={'1.' * 5000}0",
        f"tiny[{','.join(['x'] * 5000)}]",
        "tiny; " + " or ".join(["os_name == 'posix'"] * 1000),
        f"tiny @ https://127.0.0.1/{'x' * 9000}.whl",
        f"./{WHEEL}[{','.join(['x'] * 5000)}]",
    ],
)
def test_a_requirement_without_end_is_refused_before_it_is_read(text: str) -> None:
    with pytest.raises(InvalidRequirementError, match="it is longer than 8192 characters") as caught:
        parse(text)
    assert len(str(caught.value)) < 300


def test_hashes_are_no_part_of_a_requirement_without_end_and_urls_may_be_long() -> None:
    many = parse("tiny==1.0 " + " ".join(f"--hash=sha256:{number:064x}" for number in range(500)))
    assert many is not None
    assert len(many.sha256s) == 500
    assert parse(f"tiny @ https://127.0.0.1/{WHEEL}?{'x' * 5000}") is not None


def test_a_marker_that_does_not_apply_drops_the_requirement() -> None:
    assert parse("tiny; sys_platform == 'win32'") is None
    assert parse("tiny; python_version < '3'") is None
    assert parse("tiny; extra == 'test'") is None


def test_hashes_are_taken_off_and_checked() -> None:
    wanted = parse(f"tiny==1 --hash=sha256:{SHA_A} --hash sha256:{SHA_B}")
    assert wanted is not None
    assert wanted.sha256s == {SHA_A, SHA_B.lower()}
    assert wanted.text == "tiny==1"
    for bad in ("md5:00", "sha256:abc", "nonsense"):
        with pytest.raises(InvalidRequirementError):
            parse(f"tiny --hash={bad}")


@pytest.mark.parametrize(
    "text",
    [
        "./sdists/tiny-1.0.tar.gz",
        "tiny-1.0.zip",
        "tiny @ https://127.0.0.1/tiny-1.0.tar.gz#sha256=00",
        "tiny @ https://127.0.0.1/archive/v1.0.tar.gz#filename=tiny-1.0.tar.gz&sha256=00",
        "./sdists/tiny-1.0.tar.gz#subdirectory=pkg",
        "tiny-1.0.tar.gz#egg=other&subdirectory=pkg",
        "tiny @ ./mono-2.0.tar.gz#subdirectory=pkg&filename=tiny-1.0.tar.gz",
        "./wheels/tiny-1.0-py3-none-any.whl",
        "/wheels/tiny-1.0-py3-none-any.whl",
        "tiny-1.0-py3-none-any.whl",
        "file:///wheels/tiny-1.0-py3-none-any.whl",
        "http://127.0.0.1/files/tiny-1.0-py3-none-any.whl#sha256=00",
        "tiny @ http://127.0.0.1/files/tiny-1.0%2Blocal-py3-none-any.whl",
    ],
)
def test_paths_and_urls_of_wheels_and_sdists(text: str) -> None:
    wanted = parse(text)
    assert wanted is not None
    assert wanted.project == "tiny"
    assert wanted.url
    assert wanted.specifier == ""


def test_a_subdirectory_is_kept_with_the_path_that_it_follows() -> None:
    wanted = parse(" ./x#/tiny-1.0.tar.gz#subdirectory=./a%20b/c/[x] ; os_name=='posix'")
    assert wanted is not None
    assert (wanted.project, wanted.extras) == ("tiny", {"x"})
    assert direct_file(wanted.url or "")[1].url.endswith("/x%23/tiny-1.0.tar.gz")
    assert told_subdirectory(wanted.url or "") == "a b/c"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-e .", "pip or uv"),
        ("--editable=.", "pip or uv"),
        ("git+https://127.0.0.1/x.git", "pip or uv"),
        ("tiny @ git+https://127.0.0.1/x.git", "pip or uv"),
        ("./tiny.tar.gz", "called NAME-VERSION.tar.gz"),
        (
            "tiny @ https://127.0.0.1/v1.0.tar.gz",
            "called tiny-VERSION.tar.gz, and this is not; say what it is by #file",
        ),
        ("tiny @ https://127.0.0.1/x#filename=../tiny-1.0.tar.gz", "called tiny-VERSION.tar.gz"),
        ("tiny @ https://127.0.0.1/other-1.0.tar.gz", "called tiny-VERSION.tar.gz"),
        ("./tiny-1.0.tar.gz#subdirectory=../x", "a relative path below the top of the sdist is expected"),
        ("./tiny-1.0.tar.gz#subdirectory=%2Fx", "a relative path below the top of the sdist is expected"),
        ("tiny @ https://127.0.0.1/tiny-1.0.zip#egg=x&subdirectory=a/%2e%2e/b", "a relative path below the top of"),
        ("tiny @ https://127.0.0.1/tiny-1.0.tar.gz#md5=00", "hashes by md5 are not supported; give sha256"),
        ("./directory", "only wheels"),
        ("other @ file:///tiny-1.0-py3-none-any.whl", "a wheel of tiny"),
        ("file://otherhost/tiny-1.0-py3-none-any.whl", "names the host 'otherhost'"),
        ("tiny @ file://otherhost/tiny-1.0-py3-none-any.whl", "names the host 'otherhost'"),
        ("http://[::1/tiny-1.0-py3-none-any.whl", "malformed"),
        ("-e.", "pip or uv"),
        ("tiny=1.0", ": write tiny==1.0"),
        ("tiny[x] = 1.0rc1", ": write tiny[x]==1.0rc1"),
        ("tiny=>1.0", ": write tiny>=1.0"),
        ("tiny =<1.*", ": write tiny<=1.*"),
        ("tiny~1.0", ": write tiny~=1.0"),
        ("tiny 2", ": write tiny==2"),
        ("tiny@v2.0", ": write tiny==2.0"),
        ("tiny@2.0 --hash=sha256:" + SHA_A, ": write tiny==2.0"),
        ("tiny[x] @ >=2,<3", ": write tiny[x]>=2,<3"),
        ("tiny>=", "a version is missing after the operator"),
        ("tiny >", "a version is missing after the operator"),
        ("Foo Bar", "a name has no blanks, and several requirements are given one by one"),
        ("tiny==1 other[x]>=2", "a name has no blanks, and several requirements are given one by one"),
        ("tiny @ elsewhere", "only wheels"),
        ("tiny; os_name ==", "Expected"),
        ("", "it is empty"),
        ("tiny; nonsense == 'x'", ""),
    ],
)
def test_what_cannot_be_taken_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidRequirementError) as refused:
        parse(text)
    assert reason in str(refused.value)


@pytest.mark.parametrize("text", [".", "./", "{}", "{}/", "part @ {}", "mine/", "./mine[x]"])
def test_a_directory_is_refused_with_the_way_to_its_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InvalidRequirementError, match=r"directory; build it by `aioc build .*/?`, and install the wheel"
    ):
        parse(text.format(tmp_path))


@pytest.mark.parametrize(
    "text", ["x" + " " * 200_000 + "y.whl", "[" * 200_000, "tiny" + " @" * 100_000, "tiny " * 40_000, "=" * 200_000]
)
def test_a_text_of_any_size_is_refused_without_delay(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_a_file_url_of_another_host_is_no_file_of_this_machine() -> None:
    with pytest.raises(InvalidNameError, match="names the host 'otherhost'"):
        direct_file(f"file://user:secret@otherhost/{WHEEL}")
    for kind in IndexKind.SIMPLE, IndexKind.FIND_LINKS:
        with pytest.raises(ValueError, match="names the host 'otherhost'"):
            index_of("file://otherhost/wheels", kind)
    assert direct_file(f"file://localhost/{WHEEL}#sha256={SHA_A}")[1].sha256 == SHA_A


@pytest.mark.parametrize("text", ["../x/..-1.0-py3-none-any.whl", "./tiny-1.0-py3-none-.whl", "./a-b.whl"])
def test_a_file_name_that_is_no_wheel_s_is_refused(text: str) -> None:
    with pytest.raises((InvalidNameError, InvalidRequirementError)):
        parse(text)


def test_what_names_one_project_twice_becomes_one() -> None:
    wanted = merged("tiny>=1", "Tiny[x]<2", "big")
    assert [each.project for each in wanted] == ["tiny", "big"]
    assert (wanted[0].specifier, wanted[0].extras) == ("<2,>=1", {"x"})
    pinned = merged("tiny", f"tiny==1.0 --hash=sha256:{SHA_A}")
    assert (pinned[0].pinned, pinned[0].sha256s) == ("1", frozenset({SHA_A}))
    with pytest.raises(InvalidRequirementError, match="only one can be taken"):
        merged("tiny", "./tiny-1.0-py3-none-any.whl")


def test_a_constraint_holds_for_what_is_wanted_and_adds_nothing() -> None:
    wanted = merged("tiny>=1", constraints=("tiny<2", "other==1"))
    assert [(each.project, each.specifier) for each in wanted] == [("tiny", "<2,>=1")]
    assert merged(f"./{WHEEL}", constraints=("tiny<2",))[0].url == f"./{WHEEL}"
    with pytest.raises(InvalidRequirementError, match="a constraint says 'tiny<1'"):
        merged(f"./{WHEEL}", constraints=("tiny<1",))


def test_hashes_that_exclude_each_other_leave_nothing_to_take() -> None:
    """Both must hold; to take either file would break one of the pins."""
    with pytest.raises(InvalidRequirementError, match="hash"):
        merged(f"tiny==1 --hash=sha256:{SHA_A}", f"tiny==1 --hash=sha256:{SHA_B}")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("Tiny", CleanTarget("tiny", None)),
        ("tiny==1.0", CleanTarget("tiny", "==1.0")),
        ("torch<2.5", CleanTarget("torch", "<2.5")),
        ("a_b>=1,<2", CleanTarget("a-b", "<2,>=1")),
    ],
)
def test_what_a_clean_names(text: str, target: CleanTarget) -> None:
    assert parse_clean_target(text) == target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("Tiny<2", CleanTarget("tiny", "<2")),
        ("torch==2.*", CleanTarget("torch", "==2.*")),
        ("NVIDIA_*", CleanTarget("nvidia-*", None, TargetKind.PATTERN)),
        ("*", CleanTarget("*", None, TargetKind.PATTERN)),
        ("tin?", CleanTarget("tin?", None, TargetKind.PATTERN)),
        ("0a" * 16, CleanTarget("0a" * 16, None, TargetKind.ID)),
        ("0A" * 16, CleanTarget("0a" * 16, None)),
    ],
)
def test_what_a_clean_names_beside_projects(text: str, target: CleanTarget) -> None:
    assert clean_targets([text], []) == (target,)


def test_a_clean_takes_each_target_once_and_tools_by_their_names() -> None:
    tool = CleanTarget("a-b", None, TargetKind.TOOL)
    assert clean_targets(["A_b", "a-b"], ["A_b", "a-b"]) == (CleanTarget("a-b", None), tool)
    assert clean_targets([], []) == ()


def test_where_patterns_are_not_taken_that_is_said() -> None:
    with pytest.raises(InvalidRequirementError, match=r"patterns are only for clean and pin"):
        parse_clean_target("ni*")


@pytest.mark.parametrize(
    ("names", "tools"), [(["ti*<2"], []), (["[a-z]*"], []), ([], ["ruff<2"]), ([], [""]), ([], ["ru*"]), (["../*"], [])]
)
def test_what_a_clean_cannot_name_is_refused(names: list[str], tools: list[str]) -> None:
    with pytest.raises(InvalidRequirementError):
        clean_targets(names, tools)


@pytest.mark.parametrize(
    "text", ["", "../x", "tiny[x]", "tiny; python_version>'3'", "tiny @ file:///x", "/", "a b", "-x"]
)
def test_what_a_clean_cannot_mean_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_clean_target(text)
