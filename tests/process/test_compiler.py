"""Compiling in processes of the interpreter: they die, hang and lie, and only the module concerned is lost."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.value import replace
from aiocache_engine.python.compiler import CompileJob, Compiler, CompilerError
from targets import running

pytestmark = pytest.mark.each_python  # each version compiles its own way

NAMES = ("a.py", "deep/b.py", "deep/c.py", "d.py")
# An interpreter whose compiler gives way at modules of certain names.
STRANGE = """#!{executable}
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("compile_worker", sys.argv[-1])
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)
real = worker.compile_module
def compile_module(tree, into, suffix, path, size_bytes, *, room_bytes):
    if "dies" in path:
        open(into + "/" + path[:-3] + suffix, "w").close()
        os._exit(9)
    if "hangs" in path:
        open(tree + "/hanging", "w").close()
        time.sleep(3600)
    if "babbles" in path:
        print("nonsense", flush=True)
    return real(tree, into, suffix, path, size_bytes, room_bytes=room_bytes)
worker.compile_module = compile_module
worker.main()
"""


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree, self.into = root / "tree", root / "into"
        self.tree.mkdir()
        self.into.mkdir()

    def job(
        self, *names: str, size_bytes: int | None = None, room_bytes: int = 1 << 30, source: str = "name = {!r}\n"
    ) -> CompileJob:
        for name in names:
            path = self.tree / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(source.format(name))
        sources = [(name, (self.tree / name).stat().st_size if size_bytes is None else size_bytes) for name in names]
        return CompileJob(
            tree=str(self.tree), into=str(self.into), suffix=".tag.pyc", sources=sources, room_bytes=room_bytes
        )

    def strange(self) -> Interpreter:
        script = self.root / "python"
        script.write_text(STRANGE.format(executable=sys.executable))
        script.chmod(0o755)
        return replace(running(), base_executable=str(script))

    def made(self) -> set[str]:
        return {str(path.relative_to(self.into)) for path in self.into.rglob("*.pyc")}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield World(tmp_path)
    assert [child for child in psutil.Process().children(recursive=True) if child.status() != "zombie"] == []


@contextmanager
def compiling(interpreter: Interpreter, **options: float) -> Iterator[Compiler]:
    compiler = Compiler(interpreter, **options)
    try:
        yield compiler
    finally:
        compiler.close()


def test_every_module_is_compiled_and_described(world: World) -> None:
    with compiling(running()) as compiler:
        results = compiler.submit(world.job(*NAMES)).result()
    assert {"a.tag.pyc", "d.tag.pyc", "deep/b.tag.pyc", "deep/c.tag.pyc"} == world.made()
    for name, module in zip(NAMES, results, strict=True):
        assert module is not None
        path = world.into / f"{name[:-3]}.tag.pyc"
        assert (path.stat().st_size, int((world.tree / name).stat().st_mtime)) == (module.size_bytes, module.changed_at)


@pytest.mark.parametrize("how", ["dies", "hangs", "babbles"])
def test_a_module_at_which_the_compiler_gives_way_is_left_out_and_the_others_are_compiled(
    world: World, how: str
) -> None:
    with compiling(world.strange(), timeout_seconds=5) as compiler:
        results = compiler.submit(world.job("a.py", f"{how}.py", "deep/b.py", "c.py")).result()
    assert [module is not None for module in results] == [True, False, True, True]
    assert {"a.tag.pyc", "deep/b.tag.pyc", "c.tag.pyc"} == world.made()


def test_a_job_of_nothing_but_deaths_is_given_up(world: World) -> None:
    job = world.job(*(f"dies{number}.py" for number in range(9)))
    with compiling(world.strange()) as compiler, pytest.raises(CompilerError, match=r"has ended, last at dies3\.py"):
        compiler.submit(job).result()


def test_another_interpreter_than_the_one_described_compiles_nothing(world: World) -> None:
    other = replace(running(), magic="00000000")
    with compiling(other) as compiler, pytest.raises(CompilerError, match="another interpreter"):
        compiler.submit(world.job("a.py")).result()
    assert set() == world.made()


@pytest.mark.parametrize("executable", ["/does/not/exist", "/bin/true"])
def test_what_is_no_interpreter_compiles_nothing(world: World, executable: str) -> None:
    other = replace(running(), base_executable=executable)
    with compiling(other) as compiler, pytest.raises(CompilerError, match=executable):
        compiler.submit(world.job("a.py")).result()


def test_a_source_of_another_size_than_the_archive_has_is_not_compiled(world: World) -> None:
    with compiling(running()) as compiler:
        assert compiler.submit(world.job("a.py", size_bytes=3)).result() == [None]
    assert set() == world.made()


def test_a_module_that_becomes_enormous_is_left_out(world: World) -> None:
    names = [f"'{number:04}' * 1000" for number in range(400)]  # 1.6 MB of constants that Python computes
    job = world.job("bomb.py", source=f"{{}}, {', '.join(names)}")
    small = world.job("a.py", "b.py")
    with compiling(running()) as compiler:
        assert compiler.submit(job).result() == [None]
        assert None not in compiler.submit(small).result()
    assert {"a.tag.pyc", "b.tag.pyc"} == world.made()


def test_no_more_is_written_than_there_is_room_for(world: World) -> None:
    source = "x = {!r}" + " + 'y' * 4000"
    job = world.job(*(f"m{number}.py" for number in range(9)), room_bytes=10_000, source=source)
    with compiling(running()) as compiler:
        results = compiler.submit(job).result()
    assert [module is not None for module in results] == [True] * 2 + [False] * 7
    assert {"m0.tag.pyc", "m1.tag.pyc"} == world.made()


def test_a_disk_that_refuses_fails_the_job_and_not_the_next_one(world: World) -> None:
    job = world.job("a.py", "b.py")
    (world.into / "a.tag.pyc").mkdir()
    with compiling(running()) as compiler:
        with pytest.raises(CompilerError, match="Is a directory"):
            compiler.submit(job).result()
        assert compiler.submit(world.job("c.py")).result() != [None]


def test_closing_ends_what_hangs_at_once(world: World) -> None:
    compiler = Compiler(world.strange())
    hanging = compiler.submit(world.job("hangs.py"))
    waiting = [compiler.submit(world.job("hangs.py")) for _ in range(2 * (os.cpu_count() or 1))]
    while not (world.tree / "hanging").exists():
        time.sleep(0.01)
    compiler.close()
    for future in (hanging, *waiting):
        with pytest.raises((CompilerError, CancelledError)):
            future.result()
    with pytest.raises(RuntimeError):
        compiler.submit(world.job("a.py")).result()
