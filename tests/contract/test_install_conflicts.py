"""What happens where two distributions, or a distribution and the environment, want one path (decision 0010)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiocache_engine.errors import FileConflictError, InvalidWheelError, TargetError
from aiocache_engine.model.python import LinkMode, Target, TargetKind
from aiocache_engine.pipeline.linking.install import apply_install, prepare_install
from aiocache_engine.python.installed import JOURNAL, read_installed
from aiocache_engine.python.target import TargetChoice, choose_target, make_target
from targets import environment, install, prober, ready, snapshot


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return environment(tmp_path / "env")


def refused(target: Target, match: str, *wheels: object) -> None:
    before = snapshot(target.root)
    with pytest.raises(FileConflictError, match=match):
        install(target, *wheels)  # type: ignore[arg-type]
    assert before == snapshot(target.root)


def test_equal_files_of_two_distributions_are_no_conflict_whichever_way_they_come(cache: Path, target: Target) -> None:
    shared = {"space/__init__.py": "shared = True\n"}
    first = ready(cache, "first", files={**shared, "space/one.py": ""})
    second = ready(cache, "second", files={**shared, "space/two.py": ""})
    third = ready(cache, "third", files={**shared, "space/three.py": ""})
    assert install(target, first, second).warnings == ()
    assert install(target, third).warnings == ()
    assert {"__init__.py", "one.py", "two.py", "three.py"} == set(os.listdir(Path(target.purelib, "space")))


def test_of_different_files_in_one_run_the_later_one_counts_and_a_warning_tells(cache: Path, target: Target) -> None:
    first = ready(cache, "first", files={"tests/__init__.py": "first"})
    second = ready(cache, "second", files={"tests/__init__.py": "second!"})
    (warning,) = install(target, first, second).warnings
    assert "first and second bring different files" in warning
    assert "tests/__init__.py" in warning
    assert Path(target.purelib, "tests/__init__.py").read_text() == "second!"


def test_a_different_file_of_an_installed_distribution_is_replaced_and_a_warning_tells(
    cache: Path, target: Target
) -> None:
    install(target, ready(cache, "first", files={"tests/__init__.py": "first", "first.py": ""}))
    (warning,) = install(target, ready(cache, "second", files={"tests/__init__.py": "second!"})).warnings
    assert "that of first was replaced by that of second" in warning
    assert Path(target.purelib, "tests/__init__.py").read_text() == "second!"


def test_what_another_distribution_also_owns_stays_when_one_makes_room(cache: Path, target: Target) -> None:
    shared = {"space/__init__.py": "shared = True\n"}
    first = ready(cache, "first", files={**shared, "space/one.py": ""})
    second = ready(cache, "second", files={**shared, "space/two.py": ""})
    install(target, first, second)
    install(target, ready(cache, "first", "2", files={"elsewhere.py": ""}))
    assert {"__init__.py", "two.py"} == set(os.listdir(Path(target.purelib, "space")))


def test_a_file_that_moves_from_one_distribution_to_another_in_one_run_arrives(cache: Path, target: Target) -> None:
    install(target, ready(cache, "whole", "1", files={"a.py": "1", "b.py": "1"}))
    outcome = install(
        target, ready(cache, "part", "2", files={"b.py": "22"}), ready(cache, "whole", "2", files={"a.py": "2"})
    )
    assert outcome.warnings == ()
    assert (Path(target.purelib, "a.py").read_text(), Path(target.purelib, "b.py").read_text()) == ("2", "22")


def test_files_of_data_never_replace_those_of_another_distribution(cache: Path, target: Target) -> None:
    first = ready(cache, "first", data={"scripts": {"tool": "#!/bin/sh\n:\n"}})
    second = ready(cache, "second", data={"scripts": {"tool": "#!/bin/sh\nfalse\n"}})
    refused(target, "first and second bring different files", first, second)
    install(target, first)
    refused(target, "first and second bring different files", second)
    same = ready(cache, "same", data={"scripts": {"tool": "#!/bin/sh\n:\n"}})
    assert install(target, same).warnings == ()


@pytest.mark.parametrize("name", ["activate", "Activate.ps1", "deactivate"])
def test_activation_scripts_and_their_like_are_never_replaced(name: str, cache: Path, target: Target) -> None:
    Path(target.scripts, "deactivate").write_text("")
    wheel = ready(
        cache, "bold", files={"bold.py": "def main(): ..."}, entry_points={"console_scripts": {name: "bold:main"}}
    )
    refused(target, "a file that the environment needs", wheel)


@pytest.mark.parametrize(
    "path", ["pyvenv.cfg", "aioc.json", f"{JOURNAL}/begun", f"{JOURNAL}.probe", f"{JOURNAL}.d/x", JOURNAL, "AIOC.json"]
)
def test_what_makes_an_environment_or_tells_its_state_is_never_written(path: str, cache: Path, tmp_path: Path) -> None:
    target = make_target(choose_target(TargetChoice(target=str(tmp_path / "lib")), {}, "/"), prober)
    try:
        wheel = ready(cache, "bold", files={path: "forged"})
    except InvalidWheelError:
        return  # refused even earlier
    refused(target, "it is not installed", wheel)


def test_a_file_of_nobody_is_replaced_among_modules_and_a_warning_tells(cache: Path, target: Target) -> None:
    Path(target.purelib, "mine.py").write_text("left over")
    (warning,) = install(target, ready(cache, "mine", files={"mine.py": "new"})).warnings
    assert "a file that no distribution brought was replaced" in warning
    assert Path(target.purelib, "mine.py").read_text() == "new"


def test_a_file_of_nobody_in_a_systems_scripts_is_not_replaced(cache: Path, target: Target) -> None:
    system = Target(
        target.root, TargetKind.PREFIX, target.interpreter, *(getattr(target, n) for n in Target.__slots__[3:])
    )
    Path(target.scripts, "ls").write_text("the real one")
    refused(system, "no distribution brought", ready(cache, "bold", data={"scripts": {"ls": "#!/bin/sh\n"}}))


def test_a_directory_in_the_way_is_told_before_anything_changes(cache: Path, target: Target) -> None:
    Path(target.purelib, "mine.py").mkdir()
    refused(target, "a directory stands where mine has a file", ready(cache, "mine", files={"mine.py": ""}))


def test_a_link_in_the_way_of_a_file_is_replaced_and_not_followed(cache: Path, target: Target, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    Path(target.purelib, "mine.py").symlink_to(tmp_path / "precious")
    install(target, ready(cache, "mine", files={"mine.py": "new"}), link_mode=LinkMode.COPY)
    assert (tmp_path / "precious").read_text() == "precious"
    assert not Path(target.purelib, "mine.py").is_symlink()


def test_nothing_is_written_through_a_linked_directory(cache: Path, target: Target, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Path(target.purelib, "mine").symlink_to(tmp_path / "elsewhere")
    before = snapshot(target.root)
    with pytest.raises(TargetError, match="symbolic link"):
        install(target, ready(cache, "mine", files={"mine/__init__.py": "", "mine/deep/x.py": ""}))
    assert before == snapshot(target.root)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_linked_directory_that_appears_after_preparing_is_not_followed(
    cache: Path, target: Target, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    wheel = ready(cache, "mine", files={"aaa.py": "", "mine/deep/x.py": ""})
    prepared = prepare_install(target, [wheel], [], reinstall=False, link_mode=LinkMode.AUTO)
    Path(target.purelib, "mine").symlink_to(tmp_path / "elsewhere")
    before = snapshot(target.root)
    with pytest.raises(TargetError, match="symbolic link"):
        apply_install(prepared)
    assert before == snapshot(target.root)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_site_packages_that_lead_out_of_the_environment_are_refused(
    cache: Path, target: Target, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    os.rmdir(target.purelib)
    os.symlink(tmp_path / "elsewhere", target.purelib)
    with pytest.raises(TargetError, match="leads out of"):
        install(target, ready(cache, "mine"))
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_file_that_another_program_puts_there_after_preparing_survives_the_taking_back(
    cache: Path, target: Target
) -> None:
    wheel = ready(cache, "mine", files={"aaa.py": "", "mine/x.py": "ours"})
    prepared = prepare_install(target, [wheel], [], reinstall=False, link_mode=LinkMode.AUTO)
    Path(target.purelib, "mine").mkdir()
    Path(target.purelib, "mine/x.py").write_text("theirs")
    before = snapshot(target.root)
    with pytest.raises(FileConflictError, match="another program put a file here meanwhile"):
        apply_install(prepared)
    assert before == snapshot(target.root)
    assert read_installed(target.site_directories()) == []


@pytest.mark.parametrize("scheme", ["data", "purelib", "scripts"])
def test_a_wheel_plants_no_distribution_by_way_of_its_data(scheme: str, cache: Path, target: Target) -> None:
    places = {"data": f"{os.path.relpath(target.purelib, target.root)}/", "purelib": "", "scripts": ""}
    path = f"{places[scheme]}alpha-0.dist-info/RECORD"
    before = snapshot(target.root)
    with pytest.raises(InvalidWheelError, match=r"dist-info|another distribution"):
        install(target, ready(cache, "bold", data={scheme: {path: "../../../bin/python,,\n"}}))
    assert before == snapshot(target.root)


def test_what_a_package_bundles_may_have_a_dist_info(cache: Path, target: Target) -> None:
    path = "bold/_vendor/alpha-0.dist-info/METADATA"
    install(target, ready(cache, "bold", files={path: "1"}))
    install(target, ready(cache, "mild", data={"purelib": {path.replace("bold", "mild"): "2"}}))
    assert Path(target.purelib, path).read_text() == "1"
    assert Path(target.purelib, path.replace("bold", "mild")).read_text() == "2"


def test_what_makes_an_environment_one_stays_though_a_record_lists_it(cache: Path, target: Target) -> None:
    root = Path(target.root)
    (root / "aioc.json").write_text("{}")
    needed = ["pyvenv.cfg", "aioc.json", "lib64", "bin/python", "bin/python3", "bin/activate", "bin/activate.fish"]
    install(target, ready(cache, "alpha", files={"alpha.py": ""}, data={"scripts": {"activate-alpha": "#!/bin/sh\n"}}))
    with Path(target.purelib, "alpha-1.0.dist-info/RECORD").open("a") as record:
        record.writelines(f"../../../{path},,\n" for path in needed)
        record.write("../../../lib/../BIN/../bin/Activate.ps1,,\n")
    before = snapshot(root, without=("site-packages",))
    outcome = install(target, ready(cache, "alpha", "2", files={"beta.py": ""}))
    assert not Path(target.purelib, "alpha.py").exists()
    assert not Path(target.scripts, "activate-alpha").exists()
    del before["bin/activate-alpha"]
    assert before == snapshot(root, without=("site-packages",))
    for path in (*needed, "bin/Activate.ps1"):
        assert any(repr(path) in warning and "left alone" in warning for warning in outcome.warnings)
