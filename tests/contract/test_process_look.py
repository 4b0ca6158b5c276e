"""Which processes are seen to use a thing, by each of the two readers: Linux' own files, and psutil."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from aiocache_engine.model.names import new_object_id
from aiocache_engine.system.process_look import ProcessReader, find_users, look_with, read_portably, read_proc

AFTER = ("things-v1/", "USED_THING=")
WAIT = "print(flush=True); input()"
READERS = [read_proc, read_portably] if sys.platform.startswith("linux") else [read_portably]
Look = Callable[..., dict[str, set[int]]]


@pytest.fixture(params=READERS, ids=["proc", "psutil"][-len(READERS) :])
def look(request: pytest.FixtureRequest) -> Look:
    """Give the pids of users by id."""
    read: ProcessReader = request.param

    def find(*object_ids: str) -> dict[str, set[int]]:
        users = look_with(read, psutil.pids, object_ids, after=AFTER)
        return {object_id: {each.pid for each in seen} for object_id, seen in users.items()}

    return find


@pytest.fixture
def thing(tmp_path: Path) -> Path:
    thing = tmp_path / "things-v1" / new_object_id()
    thing.mkdir(parents=True)
    (thing / "file").write_bytes(b"x" * 8192)
    return thing


@contextmanager
def process(*words: str | Path, code: str = WAIT, **how: object) -> Iterator[int]:
    """Start a process, wait until it is where it shall be seen, and end it at the end."""
    with subprocess.Popen(  # type: ignore[call-overload]
        [sys.executable, "-c", code, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **how
    ) as started:
        started.stdout.readline()
        try:
            yield started.pid
        finally:
            started.kill()


def test_a_process_with_the_path_of_a_thing_in_its_arguments_is_seen(look: Look, thing: Path) -> None:
    with process(f"--config={thing}/file") as pid:
        assert look(thing.name) == {thing.name: {pid}}
    assert look(thing.name) == {}


def test_an_id_alone_in_the_arguments_is_no_use(look: Look, thing: Path) -> None:
    with process(thing.name):
        assert look(thing.name) == {}


@pytest.mark.parametrize("variable", ["USED_THING={id}", "PATH=/bin:{path}/bin"])
def test_a_process_with_a_thing_in_its_variables_is_seen(look: Look, thing: Path, variable: str) -> None:
    name, _, text = variable.format(id=thing.name, path=thing).partition("=")
    with process(env={**os.environ, name: text}) as pid:
        assert look(thing.name) == {thing.name: {pid}}


def test_a_process_whose_working_directory_is_a_thing_is_seen(look: Look, thing: Path) -> None:
    with process(cwd=thing) as pid:
        assert look(thing.name) == {thing.name: {pid}}


@pytest.mark.parametrize(
    "code",
    [
        f"import os; os.chdir('THING'); file = open('file'); os.chdir('/'); {WAIT}",
        f"""import mmap, os
os.chdir('THING')
with open('file', 'rb') as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
os.chdir('/')
{WAIT}""",
    ],
    ids=["open", "mapped"],
)
def test_a_process_with_a_file_of_a_thing_open_or_mapped_is_seen(look: Look, thing: Path, code: str) -> None:
    way = thing.parent.parent / "way"  # so that neither arguments nor variables name it
    way.symlink_to(thing)
    with process(code=code.replace("THING", str(way))) as pid:
        assert look(thing.name) == {thing.name: {pid}}


def test_a_process_whose_program_lies_in_a_thing_is_seen(look: Look, thing: Path) -> None:
    program = thing / "cat"
    program.write_bytes(Path("/bin/cat").read_bytes())
    program.chmod(0o755)
    way = thing.parent.parent / "way"
    way.symlink_to(program)
    with subprocess.Popen([way], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdin is not None
        assert started.stdout is not None
        started.stdin.write(b"\n")
        started.stdin.flush()
        started.stdout.readline()  # it runs by now
        assert look(thing.name) == {thing.name: {started.pid}}
        started.stdin.close()


@pytest.mark.parametrize("program", ["way/bin/cat", "link"])
def test_a_process_that_was_started_through_a_link_is_seen_though_its_program_lies_elsewhere(
    look: Look, thing: Path, program: str
) -> None:
    top = thing.parent.parent
    (top / "way").symlink_to(thing)
    (thing / "bin").mkdir()
    (thing / "bin/cat").symlink_to("/bin/cat")  # as the interpreter of an environment is one
    (top / "link").symlink_to("way/bin/cat")
    with subprocess.Popen([top / program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/") as started:
        assert started.stdin is not None
        assert started.stdout is not None
        started.stdin.write(b"\n")
        started.stdin.flush()
        started.stdout.readline()  # it runs by now
        assert look(thing.name) == {thing.name: {started.pid}}
        started.stdin.close()


def test_a_process_in_an_environment_that_was_activated_through_a_link_is_seen(look: Look, thing: Path) -> None:
    way = thing.parent.parent / "way"
    way.symlink_to(thing)
    with process(env={**os.environ, "VIRTUAL_ENV": str(way)}) as pid:
        assert look(thing.name) == {thing.name: {pid}}


def test_links_that_lead_in_a_circle_are_no_obstacle(look: Look, thing: Path) -> None:
    circle = thing.parent.parent / "circle"
    circle.symlink_to(circle)
    with process(thing, env={**os.environ, "VIRTUAL_ENV": str(circle)}) as pid:
        assert look(thing.name) == {thing.name: {pid}}


def test_one_pass_tells_several_things_apart(look: Look, thing: Path) -> None:
    other, unused = thing.parent / new_object_id(), thing.parent / new_object_id()
    with process(thing, other) as both, process(other) as one:
        assert look(thing.name, other.name, unused.name) == {thing.name: {both}, other.name: {both, one}}


def test_what_this_process_inherited_in_its_variables_is_no_use(thing: Path) -> None:
    code = f"""
from aiocache_engine.system.process_look import find_users
print(find_users([{thing.name!r}], after={AFTER!r}))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "USED_THING": thing.name},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "{}\n"


@pytest.mark.parametrize("reader", [read.__name__ for read in READERS])
def test_a_process_that_asks_about_a_thing_is_not_seen_by_its_question(thing: Path, reader: str) -> None:
    code = f"""
import os, sys
from aiocache_engine.system.process_look import look_with, {reader}
print(look_with({reader}, lambda: [os.getpid()], [{thing.name!r}], after=["things-v1/"]))
"""
    words = [sys.executable, "-c", code, f"{thing}/file"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "{}\n"


def test_this_process_is_seen_by_what_it_has_open(look: Look, thing: Path) -> None:
    with (thing / "file").open("rb"):
        assert look(thing.name) == {thing.name: {os.getpid()}}


def test_a_process_that_was_born_while_others_were_looked_at_is_seen_though_its_parent_is_gone(thing: Path) -> None:
    """The first look finds only the parent, which is gone when it is read; the child is met in the next round."""
    with process(thing) as child:
        rounds = iter([[1 << 30], [1 << 30, child]])
        users = look_with(READERS[0], lambda: next(rounds, [1 << 30, child]), [thing.name], after=AFTER)
    assert [each.pid for each in users[thing.name]] == [child]


def test_users_are_named_by_what_they_run(thing: Path) -> None:
    with process(thing) as pid:
        [user] = find_users([thing.name], after=AFTER)[thing.name]
    assert user.pid == pid
    assert user.command is not None
    assert WAIT in user.command
