"""A tool that `aioc run` starts behaves as if it had been started directly: signals, terminal, streams, descriptors.

Both are started with a working directory: without one, Python may start them in a way that ignores other signals.
"""

from __future__ import annotations

import ast
import errno
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiocache_engine.testing.index_server import IndexServer
from aiocache_engine.testing.wheels import build_wheel

from .conftest import Aioc

MAIN = r"""
import os, signal, sys

def die():
    print("before", flush=True)
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))

def flood():
    for _ in range(100_000):
        sys.stdout.buffer.write(bytes(range(256)) * 256)

def copy():
    sys.stdout.buffer.write(sys.stdin.buffer.read())

def terminal():
    print([os.isatty(fd) for fd in range(3)], os.get_terminal_size(0), os.tcgetpgrp(0) == os.getpgrp())
    print("heard", repr(input("say: ")), flush=True)

def wait():
    print("ready", flush=True)
    sys.stdin.read()

def streams():
    links = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            links[int(number)] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # that of the list itself
            pass
    leases = [number for number, link in links.items() if number > 2 and "/leases/" in link]
    with open(sys.argv[1], "w") as file:
        file.write(repr(([links.get(number) for number in range(3)], leases != [])))
"""
DISPOSITIONS = '#!/bin/sh\ngrep -E "^Sig(Ign|Blk|Cgt)" /proc/self/status\n'
DESCRIPTORS = "#!/bin/sh\nexec ls /proc/self/fd\n"
FOREVER = "#!/bin/sh\nexec yes\n"
#: not Python, in which a signal between the question and the read is noticed only once something was read
ASK = "#!/bin/sh\nprintf 'say: '\nread line\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    names = ("die", "flood", "copy", "terminal", "wait", "streams")
    build_wheel(
        wheels,
        "tool",
        "1.0",
        files={"tool.py": MAIN},
        entry_points={"console_scripts": {name: f"tool:{name}" for name in names}},
        data={"scripts": {"dispositions": DISPOSITIONS, "descriptors": DESCRIPTORS, "forever": FOREVER, "ask": ASK}},
    )
    with IndexServer(wheels) as server:
        yield server


@pytest.fixture(params=["cold", "warm"])
def tool(request: pytest.FixtureRequest, aioc: Aioc) -> Aioc:
    if request.param == "warm":
        assert aioc("run", "--from", "tool", "copy").code == 0
    return aioc


def run(tool: Aioc, *words: str) -> list[str]:
    return tool.words("run", "--from", "tool", *words)


def direct(tool: Aioc, name: str, *words: str) -> list[str]:
    """Give the command line that starts the same script without aioc."""
    (environment,) = tool.cache_dir.glob("environments-v1/*/env")
    return [str(environment / "bin" / name), *words]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGINT", "SIGSEGV"])
def test_a_tool_that_is_killed_by_a_signal_is_seen_to_be(tool: Aioc, name: str) -> None:
    ran = subprocess.run(run(tool, "die", name), env=tool.environ, cwd=tool.home, capture_output=True, check=False)
    again = subprocess.run(direct(tool, "die", name), env=tool.environ, cwd=tool.home, capture_output=True, check=False)
    assert (ran.returncode, ran.stdout) == (again.returncode, again.stdout)
    if name != "SIGINT":  # which Python itself answers first
        assert ran.returncode == -getattr(signal, name)


def test_signals_are_handled_as_a_program_expects_that_a_shell_started(tool: Aioc) -> None:
    ran = subprocess.run(run(tool, "dispositions"), env=tool.environ, cwd=tool.home, capture_output=True, check=True)
    again = subprocess.run(
        direct(tool, "dispositions"), env=tool.environ, cwd=tool.home, capture_output=True, check=True
    )
    assert ran.stdout == again.stdout
    assert ran.stdout


def test_what_the_caller_ignores_stays_ignored(tool: Aioc) -> None:
    words = ["/bin/sh", "-c", 'trap "" HUP INT; exec "$@"', "sh"]
    ran = subprocess.run(
        [*words, *run(tool, "dispositions")], env=tool.environ, cwd=tool.home, capture_output=True, check=True
    )
    again = subprocess.run(
        [*words, *direct(tool, "dispositions")], env=tool.environ, cwd=tool.home, capture_output=True, check=True
    )
    assert ran.stdout == again.stdout
    (ignored,) = (int(line.split()[1], 16) for line in ran.stdout.splitlines() if line.startswith(b"SigIgn:"))
    assert ignored & 0b11 == 0b11  # and whatever else the one that started these tests ignores


@pytest.mark.parametrize("name", ["forever", "flood"])
def test_a_pipe_that_closes_early_ends_the_tool_as_it_would(tool: Aioc, name: str) -> None:
    def closed_early(words: list[str]) -> tuple[int, bytes]:
        with subprocess.Popen(
            words, env=tool.environ, cwd=tool.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            head = process.stdout.read(10)
            process.stdout.close()
            process.stderr.read()
        return process.returncode, head

    ran = closed_early(run(tool, name))
    assert ran == closed_early(direct(tool, name))
    assert ran[0] == (-signal.SIGPIPE if name == "forever" else 1)


def test_bytes_go_through_as_they_are(tool: Aioc) -> None:
    content = os.urandom(1_000_000)
    ran = subprocess.run(
        run(tool, "copy"), env=tool.environ, cwd=tool.home, input=content, capture_output=True, check=True
    )
    assert (ran.stdout == content, ran.stderr) == (True, b"")


def test_no_descriptor_but_the_leases_is_left_open(tool: Aioc) -> None:
    ran = subprocess.run(run(tool, "descriptors"), env=tool.environ, cwd=tool.home, capture_output=True, check=True)
    again = subprocess.run(
        direct(tool, "descriptors"), env=tool.environ, cwd=tool.home, capture_output=True, check=True
    )
    assert len(ran.stdout.split()) == len(again.stdout.split()) + 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_the_caller_closed_stays_closed(tool: Aioc, closed: str) -> None:
    def streams_of(words: list[str]) -> tuple[list[str | None], bool]:
        words = ["sh", "-c", f'"$@" {closed}', "sh", *words, "said"]
        subprocess.run(words, env=tool.environ, cwd=tool.home, stdin=subprocess.DEVNULL, check=True)
        said: tuple[list[str | None], bool] = ast.literal_eval((tool.home / "said").read_text())
        return said

    streams, has_lease = streams_of(run(tool, "streams"))
    assert has_lease
    assert streams == streams_of(direct(tool, "streams"))[0]
    assert streams.count(None) == closed.count("-")


def on_a_terminal(words: list[str], tool: Aioc, *, line: bytes) -> tuple[int, bytes]:
    """Run a program on a terminal of its own and type a line when it asks; gives its exit status and what it said."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tool.home)
        os.execve(words[0], words, tool.environ)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    said = b""
    while True:
        try:
            part = os.read(terminal, 1000)
        except OSError as error:  # Linux says so when nobody is left at the other end
            assert error.errno == errno.EIO  # noqa: PT017 - it is no exception of the program under test
            break
        said += part
        if not part:
            break
        if said.endswith(b"say: "):
            os.write(terminal, line)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return status, said


def test_a_tool_on_a_terminal_has_it_to_itself(tool: Aioc) -> None:
    status, said = on_a_terminal(run(tool, "terminal"), tool, line=b"hello\n")
    again = on_a_terminal(direct(tool, "terminal"), tool, line=b"hello\n")
    assert b"[True, True, True]" in again[1]
    assert b"heard 'hello'" in again[1]
    assert status == again[0] == 0
    assert said.endswith(again[1])  # before it, progress may have come and gone
    assert said.rfind(b"\x1b[?25l") <= said.rfind(b"\x1b[?25h")  # and the cursor with it


def test_control_c_on_a_terminal_is_the_tools(tool: Aioc) -> None:
    status, said = on_a_terminal(run(tool, "ask"), tool, line=b"\x03")
    again = on_a_terminal(direct(tool, "ask"), tool, line=b"\x03")
    assert os.WIFSIGNALED(status)
    assert (os.WTERMSIG(status), os.WTERMSIG(again[0])) == (signal.SIGINT, signal.SIGINT)
    assert b"say: " in said


def test_the_tool_is_the_process_that_was_started(
    tool: Aioc, ended: Callable[[subprocess.Popen[str]], subprocess.Popen[str]]
) -> None:
    words = run(tool, "wait")
    pipe = subprocess.PIPE
    process = ended(subprocess.Popen(words, env=tool.environ, cwd=tool.home, stdin=pipe, stdout=pipe, text=True))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    command = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    assert command[1].endswith(b"/env/bin/wait")
    process.send_signal(signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM
