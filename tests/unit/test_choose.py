"""Which file is taken: version, pre-releases, yanked files, hashes, Python, platform, build (PEP 425, 440, 592)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocache_engine.model.index import IndexFile
from aiocache_engine.model.names import sdist_name, wheel_name
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.requirement import Refusal, Wanted
from aiocache_engine.pipeline.inputs.requirements import parse_requirement
from aiocache_engine.policy.choose import WheelChooser

TAGS = (
    "cp311-cp311-manylinux_2_28_x86_64",
    "cp311-cp311-manylinux_2_17_x86_64",
    "cp311-cp311-linux_x86_64",
    "cp311-abi3-manylinux_2_17_x86_64",
    "cp39-abi3-manylinux_2_17_x86_64",
    "py3-none-manylinux_2_17_x86_64",
    "py311-none-any",
    "py3-none-any",
)
SHA_A, SHA_B = "a" * 64, "b" * 64


def chooser(version: str = "3.11.7", **rules: Any) -> WheelChooser:
    unused = {"executable": "", "base_executable": "", "implementation": "cpython", "cache_tag": "", "magic": ""}
    interpreter = Interpreter(
        **unused, version=version, prefix="", base_prefix="", externally_managed=None, tags=TAGS, markers={}, scheme={},
        venv_scheme={},
    )  # fmt: skip
    return WheelChooser(interpreter, **rules)


def file(name: str, *, sha256: str | None = None, python: str | None = None, yanked: str | None = None) -> IndexFile:
    return IndexFile(f"{name}.whl" if "." not in name[-7:] else name, "", sha256, None, python, yanked, None)


def wanted(text: str) -> Wanted:
    parsed = parse_requirement(text, {})
    assert parsed is not None
    return parsed


def choose(text: str, *files: IndexFile | str, **rules: Any) -> str:
    listed = [file(each) if isinstance(each, str) else each for each in files]
    chosen = chooser(**rules).choose(wanted(text), listed)
    return chosen.reason if isinstance(chosen, Refusal) else chosen.filename.removesuffix(".whl")


def wheels(*versions: str) -> list[str]:
    return [f"tiny-{version}-py3-none-any" for version in versions]


@pytest.mark.parametrize(
    ("requirement", "versions", "expected"),
    [
        ("tiny", ["1.9", "1.10", "1.2"], "1.10"),
        ("tiny<1.10", ["1.9", "1.10", "1.2"], "1.9"),
        ("tiny", ["1.0", "2.0rc1"], "1.0"),
        ("tiny", ["1.0rc1", "1.0.dev3"], "1.0rc1"),
        ("tiny>=2.0rc1", ["1.0", "2.0rc1"], "2.0rc1"),
        ("tiny==1.0", ["1.0", "1.0+local"], "1.0+local"),
        ("tiny==1.0", ["1", "2"], "1"),
        ("tiny==1.*", ["1.0", "1.5", "2.0"], "1.5"),
        ("tiny~=1.4", ["1.4", "1.9", "2.0"], "1.9"),
        ("tiny!=1.9", ["1.4", "1.9"], "1.4"),
        ("tiny", ["1!0.1", "9.0"], "1!0.1"),
        ("tiny", ["1.0", "1.0.post1"], "1.0.post1"),
    ],
)
def test_the_newest_version_that_is_allowed_is_taken(requirement: str, versions: list[str], expected: str) -> None:
    assert choose(requirement, *wheels(*versions)) == f"tiny-{expected}-py3-none-any"


def test_of_one_version_the_most_specific_wheel_is_taken() -> None:
    names = ["tiny-1-py3-none-any", "tiny-1-cp39-abi3-manylinux_2_17_x86_64", f"tiny-1-{TAGS[1]}", f"tiny-1-{TAGS[0]}"]
    for count in (1, 2, 3, 4):
        assert choose("tiny", *names[:count]) == names[count - 1]


def test_a_newer_version_counts_more_than_a_more_specific_wheel() -> None:
    assert choose("tiny", f"tiny-1-{TAGS[0]}", "tiny-2-py3-none-any") == "tiny-2-py3-none-any"


def test_a_version_without_a_wheel_for_this_platform_is_passed_over() -> None:
    assert choose("tiny", "tiny-2-cp311-cp311-win_amd64", "tiny-1-py3-none-any") == "tiny-1-py3-none-any"


def test_the_higher_build_number_is_taken() -> None:
    names = ["tiny-1-py3-none-any", "tiny-1-2-py3-none-any", "tiny-1-10a-py3-none-any", "tiny-1-9b-py3-none-any"]
    assert choose("tiny", *names) == "tiny-1-10a-py3-none-any"


def test_compressed_tags_are_taken_apart() -> None:
    name = "tiny-1-py2.py3-none-any"
    assert choose("tiny", name) == name


def test_yanked_files_are_taken_only_by_a_pin() -> None:
    files = [file("tiny-1-py3-none-any"), file("tiny-2-py3-none-any", yanked="broken")]
    assert choose("tiny", *files) == "tiny-1-py3-none-any"
    assert choose("tiny==2", *files) == "tiny-2-py3-none-any"
    assert choose("tiny===2", *files) == "tiny-2-py3-none-any"
    assert "yanked (broken)" in choose("tiny>1", *files)
    assert "yanked" in choose("tiny==2.*", *files)


def test_a_pre_release_is_taken_where_every_final_one_is_yanked_or_does_not_fit() -> None:
    files = [file("tiny-1-py3-none-any", yanked=""), file("tiny-2rc1-py3-none-any")]
    assert choose("tiny", *files) == "tiny-2rc1-py3-none-any"


def test_requires_python_is_held_against_the_interpreter() -> None:
    files = [file("tiny-2-py3-none-any", python=">=3.12"), file("tiny-1-py3-none-any", python=">=3.8")]
    assert choose("tiny", *files) == "tiny-1-py3-none-any"
    assert "another Python than 3.11.7" in choose("tiny==2", *files)
    assert choose("tiny", file("tiny-1-py3-none-any", python="nonsense")) == "tiny-1-py3-none-any"
    assert "another Python" in choose("tiny", file("tiny-1-py3-none-any", python=f">={'1' * 5000}"))


def test_hashes_choose_among_files() -> None:
    files = [file("tiny-2-py3-none-any", sha256=SHA_A), file("tiny-1-py3-none-any", sha256=SHA_B)]
    assert choose(f"tiny --hash=sha256:{SHA_B}", *files) == "tiny-1-py3-none-any"
    assert "--hash" in choose(f"tiny --hash=sha256:{'c' * 64}", *files)
    # A page that tells no hash may still have the right file: the download tells.
    assert choose(f"tiny --hash=sha256:{'c' * 64}", "tiny-1-py3-none-any") == "tiny-1-py3-none-any"


@pytest.mark.parametrize(
    ("requirement", "files", "reason"),
    [
        ("tiny", [], "no wheels at all"),
        ("tiny", ["tiny-1.tar.gz", "tiny-2.zip"], "only as source, tiny-2.zip, and --no-build rules"),
        ("tiny", ["other-1-py3-none-any"], "no wheels at all"),
        ("tiny>2", wheels("1.0", "2.0"), "newest with a wheel is 2.0"),
        ("tiny>2", wheels("1.0", "2.0.dev6"), "newest with a wheel is 1.0"),
        ("tiny>2.0rc1", wheels("1.0", "2.0.dev6"), "newest with a wheel is 2.0.dev6"),
        ("tiny>2", wheels("1.0rc1", "2.0.dev6"), "newest with a wheel is 2.0.dev6"),
        ("tiny>2", [*wheels("1.0"), file("tiny-2.0-py3-none-any", yanked="")], "newest with a wheel is 1.0"),
        ("tiny>2", [file("tiny-2.0-py3-none-any", yanked="")], "newest with a wheel is 2.0"),
        ("tiny", ["tiny-1-cp311-cp311-win_amd64"], "cp311-cp311-win_amd64"),
        ("tiny", ["tiny-nonsense-py3-none-any", "tiny-1-py3.whl"], "no wheels at all"),
    ],
)
def test_a_refusal_says_what_is_wrong(requirement: str, files: list[IndexFile | str], reason: str) -> None:
    assert reason in choose(requirement, *files, builds=False)


WHEEL_1, WHEEL_2, SDIST_1, SDIST_2 = "tiny-1-py3-none-any", "tiny-2-py3-none-any", "tiny-1.tar.gz", "tiny-2.tar.gz"
FOREIGN_1, FOREIGN_2 = "tiny-1-cp311-cp311-win_amd64", "tiny-2-cp311-cp311-win_amd64"


@pytest.mark.parametrize(
    ("requirement", "files", "expected"),
    [
        ("tiny", [SDIST_1], SDIST_1),
        ("tiny", [SDIST_1, WHEEL_1], WHEEL_1),
        ("tiny", [SDIST_2, WHEEL_1], SDIST_2),
        ("tiny", [SDIST_2, FOREIGN_2, WHEEL_1], SDIST_2),
        ("tiny", [SDIST_1, FOREIGN_2], SDIST_1),
        ("tiny<2", [SDIST_2, FOREIGN_1, SDIST_1], SDIST_1),
        ("tiny", ["tiny-1.zip", SDIST_1], SDIST_1),
        ("tiny", ["tiny-1.zip"], "tiny-1.zip"),
        ("tiny", ["tiny-2rc1.tar.gz", WHEEL_1], WHEEL_1),
        ("tiny>=2rc1", ["tiny-2rc1.tar.gz", WHEEL_1], "tiny-2rc1.tar.gz"),
        ("tiny", ["tiny-2rc1.tar.gz", FOREIGN_1], "tiny-2rc1.tar.gz"),
        ("tiny", ["tiny-1.0-2.tar.gz", WHEEL_1], "tiny-1.0-2.tar.gz"),
        ("tiny<2", ["tiny-1.0-2.tar.gz", WHEEL_2], "tiny-1.0-2.tar.gz"),
        ("tiny", ["Tiny-2.tar.gz", WHEEL_2], WHEEL_2),
        ("tiny", ["tiny-extra-9.tar.gz", SDIST_1], SDIST_1),
        ("tiny", [file(SDIST_2, python=">=3.12"), SDIST_1], SDIST_1),
        ("tiny", [file(WHEEL_2, python=">=3.12"), SDIST_2], SDIST_2),
        ("tiny", [file(SDIST_2, yanked=""), SDIST_1], SDIST_1),
        ("tiny==2", [file(SDIST_2, yanked=""), SDIST_1], SDIST_2),
        (f"tiny --hash=sha256:{SHA_A}", [file(WHEEL_1, sha256=SHA_B), file(SDIST_1, sha256=SHA_A)], SDIST_1),
        (f"tiny --hash=sha256:{SHA_A}", [file(WHEEL_2, sha256=SHA_B), file(SDIST_1, sha256=SHA_A)], SDIST_1),
    ],
)
def test_the_sdist_of_a_version_is_taken_where_no_wheel_of_it_fits(
    requirement: str, files: list[IndexFile | str], expected: str
) -> None:
    assert choose(requirement, *files) == expected


@pytest.mark.parametrize(
    ("rules", "files", "expected"),
    [
        ({"builds": False}, [SDIST_2, WHEEL_1], WHEEL_1),
        ({"is_taken_built": lambda _: True}, [SDIST_2, WHEEL_1], WHEEL_1),
        ({"is_taken_built": lambda project: project == "other"}, [SDIST_2, WHEEL_1], SDIST_2),
        ({"is_to_be_built": lambda _: True}, [SDIST_1, WHEEL_1, WHEEL_2], SDIST_1),
        ({"is_to_be_built": lambda project: project == "other"}, [SDIST_1, WHEEL_1], WHEEL_1),
        ({"is_taken_built": lambda _: True}, [SDIST_1], "only as source, tiny-1.tar.gz, and --only-binary rules"),
        ({"is_to_be_built": lambda _: True}, [WHEEL_1], "only as wheels, tiny-1-py3-none-any.whl"),
        ({"takes_wheels": False}, [SDIST_1, WHEEL_1, WHEEL_2], SDIST_1),
        ({"takes_wheels": False}, [WHEEL_1], "it is there only as wheels, tiny-1-py3-none-any.whl, and has no source"),
        ({"takes_wheels": False}, [], "it has no source to build"),
        ({}, [], "neither a wheel nor an sdist"),
        ({}, [file(SDIST_1, python=">=3.12")], "its files need another Python"),
    ],
)
def test_rules_leave_wheels_or_sdists_out(rules: dict[str, Any], files: list[IndexFile | str], expected: str) -> None:
    assert expected in choose("tiny", *files, **rules)


def test_an_sdist_named_directly_must_be_allowed_to_be_built() -> None:
    name = sdist_name("tiny-1.tar.gz")
    assert chooser().check(name) is None
    for rules, option in (({"builds": False}, "--no-build"), ({"is_taken_built": lambda _: True}, "--only-binary")):
        refusal = chooser(**rules).check(name)
        assert refusal is not None
        assert option in refusal.reason


def test_a_wheel_named_directly_must_fit_the_platform() -> None:
    assert chooser().check(wheel_name("tiny-1-py3-none-any.whl")) is None
    refusal = chooser().check(wheel_name("tiny-1-cp312-cp312-win_amd64.whl"))
    assert refusal is not None
    assert "win_amd64" in refusal.reason


VERSIONS = st.sampled_from(["0.9", "1.0", "1.0.post1", "1.1rc1", "1.1", "2.0.dev1", "2.0"])
FILES = st.lists(
    st.builds(
        lambda version, tail, yanked: file(f"tiny-{version}{tail}", yanked=yanked),
        VERSIONS,
        st.sampled_from([*(f"-{tag}" for tag in TAGS), "-cp311-cp311-win_amd64", ".tar.gz", ".zip"]),
        st.sampled_from([None, None, ""]),
    ),
    max_size=8,
    unique_by=lambda each: each.filename,
)


@given(files=FILES, specifier=st.sampled_from(["", "==1.0", "<2", ">=1.1", "!=2.0"]), seed=st.integers(0, 9))
def test_the_order_of_a_page_decides_nothing_and_what_is_taken_is_allowed(
    files: list[IndexFile], specifier: str, seed: int
) -> None:
    want = wanted(f"tiny{specifier}")
    chosen = chooser().choose(want, files)
    mixed = random.Random(seed).sample(files, len(files))
    assert chooser().choose(want, mixed) == chosen
    if isinstance(chosen, IndexFile):
        assert "win_amd64" not in chosen.filename
        assert chosen.yanked is None or want.pinned
        others = [each for each in files if each is not chosen]
        # Leaving out what was not chosen changes nothing.
        assert chooser().choose(want, [chosen, *others[:1]]) == chosen
