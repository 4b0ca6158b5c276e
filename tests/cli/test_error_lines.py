"""One clear line and the documented exit code for everything that can be wrong, and nothing lost."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aiocache_engine.testing.index_server import Fault, IndexServer
from commands import Ran


def one_line(ran, code: int) -> str:
    """Check the form of a failure; give its line."""
    assert code == ran.code, ran.err
    assert ran.out == ""
    assert ran.err.startswith("aioc: error: ")
    assert ran.err.count("\n") == 1, ran.err
    return ran.err.removeprefix("aioc: error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["instal"], "there is no command 'instal'; did you mean `aioc install`?"),
        (["walk", "ruff"], "there is no command 'walk'; `aioc --help` lists all"),
        (["install", "--upgrad"], "no such option: --upgrad"),
        (["ls", "--bogus"], "no such option: --bogus"),
        (["--offline", "ls"], "--offline comes after the name of a command; see `aioc --help`"),
        (["install", "--venv"], "option '--venv' requires an argument; see `aioc install --help`"),
        (["ls", "a", "b"], "got unexpected extra argument(s) (b); see `aioc ls --help`"),
        (["prune", "torch"], "got unexpected extra argument(s) (torch); see `aioc prune --help`"),
        (
            ["install", "x", "--link-mode", "magic"],
            "invalid value for '--link-mode': 'magic' is none of clone, hardlink, copy, symlink;",
        ),
        (["size", "--lock-timeout", "soon"], "invalid value for '--lock-timeout': 'soon' is not a number of seconds;"),
        (["size", "--lock-timeout=-1"], "invalid value for '--lock-timeout': '-1' is not a number of seconds;"),
        (
            ["fetch", "x", "--index-strategy", "luck"],
            "invalid value for '--index-strategy': 'luck' is neither first-index nor best-match;",
        ),
        (["install"], "nothing to install: name a requirement, or a file with -r"),
        (
            ["install", "x", "--no-deps", "--target", ""],
            "invalid value for '--target': it is empty, as a shell variable is that nobody set; see `aioc install",
        ),
        (["fetch", "--no-deps", "-r", ""], "invalid value for '-r' / '--requirement': it is empty, "),
        (["fetch"], "nothing to fetch: name a requirement, or a file with -r"),
        (
            ["install", "x", "--no-deps", "--venv", "a", "--target", "b"],
            "--venv and --target name different places; give one of them",
        ),
        (
            ["clean", "--force"],
            "--force is not needed: clean waits for nobody, so there is nothing to wait for; leave it out",
        ),
        (["why", "tiny-*"], "'tiny-*' cannot be used as a requirement: name a project, or one with versions such as"),
        (["install", "--no-deps", "tiny=="], "'tiny==' cannot be used as a requirement: "),
        (["install", "--no-deps", "-e", "."], "no such option: -e; see `aioc install --help`"),
        (
            ["install", "--no-deps", "git+https://x.invalid/y"],
            "'git+https://x.invalid/y' cannot be used as a requirement",
        ),
        (["install", "--no-deps", "--find-links", "ftp://x.invalid/", "tiny"], "the options: "),
    ],
)
def test_bad_arguments_are_named_in_one_line(aioc, arguments: list[str], line: str) -> None:
    assert one_line(aioc(*arguments), 2).startswith(line)


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("AIOC_LINK_MODE", "magic", "AIOC_LINK_MODE is 'magic'; use clone, hardlink, copy or symlink"),
        ("AIOC_LOCK_TIMEOUT", "soon", "AIOC_LOCK_TIMEOUT is 'soon'; use a number of seconds"),
        ("AIOC_OFFLINE", "maybe", "AIOC_OFFLINE is 'maybe'; use 1, true, yes or on, or 0, false, no or off"),
        ("AIOC_CACHE_DIR", "", "AIOC_CACHE_DIR is empty; name a directory in it, or unset it"),
    ],
)
def test_bad_variables_are_named_in_one_line(aioc, variable: str, value: str, line: str) -> None:
    assert line == one_line(aioc("size", **{variable: value}), 2)


@pytest.mark.parametrize("command", ["clean", "prune", "dir"])
def test_nothing_is_cleaned_where_the_variable_of_the_cache_dir_is_empty(aioc, command: str) -> None:
    assert "AIOC_CACHE_DIR is empty" in one_line(aioc(command, AIOC_CACHE_DIR=""), 2)
    assert os.listdir(aioc.home) == []


def from_nowhere(aioc, *arguments: str):
    """Run the command in a directory that was removed."""
    gone = aioc.home / "gone"
    gone.mkdir()
    words = ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *aioc.words(*arguments)]
    ran = subprocess.run(words, cwd=gone, env=aioc.environ, capture_output=True, text=True, timeout=60, check=False)
    return Ran(ran.returncode, ran.stdout, ran.stderr)


def test_a_current_directory_that_is_gone_is_told_where_it_is_needed(aioc) -> None:
    for word, arguments in (
        (".venv", ["install", "tiny"]),
        ("env", ["install", "tiny", "--venv", "env"]),
        ("r.txt", ["fetch", "-r", "r.txt"]),
        ("c", ["clean", "--cache-dir", "c"]),
    ):
        line = f"{word}: the current directory is gone; go to one that is there, or write the whole path"
        assert one_line(from_nowhere(aioc, *arguments), 2) == line


def test_a_current_directory_that_is_gone_is_no_matter_where_nothing_is_relative(aioc) -> None:
    assert from_nowhere(aioc, "install", "--no-deps", "other", "--venv", str(aioc.home / "env")).code == 0
    record = next((aioc.home / "env").glob("lib/*/site-packages/other-1.0.dist-info/RECORD")).read_text()
    assert "\n../../../bin/other,sha256=" in f"\n{record}"
    assert from_nowhere(aioc, "fetch", "tiny==1.0").code == 0
    assert "cannot import name 'main' from 'other'" in from_nowhere(aioc, "run", "other").err  # so far it came


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["clean", "x" * 3000], "at most 240 characters are allowed"),
        (["fetch", "--no-deps", "x" * 3000], "at most 240 characters are allowed"),
        (["fetch", "--no-deps", f"./{'x' * 3000}-1.0-py3-none-any.whl"], "at most 240 characters are allowed"),
        (["ls", "?" * 3000], "such as torch<2.5; patterns are only for clean and pin"),
        (["fetch", "--no-deps", "tiny ; " + "x" * 3000], ""),
        (["install", "tiny ; " + "(" * 3000], "its marker is nested too deeply"),
        (["install", f"tiny=={'1' * 3000}"], "a number in it has too many digits"),
        (["clean", f"tiny=={'1' * 3000}"], "name a project, or one with versions such as torch<2.5"),
        (["ls", f"tiny=={'1' * 3000}"], "name a project, or one with versions such as torch<2.5"),
    ],
    ids=["clean", "fetch", "wheel", "ls", "marker", "nested", "number", "clean-number", "ls-number"],
)
def test_a_text_without_end_is_shortened_and_the_limit_named(aioc, arguments: list[str], reason: str) -> None:
    line = one_line(aioc(*arguments), 2)
    assert "…' (30" in line
    assert line.endswith(reason)
    assert len(line) < 300


def test_a_shortened_text_holds_no_part_of_a_password(aioc) -> None:
    url = f"https://me:{'4711' * 50}x@x.invalid/{'x' * 300}"
    assert "4711" not in one_line(aioc("fetch", "--no-deps", url), 2)


def test_no_arguments_at_all_print_the_help(aioc) -> None:
    ran = aioc()
    assert (ran.code, ran.err) == (2, "")
    assert "  prune  Remove what nothing uses any more, and what dead work left.\n" in ran.out


def install(aioc, *requirements: str, **environ: str):
    return aioc("install", "--no-deps", *requirements, "--venv", "env", **environ)


@pytest.mark.parametrize(
    ("project", "line"),
    [
        ("nobody", "nobody was not found in INDEX/simple; check the spelling or name another index with --index-url"),
        ("alien", "no wheel fits alien: "),
        ("gone", "no wheel fits gone: "),
        ("tiny==9", "no wheel fits tiny==9: there is no such version (on INDEX/simple)"),
        ("wrong", "wrong-1.0-py3-none-any.whl: the hash is "),
    ],
)
def test_what_the_index_cannot_give_is_named_and_the_environment_not_made(aioc, project: str, line: str) -> None:
    assert one_line(install(aioc, project), 1).startswith(line)
    assert not (aioc.home / "env").exists()
    assert install(aioc, "tiny==1.0").code == 0


@pytest.mark.parametrize(
    ("project", "fault"),
    [
        ("short", Fault(cut_after_bytes=1000)),
        ("short", Fault(body=b"too short", declared_length=9)),
        ("login", Fault(body=b"<html>Please log in</html>", content_type="text/html")),
        ("login", Fault(status=403)),
        ("login", Fault(status=503)),
    ],
)
def test_a_file_that_does_not_come_as_promised_is_named_and_nothing_of_it_kept(
    aioc, server: IndexServer, project: str, fault: Fault
) -> None:
    filename = f"{project}-1.0-py3-none-any.whl"
    server.fault(f"/files/{filename}", fault)
    assert filename in one_line(install(aioc, project), 1)
    assert "the cache is empty" in aioc("ls").err
    server.heal()
    assert install(aioc, project).code == 0


@pytest.mark.parametrize(
    ("how", "files"),
    [
        (["--no-deps"], b'{"filename": "tiny-1.0-py3-none-any.whl", "url": "x", "hashes": {"sha256": "x"}}'),
        (["--no-deps"], b'{"filename": "tiny-1.0.exe", "url": "x", "hashes": {}}'),
        ([], b""),
    ],
    ids=["malformed", "of-no-use", "none"],
)
def test_a_page_without_a_file_that_can_be_used_is_no_unknown_project(
    aioc, server: IndexServer, how: list[str], files: bytes
) -> None:
    server.fault("/simple/tiny/", Fault(body=b'{"meta": {}, "files": [%b]}' % files))
    line = (
        "tiny is in INDEX/simple, and its page lists no file that can be used here; name another index with --index-url"
    )
    assert one_line(aioc("fetch", *how, "tiny"), 1) == line
    assert one_line(aioc("fetch", *how, "tiny"), 1) == line
    assert one_line(aioc("fetch", *how, "nobody"), 1).startswith("nobody was not found in INDEX/simple; check")


def test_a_page_that_is_no_index_page_is_named(aioc, server: IndexServer) -> None:
    server.fault("/simple/login/", Fault(body=b"<html>Please log in</html>", content_type="application/pdf"))
    assert one_line(install(aioc, "login"), 1).startswith("INDEX/simple/login/: ")


def test_a_requirements_file_that_cannot_be_read_is_named_with_its_line(aioc) -> None:
    assert (
        one_line(aioc("install", "--no-deps", "-r", "none.txt", "--venv", "env"), 2)
        == "none.txt: the requirements file cannot be read: No such file or directory"
    )
    (aioc.home / "pins.txt").write_text("# fine\ntiny==1.0\nother==\n")
    assert one_line(aioc("install", "--no-deps", "-r", "pins.txt", "--venv", "env"), 2).startswith("pins.txt, line 3: ")
    (aioc.home / "pins.txt").write_text("tiny==1.0\n--frobnicate\n")
    assert one_line(aioc("install", "--no-deps", "-r", "pins.txt", "--venv", "env"), 2).startswith("pins.txt, line 2: ")


def test_a_target_that_is_no_environment_is_left_alone(aioc) -> None:
    documents = aioc.home / "documents"
    documents.mkdir()
    (documents / "letter.txt").write_text("dear")
    line = one_line(aioc("install", "--no-deps", "tiny==1.0", "--venv", "documents"), 1)
    assert line == "HOME/documents: it is neither empty nor an environment; name another place or remove it first"
    assert [path.name for path in documents.iterdir()] == ["letter.txt"]


def test_an_externally_managed_interpreter_is_left_alone(aioc) -> None:
    """A copy of the interpreter with its own standard library is managed by its marker file."""
    ran = aioc("install", "--no-deps", "tiny==1.0", "--python", _managed(aioc.home))
    assert "(PEP 668); use --venv DIR, or --break-system-packages to install all the same" in one_line(ran, 1)


def _managed(home: Path) -> str:
    """Make a prefix whose standard library says that it is managed; give its interpreter."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefix = home / "prefix"
    (prefix / "bin").mkdir(parents=True)
    library = prefix / "lib" / version
    library.mkdir(parents=True)
    base = Path(sys.base_prefix) / "lib" / version
    for entry in base.iterdir():
        if entry.name not in ("site-packages", "EXTERNALLY-MANAGED"):
            (library / entry.name).symlink_to(entry)
    (library / "site-packages").mkdir()
    (library / "EXTERNALLY-MANAGED").write_text("[externally-managed]\nError=Ask the distributor.\n")
    python = prefix / "bin" / "python3"
    python.write_bytes(Path(sys.executable).resolve().read_bytes())
    python.chmod(0o755)
    for shared in (Path(sys.base_prefix) / "lib").glob("libpython*"):
        (prefix / "lib" / shared.name).symlink_to(shared)
    return str(python)


@pytest.mark.parametrize("command", ["ls", "clean", "prune", "size", "ps"])
def test_a_foreign_directory_is_no_cache_dir(aioc, command: str) -> None:
    documents = aioc.home / "documents"
    documents.mkdir()
    (documents / "letter.txt").write_text("dear")
    line = one_line(aioc(command, "--cache-dir", "documents"), 1)
    assert line.startswith("HOME/documents: the directory is not empty and has no aioc-cache.json; ")
    assert [path.name for path in documents.iterdir()] == ["letter.txt"]


def test_what_is_missing_offline_is_named(aioc) -> None:
    aioc("fetch", "--no-deps", "other")
    line = one_line(aioc("install", "--no-deps", "tiny==1.0", "other", "--venv", "env", "--offline"), 1)
    assert line.startswith("tiny")
    assert "--offline" in line
    assert line == one_line(aioc("install", "--no-deps", "tiny==1.0", "--venv", "env", AIOC_OFFLINE="1"), 1)


def test_without_a_network_the_address_is_named(aioc) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    ran = aioc("install", "--no-deps", "tiny==1.0", "--venv", "env", "--index-url", f"http://127.0.0.1:{port}/simple")
    assert one_line(ran, 1).startswith(f"http://127.0.0.1:{port}/simple/tiny/: ")


def test_several_failures_are_one_line_each(aioc) -> None:
    ran = install(aioc, "nobody", "alien", "tiny==1.0")
    lines = sorted(ran.err.splitlines())
    assert ran.code == 1
    assert [
        lines[0][: len("aioc: error: no wheel fits alien")],
        lines[1][: len("aioc: error: nobody was not found")],
    ] == ["aioc: error: no wheel fits alien", "aioc: error: nobody was not found"]
    assert len(lines) == 2


def test_with_json_an_error_is_an_object_on_stdout_and_a_line_on_stderr(aioc) -> None:
    ran = install(aioc, "nobody", "--json")
    assert {
        "schema": "aioc.error/1",
        "error": "ProjectNotFoundError",
        "message": ran.err.removeprefix("aioc: error: ").rstrip("\n"),
        "exit_code": 1,
    } == ran.document
    assert aioc("ls", "--json", "--bogus").document["exit_code"] == 2
    several = install(aioc, "nobody", "alien", "--json").document
    assert sorted(one["error"] for one in several["errors"]) == ["NoMatchingWheelError", "ProjectNotFoundError"]


def test_text_from_outside_cannot_steer_the_terminal(aioc) -> None:
    line = one_line(aioc("install", "--no-deps", "-r", "clear\x1b[2J.txt", "--venv", "env"), 2)
    assert line.startswith("clear\\x1b[2J.txt: ")


def test_errors_keep_the_cache_and_let_go_of_it(aioc, wait_until: Callable[..., None]) -> None:
    install(aioc, "wrong", "tiny==1.0")
    usage = aioc("ps", "--json").document
    assert (usage["leases"], usage["locks"]) == ([], [])
    assert list((aioc.cache_dir / "staging").iterdir()) == []
