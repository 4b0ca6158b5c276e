"""What a command says where, how it waits, and how it ends when it is not left to end by itself."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading

import pytest

from aiocache_engine.model.locking import LockMode
from aiocache_engine.testing.index_server import Fault

SLOW = "/files/slow-1.0-py3-none-any.whl"
INTERRUPTED = (130, "", "aioc: error: interrupted\n")


SAYINGS = pytest.mark.parametrize(
    "arguments", [["dir"], ["dir", "--json"], ["--version"], ["--help"], ["install", "--help"]], ids=" ".join
)


@SAYINGS
def test_a_reader_that_goes_away_is_no_failure(aioc, arguments: list[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    ran = subprocess.run(
        aioc.words(*arguments), env=aioc.environ, stdout=write_end, stderr=subprocess.PIPE, check=False
    )
    os.close(write_end)
    assert (ran.returncode, ran.stderr) == (0, b"")


@SAYINGS
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_a_result_that_cannot_be_written_is_a_failure(aioc, arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(aioc.words(*arguments), env=aioc.environ, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ran.returncode, ran.stderr) == (
        1,
        b"aioc: error: stdout: the result could not be written: No space left on device\n",
    )


@SAYINGS
def test_a_closed_stdout_is_nobodys_fault(aioc, arguments: list[str]) -> None:
    ran = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *aioc.words(*arguments)], env=aioc.environ, capture_output=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_a_traceback_is_shown_only_to_those_who_debug(aioc) -> None:
    plain = aioc("fetch", "--no-deps", "nobody")
    assert "Traceback" not in plain.err
    debugged = aioc("fetch", "--no-deps", "nobody", AIOC_DEBUG="1")
    assert "Traceback (most recent call last)" in debugged.err
    assert debugged.err.splitlines()[-1] == plain.err.rstrip("\n")
    assert (plain.code, debugged.code) == (1, 1)


def test_what_nobody_expected_is_one_line_too(aioc) -> None:
    startup = aioc.startup(
        "import aiocache_engine.config as config\n"
        "def locate_cache_dir(*_):\n    raise RuntimeError('two\\nlines')\n"
        "config.locate_cache_dir = locate_cache_dir\n"
    )
    ran = aioc("dir", **startup)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "aioc: error: unexpected RuntimeError: two lines; set AIOC_DEBUG=1 for the traceback\n"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_download_leaves_nothing_behind(aioc, server, wait_until, ended, how) -> None:
    server.fault(SLOW, Fault(bytes_per_second=20_000))
    process = ended(aioc.start("install", "--no-deps", "slow", "--venv", "env"))
    wait_until(lambda: server.counts[SLOW])
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == INTERRUPTED
    assert list((aioc.cache_dir / "staging").iterdir()) == []
    assert list((aioc.cache_dir / "leases").iterdir()) == []
    assert not (aioc.home / "env").exists()
    server.heal()
    assert aioc("install", "--no-deps", "slow", "--venv", "env").code == 0


# Code that runs in the command, and sends it all three signals at a moment that no test could meet from outside.
SEND = """
import os, signal, sys
def send():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
"""


@pytest.mark.parametrize("module", ["aiocache_engine.cli.main", "typer", "anyio", "httpx2", "aiocache_engine.engine"])
def test_an_interrupt_while_modules_are_loaded_is_one_line(aioc, module: str) -> None:
    startup = aioc.startup(
        f"{SEND}\nsys.addaudithook(lambda event, given: event == 'import' and given[0] == {module!r} and send())\n"
    )
    ran = aioc("fetch", "--no-deps", "-rnone.txt" if module == "typer" else "tiny==1.0", **startup)
    assert (ran.code, ran.out, ran.err) == INTERRUPTED


def test_interrupts_while_an_interrupted_command_cleans_up_change_nothing(aioc, server, wait_until, ended) -> None:
    """Every removal, and the end of the interpreter, brings three more."""
    begun = aioc.home / "begun"
    startup = aioc.startup(
        f"{SEND}\nimport atexit\natexit.register(send)\n"
        "sys.addaudithook(lambda event, given: event in ('os.remove', 'os.rmdir')"
        f" and os.path.exists({str(begun)!r}) and send())\n"
    )
    server.fault(SLOW, Fault(bytes_per_second=20_000))
    process = ended(aioc.start("install", "--no-deps", "slow", "--venv", "env", **startup))
    wait_until(lambda: server.counts[SLOW])
    begun.touch()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == INTERRUPTED
    assert list((aioc.cache_dir / "staging").iterdir()) == []
    assert list((aioc.cache_dir / "leases").iterdir()) == []


def test_an_interrupt_that_comes_while_the_loop_ends_is_one_line(aioc) -> None:
    startup = aioc.startup(
        f"{SEND}\nimport asyncio.runners as runners\ncancel_all = runners._cancel_all_tasks\n"
        "def cancelling(loop):\n"
        "    loop.create_task(leaving())\n    send()\n    cancel_all(loop)\n"
        "async def leaving():\n    raise RuntimeError('nobody asked')\n"
        "runners._cancel_all_tasks = cancelling\n"
    )
    ran = aioc("fetch", "--no-deps", "tiny==1.0", **startup)
    assert (ran.code, ran.out, ran.err) == INTERRUPTED


def test_an_interrupt_that_a_destructor_swallows_comes_again(aioc, wait_until, ended) -> None:
    startup = aioc.startup(
        "import signal, time\nclass Last:\n    def __del__(self):\n        signal.raise_signal(signal.SIGINT)\n"
        "import aiocache_engine.config as config\n"
        "def locate_cache_dir(*_):\n    Last()\n    time.sleep(20)\n    return 'late'\n"
        "config.locate_cache_dir = locate_cache_dir\n"
    )
    ran = aioc("dir", **startup)
    assert (ran.code, ran.out, ran.err) == INTERRUPTED


def test_an_interrupt_after_the_command_is_done_is_too_late(aioc) -> None:
    ran = aioc("dir", **aioc.startup(f"{SEND}\nimport atexit\natexit.register(send)\n"))
    assert (ran.code, ran.out, ran.err) == (0, "HOME/cache\n", "")


def test_who_ignores_the_end_of_the_terminal_is_not_interrupted_by_it(aioc) -> None:
    startup = aioc.startup(
        "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "sys = __import__('sys')\nsys.addaudithook(lambda event, given: event == 'import' and given[0] == 'typer'"
        " and signal.raise_signal(signal.SIGHUP))\n"
    )
    assert aioc("dir", "--help", **startup).code == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_wait_can_be_interrupted(aioc, wait_until, ended, how) -> None:
    aioc("fetch", "--no-deps", "tiny==1.0")
    with aioc.kit().cache.lock.hold_now(LockMode.EXCLUSIVE, timeout_seconds=10):
        process = ended(aioc.start("install", "--no-deps", "tiny==1.0", "--venv", "env"))
        assert process.stderr.readline().startswith("aioc: waiting for ")
        process.send_signal(how)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "aioc: error: interrupted\n")


def test_a_wait_above_a_second_says_what_for_and_who_holds_it_and_then_goes_on(aioc, ended) -> None:
    aioc("fetch", "--no-deps", "tiny==1.0")
    with aioc.kit().cache.lock.hold_now(LockMode.EXCLUSIVE, timeout_seconds=10):
        process = ended(aioc.start("install", "--no-deps", "tiny==1.0", "--venv", "env"))
        line = process.stderr.readline()
    assert re.fullmatch(rf"aioc: waiting for shared use of the cache, held by pid {os.getpid()} \(.*\)\n", line)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_cache_that_stays_busy_is_given_up_with_its_own_exit_code(aioc) -> None:
    aioc("fetch", "--no-deps", "tiny==1.0")
    with aioc.kit().cache.lock.hold_now(LockMode.EXCLUSIVE, timeout_seconds=10):
        ran = aioc("clean", "tiny", "--lock-timeout", "0.1", "--json")
        by_variable = aioc("clean", "tiny", AIOC_LOCK_TIMEOUT="0.1")
    assert (ran.code, ran.document["error"], ran.document["exit_code"]) == (11, "LockTimeoutError", 11)
    assert by_variable.code == 11
    assert by_variable.err.count("\n") == 1
    assert "--lock-timeout (AIOC_LOCK_TIMEOUT)" in by_variable.err
    assert aioc("ls", "tiny").code == 0


def test_with_json_messages_stay_on_stderr(aioc) -> None:
    ran = aioc("install", "--no-deps", "tiny==1.0", "--venv", "env", "--json", "-v")
    assert json.loads(ran.out)["schema"] == "aioc.install/1"
    assert ran.err == "aioc: fetched tiny-1.0-py3-none-any.whl\n"


def test_downloads_are_shown_on_a_terminal_and_gone_at_the_end(aioc, server) -> None:
    server.fault(SLOW, Fault(bytes_per_second=400_000))
    main_end, command_end = os.openpty()
    process = subprocess.Popen(
        aioc.words("fetch", "--no-deps", "slow"),
        env={**aioc.environ, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=command_end,
        text=True,
    )
    os.close(command_end)
    seen: list[bytes] = []

    def read() -> None:
        try:
            while chunk := os.read(main_end, 4096):
                seen.append(chunk)
        except OSError:  # the other end of a terminal has gone
            pass

    reader = threading.Thread(target=read)
    reader.start()
    out, _ = process.communicate(timeout=60)
    reader.join()
    os.close(main_end)
    assert process.returncode == 0
    assert out.startswith("Fetched 1 wheel in ")
    assert b"slow-1.0-py3-none-any.whl" in b"".join(seen)
