"""What people type daily: a requirement and all that it needs, what is there already, constraints, files and locks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiocache_engine.testing.index_server import Fault, IndexServer
from aiocache_engine.testing.invariants import assert_environment_sound
from aiocache_engine.testing.sdists import make_sdist
from aiocache_engine.testing.wheels import build_wheel

from .conftest import Aioc
from .test_error_lines import one_line


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    """An index with a tree: app needs lib and tools[fast], lib 2.0 needs base 2."""
    wheels = tmp_path / "tree"
    wheels.mkdir()
    build_wheel(wheels, "app", "1.0", requires=["lib>=1", "tools[fast]", "never; python_version < '3'"])
    build_wheel(wheels, "lib", "1.0", requires=["base<2"])
    build_wheel(wheels, "lib", "2.0", requires=["base>=2"])
    build_wheel(wheels, "base", "1.0")
    build_wheel(wheels, "base", "1.5")
    build_wheel(wheels, "base", "2.0")
    build_wheel(wheels, "base", "3.0b1")
    build_wheel(wheels, "tools", "1.0", requires=["speed; extra == 'fast'"])
    build_wheel(wheels, "speed", "1.0")
    build_wheel(wheels, "loose", "1.0", requires=["base"])
    build_wheel(wheels, "alien", "1.0", tag="cp27-cp27m-win32")
    build_wheel(wheels, "needs-alien", "1.0", requires=["alien"])
    for version in ("0.9", "1.0"):
        make_sdist(wheels, "source", version, requires=["base<2"])
    make_sdist(wheels, "base", "1.5")
    (wheels / "rotten-1.0.tar.gz").write_bytes(b"no sdist")
    build_wheel(wheels, "needs-source", "1.0", requires=["source"])
    with IndexServer(wheels) as server:
        server.cache_control = "max-age=600"
        yield server


def there(aioc: Aioc, environment: str = "env") -> dict[str, str]:
    """Give what an environment has, by project."""
    found = (aioc.home / environment).glob("lib/python*/site-packages/*.dist-info")
    return dict(path.name.removesuffix(".dist-info").split("-") for path in found)


ALL = {"app": "1.0", "lib": "2.0", "base": "2.0", "tools": "1.0", "speed": "1.0"}


def test_metadata_that_the_wheel_belies_is_told_and_believed_no_more(aioc: Aioc, server: IndexServer) -> None:
    wheel = "lib-2.0-py3-none-any.whl"
    digest = hashlib.sha256((Path(server.directory) / wheel).read_bytes()).hexdigest()
    entry = {"filename": wheel, "url": server.file_url(wheel), "hashes": {"sha256": digest}, "core-metadata": True}
    page = {"meta": {"api-version": "1.1"}, "name": "lib", "files": [entry]}
    json_type = "application/vnd.pypi.simple.v1+json"
    server.fault("/simple/lib/", Fault(body=json.dumps(page).encode(), content_type=json_type))
    lie = b"Metadata-Version: 2.1\nName: lib\nVersion: 2.0\nRequires-Dist: speed\n"
    server.fault(f"/files/{wheel}.metadata", Fault(body=lie))
    ran = aioc("install", "lib", "--venv", "env")
    assert (ran.code, there(aioc)) == (0, {"lib": "2.0", "speed": "1.0"})
    assert ran.err == (
        f"aioc: warning: {wheel} requires base>=2 and does not require speed, unlike the metadata that its index serves"
        " for it; install again to have what it really requires\n"
    )
    ran = aioc("install", "lib", "--venv", "env")
    assert (ran.code, ran.err, there(aioc)) == (0, "", {"lib": "2.0", "speed": "1.0", "base": "2.0"})
    ran = aioc("install", "lib", "--venv", "other")
    assert (ran.code, ran.err, there(aioc, "other")) == (0, "", {"lib": "2.0", "base": "2.0"})


def test_what_a_requirement_needs_comes_with_it(aioc: Aioc) -> None:
    ran = aioc("install", "app", "--venv", "env")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[2:] == [" + app 1.0", " + base 2.0", " + lib 2.0", " + speed 1.0", " + tools 1.0"]
    assert there(aioc) == ALL
    assert_environment_sound(aioc.home / "env")


def test_only_what_was_named_is_marked_as_requested(aioc: Aioc) -> None:
    aioc("install", "app", "base", "--venv", "env")
    marked = {path.parent.name for path in (aioc.home / "env").rglob("*.dist-info/REQUESTED")}
    assert marked == {"app-1.0.dist-info", "base-2.0.dist-info"}


def test_the_second_environment_needs_no_network(aioc: Aioc) -> None:
    aioc("install", "app", "--venv", "env")
    ran = aioc("install", "app", "--venv", "again", "--offline", "--json")
    assert {each["from"] for each in ran.document["installed"]} == {"cache"}
    assert there(aioc, "again") == ALL


def test_a_wheel_that_came_without_its_dependencies_tells_them_later_without_network(aioc: Aioc) -> None:
    aioc("fetch", "--no-deps", "lib==2.0", "base==2.0")
    ran = aioc("install", "lib", "--venv", "env", "--offline")
    assert there(aioc) == {"lib": "2.0", "base": "2.0"}, ran.err


def test_an_environment_that_has_it_all_is_left_alone_and_no_index_asked(aioc: Aioc, server: IndexServer) -> None:
    aioc("install", "app", "--venv", "env")
    server.counts.clear()
    ran = aioc("install", "app>=1", "tools", "--venv", "env", "--refresh")
    assert ran.out == "5 distributions already there\n"
    assert not server.counts


def test_what_is_there_and_will_do_is_kept_and_upgraded_only_on_request(aioc: Aioc) -> None:
    aioc("install", "base==1.0", "--venv", "env")
    kept = aioc("install", "loose", "--venv", "env")
    assert there(aioc) == {"base": "1.0", "loose": "1.0"}, kept.err
    assert kept.out.endswith(" + loose 1.0\n1 distribution already there\n")
    assert aioc("install", "loose", "--venv", "env").out == "2 distributions already there\n"
    upgraded = aioc("install", "--upgrade", "loose", "--venv", "env")
    assert upgraded.out.splitlines()[1:] == [" - base 1.0", " + base 2.0", "1 distribution already there"]


def test_what_is_there_gives_way_where_it_does_not_suit(aioc: Aioc) -> None:
    aioc("install", "base==1.0", "--venv", "env")
    aioc("install", "lib==2.0", "--venv", "env")
    assert there(aioc) == {"lib": "2.0", "base": "2.0"}


def test_a_distribution_of_no_index_is_kept_where_it_will_do(aioc: Aioc) -> None:
    own = build_wheel(aioc.home, "base", "1.7+mine")
    aioc("install", f"./{own.name}", "--venv", "env")
    ran = aioc("install", "loose", "--venv", "env")
    assert there(aioc) == {"base": "1.7+mine", "loose": "1.0"}, ran.err


def test_reinstalling_puts_everything_in_anew(aioc: Aioc) -> None:
    aioc("install", "base==1.0", "--venv", "env")
    ran = aioc("install", "lib", "--reinstall", "--venv", "env")
    assert ran.out.splitlines()[1:] == [" - base 1.0", " + base 2.0", " + lib 2.0"]


def test_without_dependencies_only_what_is_named_comes(aioc: Aioc) -> None:
    aioc("install", "--no-deps", "app", "--venv", "env")
    assert there(aioc) == {"app": "1.0"}
    assert aioc("install", "--no-deps", "app", "--venv", "env").out == "1 distribution already there\n"


def test_constraints_hold_for_what_is_needed_and_bring_nothing_themselves(aioc: Aioc) -> None:
    (aioc.home / "limits.txt").write_text("base<2\nabsent==1\n")
    aioc("install", "app", "-c", "limits.txt", "--venv", "env")
    assert there(aioc) == {**ALL, "lib": "1.0", "base": "1.5"}
    fetched = aioc("fetch", "lib", "--constraint", "limits.txt", "--json").document["fetched"]
    assert [(each["name"], each["version"]) for each in fetched] == [("base", "1.5"), ("lib", "1.0")]


def test_a_dry_run_tells_all_that_would_come_and_changes_nothing(aioc: Aioc) -> None:
    ran = aioc("install", "lib", "--venv", "env", "-n")
    assert ran.out.endswith(" + base 2.0\n + lib 2.0\n")
    assert not (aioc.home / "env").exists()


def test_options_of_a_requirements_file_hold_for_its_installation(aioc: Aioc, server: IndexServer) -> None:
    (aioc.home / "r.txt").write_text(f"--index-url {server.index_url}\n--pre\n-c c.txt\nlib\n")
    (aioc.home / "c.txt").write_text("lib>=1\n")
    ran = aioc("install", "-r", "r.txt", "--venv", "env", AIOC_INDEX_URL="http://127.0.0.1:9/simple")
    assert there(aioc) == {"lib": "2.0", "base": "3.0b1"}, ran.err


def test_an_index_of_a_requirements_file_is_asked_before_the_others_and_hides_none(aioc: Aioc, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    build_wheel(more, "lib", "0.5", requires=["base"])
    with IndexServer(more) as other:
        (aioc.home / "r.txt").write_text(f"--extra-index-url {other.index_url}\nlib\n")
        ran = aioc("install", "-r", "r.txt", "--venv", "env")
    assert there(aioc) == {"lib": "0.5", "base": "2.0"}, ran.err


def test_without_an_index_only_the_links_of_the_file_are_looked_at(aioc: Aioc) -> None:
    (aioc.home / "links").mkdir()
    build_wheel(aioc.home / "links", "lib", "0.5")
    (aioc.home / "r.txt").write_text("--no-index\n--find-links links\nlib\n")
    aioc("install", "-r", "r.txt", "--venv", "env")
    assert there(aioc) == {"lib": "0.5"}


def test_hashes_are_wanted_of_everything_or_of_nothing(aioc: Aioc, server: IndexServer) -> None:
    lib, base = (server._sha256(f"{name}-2.0-py3-none-any.whl") for name in ("lib", "base"))
    (aioc.home / "r.txt").write_text(f"lib==2.0 --hash=sha256:{lib}\n")
    line = one_line(aioc("install", "-r", "r.txt", "--venv", "env"), 2)
    assert line.startswith("'base==2.0' cannot be used as a requirement: hashes are required, and this dependency has")
    assert "hashes are required" in one_line(aioc("fetch", "--require-hashes", "lib==2.0"), 2)
    (aioc.home / "r.txt").write_text(f"lib==2.0 --hash=sha256:{lib}\nbase==2.0 --hash=sha256:{base}\n")
    assert aioc("install", "-r", "r.txt", "--venv", "env").code == 0
    assert there(aioc) == {"lib": "2.0", "base": "2.0"}
    (aioc.home / "r.txt").write_text(f"lib==2.0 --hash=sha256:{base}\nbase==2.0 --hash=sha256:{base}\n")
    assert aioc("install", "-r", "r.txt", "--venv", "other").code == 1


LOCK = """lock-version = "1.0"
created-by = "a test"
"""
LOCKED = """[[packages]]
name = "{name}"
version = "{version}"
{marker}
[[packages.wheels]]
url = "{url}"
hashes = {{sha256 = "{sha256}"}}
"""


def locked(server: IndexServer, name: str, version: str, *, marker: str = "", sha256: str = "") -> str:
    filename = f"{name}-{version}-py3-none-any.whl"
    return LOCKED.format(
        name=name,
        version=version,
        marker=f'marker = "{marker}"' if marker else "",
        url=server.file_url(filename),
        sha256=sha256 or server._sha256(filename),
    )


def test_a_lock_file_is_installed_as_it_is(aioc: Aioc, server: IndexServer) -> None:
    never = locked(server, "speed", "1.0", marker="python_version < '3'")
    lock = LOCK + locked(server, "lib", "1.0") + locked(server, "base", "1.5") + never
    named = 'name = "base-1.5-py3-none-any.whl"\nurl = '
    lock = lock.replace(
        f'url = "{server.file_url("base-1.5-py3-none-any.whl")}"', f'{named}"{server.file_url("blob")}"'
    )
    shutil.copy(f"{server.directory}/base-1.5-py3-none-any.whl", f"{server.directory}/blob")
    (aioc.home / "pylock.toml").write_text(lock)
    assert aioc("install", "-r", "pylock.toml", "--venv", "env").code == 0
    assert server.counts["/files/blob"] == 1
    assert there(aioc) == {"lib": "1.0", "base": "1.5"}
    assert not list((aioc.home / "env").rglob("direct_url.json"))
    assert not any(path.startswith("/simple") for path in server.counts)
    assert aioc("install", "-r", "pylock.toml", "--venv", "env").out == "2 distributions already there\n"
    aioc("install", "base==1.0", "--venv", "env")
    aioc("install", "-r", "pylock.toml", "--venv", "env", "--offline")
    assert there(aioc) == {"lib": "1.0", "base": "1.5"}


@pytest.mark.parametrize(
    ("lock", "line"),
    [
        ("nonsense", "pylock.toml: it is no lock file (PEP 751): "),
        (LOCK.replace("1.0", "7.0"), "pylock.toml: it is no lock file (PEP 751): "),
        (
            LOCK + '[[packages]]\nname = "source"\nversion = "1.0"\n[packages.directory]\npath = "source"\n',
            "pylock.toml: it names neither a wheel nor an sdist of source==1.0",
        ),
    ],
)
def test_a_lock_file_that_cannot_be_installed_is_named_with_what_is_wrong(aioc: Aioc, lock: str, line: str) -> None:
    (aioc.home / "pylock.toml").write_text(lock)
    assert one_line(aioc("install", "-r", "pylock.toml", "--venv", "env"), 2).startswith(line)
    assert not os.path.exists(aioc.home / "env")


def test_a_locked_wheel_of_other_bytes_is_refused(aioc: Aioc, server: IndexServer) -> None:
    (aioc.home / "pylock.toml").write_text(LOCK + locked(server, "base", "1.0", sha256="0" * 64))
    assert "the hash is" in one_line(aioc("install", "-r", "pylock.toml", "--venv", "env"), 1)


def test_an_impossible_combination_is_explained(aioc: Aioc) -> None:
    ran = aioc("install", "lib>=2", "base<2", "--venv", "env")
    assert ran.code == 1
    assert ran.err.startswith("aioc: error: Because lib>=2 depends on base>=2 and you ask for lib>=2 and base<2, ")
    assert ran.err.endswith("there are no versions that suit everybody.\n")
    assert not (aioc.home / "env").exists()
    assert aioc("install", "lib>=2", "base<2", "--json").document["error"] == "UnsatisfiableError"


def test_a_hint_has_a_line_of_its_own(aioc: Aioc) -> None:
    ran = aioc("fetch", "base>2")
    assert ran.code == 0, "a pre-release is taken where there is nothing else"
    ran = aioc("fetch", "lib>=3")
    assert one_line(ran, 1) == (
        "Because there is no lib>=3 (the newest is 2.0) and you ask for lib>=3, this cannot be had."
    )


@pytest.mark.parametrize(
    ("requirement", "parts"),
    [
        ("alien", ["alien", "cp27-cp27m-win32"]),
        ("needs-alien", ["needs-alien", "alien", "cp27-cp27m-win32"]),
        ("source", ["source-1.0.tar.gz", "--no-build rules building it out"]),
        ("needs-source", ["needs-source", "1 older version", "source-1.0.tar.gz", "--no-build rules building it out"]),
    ],
)
@pytest.mark.parametrize("deps", [(), ("--no-deps",)])
def test_what_has_no_wheel_for_this_platform_is_named_with_what_there_is(
    aioc: Aioc, requirement: str, parts: list[str], deps: tuple[str, ...]
) -> None:
    ran = aioc("install", requirement, "--venv", "env", "--no-build", *deps)
    if deps and requirement.startswith("needs"):
        assert ran.code == 0
        return
    line = one_line(ran, 1)
    assert all(part in line for part in parts), line


def test_a_project_that_nobody_knows_is_named_with_near_ones_of_the_cache(aioc: Aioc) -> None:
    assert one_line(aioc("install", "spede", "--venv", "env"), 1).endswith(
        "was not found in INDEX/simple; check the spelling or name another index with --index-url"
    )
    two = aioc("install", "spede", "bsae", "lib", "--venv", "env")
    assert [line.split()[2] for line in two.err.splitlines()] == ["spede", "bsae"]
    aioc("fetch", "speed")
    for deps in ((), ("--no-deps",)):
        assert "did you mean speed?" in one_line(aioc("install", "spede", "--venv", "env", *deps), 1)


def test_what_is_there_only_as_source_is_built_once_and_then_found_without_a_network(
    aioc: Aioc, server: IndexServer
) -> None:
    first = aioc("install", "needs-source", "--venv", "env", "--json").document
    assert there(aioc) == {"needs_source": "1.0", "source": "1.0", "base": "1.5"}
    assert {each["name"]: each["from"] for each in first["installed"]} == {
        "needs-source": "index", "source": "built", "base": "index"
    }  # fmt: skip
    server.counts.clear()
    again = aioc("install", "needs-source", "--venv", "other", "--offline", "--json").document
    assert {each["from"] for each in again["installed"]} == {"cache"}
    assert (there(aioc, "other"), dict(server.counts)) == (there(aioc), {})


def test_the_sdist_of_a_lock_file_is_built(aioc: Aioc, server: IndexServer) -> None:
    wheel, sdist = "source-1.0-py3-none-any.whl", "source-1.0.tar.gz"
    source = locked(server, "source", "1.0", sha256=server._sha256(sdist)).replace(wheel, sdist)
    source = source.replace("[[packages.wheels]]", "[packages.sdist]")
    (aioc.home / "pylock.toml").write_text(LOCK + source + locked(server, "base", "1.5"))
    aioc("install", "-r", "pylock.toml", "--venv", "env")
    assert there(aioc) == {"source": "1.0", "base": "1.5"}
    assert not list((aioc.home / "env").rglob("direct_url.json"))


def test_an_sdist_named_by_path_is_built_again_when_it_was_replaced(aioc: Aioc) -> None:
    path = make_sdist(aioc.home, "mine", "1.0", files={"src/mine.py": b"X = 1"})
    assert aioc("install", f"./{path.name}", "--venv", "env", "--json").document["installed"][0]["from"] == "built"
    assert aioc("install", f"./{path.name}", "--venv", "two", "--json").document["installed"][0]["from"] == "cache"
    (told,) = (aioc.home / "env").rglob("direct_url.json")
    assert json.loads(told.read_text()) == {"url": path.as_uri(), "archive_info": {}}
    make_sdist(aioc.home, "mine", "1.0", files={"src/mine.py": b"X = 22"})
    assert aioc("install", f"./{path.name}", "--venv", "env", "--json").document["installed"][0]["from"] == "built"
    assert next((aioc.home / "env").rglob("mine.py")).read_text() == "X = 22"
    assert "--no-build rules building it out" in one_line(aioc("fetch", f"./{path.name}", "--no-build"), 1)


def test_a_project_that_is_to_be_built_is_built_whatever_wheels_it_has(aioc: Aioc) -> None:
    assert aioc("fetch", "base<2", "--json").document["fetched"][0]["from"] == "index"
    (aioc.home / "r.txt").write_text("--no-binary base\nbase<2\n")
    for words in (("-r", "r.txt"), ("base<2", "--no-binary", "Base"), ("base<2", "--no-binary", ":all:")):
        (told,) = aioc("fetch", *words, "--json").document["fetched"]
        assert (told["version"], told["from"]) == ("1.5", "built" if words[0] == "-r" else "cache")
    refused = one_line(aioc("fetch", "-r", "r.txt", "--no-build"), 1)
    assert "--no-binary wants it built from source, and --no-build rules that out" in refused
    assert "is there only as wheels" in one_line(aioc("fetch", "speed", "--no-binary", "speed"), 1)
    both = one_line(aioc("fetch", "base", "--no-binary", "base", "--no-build"), 2)
    assert both == "--no-binary wants base built, and --no-build rules that out; leave one of them out"


def test_what_is_no_sdist_is_one_clear_line(aioc: Aioc) -> None:
    assert "rotten-1.0.tar.gz" in one_line(aioc("install", "rotten", "--venv", "env"), 1)
    assert not (aioc.home / "env").exists()


def test_an_extra_that_does_not_exist_is_warned_of(aioc: Aioc) -> None:
    for words in (("install", "--venv", "env"), ("fetch",)):
        ran = aioc(*words, "tools[slow]")
        assert (ran.code, ran.err) == (0, "aioc: warning: tools 1.0 has no extra 'slow'\n")


def test_nested_files_are_named_with_their_line(aioc: Aioc) -> None:
    (aioc.home / "r.txt").write_text("lib\n-r nested/more.txt\n")
    (aioc.home / "nested").mkdir()
    (aioc.home / "nested/more.txt").write_text("base\n\nlib==\n")
    line = one_line(aioc("install", "-r", "r.txt", "--venv", "env"), 2)
    assert line.startswith("HOME/nested/more.txt, line 3: 'lib==' cannot be used as a requirement")
