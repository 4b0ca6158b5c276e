"""`aioc run`: a tool from a cached environment of its own, and one line where it cannot be run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiocache_engine.testing.index_server import IndexServer
from aiocache_engine.testing.invariants import assert_environment_sound
from aiocache_engine.testing.wheels import build_wheel

from .conftest import Aioc

SHOUT = """
import json, os, sys
def main():
    said = {"version": VERSION, "name": sys.argv[0], "words": sys.argv[1:], "prefix": sys.prefix}
    said["variables"] = {name: os.environ.get(name) for name in ("PATH", "AIOC_ENVIRONMENT", "VIRTUAL_ENV")}
    print(json.dumps(said))
    return 7 if "fail" in sys.argv else 0
"""
COMMANDS = {"console_scripts": {"shout": "shout:main", "shout-louder": "shout:main"}}


def build_shout(directory: Path, version: str) -> None:
    files = {"shout.py": f"VERSION = {version!r}\n{SHOUT}"}
    build_wheel(directory, "shout", version, files=files, entry_points=COMMANDS, requires=["voice"])


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    directory = tmp_path / "wheels"
    directory.mkdir()
    for version in ("1.0", "2.0"):
        build_shout(directory, version)
    build_wheel(directory, "voice", "1.0")
    build_wheel(
        directory,
        "core",
        "1.0",
        entry_points={"console_scripts": {"bundle": "core:main"}},
        files={"core.py": "def main():\n    print('bundled')\n"},
    )
    build_wheel(directory, "bundle", "1.0", requires=["core"])
    build_wheel(directory, "library", "1.0")
    build_wheel(directory, "quarrel", "1.0", requires=["voice>=2"])
    build_wheel(directory, "broken", "1.0", data={"scripts": {"broken": "#!/no/such/interpreter\n"}})
    return directory


@pytest.fixture
def server(wheels: Path) -> Iterator[IndexServer]:
    with IndexServer(wheels) as server:
        server.cache_control = "max-age=600"
        yield server


def environments(aioc: Aioc) -> set[str]:
    return set(os.listdir(aioc.cache_dir / "environments-v1"))


def test_everything_after_the_tool_is_the_tools(aioc: Aioc) -> None:
    words = ["--json", "-q", "--version", "--help", "--cache-dir", "x", "--", "-", ""]
    ran = aioc("run", "-q", "shout", *words)
    assert (ran.code, ran.err) == (0, "")
    assert ran.document["words"] == words
    assert aioc("run", "--", "shout", "--", "x").document["words"] == ["--", "x"]


def test_the_exit_code_is_the_tools(aioc: Aioc) -> None:
    assert aioc("run", "shout", "fail").code == 7
    assert aioc("run", "shout", "fail").code == 7


def test_a_second_run_asks_nobody_and_makes_nothing(aioc: Aioc, server: IndexServer) -> None:
    first = aioc("run", "shout")
    before, made = sum(server.counts.values()), environments(aioc)
    second = aioc("run", "shout")
    assert first.document == second.document
    assert (sum(server.counts.values()), environments(aioc)) == (before, made)
    assert aioc("run", "--offline", "shout").document == first.document


def test_the_environment_is_whole_and_names_the_place_where_it_is(aioc: Aioc) -> None:
    said = aioc("run", "shout").document
    root = Path(said["prefix"].replace("HOME", str(aioc.home)))
    assert_environment_sound(root)
    (environment,) = environments(aioc)
    assert root == aioc.cache_dir / "environments-v1" / environment / "env"
    assert said["name"] == str(root / "bin/shout").replace(str(aioc.home), "HOME")
    texts = [path.read_bytes() for path in root.rglob("*") if path.is_file()]
    assert [text for text in texts if b"/staging/" in text] == []
    assert str(root).encode() in (root / "bin/activate").read_bytes()
    assert os.listdir(aioc.cache_dir / "staging") == []


def test_its_commands_find_each_other_and_every_process_of_it_says_where_it_lives(aioc: Aioc) -> None:
    said = aioc("run", "shout", VIRTUAL_ENV="/somewhere").document
    (environment,) = environments(aioc)
    assert said["variables"]["AIOC_ENVIRONMENT"] == environment
    assert said["variables"]["VIRTUAL_ENV"] == "/somewhere"
    assert said["variables"]["PATH"].split(os.pathsep)[0] == f"{said['prefix']}/bin"
    assert said["variables"]["PATH"].endswith(aioc.environ["PATH"])


def test_a_version_that_is_named_is_the_one_that_runs(aioc: Aioc) -> None:
    assert aioc("run", "shout").document["version"] == "2.0"
    assert aioc("run", "shout@1.0").document["version"] == "1.0"
    assert aioc("run", "--from", "shout<2", "shout").document["version"] == "1.0"
    assert aioc("run", "shout").document["version"] == "2.0"


@pytest.mark.parametrize(
    "words", [["shout@latest"], ["--refresh", "shout"], ["--from", "shout", "shout@latest"]], ids=" ".join
)
def test_the_current_version_stays_until_the_latest_is_asked_for(aioc: Aioc, wheels: Path, words: list[str]) -> None:
    aioc("run", "shout")
    (before,) = environments(aioc)
    build_shout(wheels, "3.0")
    assert aioc("run", "shout").document["version"] == "2.0"
    assert aioc("run", *words).document["version"] == "3.0"
    assert aioc("run", "shout").document["version"] == "3.0"
    assert len(environments(aioc) - {before}) == 1


def test_asking_for_the_latest_keeps_the_environment_where_there_is_nothing_newer(aioc: Aioc) -> None:
    aioc("run", "shout")
    made = environments(aioc)
    assert aioc("run", "shout@latest").document["version"] == "2.0"
    assert environments(aioc) == made


def test_a_request_that_means_the_same_gets_the_same_environment(aioc: Aioc) -> None:
    aioc("run", "--from", "shout==1.0", "--with", "core", "--with", "library >= 1.0", "shout")
    made = environments(aioc)
    base = getattr(sys, "_base_executable", sys.executable)
    aioc("run", "--from", "Shout == 1.0", "--with", "library>=1.0", "--with", "CORE", "shout-louder")
    aioc("run", "--python", sys.executable, "--with", "library>=1.0", "--with", "core", "shout@1.0")
    aioc("run", "--python", base, "--with", "library>=1.0", "--with", "core", "shout@1.0")
    assert environments(aioc) == made
    aioc("run", "--with", "library>=1.0", "shout@1.0")
    assert len(environments(aioc)) == 2


def test_the_interpreter_runs_with_what_is_named(aioc: Aioc) -> None:
    code = "import sys, library; print(sys.argv[1:], sys.prefix != sys.base_prefix)"
    assert aioc("run", "--from", "library", "python", "-c", code, "-x").out == "['-x'] True\n"
    assert aioc("run", "--with", "library", "python", "-c", code).out == "[] True\n"
    assert aioc("run", "python", "-c", code).code == 1
    assert aioc("run", "python", "-c", "print(1)").out == "1\n"


def test_a_command_of_what_the_tool_needs_is_found_too(aioc: Aioc) -> None:
    assert aioc("run", "bundle").out == "bundled\n"


def test_a_wheel_by_its_path_is_run_and_another_one_in_its_place_is_too(aioc: Aioc, wheels: Path) -> None:
    wheel = wheels / "shout-1.0-py3-none-any.whl"
    assert aioc("run", "--from", str(wheel), "shout").document["version"] == "1.0"
    made = environments(aioc)
    assert aioc("run", "--from", os.path.relpath(wheel, aioc.home), "shout").document["version"] == "1.0"
    assert aioc("run", "--offline", "--from", str(wheel), "shout").code == 0
    assert aioc("run", "--from", f"shout @ {wheel.as_uri()}", "shout").document["version"] == "1.0"
    files = {"shout.py": f"VERSION = 'another'\n{SHOUT}"}
    build_wheel(wheels, "shout", "1.0", files=files, entry_points=COMMANDS, requires=["voice"])
    assert aioc("run", "--from", str(wheel), "shout").document["version"] == "another"
    assert aioc("run", "--from", f"shout @ {wheel.as_uri()}", "shout").document["version"] == "another"
    assert made < environments(aioc)


def test_an_isolated_environment_is_for_one_run_and_goes_with_the_next_command(aioc: Aioc) -> None:
    aioc("run", "shout")
    current = environments(aioc)
    said = aioc("run", "--isolated", "shout").document
    (alone,) = environments(aioc) - current
    assert said["variables"]["AIOC_ENVIRONMENT"] == alone
    assert aioc("run", "shout").document["variables"]["AIOC_ENVIRONMENT"] in current
    assert environments(aioc) == current, aioc("why", alone).out


def test_an_environment_that_lost_a_file_is_made_anew_after_a_reboot(aioc: Aioc) -> None:
    first = aioc("run", "shout").document
    (environment,) = environments(aioc)
    root = aioc.cache_dir / "environments-v1" / environment
    (next(root.rglob("shout.py"))).unlink()
    (root / "used").write_bytes((root / "used").read_bytes()[:16] + b"another boot")
    second = aioc("run", "shout")
    assert (second.code, second.document["version"]) == (0, "2.0")
    assert second.document["prefix"] != first["prefix"]


def damage(aioc: Aioc, pattern: str, how: str) -> str:
    """Take away a file of the one environment, or its content; gives the environment's id."""
    (environment,) = environments(aioc)
    (path,) = (aioc.cache_dir / "environments-v1" / environment / "env").glob(pattern)
    path.unlink()
    if how == "emptied":
        path.touch(0o755)
    return environment


@pytest.mark.parametrize(
    ("pattern", "how"),
    [
        ("bin/shout", "gone"),
        ("lib/*/site-packages/shout.py", "gone"),
        ("lib/*/site-packages/voice/__init__.py", "emptied"),
    ],
)
def test_asking_for_the_latest_makes_a_damaged_environment_anew(aioc: Aioc, pattern: str, how: str) -> None:
    aioc("run", "shout")
    before = damage(aioc, pattern, how)
    fresh = aioc("run", "--refresh", "shout")
    assert (fresh.code, fresh.err) == (0, "")
    assert before not in fresh.document["prefix"]
    assert aioc("run", "--refresh", "shout").document == fresh.document


def test_what_shares_its_files_with_a_damaged_environment_is_fetched_again(aioc: Aioc) -> None:
    aioc("run", "shout", AIOC_LINK_MODE="hardlink")
    (path,) = aioc.cache_dir.glob("environments-v1/*/env/lib/*/site-packages/shout.py")
    with path.open("r+b") as file:
        file.truncate(0)
    assert aioc("run", "--refresh", "shout", AIOC_LINK_MODE="hardlink").document["version"] == "2.0"
    assert aioc("run", "--with", "library", "shout", AIOC_LINK_MODE="hardlink").document["version"] == "2.0"


@pytest.mark.parametrize("how", ["gone", "emptied"])
def test_a_command_that_was_lost_is_made_anew_without_asking_for_the_latest(aioc: Aioc, how: str) -> None:
    aioc("run", "shout")
    before = damage(aioc, "bin/shout", how)
    fresh = aioc("run", "--offline", "shout")
    assert (fresh.code, fresh.err) == (0, "")
    assert before not in fresh.document["prefix"]
    assert aioc("run", "--from", "shout", "shout-louder").document["prefix"] == fresh.document["prefix"]
    assert os.listdir(aioc.cache_dir / "staging") == []


def test_a_command_that_never_could_be_started_is_not_made_again(aioc: Aioc) -> None:
    assert aioc("run", "broken").code == 126
    made = environments(aioc)
    assert aioc("run", "--offline", "broken").code == 126
    assert environments(aioc) == made
    assert os.listdir(aioc.cache_dir / "leases") == []


def put_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").touch()


def test_a_directory_in_the_place_of_a_name_is_replaced(aioc: Aioc) -> None:
    aioc("run", "shout")
    (tool,) = aioc.cache_dir.glob("tools-v1/shout/*.json")
    put_directory(tool)
    assert aioc("run", "--offline", "shout").document["version"] == "2.0"
    (by_index,) = aioc.cache_dir.glob("projects-v1/shout/*/*.whl.json")
    put_directory(by_index)
    assert aioc("run", "--with", "library", "shout").document["version"] == "2.0"
    (by_hash,) = aioc.cache_dir.glob("projects-v1/shout/hash/*")
    put_directory(by_index)
    put_directory(by_hash)
    assert aioc("run", "--with", "core", "shout").document["version"] == "2.0"
    assert [path.is_file() for path in (tool, by_index, by_hash)] == [True] * 3


def put_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("x")


@pytest.mark.parametrize("put", [put_directory, put_link])
def test_a_prune_takes_what_stands_in_the_place_of_a_tools_name(aioc: Aioc, put: Callable[[Path], object]) -> None:
    aioc("run", "shout")
    (tool,) = aioc.cache_dir.glob("tools-v1/shout/*.json")
    put(tool)
    assert aioc("prune").code == 0
    assert not os.path.lexists(tool)
    assert environments(aioc) == set()


def test_an_environment_that_is_whole_is_kept_after_a_reboot(aioc: Aioc) -> None:
    aioc("run", "shout")
    made = environments(aioc)
    for used in aioc.cache_dir.glob("environments-v1/*/used"):
        used.write_bytes(used.read_bytes()[:16] + b"another boot")
    assert aioc("run", "--offline", "shout").code == 0
    assert environments(aioc) == made
    assert all(b"another" not in used.read_bytes() for used in aioc.cache_dir.glob("environments-v1/*/used"))


def test_another_interpreter_in_the_same_place_gets_an_environment_of_its_own(aioc: Aioc, tmp_path: Path) -> None:
    python = tmp_path / "python"
    shutil.copy2(os.path.realpath(sys.executable), python)
    script = tmp_path / "wrapper"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    assert aioc("run", "--python", str(script), "shout").code == 0
    made = environments(aioc)
    assert aioc("run", "--python", sys.executable, "shout").code == 0
    assert environments(aioc) == made


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["nonsense"], 125, "nonsense was not found in INDEX/simple"),
        (["shuot"], 125, "did you mean shout?"),
        (["library"], 127, "library has no commands: it is a library"),
        (
            ["--from", "shout", "louder"],
            127,
            "shout has no command 'louder', but shout, shout-louder; say `aioc run --from shout shout-louder`",
        ),
        (["--from", "bundle", "other"], 127, "what it needs has bundle (of core); say `aioc run --from bundle bundle`"),
        (["broken"], 126, "it cannot be started (No such file or directory)"),
        (["quarrel"], 125, "voice>=2"),
        (["shout@9"], 125, "shout==9"),
        (["shout@"], 125, "a version is missing after the @"),
        (["python@3.12"], 125, "aioc run --python 3.12 python"),
        (["shout==1.0"], 125, "--from 'shout==1.0' COMMAND"),
        (["--from", "shout", "shout@1.0"], 125, "--from 'shout==1.0' shout"),
        (["--from", "shout==", "shout"], 125, "cannot be used as a requirement"),
        (["--with", "a b", "shout"], 125, "cannot be used as a requirement"),
        (
            ["--from", "shout; python_version < '3'", "shout"],
            125,
            "its marker says that it is not for this interpreter",
        ),
        (["--from", "./no-1.0-py3-none-any.whl", "no"], 125, "no-1.0-py3-none-any.whl"),
        (["--python", "/no/such/python", "shout"], 125, "/no/such/python"),
        (["--python", "2.99", "shout"], 125, "no python2.99 was found on PATH"),
        (["--python", "/bin/true", "shout"], 125, "/bin/true"),
        (["--nonsense", "shout"], 125, "--nonsense"),
        (["--json", "shout"], 125, "--json"),
        ([], 125, "no tool is named"),
        (["--offline", "shout"], 125, "--offline"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_run_is_said_in_one_line(aioc: Aioc, words: list[str], code: int, line: str) -> None:
    aioc("fetch", "--no-deps", "shout==2.0")
    shutil.rmtree(aioc.cache_dir / "tools-v1", ignore_errors=True)
    ran = aioc("run", *words)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert line in ran.err
    assert ran.err.startswith("aioc: error: ")
    assert ran.err.count("\n") == 1


def test_help_is_about_run_before_the_tool_and_the_tools_after_it(aioc: Aioc) -> None:
    assert "--isolated" in aioc("run", "--help").out
    assert aioc("run", "shout", "--help").document["words"] == ["--help"]


def test_a_read_only_cache_runs_what_it_holds(aioc: Aioc) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    aioc("run", "shout")
    subprocess.run(["chmod", "-R", "a-w", aioc.cache_dir], check=True)
    try:
        assert json.loads(aioc("run", "shout").out)["version"] == "2.0"
        assert aioc("run", "bundle").code == 125
    finally:
        subprocess.run(["chmod", "-R", "u+w", aioc.cache_dir], check=True)
