"""Wheels in real environments: every scheme, scripts that start, and what other tools make of it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from aiocache_engine.errors import DamagedEntryError, TargetError, UsageError
from aiocache_engine.model.python import InstalledDistribution, LinkMode, Target
from aiocache_engine.model.record import parse_record
from aiocache_engine.pipeline.linking.install import ReadyWheel, prepare_install, recover
from aiocache_engine.python.environment import write_environment
from aiocache_engine.python.installed import archives_in_use, read_installed
from aiocache_engine.python.interpreter import probe
from aiocache_engine.python.target import TargetChoice, choose_target, make_target, open_target
from targets import environment, install, other_python, prober, ready, run, running, snapshot


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return environment(tmp_path / "env")


def everything(cache: Path, **options: object) -> ReadyWheel:
    return ready(
        cache,
        "Odd_Name",
        files={
            "odd/__init__.py": "import sys\ndef main():\n    print('main', *sys.argv[1:])\n    return 3\n",
            "odd/deep/er/data.txt": "deep",
            "odd/tool.sh": "#!/bin/sh\n",
            "single.py": "class Group:\n    @staticmethod\n    def run():\n        print('nested')\n",
        },
        data={
            "purelib": {"pure.py": "where = __file__\n"},
            "platlib": {"plat/x.py": ""},
            "scripts": {
                "script": "#!python -E\nimport sys; print('script', sys.prefix)\n",
                "window": "#!pythonw\nprint('window')\n",
                "native": "#!/bin/sh\necho native\n",
            },
            "headers": {"odd.h": "#define ODD\n"},
            "data": {"share/odd/read me, please.txt": "comma"},
        },
        entry_points={"console_scripts": {"odd": "odd:main", "nested": "single:Group.run"}, "other": {"x": "y"}},
        executables=["odd/tool.sh"],
        **options,
    )


def record_of(target: Target, dist_info: str) -> dict[str, tuple[str, int | None]]:
    text = Path(target.purelib, dist_info, "RECORD").read_text()
    return {row.path: (row.hash, row.size_bytes) for row in parse_record(text)}


def test_every_scheme_is_spread_and_every_script_starts(cache: Path, target: Target) -> None:
    outcome = install(target, everything(cache))
    root = Path(target.root)
    site = Path(target.purelib)
    assert (root / "share/odd/read me, please.txt").read_text() == "comma"
    assert (root / f"include/site/python{sys.version_info[0]}.{sys.version_info[1]}/odd-name/odd.h").is_file()
    assert f"script {root}\n" == run(root / "bin/script")
    assert run(root / "bin/window") == "window\n"
    assert run(root / "bin/native") == "native\n"
    assert run(root / "bin/odd", "a", "b", check=False) == "main a b\n"
    assert run(root / "bin/nested") == "nested\n"
    assert f"{site}/pure.py\n" == run(root / "bin/python", "-c", "import pure, plat.x; print(pure.where)")
    assert (site / "odd/tool.sh").stat().st_mode & 0o777 == 0o755
    assert (site / "odd/__init__.py").stat().st_mode & 0o777 == 0o644
    assert (root / "bin/odd").stat().st_mode & 0o777 == 0o755
    assert not list(root.rglob("*.data"))
    assert LinkMode.HARDLINK is outcome.link_mode
    assert len(record_of(target, "Odd_Name-1.0.dist-info")) == outcome.file_count


def test_the_exit_code_of_a_function_is_that_of_its_script(cache: Path, target: Target) -> None:
    install(target, everything(cache))
    with pytest.raises(AssertionError):
        run(Path(target.scripts, "odd"))


def test_record_tells_hash_and_size_of_every_file_that_was_put_in(cache: Path, target: Target) -> None:
    before = set(snapshot(target.root))
    install(target, everything(cache, direct_url='{"url": "file:///x", "archive_info": {}}'))
    import base64  # noqa: PLC0415
    import hashlib  # noqa: PLC0415

    listed = {}
    for path, (digest, size) in record_of(target, "Odd_Name-1.0.dist-info").items():
        place = os.path.normpath(os.path.join(target.purelib, path))
        listed[os.path.relpath(place, target.root)] = digest
        if path.endswith("/RECORD"):
            continue
        content = Path(place).read_bytes()
        expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        assert (f"sha256={expected}", len(content)) == (digest, size)
    new = {path for path, (kind, _) in snapshot(target.root).items() if kind != "directory"} - before
    assert new == set(listed)


def test_the_dist_info_says_who_installed_what_and_from_where(cache: Path, target: Target) -> None:
    url = '{"url": "file:///x.whl", "archive_info": {}}'
    wheel = everything(cache, direct_url=url, requested=True)
    other = ready(cache, "other", requested=False)
    install(target, wheel, other)
    info = Path(target.purelib, "Odd_Name-1.0.dist-info")
    assert (info / "INSTALLER").read_text() == "aioc\n"
    assert (info / "REQUESTED").read_text() == ""
    assert url == (info / "direct_url.json").read_text()
    assert {"format": 1, "archive": wheel.archive_id, "link_mode": "hardlink"} == json.loads(
        (info / "aioc.json").read_text()
    )
    assert not Path(target.purelib, "other-1.0.dist-info/REQUESTED").exists()
    assert [
        ("odd-name", "1.0", wheel.archive_id, "hardlink"),
        ("other", "1.0", other.archive_id, "hardlink"),
    ] == [
        (one.project, one.version, one.archive_id, one.link_mode) for one in read_installed(target.site_directories())
    ]
    assert {wheel.archive_id: "hardlink", other.archive_id: "hardlink"} == archives_in_use(
        target.site_directories(), target.root
    )


def test_what_a_wheel_says_about_its_own_installation_is_left_out(cache: Path, target: Target) -> None:
    files = {"liar.py": "", **{f"liar-1.0.dist-info/{name}": "lie" for name in ("INSTALLER", "REQUESTED", "aioc.json")}}
    install(target, ready(cache, "liar", files=files, requested=False))
    info = Path(target.purelib, "liar-1.0.dist-info")
    assert (info / "INSTALLER").read_text() == "aioc\n"
    assert not (info / "REQUESTED").exists()
    paths = [row.path for row in parse_record((info / "RECORD").read_text())]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_another_tool_checks_and_removes_everything(tool: str, cache: Path, target: Target, tmp_path: Path) -> None:
    def files() -> set[str]:
        return {path for path, (kind, _) in snapshot(target.root).items() if kind != "directory"}

    before = files()
    install(target, everything(cache), ready(cache, "requires-it", requires=["odd-name>=1"]))
    python = Path(target.scripts, "python")
    run(python, "-c", "import odd, pure, single, plat.x")
    names = ["odd-name", "requires-it"]
    environ = {**os.environ, "UV_CACHE_DIR": str(tmp_path / "uv"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if tool == "pip":
        pip = [sys.executable, "-m", "pip", "--python", str(python)]
        assert "No broken requirements" in run(*pip, "check", environ=environ)
        run(*pip, "uninstall", "-y", *names, environ=environ)
    else:
        uv = os.path.join(os.path.dirname(sys.executable), "uv")
        if not os.path.exists(uv):
            pytest.skip("uv is not installed beside the tests")
        run(uv, "pip", "check", "--python", python, environ=environ)
        run(uv, "pip", "uninstall", "--python", python, *names, environ=environ)
    left = {path for path in files() - before if not path.endswith(".pyc") and not path.endswith(".lock")}
    assert set() == left
    assert read_installed(target.site_directories()) == []


def test_an_upgrade_leaves_nothing_of_the_old_version(cache: Path, target: Target) -> None:
    fresh = environment(Path(target.root).parent / "fresh")
    new = ready(cache, "odd_name", "2.0", files={"odd/__init__.py": "version = 2\n", "odd/new.py": ""})
    install(fresh, new)
    old = everything(cache)
    install(target, old)
    run(Path(target.scripts, "python"), "-c", "import odd, pure, single, plat.x")
    outcome = install(target, new)
    assert [(one.project, one.version) for one in outcome.removed] == [("odd-name", "1.0")]
    assert [new.archive_id] == [wheel.archive_id for wheel in outcome.installed]
    assert files_below(fresh) == files_below(target)


def files_below(target: Target) -> dict[str, object]:
    return {
        path: value
        for path, value in snapshot(target.root).items()
        if "ctivate" not in path and value[0] != "directory"
    }


def test_an_old_modules_bytecode_never_serves_the_new_one(cache: Path, target: Target) -> None:
    old = ready(cache, "same", "1.0", files={"same.py": "value = 1\n"})
    new = ready(cache, "same", "2.0", files={"same.py": "value = 2\n"})
    for wheel in (old, new):  # equal size and time: the bytecode of the one fits the other
        os.utime(os.path.join(wheel.tree, "same.py"), ns=(10**18, 10**18))
    python = Path(target.scripts, "python")
    writing = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    install(target, old)
    assert run(python, "-c", "import same; print(same.value)", environ=writing) == "1\n"
    assert os.listdir(Path(target.purelib, "__pycache__"))
    install(target, new)
    assert run(python, "-c", "import same; print(same.value)", environ=writing) == "2\n"


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_what_another_tool_installed_is_replaced_through_its_record(
    tool: str, cache: Path, target: Target, tmp_path: Path
) -> None:
    wheel = everything(cache)
    path = next((cache / "wheels").glob("*.whl"))
    environ = {**os.environ, "UV_CACHE_DIR": str(tmp_path / "uv"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    python = str(Path(target.scripts, "python"))
    if tool == "pip":
        run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", path, environ=environ)
    else:
        uv = os.path.join(os.path.dirname(sys.executable), "uv")
        if not os.path.exists(uv):
            pytest.skip("uv is not installed beside the tests")
        run(uv, "pip", "install", "--offline", "--python", python, path, environ=environ)
    found = read_installed(target.site_directories())
    assert [(x.project, x.version, x.archive_id, x.link_mode) for x in found] == [("odd-name", "1.0", None, None)]
    assert [wheel.archive_id] == [one.archive_id for one in install(target, wheel).unchanged]
    new = ready(cache, "odd_name", "2.0", files={"odd/__init__.py": ""})
    install(target, new)
    fresh = environment(tmp_path / "fresh")
    install(fresh, new)
    assert files_below(fresh) == {k: v for k, v in files_below(target).items() if not k.endswith(".lock")}


def test_a_reinstall_mends_a_file_that_was_changed_and_removed(cache: Path, target: Target) -> None:
    wheel = everything(cache)
    install(target, wheel, link_mode=LinkMode.COPY)
    before = snapshot(target.root)
    Path(target.purelib, "single.py").write_text("broken")
    Path(target.purelib, "odd/__init__.py").unlink()
    assert len(install(target, wheel, link_mode=LinkMode.COPY).unchanged) == 1
    install(target, wheel, reinstall=True, link_mode=LinkMode.COPY)
    assert before == snapshot(target.root)


def test_an_installation_without_record_is_refused_and_left_alone(cache: Path, target: Target) -> None:
    egg = Path(target.purelib, "odd_name-0.9-py3.11.egg-info")
    egg.write_text("Metadata-Version: 1.0\nName: odd-name\nVersion: 0.9\n")
    before = snapshot(target.root)
    with pytest.raises(TargetError, match=r"odd-name 0\.9 was installed without a RECORD"):
        install(target, everything(cache))
    assert before == snapshot(target.root)


def test_a_plain_directory_takes_modules_scripts_and_data(cache: Path, tmp_path: Path) -> None:
    place = choose_target(TargetChoice(target=str(tmp_path / "lib")), {}, "/")
    target = make_target(place, prober)
    install(target, everything(cache))
    assert (
        run(tmp_path / "lib/bin/odd", "x", environ={**os.environ, "PYTHONPATH": str(tmp_path / "lib")}, check=False)
        == "main x\n"
    )
    for path in ("odd/__init__.py", "pure.py", "plat/x.py", "include/odd-name/odd.h", "bin/native"):
        assert (tmp_path / "lib" / path).is_file()
    assert {"odd-name"} == {one.project for one in read_installed(target.site_directories())}
    empty = ready(cache, "odd_name", "2", files={"odd.py": ""})
    install(target, empty)
    assert {"odd.py", "odd_name-2.dist-info"} == set(os.listdir(tmp_path / "lib"))


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_supported_interpreter_runs_what_was_installed(version: str, cache: Path, tmp_path: Path) -> None:
    write_environment(str(tmp_path / "env"), probe(other_python(version)))
    target = open_target(choose_target(TargetChoice(venv=str(tmp_path / "env")), {}, "/"), probe)
    install(target, everything(cache))
    assert run(tmp_path / "env/bin/nested") == "nested\n"
    assert f"script {tmp_path}/env\n" == run(tmp_path / "env/bin/script")


@pytest.mark.parametrize("name", ["with blank", "l" * 120])
def test_scripts_start_from_a_path_that_the_kernel_cannot_read_in_a_first_line(
    name: str, cache: Path, tmp_path: Path
) -> None:
    target = environment(tmp_path / name)
    install(target, everything(cache))
    assert run(Path(target.scripts, "odd"), "1", "2", check=False) == "main 1 2\n"
    assert f"script {target.root}\n" == run(Path(target.scripts, "script"))


def test_a_path_that_no_script_can_name_is_refused_before_anything_changes(cache: Path, tmp_path: Path) -> None:
    target = environment(tmp_path / 'a "quoted" $name')
    before = snapshot(target.root)
    with pytest.raises(TargetError, match="no script can be made"):
        install(target, everything(cache))
    assert before == snapshot(target.root)


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY, LinkMode.SYMLINK])
def test_a_link_mode_that_was_asked_for_is_used_and_told(mode: LinkMode, cache: Path, target: Target) -> None:
    wheel = everything(cache)
    assert mode is install(target, wheel, link_mode=mode).link_mode
    there, here = Path(wheel.tree, "single.py"), Path(target.purelib, "single.py")
    assert (mode is LinkMode.HARDLINK) == (here.lstat().st_ino == there.stat().st_ino)
    assert (mode is LinkMode.SYMLINK) == here.is_symlink()
    assert there.read_bytes() == here.read_bytes()
    assert there.stat().st_mtime_ns == here.stat().st_mtime_ns
    assert {wheel.archive_id: mode.value} == archives_in_use(target.site_directories(), target.root)
    assert run(Path(target.scripts, "nested")) == "nested\n"
    assert f"script {target.root}\n" == run(Path(target.scripts, "script"))
    assert os.access(Path(target.scripts, "native"), os.X_OK)


def test_linking_changes_no_file_of_the_cache(cache: Path, target: Target) -> None:
    wheel = everything(cache)

    def state() -> dict[str, tuple[int, int, int, int]]:
        stats = {str(path): path.lstat() for path in Path(wheel.tree).rglob("*")}
        return {path: (s.st_ino, s.st_mode, s.st_mtime_ns, s.st_size) for path, s in stats.items()}

    before = state()
    install(target, wheel)
    install(target, wheel, reinstall=True)
    install(target, ready(cache, "odd_name", "2"))
    assert before == state()


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY])
def test_a_file_that_the_cache_lost_is_named_and_the_target_stays_as_it_was(
    mode: LinkMode, cache: Path, target: Target
) -> None:
    wheel = everything(cache)
    Path(wheel.tree, "odd/deep/er/data.txt").unlink()
    before = snapshot(target.root)
    with pytest.raises(DamagedEntryError, match=r"data\.txt: the file is missing from the cache"):
        install(target, wheel, link_mode=mode)
    assert before == snapshot(target.root)


def test_a_big_set_is_shared_between_two_threads_and_complete(cache: Path, target: Target) -> None:
    wheels = [ready(cache, f"many{number}", file_count=900) for number in range(3)]
    outcome = install(target, *wheels)
    for wheel in wheels:
        for directory in wheel.manifest.directories:
            assert set(directory.names) <= set(os.listdir(Path(target.purelib, directory.path)))
    assert outcome.file_count > 2700


def test_preparing_changes_nothing_and_tells_what_would_be_used(cache: Path, target: Target) -> None:
    old, new, other = everything(cache), ready(cache, "odd_name", "2"), ready(cache, "other")
    install(target, old, other)
    before = snapshot(target.root)
    installed = read_installed(target.site_directories())
    prepared = prepare_install(target, [new, other], installed, reinstall=False, link_mode=LinkMode.AUTO)
    assert before == snapshot(target.root)
    assert {old.archive_id, other.archive_id} == prepared.archives_before
    assert {new.archive_id, other.archive_id} == prepared.archives_after
    assert [other] == list(prepared.unchanged)
    assert not prepared.is_empty
    assert prepare_install(target, [old], installed, reinstall=False, link_mode=LinkMode.AUTO).is_empty


def test_a_project_named_twice_and_a_target_that_is_gone_are_refused(cache: Path, target: Target) -> None:
    with pytest.raises(UsageError, match="odd-name is asked for twice"):
        install(target, everything(cache), ready(cache, "odd-name", "2"))
    os.rename(target.root, target.root + "-moved")
    with pytest.raises(TargetError, match="no such directory"):
        install(target, everything(cache))


def test_recovering_where_nothing_happened_does_nothing(target: Target) -> None:
    before = snapshot(target.root)
    recover(target)
    assert before == snapshot(target.root)


def test_the_running_interpreters_facts_are_of_the_environment(target: Target) -> None:
    assert Path(target.scripts, "python") == Path(target.interpreter.executable)
    assert running().tags == target.interpreter.tags


def test_a_hostile_record_removes_nothing_outside_the_environment(cache: Path, target: Target, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/precious").write_text("")
    site = Path(target.purelib)
    (site / "way").symlink_to(tmp_path / "elsewhere")
    info = site / "evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "RECORD").write_text(
        f"../../../../precious,,\n{tmp_path}/precious,,\nway/precious,,\n{target.root}/../precious,,\n"
        "evil-1.0.dist-info/../../../../../precious,,\nevil-1.0.dist-info/METADATA,,\nevil-1.0.dist-info/RECORD,,\n"
    )
    found = InstalledDistribution("evil", "1.0", str(info), None, None)
    assert [found] == read_installed(target.site_directories())
    outcome = install(target, ready(cache, "evil", "2.0"))
    assert (tmp_path / "precious").exists()
    assert (tmp_path / "elsewhere/precious").exists()
    assert not info.exists()
    assert len(outcome.warnings) == 5, outcome.warnings
