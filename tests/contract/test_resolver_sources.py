"""The real catalog over a real index: what is asked for, what is kept, and that both roads give the same answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from anyio import create_task_group, to_thread
from anyio.lowlevel import checkpoint

from aiocache_engine.errors import InvalidWheelError, OfflineError, ProjectNotFoundError, UnsatisfiableError
from aiocache_engine.index import freshness
from aiocache_engine.index.client import IndexClient
from aiocache_engine.index.settings import IndexOptions, discover_settings
from aiocache_engine.model.index import IndexSettings
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.find import Choice
from aiocache_engine.pipeline.resolution.fetch import Fetcher
from aiocache_engine.pipeline.resolution.resolve import Resolved, resolve_live, resolve_stored
from aiocache_engine.pipeline.resolution.shelf import Shelf
from aiocache_engine.pipeline.steps import Conductor
from aiocache_engine.policy.choose import WheelChooser
from aiocache_engine.policy.resolution import Problem
from aiocache_engine.python.interpreter import probe
from aiocache_engine.store.cache_dir import CacheDir, open_cache_dir
from aiocache_engine.store.work import Work
from aiocache_engine.testing.index_server import Fault, IndexServer
from aiocache_engine.testing.wheels import build_wheel, wheel_filename
from caches import HOLDER, clean_now
from catalogs import wanted


class Bench:
    """A server with wheels, a cache dir, and both ways to resolve."""

    def __init__(self, root: Path, server: IndexServer, interpreter: Interpreter) -> None:
        self.wheels = root / "wheels"
        self.server = server
        self.interpreter = interpreter
        self.cache: CacheDir = open_cache_dir(str(root / "cache"))
        self.whole: list[str] = []  #: wheels that had to be fetched whole
        self.asked_sdists: list[str] = []  #: sdists that were asked what they are
        self.builds = True
        self.is_offline = False

    def wheel(self, name: str, version: str = "1.0", *requires: str, **how: str) -> Path:
        return build_wheel(self.wheels, name, version, requires=requires, **how)

    def settings(self) -> IndexSettings:
        return discover_settings(IndexOptions(index_url=self.server.index_url, find_links=()), {}, memo_path=None)

    def work(self) -> Work:
        return Work(self.cache, HOLDER)

    def conductor(self) -> Conductor:
        return Conductor(self.cache.lock, timeout_seconds=10)

    async def live(self, *texts: str, constraints: Sequence[str] = ()) -> Resolved:
        settings = self.settings()
        work = self.work()

        async def whole(choice: Choice) -> bytes:
            self.whole.append(choice.file.filename)
            return f"Name: {choice.wanted.project}\nVersion: {choice.wanted.pinned or '1.0'}\n".encode()

        async def sdist(choice: Choice) -> bytes:
            self.asked_sdists.append(choice.file.filename)
            return f"Name: {choice.wanted.project}\nVersion: {choice.wanted.pinned or '1.0'}\n".encode()

        async with IndexClient(settings, offline=self.is_offline) as client:

            async def give() -> IndexClient:
                return client

            shelf = Shelf(work, settings, is_offline=self.is_offline, refreshes=False)
            fetcher = Fetcher(shelf, give, self.conductor(), whole, sdist_metadata=sdist, page_count=8)
            chooser = WheelChooser(self.interpreter, builds=self.builds, build_settings=("here",))
            try:
                return await resolve_live(self.problem(texts, constraints), self.interpreter, fetcher, chooser=chooser)
            finally:
                work.end()

    async def stored(self, *texts: str, offline: bool = True) -> Resolved | None:
        return await to_thread.run_sync(lambda: self.stored_now(*texts, offline=offline))

    def stored_now(self, *texts: str, offline: bool) -> Resolved | None:
        work = self.work()
        shelf = Shelf(work, self.settings(), is_offline=offline, refreshes=False)
        try:
            chooser = WheelChooser(self.interpreter, builds=self.builds, build_settings=("here",))
            return resolve_stored(self.problem(texts, ()), self.interpreter, shelf, self.conductor(), chooser=chooser)
        finally:
            work.end()

    def problem(self, texts: Sequence[str], constraints: Sequence[str]) -> Problem:
        return Problem(tuple(wanted(each) for each in texts), tuple(wanted(each) for each in constraints))

    def asked(self, ending: str) -> list[str]:
        return sorted(path for path, count in self.server.counts.items() if path.endswith(ending) for _ in range(count))


@pytest.fixture(scope="session")
def interpreter() -> Interpreter:
    return probe(sys.executable)


@pytest.fixture
def bench(tmp_path: Path, interpreter: Interpreter) -> Iterator[Bench]:
    (tmp_path / "wheels").mkdir()
    with IndexServer(tmp_path / "wheels") as server:
        yield Bench(tmp_path, server, interpreter)


def pins(resolved: Resolved | None) -> list[str]:
    assert resolved is not None
    return [f"{pin.project}=={pin.version}" for pin in resolved.pins]


@pytest.fixture
async def tree(bench: Bench) -> AsyncIterator[Bench]:
    bench.wheel("top", "1.0", "left>=1", "right")
    bench.wheel("left", "1.0", "leaf<2")
    bench.wheel("right", "1.0", "leaf")
    bench.wheel("leaf", "1.0")
    bench.wheel("leaf", "2.0")
    return bench


NUMBER = "1" * 5000  # Python reads 4300 digits

TREE = ["leaf==1.0", "left==1.0", "right==1.0", "top==1.0"]


async def test_what_was_resolved_once_resolves_without_the_network(tree: Bench) -> None:
    assert pins(await tree.live("top")) == TREE
    before = sum(tree.server.counts.values())
    assert pins(await tree.stored("top")) == TREE
    assert sum(tree.server.counts.values()) == before


async def test_the_cache_alone_says_so_where_it_lacks_something(tree: Bench) -> None:
    await tree.live("left")
    assert await tree.stored("top", offline=False) is None


async def test_metadata_is_read_from_beside_the_wheel_once(tree: Bench) -> None:
    resolved = await tree.live("top")
    chosen = {f"/files/{choice.file.filename}.metadata" for choice in resolved.choices}
    assert chosen <= set(tree.asked(".whl.metadata"))
    assert tree.asked(".whl") == []
    tree.server.counts.clear()
    await tree.live("top")
    assert not chosen & set(tree.asked(".whl.metadata"))  # what was guessed and not needed may come again


async def test_the_cache_alone_says_so_where_metadata_is_gone(tree: Bench) -> None:
    resolved = await tree.live("leaf")
    choice = resolved.choices[0]
    cut_last_byte(tree.cache.layout.metadata("leaf", choice.index.digest, choice.file.filename))
    assert await tree.stored("leaf") is None


async def test_without_metadata_files_a_part_of_the_wheel_is_read(tree: Bench) -> None:
    tree.server.has_metadata = False
    assert pins(await tree.live("top")) == TREE
    ranges = [headers.get("range") for path, headers in tree.server.requests if path.endswith(".whl")]
    assert ranges
    assert None not in ranges
    assert tree.whole == []


async def test_a_giant_wheel_is_not_fetched_for_its_metadata(bench: Bench) -> None:
    path = build_wheel(bench.wheels, "giant", "1.0", requires=("leaf",), files={"giant/blob": bytes(range(256)) * 4000})
    bench.wheel("leaf")
    bench.server.has_metadata = False
    assert path.stat().st_size > 1000
    assert pins(await bench.live("giant")) == ["giant==1.0", "leaf==1.0"]
    assert bench.whole == []


async def test_without_ranges_the_whole_wheel_is_fetched(tree: Bench) -> None:
    tree.server.has_metadata = tree.server.has_ranges = False
    await tree.live("leaf")
    assert tree.whole == ["leaf-2.0-py3-none-any.whl"]


async def test_a_lying_part_is_not_believed(bench: Bench) -> None:
    bench.wheel("leaf")
    bench.server.has_metadata = False
    bench.server.fault(f"/files/{wheel_filename('leaf', '1.0')}", Fault(range_shift=1))
    await bench.live("leaf")
    assert bench.whole == ["leaf-1.0-py3-none-any.whl"]


@pytest.mark.parametrize("total", ["*", "9" * 30, str(2**63 - 1), str(10**17), str(2**32), NUMBER])
async def test_a_part_of_a_strange_whole_is_not_believed(bench: Bench, total: str) -> None:
    bench.wheel("leaf")
    bench.server.has_metadata = bench.server.has_json = False  # HTML tells no sizes
    bench.server.fault(f"/files/{wheel_filename('leaf', '1.0')}", Fault(range_total=total))
    await bench.live("leaf")
    assert bench.whole == ["leaf-1.0-py3-none-any.whl"]


async def test_metadata_that_was_cleaned_meanwhile_is_not_brought_back(tree: Bench) -> None:
    resolved = await tree.live("leaf")
    choice = resolved.choices[0]
    work = tree.work()
    shelf = Shelf(work, tree.settings(), is_offline=False, refreshes=False)
    await tree.conductor().conduct(shelf.read(["leaf"]))
    await to_thread.run_sync(clean_now, tree.cache, "leaf==2.0")
    assert await tree.conductor().conduct(shelf.write_metadata(choice, b"old")) is False
    assert await tree.conductor().conduct(shelf.read_metadata([choice])) == [None]
    work.end()


def cut_last_byte(path: str) -> None:
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[:-1])


async def test_damaged_metadata_and_that_of_another_file_are_fetched_again(tree: Bench) -> None:
    resolved = await tree.live("leaf")
    choice = resolved.choices[0]
    work = tree.work()
    shelf = Shelf(work, tree.settings(), is_offline=False, refreshes=False)
    conductor = tree.conductor()
    assert await conductor.conduct(shelf.read_metadata([choice])) != [None]
    other = replace(choice, file=replace(choice.file, sha256="0" * 64))
    assert await conductor.conduct(shelf.read_metadata([other])) == [None]
    cut_last_byte(tree.cache.layout.metadata("leaf", choice.index.digest, choice.file.filename))
    assert await conductor.conduct(shelf.read_metadata([choice])) == [None]
    work.end()


async def test_a_version_for_another_python_is_passed_over_even_if_only_its_metadata_says_so(bench: Bench) -> None:
    bench.wheel("leaf", "1.0")
    bench.wheel("leaf", "2.0", requires_python=">=99")
    bench.server.requires_python[wheel_filename("leaf", "2.0")] = ""
    assert pins(await bench.live("leaf")) == ["leaf==1.0"]


async def test_a_version_whose_metadata_cannot_be_read_is_passed_over(bench: Bench) -> None:
    bench.wheel("leaf", "1.0")
    bench.wheel("leaf", "2.0", "other >= not-a-version")
    assert pins(await bench.live("leaf")) == ["leaf==1.0"]


@pytest.mark.parametrize("written", ["leaf; extra == 'y' and bogus == '1'", "-leaf; extra == 'y'"])
async def test_a_version_with_an_unreadable_requirement_of_an_extra_is_passed_over(bench: Bench, written: str) -> None:
    bench.wheel("leaf", "1.0")
    bench.wheel("top", "1.0", "leaf; extra == 'y'")
    bench.wheel("top", "2.0", written)
    assert pins(await bench.live("top[y]")) == ["leaf==1.0", "top==1.0"]


@pytest.mark.parametrize("spelled", ["2.9.0.post0", "2.0.0a4", "1.0.0.dev3", "2.10.0", "1!1.0.0+cu1.0", "0.0"])
async def test_a_version_is_told_as_its_maker_writes_it(bench: Bench, spelled: str) -> None:
    bench.wheel("leaf", spelled)
    assert pins(await bench.live("leaf")) == [f"leaf=={spelled}"]


async def test_a_wheel_says_how_a_version_is_written_and_a_source_file_where_there_is_none(bench: Bench) -> None:
    bench.wheel("leaf", "1.0.0rc1")
    (bench.wheels / "leaf-1.0-rc1.tar.gz").write_bytes(b"source")
    assert pins(await bench.live("leaf")) == ["leaf==1.0.0rc1"]
    (bench.wheels / "root-2.0.0a4.tar.gz").write_bytes(b"source")
    (bench.wheels / "end-3.0.0.zip").write_bytes(b"source")
    assert pins(await bench.live("root", "end")) == ["end==3.0.0", "root==2.0.0a4"]


async def test_a_version_is_meant_to_the_letter_as_its_maker_writes_it(bench: Bench) -> None:
    bench.wheel("leaf", "1.0.0")
    bench.wheel("leaf", "1.0.0+cu1")
    assert pins(await bench.live("leaf===1.0.0")) == ["leaf==1.0.0"]


@pytest.mark.parametrize(
    ("requires", "python"),
    [
        (f"other; {'(' * 3000}python_version > '3'{')' * 3000}", ""),
        (f"other; python_version > '{NUMBER}'", ""),
        (f"other>={NUMBER}", ""),
        (f"other>={NUMBER}; extra == 'x'", ""),
        ("", f">={NUMBER}"),
    ],
    ids=["nested", "marker", "specifier", "extra", "python"],
)
@pytest.mark.parametrize("is_on_page", [True, False])
async def test_a_version_whose_metadata_is_without_end_is_passed_over_and_alone_it_is_named(
    bench: Bench, requires: str, python: str, *, is_on_page: bool
) -> None:
    bench.wheel("leaf", "2.0", *filter(None, [requires]), requires_python=python)
    if not is_on_page:
        bench.server.requires_python[wheel_filename("leaf", "2.0")] = ""
    with pytest.raises(UnsatisfiableError, match=r"leaf==2\.0") as refused:
        await bench.live("leaf")
    assert len(str(refused.value)) < 400
    bench.wheel("leaf", "1.0")
    assert pins(await bench.live("leaf")) == ["leaf==1.0"]


async def test_an_unreadable_version_alone_is_named_with_its_reason(bench: Bench) -> None:
    bench.wheel("leaf", "2.0", "other >= not-a-version")
    with pytest.raises(UnsatisfiableError, match="its requirement 'other >= not-a-version' cannot be read"):
        await bench.live("leaf")


async def test_what_is_there_only_as_source_is_named_where_nothing_may_be_built(bench: Bench) -> None:
    bench.builds = False
    (bench.wheels / "leaf-1.0.tar.gz").write_bytes(b"source")
    bench.wheel("top", "1.0", "leaf")
    with pytest.raises(UnsatisfiableError, match=r"leaf==1.0 cannot be taken \(it is there only as source, leaf-1.0.t"):
        await bench.live("top")


async def test_the_sdist_of_the_version_that_is_taken_is_asked_and_no_other(bench: Bench) -> None:
    for version in ("1.0", "2.0", "3.0"):
        (bench.wheels / f"leaf-{version}.tar.gz").write_bytes(b"source")
    bench.wheel("leaf", "2.0")
    bench.wheel("top", "1.0", "leaf<3")
    bench.wheel("other", "1.0", "leaf", "end")
    (bench.wheels / "end-1.0.tar.gz").write_bytes(b"source")

    assert pins(await bench.live("top", "other")) == ["end==1.0", "leaf==2.0", "other==1.0", "top==1.0"]
    assert bench.asked_sdists == ["end-1.0.tar.gz"]
    assert pins(await bench.stored("top", "other")) == ["end==1.0", "leaf==2.0", "other==1.0", "top==1.0"]


STATIC = "Metadata-Version: 2.2\nName: leaf\nVersion: 1.0\nRequires-Dist: end\n"


@pytest.mark.parametrize(
    ("served", "asked"),
    [
        (STATIC, []),
        (STATIC.replace("2.2", "2.4"), []),
        (f"{STATIC}Dynamic: Description\n", []),
        (f"{STATIC}Dynamic: Requires-Dist\n", ["leaf-1.0.tar.gz"]),
        (STATIC.replace("2.2", "2.1"), ["leaf-1.0.tar.gz"]),
        (STATIC.partition("\n")[2], ["leaf-1.0.tar.gz"]),
    ],
)
async def test_what_an_index_says_of_an_sdist_is_believed_where_no_build_can_change_it(
    bench: Bench, served: str, asked: list[str]
) -> None:
    (bench.wheels / "leaf-1.0.tar.gz").write_bytes(b"source")
    (bench.wheels / "leaf-1.0.tar.gz.metadata").write_text(served)
    bench.wheel("end")
    resolved = await bench.live("leaf")
    assert bench.asked_sdists == asked
    assert pins(resolved) == (["leaf==1.0"] if asked else ["end==1.0", "leaf==1.0"])


async def test_a_project_that_nobody_knows_is_named_with_where_was_looked(bench: Bench) -> None:
    with pytest.raises(ProjectNotFoundError, match=r"nothing was not found in http://127.0.0.1"):
        await bench.live("nothing")


async def test_an_unknown_dependency_is_explained_by_who_wants_it(bench: Bench) -> None:
    bench.wheel("top", "1.0", "nothing")
    with pytest.raises(UnsatisfiableError, match=r"top==1.0 depends on nothing and no index knows nothing"):
        await bench.live("top")


async def test_a_local_version_a_yanked_one_and_a_hash_are_chosen_as_they_are_asked_for(bench: Bench) -> None:
    for version in ("1.0", "1.0+cpu", "2.0"):
        bench.wheel("leaf", version)
    bench.server.yanked[wheel_filename("leaf", "2.0")] = "broken"
    assert pins(await bench.live("leaf")) == ["leaf==1.0+cpu"]
    assert pins(await bench.live("leaf==2.0")) == ["leaf==2.0"]


async def test_a_wheel_named_by_url_takes_part_in_the_search(bench: Bench) -> None:
    bench.wheel("leaf", "1.0")
    bench.wheel("leaf", "2.0")
    bench.wheel("top", "1.0", "leaf")
    url = bench.server.file_url("leaf-1.0-py3-none-any.whl")
    bench.server.has_metadata = False
    resolved = await bench.live("top", f"leaf @ {url}")
    assert pins(resolved) == ["leaf==1.0", "top==1.0"]
    assert resolved.choices[0].file.url == url
    assert bench.whole == []  # its size is unknown, so its end is asked for


async def test_a_wheel_of_this_machine_needs_no_network_and_no_copy(tmp_path: Path, bench: Bench) -> None:
    path = build_wheel(tmp_path, "mine", "1.0", requires=("leaf",))
    bench.wheel("leaf")
    assert pins(await bench.live(f"mine @ {path.as_uri()}")) == ["leaf==1.0", "mine==1.0"]
    assert pins(await bench.stored(f"mine @ {path.as_uri()}")) == ["leaf==1.0", "mine==1.0"]


@pytest.mark.parametrize("extra_count", [1, 200])
async def test_a_wheel_of_this_machine_that_was_built_again_is_read_again(
    tmp_path: Path, bench: Bench, extra_count: int
) -> None:
    bench.wheel("leaf")
    bench.wheel("other")
    for wanted_now in ("leaf", "other"):
        requires = [f"leaf; extra == 'e{number}{'x' * 400}'" for number in range(extra_count)]
        path = build_wheel(tmp_path, "mine", "1.0", requires=[wanted_now, *requires])
        for _ in range(2):
            assert pins(await bench.live(f"mine @ {path.as_uri()}")) == sorted([f"{wanted_now}==1.0", "mine==1.0"])


async def test_a_local_file_that_is_no_wheel_is_refused(tmp_path: Path, bench: Bench) -> None:
    path = tmp_path / "mine-1.0-py3-none-any.whl"
    path.write_bytes(b"no wheel at all")
    with pytest.raises(InvalidWheelError, match="it is no zip file"):
        await bench.live(f"mine @ {path.as_uri()}")


async def test_an_extra_that_is_not_there_is_only_warned_of(bench: Bench) -> None:
    bench.wheel("leaf")
    resolved = await bench.live("leaf[fast]")
    assert pins(resolved) == ["leaf==1.0"]
    assert resolved.warnings == ("leaf 1.0 has no extra 'fast'",)


async def test_offline_the_first_thing_that_is_missing_is_named(tree: Bench) -> None:
    tree.is_offline = True
    with pytest.raises(OfflineError, match="top"):
        await tree.live("top")


async def test_a_failing_server_is_an_error_only_where_it_is_needed(tree: Bench) -> None:
    tree.wheel("left", "0.5", "broken")
    tree.server.fault("/simple/broken/", Fault(status=404))
    assert pins(await tree.live("top")) == TREE


async def test_a_stored_page_is_asked_for_again_before_no_is_said(tree: Bench) -> None:
    tree.server.cache_control = "max-age=600"
    await tree.live("leaf")
    tree.wheel("leaf", "3.0")
    assert pins(await tree.live("leaf>=3")) == ["leaf==3.0"]


async def test_the_same_answer_comes_whatever_is_slow(tree: Bench) -> None:
    for project in ("left", "leaf"):
        tree.server.fault(f"/simple/{project}/", Fault(bytes_per_second=2000))
    assert pins(await tree.live("top")) == TREE


async def test_what_the_cache_has_is_read_without_a_request_and_all_that_it_lacks_is_asked_for_at_once(
    tree: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "is_loopback", lambda _url: False)  # of which no page is ever fresh
    tree.server.cache_control = "max-age=600"
    await tree.live("top")
    await to_thread.run_sync(clean_now, tree.cache, "left", "right")
    tree.server.counts.clear()
    lacking = {"/simple/left/", "/simple/right/"}
    for path in lacking:
        tree.server.fault(path, Fault(bytes_per_second=1))
    answers: list[list[str]] = []

    async def resolve() -> None:
        answers.append(pins(await tree.live("top")))

    async with create_task_group() as tasks:
        tasks.start_soon(resolve)
        while not lacking <= tree.server.counts.keys():
            await checkpoint()
        tree.server.heal()
    assert answers == [TREE]
    assert {path for path in tree.server.counts if path.startswith("/simple/")} == lacking


def test_the_room_is_not_imported_where_nothing_is_resolved() -> None:
    script = (
        "import sys, aiocache_engine.engine, aiocache_engine.pipeline.warm, aiocache_engine.pipeline.resolution\n"
        "sys.exit(any(name.startswith('nab_resolver') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
