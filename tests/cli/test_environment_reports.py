"""What ls, ps, size, clean and prune say of cached environments, whole outputs compared."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiocache_engine.testing.index_server import IndexServer
from aiocache_engine.testing.wheels import build_wheel

from .conftest import Aioc

Started = Callable[["subprocess.Popen[str]"], "subprocess.Popen[str]"]
MAIN = "def main():\n    print('at work', flush=True)\n    input()\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    entry_points = {"console_scripts": {"tool": "tool:main"}}
    build_wheel(wheels, "tool", "1.0", files={"tool.py": MAIN}, entry_points=entry_points, requires=["needed"])
    build_wheel(wheels, "needed", "2.0")
    with IndexServer(wheels) as server:
        yield server


@pytest.fixture
def ran(aioc: Aioc, ended: Started) -> Aioc:
    """Give a cache in which a tool was run once."""
    process = start(aioc, ended)
    process.communicate("\n")
    assert process.returncode == 0
    return aioc


def start(aioc: Aioc, ended: Started) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        aioc.words("run", "tool"),
        cwd=aioc.home,
        env=aioc.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    return ended(process)


def test_ls_has_environments_last_and_names_their_tool(ran: Aioc) -> None:
    lines = [line.split("  ")[0] for line in ran("ls").out.splitlines()]
    assert lines == ["PROJECT", "needed", "tool", "(environment of tool)"]
    assert "  needed 2.0, tool 1.0  " in ran("ls", "-v").out


def test_ls_of_a_project_lists_the_environments_that_it_is_in(ran: Aioc) -> None:
    archive, environment = ran("ls", "needed", "--json").document["entries"]
    assert (archive["kind"], archive["project"]) == ("archive", "needed")
    assert (environment["kind"], environment["project"], environment["tool"]) == ("environment", None, "tool")
    contents = {each["name"]: (each["version"], each["archive"]) for each in environment["distributions"]}
    assert contents["needed"] == ("2.0", archive["id"])
    assert set(contents) == {"needed", "tool"}
    assert ran("ls", "needed<2", "--json").document["entries"] == []


def test_size_counts_what_environments_share_with_archives_once(ran: Aioc) -> None:
    entries = ran("ls", "--json").document["entries"]
    document = ran("size", "--json").document
    assert document["entries"] == 3
    assert document["buckets"]["archives"] == sum(each["bytes"] for each in entries if each["kind"] == "archive")
    (environment,) = [each["bytes"] for each in entries if each["kind"] == "environment"]
    assert 0 < document["buckets"]["environments"] < environment
    assert document["buckets"]["bytecode"] > 0
    assert document["bytes"] == sum(document["buckets"].values())


def test_ps_names_the_tool_with_its_environment_and_archives(ran: Aioc, ended: Started) -> None:
    process = start(ran, ended)
    ids = {each["id"] for each in ran("ls", "--json").document["entries"]}
    (lease,) = ran("ps", "--json").document["leases"]
    assert set(lease["objects"]) == ids
    assert lease["pid"] == process.pid
    assert lease["bytes"] > 0


def test_a_clean_of_a_dependency_takes_the_tool_s_environment(ran: Aioc) -> None:
    done = ran("clean", "needed", "--json").document
    (environment,) = [each for each in done["removed"] if each["kind"] == "environment"]
    assert (environment["project"], environment["tool"], environment["reason"]) == (None, "tool", "named")
    assert [each["project"] for each in ran("ls", "--json").document["entries"]] == ["tool"]


def test_the_table_of_a_clean_has_a_line_for_environments(ran: Aioc) -> None:
    lines = ran("clean", "needed").out.splitlines()
    assert [line.split("  ")[0] for line in lines][:4] == [
        "PROJECT",
        "(environments of tool)",
        "(leftovers)",  # the file of the lease that the run had
        "needed",
    ]
    assert lines[-1].startswith("Freed SIZE (")


def test_who_runs_a_tool_is_named_as_who_keeps_it(ran: Aioc, ended: Started) -> None:
    start(ran, ended)
    out = ran("clean", "needed").out
    assert "\nkept: environment of tool " in out
    assert "kept: needed 2.0 (SIZE) by process PID (" in out
    (kept,) = [each for each in ran("prune", "--json").document["kept"] if each["kind"] == "environment"]
    assert (kept["project"], kept["tool"], [each["code"] for each in kept["reasons"]]) == (None, "tool", ["lease"])


def test_a_prune_counts_what_tools_use_as_there_to_be_used_again(ran: Aioc) -> None:
    assert ran("prune").code == 0  # the file of the tool's lease is left for it
    assert ran("prune").out == "kept: 3 entries to be used again (SIZE)\nNothing to remove\n"
