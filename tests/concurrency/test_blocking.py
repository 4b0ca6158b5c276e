"""The engine for threads: many of them on one shared loop, closing, forks, interrupts, and event loops in the way."""

from __future__ import annotations

import inspect
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine import BlockingCacheEngine, CacheEngine, LinkMode, Reporter, TargetChoice
from aiocache_engine.errors import ForeignCacheDirError, OfflineError, ProjectNotFoundError, UsageError
from aiocache_engine.testing.index_server import Fault, IndexServer
from aiocache_engine.testing.invariants import assert_environment_sound, assert_sound
from caches import Place, process, said
from shares import Share

PROJECTS = ("tiny", "other", "third")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for project in PROJECTS:
        for version in ("1.0", "2.0"):
            place.wheel(project, version, file_count=40)
    return place


@pytest.fixture
def server(place: Place) -> Iterator[IndexServer]:
    with IndexServer(place.wheels) as server:
        yield server


@pytest.fixture(autouse=True)
def _every_loop_ends() -> Iterator[None]:
    yield
    assert loop_threads() == []


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("aiocache-engine ")]


def blocking(
    place: Place, server: IndexServer, reporter: Reporter | None = None, *, cache: Path | None = None, **options: Any
) -> BlockingCacheEngine:
    config = place.config(index_url=server.index_url, find_links=(), **options)
    environ = {"PATH": os.environ["PATH"]}
    return BlockingCacheEngine(cache or place.cache, config=config, reporter=reporter, environ=environ)


class Downloading(Reporter):
    """Tells when a download has begun."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()

    def download_started(self, *_: object) -> None:
        self.has_begun.set()


class Interrupts(Reporter):
    """Interrupts the main thread, as a terminal does, when a download has begun."""

    def download_started(self, *_: object) -> None:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)


def crawl(server: IndexServer, project: str = "tiny", *, bytes_per_second: int) -> None:
    server.fault(f"/files/{project}-2.0-py3-none-any.whl", Fault(bytes_per_second=bytes_per_second))


def public(engine: type) -> dict[str, object]:
    verbs = {name: verb for kind in reversed(engine.__mro__) for name, verb in vars(kind).items()}
    return {name: verb for name, verb in verbs.items() if not name.startswith("_")}


def test_every_verb_of_the_engine_is_there_with_the_same_signature_and_purpose() -> None:
    ours, theirs = public(BlockingCacheEngine), public(CacheEngine)
    assert ours.keys() == theirs.keys()
    for name, verb in theirs.items():
        mine = ours[name]
        assert inspect.isfunction(mine) == inspect.isfunction(verb), name
        assert (mine.__doc__ or "").partition("\n")[0] == (verb.__doc__ or "").partition("\n")[0], name
        if inspect.isfunction(verb) and inspect.isfunction(mine):
            own, async_own = str(inspect.signature(mine)), str(inspect.signature(verb))
            assert own.replace("[Blocking", "[") == async_own.replace("-> 'Async", "-> '"), name
            assert not inspect.iscoroutinefunction(mine), name
    assert inspect.signature(BlockingCacheEngine) == inspect.signature(CacheEngine)


def test_sixteen_threads_install_clean_and_prune_the_same_names_and_every_environment_is_right(
    place: Place, server: IndexServer, share: Share
) -> None:
    rounds = 12 // share.of
    modes = (LinkMode.HARDLINK, LinkMode.COPY, LinkMode.SYMLINK)

    def install(engine: BlockingCacheEngine, number: int) -> None:
        environment = place.root / f"env{number}"
        for turn in range(rounds):
            version = "1.0" if (turn + number) % 2 else "2.0"
            report = engine.install(
                [f"{project}=={version}" for project in PROJECTS],
                target=TargetChoice(venv=str(environment)),
                link_mode=modes[number % 3],
                compile=number % 6 == 0,  # a process each time, and not what this is about
            )
            assert {each.version for each in report.installed} == {version}
            assert_environment_sound(environment)
            installed = {path.name for path in environment.rglob("*.dist-info")}
            assert installed == {f"{project}-{version}.dist-info" for project in PROJECTS}

    def clean(engine: BlockingCacheEngine, number: int) -> None:
        for turn in range(rounds):
            engine.clean([PROJECTS[(turn + number) % 3]] if turn % 4 else ())

    def prune(engine: BlockingCacheEngine, number: int) -> None:
        for _ in range(rounds):
            engine.prune()

    work = [install] * 12 + [clean] * 2 + [prune] * 2
    with blocking(place, server) as one, blocking(place, server) as other, ThreadPoolExecutor(16) as threads:
        jobs = [threads.submit(each, (one, other)[n % 2], n) for n, each in enumerate(work)]
        assert len(loop_threads()) == 1
        for job in jobs:
            job.result()
    assert_sound(place.cache)
    with blocking(place, server) as engine:
        engine.prune()
        assert engine.leases().leases == ()
    assert_sound(place.cache, is_pruned=True)


def test_sixteen_threads_that_want_the_same_new_wheels_fetch_each_of_them_once(
    place: Place, server: IndexServer
) -> None:
    together = threading.Barrier(16)

    def install(engine: BlockingCacheEngine, number: int) -> None:
        together.wait()
        engine.install(PROJECTS, target=TargetChoice(venv=str(place.root / f"env{number}")))

    with blocking(place, server) as engine, ThreadPoolExecutor(16) as threads:
        for job in [threads.submit(install, engine, number) for number in range(16)]:
            job.result()
    fetched = {path: count for path, count in server.counts.items() if path.endswith(".whl")}
    assert fetched == {f"/files/{project}-2.0-py3-none-any.whl": 1 for project in PROJECTS}
    for number in range(16):
        assert_environment_sound(place.root / f"env{number}")


def test_engines_on_one_cache_dir_share_the_loop_and_keep_their_own_settings_and_reporters(
    place: Place, server: IndexServer
) -> None:
    class Named(Reporter):
        def __init__(self) -> None:
            self.names: list[str] = []

        def published(self, filename: str) -> None:
            self.names.append(filename)

    online, offline = Named(), Named()
    (place.root / "way").symlink_to(place.root)
    by_link = blocking(place, server, offline, cache=place.root / "way" / "cache", is_offline=True)
    with blocking(place, server, online) as one, by_link as other:
        assert len(loop_threads()) == 1
        with pytest.raises(OfflineError, match="offline"):
            other.fetch(["third"])
        one.fetch(["tiny"])
        assert [each.project for each in other.entries()] == ["tiny"]
    assert (online.names, offline.names) == (["tiny-2.0-py3-none-any.whl"], [])


def test_engines_on_two_cache_dirs_have_a_loop_each(tmp_path: Path) -> None:
    with BlockingCacheEngine(tmp_path / "one") as one, BlockingCacheEngine(tmp_path / "two") as two:
        assert len(loop_threads()) == 2
        assert one.size().size_bytes == two.size().size_bytes == 0


def test_the_loop_lives_until_the_last_engine_is_closed_in_whatever_order(tmp_path: Path) -> None:
    engines = [BlockingCacheEngine(tmp_path / "cache") for _ in range(3)]
    for engine in engines:
        engine.__enter__()
    for closing in (0, 2, 1):
        engines[closing].__exit__(None, None, None)
        with pytest.raises(UsageError, match="open the engine first"):
            engines[closing].size()
        if closing != 1:
            assert engines[1].size().entry_count == 0
            assert len(loop_threads()) == 1
    assert loop_threads() == []
    with engines[0] as again:
        assert again.size().entry_count == 0


def test_opening_and_closing_at_once_in_many_threads_never_meets_a_stopped_loop(tmp_path: Path) -> None:
    def use(_: int) -> int:
        with BlockingCacheEngine(tmp_path / "cache") as engine:
            return engine.size().entry_count

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(use, range(120))) == [0] * 120


def test_closing_waits_for_the_calls_of_other_threads(place: Place, server: IndexServer) -> None:
    for project in PROJECTS:
        crawl(server, project, bytes_per_second=200_000)
    downloading = Downloading()
    with ThreadPoolExecutor(1) as threads:
        with blocking(place, server, downloading, download_count=1) as engine:
            job = threads.submit(engine.fetch, PROJECTS)
            assert downloading.has_begun.wait(30)
        assert os.listdir(place.cache / "leases") == []
        assert {each.project for each in job.result().fetched} == set(PROJECTS)


def test_a_cache_dir_that_cannot_be_opened_is_told_as_by_the_engine_and_leaves_no_loop(tmp_path: Path) -> None:
    (tmp_path / "somebody's").write_text("not ours")
    with pytest.raises(ForeignCacheDirError):
        BlockingCacheEngine(tmp_path).__enter__()


def test_errors_come_to_the_thread_that_called_and_harm_no_other_call(place: Place, server: IndexServer) -> None:
    with blocking(place, server) as engine, ThreadPoolExecutor(2) as threads:
        wrong, right = threads.submit(engine.fetch, ["nowhere"]), threads.submit(engine.fetch, ["tiny"])
        with pytest.raises(ProjectNotFoundError, match="nowhere"):
            wrong.result()
        assert [each.project for each in right.result().fetched] == ["tiny"]


def test_a_reporter_that_fails_fails_its_own_call_and_no_other(place: Place, server: IndexServer) -> None:
    class Fails(Reporter):
        def download_started(self, *_: object) -> None:
            raise ZeroDivisionError

    with blocking(place, server, Fails()) as engine, blocking(place, server) as other:
        with pytest.raises((ZeroDivisionError, ExceptionGroup)):
            engine.fetch(["tiny"])
        assert engine.entries() == ()
        assert [each.project for each in other.fetch(["tiny"]).fetched] == ["tiny"]


def test_what_is_given_as_a_generator_is_read_in_the_calling_thread(place: Place, server: IndexServer) -> None:
    with blocking(place, server) as engine:
        engine.fetch(PROJECTS)
        names = (entry.project for _ in range(1) for entry in engine.entries() if entry.project)
        engine.clean(names)
        assert engine.entries() == ()


def test_an_interrupted_call_is_cancelled_and_has_cleaned_up_when_the_interrupt_is_seen(
    place: Place, server: IndexServer
) -> None:
    crawl(server, bytes_per_second=100)  # it would last minutes
    with blocking(place, server, Interrupts()) as engine, blocking(place, server) as other:
        with pytest.raises(KeyboardInterrupt):
            engine.install(["tiny"], target=TargetChoice(venv=str(place.root / "env")))
        for directory in ("leases", "staging"):
            assert os.listdir(place.cache / directory) == []
        server.heal()
        assert other.fetch(["tiny"]).fetched[0].origin == "index"
    assert list(place.root.glob("env/lib/*/site-packages/*")) == []
    assert_sound(place.cache, is_pruned=True)


def test_an_interrupt_cancels_no_other_thread_s_call(place: Place, server: IndexServer) -> None:
    crawl(server, "tiny", bytes_per_second=100)
    crawl(server, "other", bytes_per_second=200_000)
    downloading = Downloading()
    with ThreadPoolExecutor(1) as threads, ExitStack() as engines:
        calm = engines.enter_context(blocking(place, server, downloading))
        struck = engines.enter_context(blocking(place, server, Interrupts()))
        job = threads.submit(calm.fetch, ["other"])
        assert downloading.has_begun.wait(30)
        with pytest.raises(KeyboardInterrupt):
            struck.fetch(["tiny"])
        assert [each.project for each in job.result().fetched] == ["other"]


async def test_inside_an_event_loop_it_is_refused_with_a_line_that_names_the_engine_to_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="async with CacheEngine"):
        BlockingCacheEngine(tmp_path / "cache").__enter__()


def test_an_engine_opened_outside_is_refused_in_a_reporter_on_the_loop_instead_of_standing_still(
    place: Place, server: IndexServer
) -> None:
    refusals: list[UsageError] = []

    class Asks(Reporter):
        def download_started(self, *_: object) -> None:
            for ask in (engine.size, lambda: engine.__exit__(None, None, None)):
                try:
                    ask()
                except UsageError as error:
                    refusals.append(error)

    with blocking(place, server, Asks()) as engine:
        assert [each.project for each in engine.fetch(["tiny"]).fetched] == ["tiny"]
    assert ["CacheEngine" in str(refusal) for refusal in refusals] == [True, True]


FORKED = """
import json, os, signal, sys, threading
from aiocache_engine import BlockingCacheEngine, Config, UsageError
signal.alarm(60)  # who stands still fails
def count_threads():
    for thread in threading.enumerate():  # an idle one that was told to end may be about to
        if thread is not threading.current_thread():
            thread.join(20)
    return threading.active_count()
cache, wheels = sys.argv[1:]
config = Config(index_url="file://" + wheels, find_links=(wheels,))
parent = BlockingCacheEngine(cache, config=config)
with parent:
    parent.fetch(["tiny"])
    if (child := os.fork()) == 0:
        signal.alarm(60)
        told = {}
        for name, use in {
            "call": parent.size, "dir": lambda: parent.cache_dir, "open": parent.__enter__,
            "close": lambda: parent.__exit__(None, None, None),
        }.items():
            try:
                use()
                told[name] = "nothing"
            except UsageError as error:
                told[name] = str(error)
        with BlockingCacheEngine(cache, config=config) as own:
            told["own"] = [each.origin for each in own.fetch(["tiny", "other==1.0"]).fetched]
            own.clean(["other"])
        told["threads"] = count_threads()
        print(json.dumps(told), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print(json.dumps([each.project for each in parent.entries()]), flush=True)
print(json.dumps(count_threads()), flush=True)
"""


def test_a_forked_child_is_told_to_make_its_own_engine_and_can_while_its_parent_goes_on(place: Place) -> None:
    with process(FORKED, place.cache, place.wheels) as program:
        told = said(program)
        assert said(program) == ["tiny"]
        assert said(program) == 1
    for use in ("call", "dir", "open"):
        assert "make a new BlockingCacheEngine here" in told[use]
        assert str(program.pid) in told[use]
    assert told["close"] == "nothing"
    assert sorted(told["own"]) == ["cache", "index"]
    assert told["threads"] == 1


UNCLOSED = """
import sys
from aiocache_engine import BlockingCacheEngine
engine = BlockingCacheEngine(sys.argv[1]).__enter__()
print(engine.size().entry_count, flush=True)
"""


def test_an_engine_that_nobody_closed_does_not_keep_the_process_from_ending(place: Place) -> None:
    with process(UNCLOSED, place.cache) as program:
        assert said(program) == 0
        assert program.wait(30) == 0
