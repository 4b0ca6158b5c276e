"""Bytecode once: what comes with a wheel, that Python takes it, and that it is never that of another source."""

from __future__ import annotations

import importlib.util
import marshal
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from anyio import create_task_group, to_thread

from aiocache_engine.engine import CacheEngine, engine_over
from aiocache_engine.model.python import LinkMode
from aiocache_engine.model.record import parse_record
from aiocache_engine.pipeline.bytecode import Bytecoder
from aiocache_engine.pipeline.kit import open_kit
from aiocache_engine.python.target import TargetChoice
from aiocache_engine.report import Reporter
from aiocache_engine.testing.invariants import assert_environment_sound, assert_sound, untouched
from caches import Place
from targets import other_python, run, snapshot

TAG = sys.implementation.cache_tag
FILES = {
    "tiny/__init__.py": "from tiny.inner import answer\n",
    "tiny/inner/__init__.py": "answer = 42\n",
    "tiny/inner/fails.py": "def fail():\n    raise RuntimeError('on purpose')\n",
    "tiny/data.txt": "not compiled",
    "top.py": "here = __file__\n",
}


class Told(Reporter):
    """Keeps what a person would be told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def warns(self, text: str) -> None:
        self.told.append(text)

    def uncompiled(self, distribution: str, reason: str) -> None:
        self.told.append(f"{distribution}: {reason}")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def site(root: Path) -> Path:
    return next(root.glob("lib/python*/site-packages"))


def pycs(root: Path) -> set[str]:
    """Every .pyc below a directory, relative to it."""
    return {str(path.relative_to(root)) for path in root.rglob("*.pyc")}


def header(pyc: Path) -> tuple[bytes, int, int, int]:
    """Magic number, flags, time and size of the source, as a .pyc tells them (PEP 552)."""
    content = pyc.read_bytes()
    flags, time, size = (int.from_bytes(content[start : start + 4], "little") for start in (4, 8, 12))
    return content[:4], flags, time, size


def expected(source: Path) -> tuple[bytes, int, int, int]:
    status = source.stat()
    return importlib.util.MAGIC_NUMBER, 0, int(status.st_mtime), status.st_size


def source_of(pyc: Path) -> Path:
    return Path(importlib.util.source_from_cache(str(pyc)))


def kept(place: Place) -> Path:
    """The one directory of bytecode in the cache."""
    (archive,) = (place.cache / "bytecode-v1").iterdir()
    (digest,) = archive.iterdir()
    return digest


def complaints(*command: str | Path) -> str:
    """Run a command, and give what it wrote on stderr."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environ).stderr


def identity(root: Path) -> dict[str, tuple[int, int]]:
    return {name: ((root / name).stat().st_ino, (root / name).stat().st_mtime_ns) for name in pycs(root)}


async def test_every_module_comes_with_its_bytecode_and_nothing_else_is_added(place: Place) -> None:
    place.wheel(files=FILES, data={"purelib": {"pure.py": "x = 1\n"}, "data": {"share/doc.py": "y = 1\n"}})
    plain = await place.install("plain", "tiny", compile=False)
    root = await place.install("env", "tiny")
    before, after = (set(snapshot(each, without=("bin",))) for each in (plain, root))
    lib = site(root).relative_to(root)
    modules = ("tiny/{}__init__", "tiny/inner/{}__init__", "tiny/inner/{}fails", "{}top", "{}pure")
    added = {f"{lib}/{module.format('__pycache__/')}.{TAG}.pyc" for module in modules}
    directories = {f"{lib}/{directory}__pycache__" for directory in ("", "tiny/", "tiny/inner/")}
    assert added | directories == after - before
    assert set() == before - after
    assert pycs(plain) == set()


async def test_record_lists_bytecode_without_hash_and_size(place: Place) -> None:
    place.wheel(files=FILES)
    root = await place.install("env", "tiny")
    rows = parse_record((site(root) / "tiny-1.0.dist-info/RECORD").read_text())
    listed = {row.path: (row.hash, row.size_bytes) for row in rows if row.path.endswith(".pyc")}
    assert dict.fromkeys(pycs(site(root)), ("", None)) == listed
    assert_environment_sound(root)


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY, LinkMode.SYMLINK, LinkMode.AUTO])
async def test_every_header_names_the_time_and_size_of_the_source_beside_it(place: Place, mode: LinkMode) -> None:
    place.wheel(files=FILES)
    root = await place.install("env", "tiny", mode=mode)
    found = sorted(root.rglob("*.pyc"))
    assert len(found) == 4
    assert [expected(source_of(pyc)) for pyc in found] == [header(pyc) for pyc in found]
    assert {mode is LinkMode.SYMLINK} == {pyc.is_symlink() for pyc in found}


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY, LinkMode.SYMLINK])
async def test_python_takes_the_bytecode_and_writes_none(place: Place, mode: LinkMode) -> None:
    place.wheel(files=FILES)
    root = await place.install("env", "tiny", mode=mode)
    before = identity(root)
    told = complaints(root / "bin/python", "-v", "-c", "import tiny.inner.fails, top")
    for name in ("tiny/__pycache__/__init__", "tiny/inner/__pycache__/fails", "__pycache__/top"):
        assert f"# code object from '{site(root)}/{name}.{TAG}.pyc'" in told
    assert f"# wrote '{root}" not in told
    assert before == identity(root)


async def test_what_python_compiles_over_it_leaves_the_cache_alone(place: Place) -> None:
    place.wheel(files=FILES)
    root = await place.install("env", "tiny")
    cached = kept(place) / f"tree/top.{TAG}.pyc"
    content = cached.read_bytes()
    run(root / "bin/python", "-m", "compileall", "-q", "-f", site(root) / "top.py")
    assert content == cached.read_bytes()
    assert cached.stat().st_ino != (site(root) / f"__pycache__/top.{TAG}.pyc").stat().st_ino


async def test_a_traceback_names_the_file_in_the_environment(place: Place) -> None:
    place.wheel(files=FILES)
    root = await place.install("env", "tiny")
    script = (
        "import tiny.inner.fails, traceback\ntry: tiny.inner.fails.fail()\nexcept RuntimeError: traceback.print_exc()"
    )
    told = complaints(root / "bin/python", "-c", script)
    assert f'File "{site(root)}/tiny/inner/fails.py", line 2, in fail\n    raise RuntimeError' in told


async def test_what_goes_into_bytecode_does_not_depend_on_where_the_cache_is(tmp_path: Path) -> None:
    contents = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        place = Place(tmp_path / name)
        place.wheel(files=FILES)
        await place.install("env", "tiny")
        contents.append((kept(place) / f"tree/tiny/inner/fails.{TAG}.pyc").read_bytes()[16:])
    assert contents[0] == contents[1]


async def test_an_archive_is_compiled_once_for_all_environments(place: Place) -> None:
    place.wheel(files=FILES)
    first = await place.install("first", "tiny")
    before = kept(place).stat().st_ino
    second = await place.install("second", "tiny")
    assert kept(place).stat().st_ino == before
    assert identity(first) == identity(second)  # the very same files


async def test_interpreters_of_other_versions_get_bytecode_of_their_own(place: Place, other_interpreter: str) -> None:
    place.wheel(files=FILES)
    await place.install("env", "tiny")
    run(other_interpreter, "-m", "venv", "--without-pip", place.root / "other")
    root = await place.install("other", "tiny")
    tag = run(root / "bin/python", "-c", "import sys; print(sys.implementation.cache_tag)").strip()
    assert {f"{tag}.pyc"} == {name.partition(".")[2] for name in pycs(site(root))}
    (archive,) = (place.cache / "bytecode-v1").iterdir()
    assert len(list(archive.iterdir())) == 2
    before = identity(root)
    run(root / "bin/python", "-c", "import tiny, top")
    assert before == identity(root)


@pytest.fixture
def other_interpreter() -> str:
    return other_python("3.12" if sys.version_info[:2] != (3, 12) else "3.11")


@pytest.mark.parametrize("installer", ["pip", "uv"])
async def test_other_installers_uninstall_it_wholly(place: Place, installer: str) -> None:
    place.wheel(files=FILES)
    empty = await place.install("empty")
    root = await place.install("env", "tiny")
    run(root / "bin/python", "-c", "import tiny, top")
    if installer == "pip":
        run(sys.executable, "-m", "pip", "--python", root / "bin/python", "uninstall", "-y", "-q", "tiny")
    else:
        program = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if program is None:
            pytest.skip("uv is not there")
        cache = place.root / "uv"
        run(program, "pip", "uninstall", "--no-config", "--cache-dir", cache, "-p", root / "bin/python", "tiny")
    left, before = (set(snapshot(each, without=("bin",))) for each in (root, empty))
    assert {str(site(empty).relative_to(empty)), "aioc.json", ".lock"} >= left ^ before  # pip removes what is empty


async def test_an_upgrade_takes_the_old_bytecode_with_it_and_brings_the_new(place: Place) -> None:
    place.wheel(files={"tiny.py": "old = 1\n", "gone.py": ""})
    place.wheel(version="2.0", files={"tiny.py": "new = 2\n", "come.py": ""})
    root = await place.install("env", "tiny==1.0")
    run(root / "bin/python", "-c", "import tiny, gone")
    await place.install("env", "tiny==2.0")
    assert {f"__pycache__/{name}.{TAG}.pyc" for name in ("tiny", "come")} == pycs(site(root))
    assert run(root / "bin/python", "-c", "import tiny; print(tiny.new)") == "2\n"
    for pyc in root.rglob("*.pyc"):
        assert expected(source_of(pyc)) == header(pyc)
    assert_environment_sound(root)


async def test_an_edit_in_the_second_of_the_cold_installation_counts_even_at_the_same_size(place: Place) -> None:
    place.wheel(files={"tiny.py": "x = 1\n"})
    began = int(time.time())
    root = await place.install("env", "tiny")
    module = site(root) / "tiny.py"
    module.unlink()  # as editors do: the cache's file stays what it was
    module.write_text("x = 2\n")
    for second in range(began, int(time.time()) + 1):
        os.utime(module, (second, second))
        assert run(root / "bin/python", "-B", "-c", "import tiny; print(tiny.x)") == "2\n"


async def test_modules_of_two_versions_differ_in_time_though_both_were_unpacked_at_once(place: Place) -> None:
    for version in ("1.0", "2.0"):
        place.wheel(version=version, files={"tiny.py": f"x = {version}\n"})
    await place.fetch("tiny==1.0")
    await place.fetch("tiny==2.0")
    modules = list((place.cache / "archives-v1").glob("*/tree/tiny.py"))
    times = {int(module.stat().st_mtime) for module in modules}
    assert len(modules) == len(times) == 2
    assert max(times) < min(int(module.stat().st_ctime) for module in modules)


async def test_bytecode_that_python_wrote_itself_makes_room(place: Place) -> None:
    place.wheel(files=FILES)
    root = await place.install("env", "tiny", compile=False)
    run(root / "bin/python", "-c", "import tiny, top")
    written = identity(root)
    async with place.engine() as engine:
        report = await engine.install(["tiny"], target=TargetChoice(venv=str(root)), reinstall=True)
    assert report.warnings == ()
    assert set(written) < set(identity(root))
    assert not set(written.values()) & set(identity(root).values())


async def test_a_module_path_of_two_wheels_gets_the_bytecode_of_the_module_in_place(place: Place) -> None:
    place.wheel("aaa", files={"shared.py": "owner = 'aaa'\n", "aaa.py": ""})
    place.wheel("zzz", files={"shared.py": "owner = 'z'\n", "zzz.py": ""})
    place.wheel("mmm", files={"shared.py": "owner = 'z'\n", "mmm.py": ""})
    root = await place.install("env", "aaa", "zzz")
    shared = site(root) / f"__pycache__/shared.{TAG}.pyc"
    assert expected(site(root) / "shared.py") == header(shared)
    assert run(root / "bin/python", "-c", "import shared; print(shared.owner)") == "z\n"
    before = identity(root)
    await place.install("env", "mmm")  # brings the same bytes, from another time: what is there stays, with its own
    assert before.items() <= identity(root).items()
    assert expected(site(root) / "shared.py") == header(shared)


async def test_a_module_that_was_there_before_gets_no_bytecode_of_another_time(place: Place) -> None:
    place.wheel("zzz", files={"shared.py": "owner = 'z'\n", "zzz.py": ""})
    place.wheel("mmm", files={"shared.py": "owner = 'z'\n", "mmm.py": ""})
    root = await place.install("env", "zzz", compile=False)
    await place.install("env", "mmm")
    assert pycs(site(root)) == {f"__pycache__/mmm.{TAG}.pyc"}


async def test_bytecode_that_a_wheel_brings_itself_does_not_win(place: Place) -> None:
    pyc = foreign("foreign")
    files = {
        "tiny.py": "answer = 'own'\n",
        f"__pycache__/tiny.{TAG}.pyc": pyc,
        "__pycache__/tiny.other-9.pyc": b"x",
    }
    place.wheel(files=files)
    place.wheel("other", files={"other.py": "", f"__pycache__/tiny.{TAG}.pyc": pyc + b"?"})
    root = await place.install("env", "tiny", "other")
    assert run(root / "bin/python", "-c", "import tiny; print(tiny.answer)") == "own\n"
    assert expected(site(root) / "tiny.py") == header(site(root) / f"__pycache__/tiny.{TAG}.pyc")
    assert (site(root) / "__pycache__/tiny.other-9.pyc").read_bytes() == b"x"
    paths = [row.path for row in parse_record((site(root) / "tiny-1.0.dist-info/RECORD").read_text())]
    assert len(set(paths)) == len(paths)


def foreign(answer: str) -> bytes:
    """Bytecode that Python believes unchecked, whatever the source says."""
    code = marshal.dumps(compile(f"answer = {answer!r}", "x", "exec"))
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + code


@pytest.mark.parametrize("compiles", [True, False], ids=["compiled", "not compiled"])
async def test_a_wheel_brings_no_bytecode_for_the_module_of_another_one(place: Place, *, compiles: bool) -> None:
    module = {"tiny/tiny.py": "answer = 'own'\n"}
    pyc = f"tiny/__pycache__/tiny.{TAG}.pyc"
    place.wheel(files=module)
    place.wheel("later", files={"later.py": "", pyc: foreign("later")})
    place.wheel("alike", files={**module, pyc: foreign("alike")})
    before = await place.install("env", "tiny", compile=compiles)
    there = {path: written for path, written in identity(before).items() if path.endswith(pyc)}
    root = before
    for name in ("later", "alike"):
        async with place.engine() as engine:
            report = await engine.install([name], target=TargetChoice(venv=str(root)), compile=compiles)
        assert report.warnings == ()
        assert {path: written for path, written in identity(root).items() if path.endswith(pyc)} == there
    assert len(there) == compiles
    assert run(root / "bin/python", "-B", "-c", "from tiny import tiny; print(tiny.answer)") == "own\n"
    together = await place.install("together", "tiny", "later", compile=compiles)
    assert run(together / "bin/python", "-B", "-c", "from tiny import tiny; print(tiny.answer)") == "own\n"


async def test_the_bytecode_that_a_wheel_brings_for_its_own_module_is_installed_where_nothing_is_compiled(
    place: Place,
) -> None:
    place.wheel(files={"tiny.py": "answer = 'own'\n", f"__pycache__/tiny.{TAG}.pyc": foreign("brought")})
    root = await place.install("env", "tiny", compile=False)
    assert run(root / "bin/python", "-B", "-c", "import tiny; print(tiny.answer)") == "brought\n"


async def test_the_bytecode_of_a_wheel_never_outgrows_its_sources_by_far(place: Place) -> None:
    constants = [f"'{number:03}' * 1300" for number in range(200)]
    bomb = f"x = ({', '.join(constants)})\n"  # 3 kB that become 800
    sources = {f"bomb{number}.py": bomb for number in range(20)}
    place.wheel(files={**sources, "tiny.py": "x = 1\n"})
    root = await place.install("env", "tiny")
    size_bytes = sum(path.stat().st_size for path in (kept(place) / "tree").iterdir())
    assert size_bytes < 22 * sum(map(len, sources.values())) + 1_100_000
    assert f"__pycache__/tiny.{TAG}.pyc" in pycs(site(root))
    assert run(root / "bin/python", "-c", "import bomb19; print(len(bomb19.x))") == "200\n"


async def test_what_is_no_module_of_this_python_is_skipped_silently_and_not_tried_again(place: Place) -> None:
    bad = {"old.py": "print 'python 2'\n", "template.py": "{{ name }} = {% if %}\n", "null.py": b"x = 1\0\n"}
    coded = {
        "strange.py": b"# coding: no-such-coding\n",
        "latin.py": b"x = '\xff'\n",
        "deep.py": "(" * 5000 + ")" * 5000,
    }
    place.wheel(files={"good.py": "", **bad, **coded})
    reporter = Told()
    inodes = []
    async with CacheEngine(place.cache, config=place.config(), reporter=reporter) as engine:
        for name in ("first", "second"):
            await engine.install(["tiny"], target=TargetChoice(venv=str(place.root / name)))
            inodes.append(kept(place).stat().st_ino)
    assert pycs(site(place.root / "second")) == {f"__pycache__/good.{TAG}.pyc"}
    assert inodes[0] == inodes[1]
    assert reporter.told == []


async def test_a_wheel_without_modules_has_no_bytecode(place: Place) -> None:
    place.wheel(files={"tiny/data.txt": "x"})
    await place.install("env", "tiny")
    assert not list((place.cache / "bytecode-v1").glob("*/*"))


async def test_bytecode_that_lacks_a_file_is_made_again_and_the_install_goes_on(place: Place) -> None:
    place.wheel(files=FILES)
    await place.install("first", "tiny")
    before = kept(place).stat().st_ino
    (kept(place) / f"tree/tiny/inner/fails.{TAG}.pyc").unlink()
    root = await place.install("second", "tiny")
    assert len(pycs(root)) == 4
    assert kept(place).stat().st_ino != before


@pytest.mark.parametrize("damage", ["manifest", "missing", "boot", "time"])
async def test_bytecode_that_cannot_be_relied_on_is_made_again(place: Place, damage: str) -> None:
    place.wheel(files=FILES)
    await place.install("first", "tiny")
    before = kept(place)
    inode = before.stat().st_ino
    manifest = before / "manifest"
    if damage == "manifest":
        manifest.write_bytes(manifest.read_bytes().replace(b"fails", b"false"))
    elif damage == "missing":
        manifest.unlink()
    elif damage == "boot":  # files are looked at once after a reboot
        lines = manifest.read_bytes().split(b"\n")
        manifest.write_bytes(b"\n".join([*lines[:3], b"another boot"]))
        (before / f"tree/top.{TAG}.pyc").write_bytes(b"short")
    else:  # a copy of the cache dir that lost its times
        for source in place.cache.glob("archives-v1/*/tree/**/*.py"):
            os.utime(source, (1_000_000_000, 1_000_000_000))
    root = await place.install("second", "tiny")
    assert kept(place).stat().st_ino != inode
    assert len(pycs(root)) == 4
    assert [expected(source_of(pyc)) for pyc in root.rglob("*.pyc")] == [header(pyc) for pyc in root.rglob("*.pyc")]


async def test_after_a_reboot_whole_bytecode_is_used_on_and_looked_at_once(place: Place) -> None:
    place.wheel(files=FILES)
    await place.install("first", "tiny")
    manifest = kept(place) / "manifest"
    before = manifest.read_bytes()
    manifest.write_bytes(b"\n".join([*before.split(b"\n")[:3], b"another boot, with a longer id than any machine has"]))
    inode = kept(place).stat().st_ino
    await place.install("second", "tiny")
    assert (kept(place).stat().st_ino, manifest.read_bytes()) == (inode, before)


async def test_what_other_threads_may_begin_is_looked_through_and_changed_under_the_mutex_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that comes between two changes cannot be arranged, so each change and each walk is asked."""
    guarded: list[Guarded] = []
    make = Bytecoder.__init__

    def make_guarded(self: Bytecoder, *given: Any) -> None:
        make(self, *given)
        self._known, self._under_way = Guarded(self._mutex), Guarded(self._mutex)
        guarded.extend((self._known, self._under_way))

    monkeypatch.setattr(Bytecoder, "__init__", make_guarded)
    place.wheel(files=FILES)
    root = await place.install("env", "tiny")
    assert len(pycs(root)) == 4
    next(kept(place).rglob("*.pyc")).unlink()
    await place.install("again", "tiny")
    assert sum(each.change_count for each in guarded) >= 5
    assert [each.free_count for each in guarded] == [0] * 4


class Guarded(dict[str, Any]):
    """Counts what is done to it, and what of it while the mutex was free."""

    def __init__(self, mutex: threading.Lock) -> None:
        super().__init__()
        self._mutex = mutex
        self.change_count = self.free_count = 0

    def _note(self) -> None:
        self.change_count += 1
        self.free_count += not self._mutex.locked()

    def __setitem__(self, key: str, value: Any) -> None:
        self._note()
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self._note()
        super().__delitem__(key)

    def clear(self) -> None:
        self._note()
        super().clear()

    def values(self) -> Any:
        self._note()
        return super().values()


async def test_two_who_compile_the_same_at_once_do_not_disturb_each_other(place: Place) -> None:
    place.wheel(files=FILES)
    await place.fetch("tiny")
    async with create_task_group() as installs:
        for number in range(4):
            installs.start_soon(place.install, f"env-{number}", "tiny")
    assert [len(pycs(place.root / f"env-{number}")) for number in range(4)] == [4] * 4
    for number in range(4):
        assert_environment_sound(place.root / f"env-{number}")
    assert not list((place.cache / "staging").iterdir())
    assert_sound(place.cache)


async def test_a_link_in_the_place_of_pycache_is_left_alone(place: Place) -> None:
    place.wheel(files={"tiny/__init__.py": "", "top.py": ""})
    root = await place.install("env")
    elsewhere = place.root / "elsewhere"
    elsewhere.mkdir()
    (site(root) / "__pycache__").symlink_to(elsewhere)
    await place.install("env", "tiny")
    assert not list(elsewhere.iterdir())
    assert pycs(site(root) / "tiny") == {f"__pycache__/__init__.{TAG}.pyc"}


async def test_a_read_only_cache_gives_the_bytecode_that_it_has_and_compiles_none(place: Place) -> None:
    place.wheel(files=FILES)
    place.wheel("other")
    await place.install("first", "tiny")
    await place.fetch("other")
    kit = open_kit(place.cache, config=place.config(is_offline=True), environ={})
    kit.cache.is_read_only = True
    root = place.root / "second"
    with untouched(place.cache):
        async with engine_over(kit) as engine:
            await engine.install(["tiny", "other"], target=TargetChoice(venv=str(root)))
    assert (site(root) / "other/__init__.py").exists()
    assert pycs(site(place.root / "first")) == pycs(site(root))


def wait_for_another_child(children: set[psutil.Process]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not set(psutil.Process().children()) - children:
        time.sleep(0.001)


async def test_a_cancelled_installation_leaves_no_compiler_and_nothing_in_staging_behind(place: Place) -> None:
    place.wheel(file_count=1500)
    before = set(psutil.Process().children())
    async with create_task_group() as tasks:
        tasks.start_soon(place.install, "env", "tiny")
        await to_thread.run_sync(wait_for_another_child, before)
        tasks.cancel_scope.cancel()
    assert [child for child in set(psutil.Process().children()) - before if child.status() != "zombie"] == []
    assert not list((place.cache / "staging").iterdir())
    root = await place.install("env", "tiny")
    assert len(pycs(root)) == 1501
