"""`aioc clean --wait`: comes back when the bytes are freed, says whom it waits for, and holds nothing meanwhile."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable

import anyio

from aiocache_engine.config import Config
from aiocache_engine.engine import CacheEngine
from aiocache_engine.model.locking import Wait
from aiocache_engine.report import Reporter

from .conftest import Aioc

Started = Callable[["subprocess.Popen[str]"], "subprocess.Popen[str]"]
CODE = "print('at work', flush=True); input()"


def tool(aioc: Aioc, ended: Started, *words: str) -> subprocess.Popen[str]:
    """Start a tool, and wait until it runs."""
    words = words or ("run", "--from", "tiny==1.0", "python", "-c", CODE)
    process = subprocess.Popen(
        aioc.words(*words) if words[0] == "run" else words,
        cwd=aioc.home,
        env=aioc.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    return ended(process)


def waiting(aioc: Aioc, ended: Started, *words: str) -> tuple[subprocess.Popen[str], str]:
    """Start a clean that waits; gives it, and what it says of it."""
    clean = ended(aioc.start("clean", *words, "--wait", "--json"))
    assert clean.stderr is not None
    return clean, clean.stderr.readline()


def entries(aioc: Aioc) -> int:
    return len(aioc("ls", "--json").document["entries"])


def test_it_waits_for_the_end_of_a_tool_and_frees_what_that_used(aioc: Aioc, ended: Started) -> None:
    running = tool(aioc, ended)
    clean, line = waiting(aioc, ended, "tiny")
    assert line.startswith("aioc: waiting for what was cleaned while in use, held by pid ")
    assert f"pid {running.pid} (" in line
    assert clean.poll() is None
    running.communicate("\n")
    out, err = clean.communicate(timeout=60)
    assert (clean.returncode, err) == (0, "")
    assert entries(aioc) == 0
    document = aioc("clean", "--json").document  # nothing is left for another
    assert [each["kind"] for each in document["removed"] if each["kind"] in ("archive", "environment")] == []
    assert '"kind": "environment"' in out
    assert '"kept": []' in out


def test_it_waits_for_a_process_without_a_lease(aioc: Aioc, ended: Started) -> None:
    assert aioc("run", "--from", "tiny==1.0", "python", "-c", "pass").code == 0
    [python] = aioc.cache_dir.glob("environments-v1/*/env/bin/python")
    running = tool(aioc, ended, str(python), "-c", CODE)
    clean, line = waiting(aioc, ended)
    assert f"pid {running.pid} (" in line
    running.communicate("\n")
    clean.communicate(timeout=60)
    assert clean.returncode == 0
    assert entries(aioc) == 0


def test_it_holds_nothing_while_it_waits_and_does_not_wait_for_what_came_later(aioc: Aioc, ended: Started) -> None:
    running = tool(aioc, ended)
    clean, _ = waiting(aioc, ended, "tiny")
    later = tool(aioc, ended)
    assert aioc("prune", "--lock-timeout", "20").code == 0
    assert aioc("fetch", "--no-deps", "other").code == 0
    running.communicate("\n")
    clean.communicate(timeout=60)
    assert clean.returncode == 0
    assert later.poll() is None
    assert entries(aioc) == 3  # what the later one uses, and what was fetched


def test_where_nobody_uses_anything_it_does_not_wait(aioc: Aioc) -> None:
    assert aioc("run", "--from", "tiny==1.0", "python", "-c", "pass").code == 0
    ran = aioc("clean", "tiny", "--wait")
    assert (ran.code, ran.err) == (0, "")
    assert entries(aioc) == 0


def test_an_interrupt_ends_the_wait_and_the_next_command_frees_the_bytes(aioc: Aioc, ended: Started) -> None:
    running = tool(aioc, ended)
    clean, _ = waiting(aioc, ended)
    clean.send_signal(signal.SIGINT)
    clean.communicate(timeout=60)
    assert clean.returncode == 130
    running.communicate("\n")
    assert aioc("size").code == 0
    assert entries(aioc) == 0


def test_a_tool_that_cleans_itself_does_not_wait_for_itself(aioc: Aioc) -> None:
    clean = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
    words = aioc.words("clean", "--wait")
    ran = aioc("run", "--from", "tiny==1.0", "python", "-c", clean, *words)
    assert ran.code == 0, ran.err


async def test_the_engine_waits_too_tells_its_reporter_and_can_be_cancelled(aioc: Aioc, ended: Started) -> None:
    running = tool(aioc, ended)
    told: list[Wait] = []

    class Listener(Reporter):
        def waits(self, wait: Wait) -> None:
            told.append(wait)
            loop.call_soon_threadsafe(scope.cancel)  # it may be told from any thread

    loop = asyncio.get_running_loop()
    async with CacheEngine(aioc.cache_dir, reporter=Listener()) as engine:
        with anyio.CancelScope() as scope:
            await engine.clean(wait=True)
        assert scope.cancelled_caught
        assert f"pid {running.pid} (" in told[0].holders[0]
        running.communicate("\n")
        with anyio.fail_after(60):
            await engine.clean(wait=True)
        assert (await engine.entries()) == ()


async def test_what_this_process_uses_itself_is_not_waited_for(aioc: Aioc) -> None:
    assert aioc("run", "--from", "tiny==1.0", "python", "-c", "pass").code == 0
    config = Config(index_url=aioc.index_url)
    async with CacheEngine(aioc.cache_dir, config=config) as engine:
        async with engine.environment("tiny==1.0"):
            with anyio.fail_after(60):
                await engine.clean(wait=True)
            assert len(await engine.entries()) == 2
        assert (await engine.entries()) == ()
