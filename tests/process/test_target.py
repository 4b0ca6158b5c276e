"""Which place is meant, and what is refused there."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from aiocache_engine.errors import ExternallyManagedError, InterpreterError, TargetError, UsageError
from aiocache_engine.model.python import Interpreter, TargetKind
from aiocache_engine.model.value import replace
from aiocache_engine.python.environment import write_environment
from aiocache_engine.python.interpreter import probe
from aiocache_engine.python.target import Place, TargetChoice, choose_target, find_python, make_target, open_target
from targets import environment, other_python, prober, running

pytestmark = pytest.mark.each_python  # where things go is the interpreter's word


def chosen(environ: dict[str, str], cwd: Path, **choice: object) -> tuple[str | None, TargetKind, bool, str]:
    place = choose_target(TargetChoice(**choice), environ, str(cwd))  # type: ignore[arg-type]
    return place.root, place.kind, place.exists, place.because


def test_what_is_named_comes_before_what_is_active_and_a_dot_venv_comes_last(tmp_path: Path) -> None:
    for name in ("named", "active"):
        write_environment(str(tmp_path / name), running())
    (tmp_path / "conda/bin").mkdir(parents=True)
    (tmp_path / "conda/bin/python").symlink_to(sys.executable)
    active = {"VIRTUAL_ENV": str(tmp_path / "active"), "CONDA_PREFIX": str(tmp_path / "conda")}
    kind = TargetKind.ENVIRONMENT
    assert (str(tmp_path / "named"), kind, True, "--venv") == chosen(active, tmp_path, venv="named")
    assert (str(tmp_path / "new"), kind, False, "--venv") == chosen(active, tmp_path, venv="new")
    assert (str(tmp_path / "lib"), TargetKind.DIRECTORY, False, "--target") == chosen(active, tmp_path, target="lib")
    assert chosen(active, tmp_path, python=sys.executable) == (None, TargetKind.PREFIX, True, "--python")
    assert (str(tmp_path / "active"), kind, True, "VIRTUAL_ENV") == chosen(active, tmp_path)
    del active["VIRTUAL_ENV"]
    assert (str(tmp_path / "conda"), TargetKind.PREFIX, True, "CONDA_PREFIX") == chosen(active, tmp_path)
    assert (str(tmp_path / ".venv"), kind, False, ".venv") == chosen({}, tmp_path)
    assert not (tmp_path / ".venv").exists(), "looking creates nothing"


def test_opening_describes_a_missing_environment_as_it_will_be(tmp_path: Path) -> None:
    place = choose_target(TargetChoice(), {}, str(tmp_path))
    planned = open_target(place, prober)
    assert not (tmp_path / ".venv").exists()
    made = make_target(place, prober)
    assert planned == made
    found = open_target(choose_target(TargetChoice(), {}, str(tmp_path)), prober)
    assert (made.root, made.purelib, made.scripts, made.headers) == (
        found.root,
        found.purelib,
        found.scripts,
        found.headers,
    )


def test_an_environment_is_described_without_starting_its_interpreter(tmp_path: Path) -> None:
    target = environment(tmp_path / "env")
    asked: list[str] = []

    def recording(executable: str) -> Interpreter:
        asked.append(executable)
        return probe(executable)

    opened = open_target(choose_target(TargetChoice(venv=str(tmp_path / "env")), {}, "/"), recording)
    told = probe(str(tmp_path / "env/bin/python"))
    assert str(tmp_path / "env/bin/python") not in asked
    assert told.scheme == opened.interpreter.scheme
    assert (told.executable, told.prefix, told.base_prefix, told.tags) == (
        opened.interpreter.executable,
        opened.interpreter.prefix,
        opened.interpreter.base_prefix,
        opened.interpreter.tags,
    )
    assert target.site_directories() == opened.site_directories()


def test_an_environment_whose_config_and_links_disagree_is_asked_itself(tmp_path: Path) -> None:
    environment(tmp_path / "env")
    (tmp_path / "env/pyvenv.cfg").write_text("home = /nowhere\n")
    asked: list[str] = []

    def recording(executable: str) -> Interpreter:
        asked.append(executable)
        return replace(running(), prefix=str(tmp_path / "env"), base_prefix="/elsewhere")

    open_target(choose_target(TargetChoice(venv=str(tmp_path / "env")), {}, "/"), recording)
    assert [str(tmp_path / "env/bin/python")] == asked


@pytest.mark.parametrize(
    ("environ", "reason"),
    [({"VIRTUAL_ENV": "gone"}, "VIRTUAL_ENV points here"), ({"CONDA_PREFIX": "gone"}, "CONDA_PREFIX points here")],
)
def test_an_active_environment_that_is_gone_is_refused(environ: dict[str, str], reason: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=reason):
        choose_target(TargetChoice(), environ, str(tmp_path))


def test_places_that_are_no_environment_are_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("")
    with pytest.raises(TargetError, match="neither empty nor an environment"):
        choose_target(TargetChoice(venv="full"), {}, str(tmp_path))
    with pytest.raises(TargetError, match="no directory"):
        choose_target(TargetChoice(target="full/file"), {}, str(tmp_path))
    for name, destination in (("dangling", "nowhere"), ("loop", "loop"), ("link", "full/file")):
        (tmp_path / name).symlink_to(destination)
        with pytest.raises(TargetError, match="neither empty nor an environment"):
            choose_target(TargetChoice(venv=name), {}, str(tmp_path))
        with pytest.raises(TargetError, match="neither empty nor an environment"):
            write_environment(str(tmp_path / name), running())
        with pytest.raises(TargetError, match="no directory"):
            choose_target(TargetChoice(target=name), {}, str(tmp_path))
    environment(tmp_path / "env")
    (tmp_path / "env/bin/python").unlink()
    with pytest.raises(TargetError, match="its interpreter is gone"):
        choose_target(TargetChoice(venv="env"), {}, str(tmp_path))


def test_a_link_to_an_empty_directory_is_a_place_for_an_environment(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    environment(tmp_path / "link")
    assert (tmp_path / "empty/pyvenv.cfg").is_file()


@pytest.mark.parametrize(
    "choice",
    [
        {"venv": "a", "target": "b"},
        {"python": sys.executable, "target": "b"},
        {"venv": "a", "python": sys.executable, "target": "b"},
    ],
)
def test_different_places_at_once_are_refused(choice: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^.*target.* name different places; give one of them$"):
        choose_target(TargetChoice(**choice), {}, str(tmp_path))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["venv", "python", "target"])
def test_an_empty_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"^{name} is empty"):
        choose_target(TargetChoice(**{name: ""}), {}, str(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="python is empty"):
        find_python("", {"PATH": str(tmp_path)}, str(tmp_path))


def named(python: str, tmp_path: Path, **environ: str) -> Place:
    return choose_target(TargetChoice(venv="env", python=python), environ, str(tmp_path))


def test_an_environment_is_made_of_the_interpreter_that_is_named(tmp_path: Path) -> None:
    other = other_python("3.12")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3.12").symlink_to(other)
    place = named("3.12", tmp_path, PATH=str(tmp_path / "bin"))
    assert (str(tmp_path / "env"), TargetKind.ENVIRONMENT, False) == (place.root, place.kind, place.exists)
    planned = open_target(place, probe)
    assert planned.purelib == f"{tmp_path}/env/lib/python3.12/site-packages"
    made = make_target(place, probe)
    assert planned == made
    assert probe(f"{tmp_path}/env/bin/python").version == probe(other).version
    assert made.site_directories() == make_target(place, probe).site_directories(), "making it again changes nothing"


def test_an_environment_is_opened_where_it_is_of_the_python_named_and_refused_where_it_is_not(tmp_path: Path) -> None:
    other = other_python("3.12")
    make_target(named(other, tmp_path), probe)
    root = str(tmp_path / "env")
    for same in (other, "./env/bin/python", "3.12", "3", probe(other).version):
        assert root == open_target(named(same, tmp_path), probe).root, same
    for different in (other_python("3.13"), "3.13", "3.1", "2"):
        place = named(different, tmp_path)
        with pytest.raises(TargetError, match=rf"of Python 3\.12\.\d+ .*, not of {re.escape(different)}; name another"):
            open_target(place, probe)
        with pytest.raises(TargetError, match="name another place"):
            make_target(place, probe)
    with pytest.raises(InterpreterError, match="no python9t was found"):
        named("9t", tmp_path)


def test_an_environment_of_conda_is_held_to_the_python_named_as_well(tmp_path: Path) -> None:
    (tmp_path / "env/conda-meta").mkdir(parents=True)
    (tmp_path / "env/bin").mkdir()
    (tmp_path / "env/bin/python").symlink_to(sys.executable)
    own = replace(running(), prefix="/conda", base_prefix="/conda", version="3.12.1")
    with pytest.raises(TargetError, match=r"Python 3\.12\.1 .*, not of 3\.13"):
        open_target(named("3.13", tmp_path), lambda _: own)


def test_an_environment_that_somebody_else_made_meanwhile_of_another_python_is_refused(tmp_path: Path) -> None:
    """It was missing when the wheels were chosen, for a Python that it then is not of."""
    mine, theirs = named(other_python("3.13"), tmp_path), named(other_python("3.12"), tmp_path)
    made = make_target(theirs, probe)
    with pytest.raises(TargetError, match=r"made of Python 3\.12"):
        make_target(mine, probe)
    again = make_target(theirs, probe)
    assert (made.root, made.purelib, made.interpreter.tags) == (again.root, again.purelib, again.interpreter.tags)


def managed(tmp_path: Path, text: str) -> Interpreter:
    (tmp_path / "stdlib").mkdir(exist_ok=True)
    (tmp_path / "stdlib/EXTERNALLY-MANAGED").write_text(text)
    paths = {name: str(tmp_path / "usr" / name) for name in ("purelib", "platlib", "scripts", "data", "headers")}
    return replace(
        running(),
        prefix="/usr",
        base_prefix="/usr",
        externally_managed="Use the package manager.\nSee the manual.",
        scheme={**paths, "stdlib": str(tmp_path / "stdlib")},
    )


def test_an_externally_managed_interpreter_is_refused_unless_told_otherwise(tmp_path: Path) -> None:
    interpreter = managed(tmp_path, "[externally-managed]\nError=Use the package manager.\n")
    place = choose_target(TargetChoice(python=sys.executable), {}, "/")
    with pytest.raises(ExternallyManagedError, match=r"Use the package manager \(PEP 668\); use --venv"):
        open_target(place, lambda _: interpreter)
    forced = choose_target(TargetChoice(python=sys.executable, break_system_packages=True), {}, "/")
    assert str(tmp_path / "usr") == open_target(forced, lambda _: interpreter).root
    (tmp_path / "stdlib/EXTERNALLY-MANAGED").unlink()
    assert TargetKind.PREFIX is open_target(place, lambda _: interpreter).kind


def test_the_systems_own_interpreter_tells_that_it_is_managed() -> None:
    if not any(Path("/usr/lib").glob("python3*/EXTERNALLY-MANAGED")) or not os.path.exists("/usr/bin/python3"):
        pytest.skip("no externally managed interpreter here")
    with pytest.raises(ExternallyManagedError, match="PEP 668"):
        open_target(choose_target(TargetChoice(python="/usr/bin/python3"), {}, "/"), probe)


def test_a_prefix_whose_directories_have_no_parent_in_common_is_refused(tmp_path: Path) -> None:
    interpreter = managed(tmp_path, "")
    scattered = replace(interpreter, scheme={**interpreter.scheme, "scripts": "/opt/bin"})
    forced = choose_target(TargetChoice(python=sys.executable, break_system_packages=True), {}, "/")
    with pytest.raises(TargetError, match="no parent in common"):
        open_target(forced, lambda _: scattered)


def test_an_interpreter_is_found_by_version_and_by_path(tmp_path: Path) -> None:
    (tmp_path / "python3.99").symlink_to(sys.executable)
    environ = {"PATH": str(tmp_path)}
    assert str(tmp_path / "python3.99") == find_python("3.99", environ, "/")
    assert str(tmp_path / "python3.99") == find_python("./python3.99", {}, str(tmp_path))
    with pytest.raises(InterpreterError, match=r"no python3\.98 was found on PATH"):
        find_python("3.98", environ, "/")


def test_a_patch_version_is_found_by_asking_those_that_may_be_of_it(tmp_path: Path) -> None:
    versions = {
        "old/python3.12": "3.12.1",
        "new/python3.12": "3.12.5",
        "new/python": "3.13.0",
        "last/python3": "3.12.9",
    }
    for name in [*versions, "old/python3", "other/python3.12.9"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\x7fELF")
        (tmp_path / name).chmod(0o755)
    environ = {"PATH": os.pathsep.join(["", *(str(tmp_path / name) for name in ("old", "new", "last"))])}

    def asked(executable: str) -> Interpreter:
        name = os.path.relpath(executable, tmp_path)
        if name not in versions:
            raise InterpreterError(executable, "it is Python 3.6.1; 3.9 or newer is needed")
        return replace(running(), version=versions[name])

    for version, name in (("3.12.1", "old/python3.12"), ("3.12.5", "new/python3.12"), ("3.12.9", "last/python3")):
        assert find_python(version, environ, "/", asked) == str(tmp_path / name)
        place = choose_target(TargetChoice(venv=str(tmp_path / "env"), python=version), environ, "/", asked)
        assert place.python == str(tmp_path / name)
    with pytest.raises(InterpreterError) as refused:
        find_python("3.12.2", environ, "/", asked)
    assert refused.value.reason == (
        "no Python 3.12.2 was found on PATH; there is 3.12.1, 3.12.5, 3.13.0, 3.12.9; give the path of the interpreter"
    )


@pytest.mark.parametrize(
    "text", [">=3.12", "==3.12.*", "3.12.*", "3.12,<4", "~=3.12", "3.12.1rc1", "3.1.2.3", "1" * 5000, "x" * 300]
)
def test_a_version_in_a_form_that_is_not_understood_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"^.{,99}; write a version as 3\.12 or 3\.12\.1, a command, or the path of one$"
    ):
        find_python(text, {"PATH": "/nowhere"}, "/")


def test_the_python_of_an_environment_means_the_environment(tmp_path: Path) -> None:
    environment(tmp_path / "env")
    place = choose_target(TargetChoice(python=str(tmp_path / "env/bin/python")), {}, "/")
    opened = open_target(place, probe)
    assert (str(tmp_path / "env"), TargetKind.ENVIRONMENT) == (opened.root, opened.kind)
