"""Calling build backends that crash, hang, babble, lie and leave processes behind: an answer or one clear error."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from aiocache_engine.errors import BuildError, DiskError, OutOfSpaceError
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.builds.backend import BackendCall, build_wheel, prepare_metadata, requires_for_wheel
from aiocache_engine.pipeline.builds.log import BuildLog
from aiocache_engine.pipeline.builds.project import BuildSystem
from aiocache_engine.system import child
from marked import Mark

WHEEL = "a-1-py3-none-any.whl"
# What most of the backends below begin with: building right, and processes that nothing but a kill ends.
COMMON = f"""
import os, signal, subprocess, sys, time

def right(directory):
    with open(os.path.join(directory, "{WHEEL}"), "w") as file:
        file.write("wheel")
    return "{WHEEL}"

def note(name):
    with open("noted", "a") as file:
        file.write(f"{{name}} {{os.getpid()}}\\n")

def stay():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(3600)

def leave_daemon():
    ready, told = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            note("daemon")
            os.close(told)
            os.close(ready)
            stay()
        os._exit(0)
    os.close(told)
    os.read(ready, 1)
    os.wait()
"""
# Builds as an embedding program does, with the interrupts of the command line.
PROGRAM = """
import os, sys
import anyio
from aiocache_engine.cli.interrupts import INTERRUPTS
from aiocache_engine.pipeline.builds.backend import BackendCall, build_wheel
from aiocache_engine.pipeline.builds.project import BuildSystem

async def main():
    import asyncio
    root, lease = sys.argv[1:]
    descriptor = os.open(lease, os.O_RDWR)
    import fcntl
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    call = BackendCall(
        what="a-1.tar.gz", root=root + "/project", system=BuildSystem((), "backend", (".",)), python=sys.executable,
        scripts=os.path.dirname(sys.executable), log=root + "/log", home=root + "/home", time_limit_seconds=600,
        variables=os.environ, pass_fds=(descriptor,),
    )
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope, INTERRUPTS.cancelling(lambda: loop.call_soon_threadsafe(scope.cancel)):
        await build_wheel(call, root + "/wheels")

INTERRUPTS.catch()
anyio.run(main)
sys.exit(130 if INTERRUPTS.has_come else 0)
"""


class World:
    """A project with a backend of its own, and everything that its build may touch."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project, self.home, self.wheels = root / "project", root / "home", root / "wheels"
        for directory in (self.project, self.home, self.wheels):
            directory.mkdir()
        self.log = root / "log"
        self.mark = Mark()
        self.call = BackendCall(
            what="a-1.tar.gz",
            root=str(self.project),
            system=BuildSystem((), "backend", (".",)),
            python=sys.executable,
            scripts=os.path.dirname(sys.executable),
            log=str(self.log),
            home=str(self.home),
            time_limit_seconds=120.0,
            variables={**os.environ, **self.mark.environ},
        )

    def backend(self, code: str) -> None:
        (self.project / "backend.py").write_text(COMMON + textwrap.dedent(code))

    def building(self, body: str) -> None:
        """Have a backend whose build_wheel does this."""
        self.backend("def build_wheel(directory, config_settings=None, metadata_directory=None):\n"
                     + textwrap.indent(textwrap.dedent(body), "    "))  # fmt: skip

    async def build(self, **changes: Any) -> str:
        return await build_wheel(replace(self.call, **changes), str(self.wheels))

    async def failure(self, **changes: Any) -> BuildError:
        with pytest.raises(BuildError) as caught:
            await self.build(**changes)
        assert not self.mark.alive()
        return caught.value

    def noted(self) -> list[str]:
        path = self.project / "noted"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def noted_pid(self, name: str) -> int:
        lines = [line.split() for line in (self.project / "noted").read_text().splitlines()]
        return next(int(pid) for noted, pid in lines if noted == name)

    async def wait_noted(self, name: str) -> None:
        with anyio.fail_after(60):
            while name not in self.noted():  # noqa: ASYNC110 - another process tells it
                await anyio.sleep(0.01)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.mark.end()


async def test_hooks_are_called_with_what_they_are_told_and_answer(world: World) -> None:
    world.backend(
        """
        def get_requires_for_build_wheel(config_settings=None):
            return [f"needed=={config_settings['a']}"]

        def prepare_metadata_for_build_wheel(directory, config_settings=None):
            os.mkdir(os.path.join(directory, "a-1.dist-info"))
            open(os.path.join(directory, "a-1.dist-info", "METADATA"), "w").close()
            return "a-1.dist-info"

        def build_wheel(directory, config_settings=None, metadata_directory=None):
            print(os.path.relpath(metadata_directory, directory), config_settings, sys.stdin.read() == "", os.getcwd())
            return right(directory)
        """
    )
    call = replace(world.call, config_settings={"a": "1", "b": ["2", "3"]})

    assert await requires_for_wheel(call) == ("needed==1",)
    assert await prepare_metadata(call, str(world.root)) == "a-1.dist-info"
    metadata = str(world.root / "a-1.dist-info")
    assert await build_wheel(call, str(world.wheels), metadata_directory=metadata) == WHEEL
    assert (world.wheels / WHEEL).read_text() == "wheel"
    assert f"../a-1.dist-info {{'a': '1', 'b': ['2', '3']}} True {world.project}\n" in world.log.read_text()


async def test_a_backend_may_lack_the_hooks_that_need_not_be_there(world: World) -> None:
    world.building("return right(directory)")
    assert await requires_for_wheel(world.call) == ()
    assert await prepare_metadata(world.call, str(world.wheels)) is None
    assert os.listdir(world.wheels) == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("print('one'); raise RuntimeError('the reason')", "failed with exit code 1"),
        ("os._exit(3)", "failed with exit code 3"),
        ("os.abort()", "was killed by SIGABRT"),
        ("os._exit(0)", "ended without an answer"),
        ("os.mkfifo(sys.argv[2] + '/output.json'); os._exit(0)", "ended without an answer"),
        ("open(sys.argv[2] + '/output.json', 'w').write('[' * 200_000); os._exit(0)", "ended without an answer"),
        ("open(sys.argv[2] + '/output.json', 'w').write('[]'); os._exit(0)", "ended without an answer"),
        ("open(sys.argv[2] + '/output.json', 'w').write('{}'); os._exit(0)", "answered None"),
        ("os.symlink('/dev/zero', sys.argv[2] + '/output.json'); os._exit(0)", "ended without an answer"),
        ("return None", "answered None, which is not the file name of a wheel"),
        ("return ['a.whl']", "answered ['a.whl'], which is not the file name of a wheel"),
        ("return 'a.zip'", "answered 'a.zip', which is not the file name of a wheel"),
        ("return '../' + right(directory)", f"answered '../{WHEEL}', which is not the file name of a wheel"),
        ("return '/' + right(directory)", f"answered '/{WHEEL}', which is not the file name of a wheel"),
        ("return 'a\\n.whl'", r"answered 'a\n.whl', which is not the file name of a wheel"),
        ("return 'a.whl'", "answered 'a.whl', and did not write such a file"),
        ("os.mkdir(directory + '/a.whl'); return 'a.whl'", "answered 'a.whl', and did not write such a file"),
        ("os.symlink('/bin/sh', directory + '/a.whl'); return 'a.whl'", "and did not write such a file"),
        ("os.rmdir(directory); return 'a.whl'", "and did not write such a file"),
    ],
)
async def test_what_a_backend_does_wrong_is_told_in_one_line(world: World, body: str, reason: str) -> None:
    world.building(body)
    error = await world.failure()
    assert error.reason.startswith("build_wheel of its build backend 'backend' ")
    assert reason in error.reason
    assert error.what == "a-1.tar.gz"
    assert str(error).splitlines()[0] == f"a-1.tar.gz could not be built: {error.reason}"


async def test_an_error_shows_the_end_of_the_log_and_names_it(world: World) -> None:
    world.building(r"[print(f'line {number}\x1b[31m') for number in range(100)]; sys.exit('the reason')")
    error = await world.failure()
    assert len(error.last_lines) == 20
    assert error.last_lines[-2:] == ("line 99\N{REPLACEMENT CHARACTER}[31m", "the reason")
    assert str(error).splitlines()[-2:] == ["  the reason", f"all of its output: {world.log}"]
    assert "line 0\x1b[31m\n" in world.log.read_text()


@pytest.mark.parametrize(
    ("system", "code", "reason"),
    [
        (BuildSystem((), "nowhere.api:it", (".",)), "", "its build backend 'nowhere.api:it' cannot be imported"),
        (BuildSystem((), "nowhere_at_all", ()), "", "its build backend 'nowhere_at_all' cannot be imported"),
        (BuildSystem((), "backend:it", (".",)), "", "failed with exit code 1"),
        (BuildSystem((), "backend", (".",)), "x = 1", "failed with exit code 1"),
        (BuildSystem((), "backend", (".",)), "this is no Python", "failed with exit code 1"),
        (BuildSystem((), "backend", ("..",)), "", "backend-path"),
    ],
)
async def test_a_backend_that_is_none_is_an_error(world: World, system: BuildSystem, code: str, reason: str) -> None:
    world.backend(code)
    assert reason in (await world.failure(system=system)).reason


@pytest.mark.parametrize("answer", ["None", "'needed'", "[1]", "{'needed': 1}"])
async def test_requirements_must_be_a_list_of_texts(world: World, answer: str) -> None:
    world.backend(f"def get_requires_for_build_wheel(config_settings=None):\n    return {answer}")
    with pytest.raises(BuildError, match="which is no list of requirements"):
        await requires_for_wheel(world.call)


@pytest.mark.parametrize("answer", ["'a-1.dist-info'", "'../a-1.dist-info'", "'a-1'", "7"])
async def test_metadata_must_be_where_the_answer_says(world: World, answer: str) -> None:
    world.backend(
        f"""
        def prepare_metadata_for_build_wheel(directory, config_settings=None):
            os.mkdir(os.path.join(directory, "a-1.dist-info"))
            return {answer}
        """
    )
    with pytest.raises(BuildError, match="answered"):
        await prepare_metadata(world.call, str(world.wheels))


async def test_an_interpreter_that_is_not_there_is_an_error(world: World) -> None:
    world.building("return right(directory)")
    python = str(world.root / "no-python")
    assert (await world.failure(python=python)).reason == f"{python} cannot be started (No such file or directory)"


async def test_a_backend_that_hangs_is_ended_with_all_it_started_when_its_time_is_over(world: World) -> None:
    world.building(
        """
        leave_daemon()
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
        stay()
        """
    )
    error = await world.failure(time_limit_seconds=1.5)
    assert error.reason == "build_wheel of its build backend 'backend' did not end within 1.5 s"


async def test_what_a_backend_leaves_behind_ends_with_it(world: World) -> None:
    world.building(
        """
        leave_daemon()
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        return right(directory)
        """
    )
    assert await world.build() == WHEEL
    assert world.noted() == ["daemon"]
    assert not world.mark.alive()


async def test_a_swarm_of_processes_ends_with_the_backend(world: World) -> None:
    world.building(
        """
        for depth in range(6):
            if os.fork() == 0 and depth % 2:
                os.setsid()
        note("one")
        while open("noted").read().count("one") < 64:
            time.sleep(0.01)
        if os.getpid() == int(open("first").read()):
            return right(directory)
        stay()
        """
    )
    source = (world.project / "backend.py").read_text()
    (world.project / "backend.py").write_text(
        source.replace("for depth", 'open("first", "w").write(str(os.getpid()))\n    for depth')
    )
    assert await world.build() == WHEEL
    assert len(world.noted()) == 64
    assert not world.mark.alive()


async def test_a_backend_that_kills_what_watches_over_it_is_ended_with_its_group(world: World) -> None:
    world.building("os.kill(os.getppid(), signal.SIGKILL)\nstay()")
    error = await world.failure()
    assert error.reason == "build_wheel of its build backend 'backend' killed the process that watches over it"


async def test_a_backend_that_stops_what_watches_over_it_is_ended_nonetheless(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_GRACE_SECONDS", 0.2)
    world.building("os.kill(os.getppid(), signal.SIGSTOP)\nstay()")
    assert "did not end within 1.5 s" in (await world.failure(time_limit_seconds=1.5)).reason


async def test_output_of_any_size_and_kind_neither_fills_the_disk_nor_stops_the_build(world: World) -> None:
    world.building(
        r"""
        os.write(1, b"\xff\x00\x1b binary\n")
        for _ in range(100):
            sys.stderr.buffer.write((b"x" * 99 + b"\n") * 10_000)
        return right(directory)
        """
    )
    assert await world.build() == WHEEL
    content = world.log.read_bytes()
    assert b"\xff\x00\x1b binary\n" in content
    assert len(content) == pytest.approx(50_000_000, abs=1000)
    assert content.endswith(b"\n[the rest is left out: the log has reached its limit]\n")


async def test_warnings_of_a_backend_are_in_its_log_and_not_raised_here(world: World) -> None:
    world.building("import warnings; warnings.warn('this is old'); return right(directory)")
    assert await world.build() == WHEEL
    assert "this is old" in world.log.read_text()


async def test_no_secret_reaches_a_backend_or_its_log(world: World) -> None:
    world.building("print(os.environ, 'see https://user:hunter2@127.0.0.1/simple'); return right(directory)")
    secrets = {
        "PIP_INDEX_URL": "https://user:hunter2@127.0.0.1/simple",
        "AIOC_INDEX_URL": "https://127.0.0.1/hunter2/simple",
        "TWINE_PASSWORD": "hunter2",
        "GITHUB_TOKEN": "hunter2",
        "https_proxy": "http://user:hunter2@127.0.0.1",
    }
    await world.build(variables={**world.call.variables, **secrets, "CFLAGS": "-O3"})
    text = world.log.read_text()
    assert "'CFLAGS': '-O3'" in text
    assert f"'HOME': '{world.home}'" in text
    assert "see https://***@127.0.0.1/simple" in text
    assert "hunter2" not in text


async def test_a_log_is_written_into_no_other_file(world: World) -> None:
    world.building(f"os.rename({str(world.log)!r}, 'log'); os.symlink('victim', {str(world.log)!r}); print('here')\n"
                   "return right(directory)")  # fmt: skip
    assert await world.build() == WHEEL
    assert "here" in (world.project / "log").read_text()
    with pytest.raises(DiskError):
        await world.build()
    assert not (world.root / "victim").exists()


async def test_descriptors_that_are_passed_on_are_held_by_the_build_and_no_longer(world: World) -> None:
    lease = world.root / "lease"
    descriptor = os.open(lease, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    world.building(f"print(os.readlink('/proc/self/fd/{descriptor}')); leave_daemon(); return right(directory)")
    await world.build(pass_fds=(descriptor,))
    os.close(descriptor)
    assert f"{lease}\n" in world.log.read_text()
    assert is_free(lease)


async def test_a_log_that_cannot_be_written_ends_the_build(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    write = BuildLog.write

    def refuse(log: BuildLog, piece: bytes) -> None:
        if b"here" in piece:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(log, piece)

    monkeypatch.setattr(BuildLog, "write", refuse)
    world.building("print('here', flush=True)\nstay()")
    with pytest.raises(OutOfSpaceError, match=str(world.log)):
        await world.build()
    assert not world.mark.alive()


async def cancel_scope(work: Callable[[], Awaitable[object]], ready: Callable[[], Awaitable[None]]) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await ready()
        tasks.cancel_scope.cancel()


async def cancel_task(work: Callable[[], Awaitable[object]], ready: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.ensure_future(work())
    await ready()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("cancel", [cancel_scope, cancel_task])
async def test_who_is_cancelled_comes_back_when_every_process_has_ended(
    world: World, cancel: Callable[..., Awaitable[None]]
) -> None:
    world.building("leave_daemon()\nnote('ready')\nstay()")
    alive: list[list[psutil.Process]] = []

    async def work() -> None:
        try:
            await world.build()
        finally:
            alive.append(world.mark.alive())

    await cancel(work, lambda: world.wait_noted("ready"))
    assert alive == [[]]


@contextlib.contextmanager
def program(world: World, source: str = PROGRAM) -> Iterator[subprocess.Popen[bytes]]:
    lease = world.root / "lease"
    lease.touch()
    command = [sys.executable, "-c", source, str(world.root), str(lease)]
    process = subprocess.Popen(command, env={**os.environ, **world.mark.environ}, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def is_free(lease: Path) -> bool:
    with lease.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_ends_the_whole_build_before_the_program_ends(world: World, number: int) -> None:
    world.building("leave_daemon()\nnote('ready')\nstay()")
    with program(world) as process:
        await world.wait_noted("ready")
        process.send_signal(number)
        assert await anyio.to_thread.run_sync(process.wait) == 130
        assert not world.mark.alive()
    assert is_free(world.root / "lease")


async def test_a_build_does_not_outlive_a_program_that_is_killed(world: World) -> None:
    world.building("leave_daemon()\nnote('ready')\nstay()")
    with program(world) as process:
        await world.wait_noted("ready")
        process.kill()
        world.mark.wait_dead()
    assert is_free(world.root / "lease")


async def test_a_build_does_not_outlive_a_killed_program_whose_forks_live_on(world: World) -> None:
    """A fork holds everything open that the program held open, so that no end of file tells of its end."""
    world.building("note('ready')\nstay()")
    fork = f"""
import os, threading, time, warnings
warnings.simplefilter("ignore")
def fork():
    while not os.path.exists({str(world.project / "noted")!r}):
        time.sleep(0.01)
    if (pid := os.fork()) == 0:
        time.sleep(3600)
    with open({str(world.project / "noted")!r}, "a") as file:
        file.write(f"fork {{pid}}\\n")
threading.Thread(target=fork, daemon=True).start()
"""
    with program(world, fork + PROGRAM) as process:
        await world.wait_noted("fork")
        pid = world.noted_pid("fork")
        process.kill()
        try:
            world.mark.wait_dead(but=pid)
            assert [each.pid for each in world.mark.alive()] == [pid]
        finally:
            os.kill(pid, signal.SIGKILL)
    world.mark.wait_dead()
