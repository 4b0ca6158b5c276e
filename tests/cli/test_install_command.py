"""`aioc install` and `aioc fetch`, whole outputs compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from aiocache_engine.testing.index_server import IndexServer


def test_installing_makes_the_environment_and_lists_what_came(aioc) -> None:
    ran = aioc("install", "--no-deps", "tiny==1.0", "other", "--venv", "env")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "Made the environment HOME/env\nInstalled 2 distributions into HOME/env in TIME\n + other 1.0\n + tiny 1.0\n"
    )
    version = subprocess.check_output([aioc.home / "env/bin/python", "-c", "import tiny; print(tiny.__version__)"])
    assert version.strip() == b"1.0"


def test_what_is_there_already_is_said_and_a_newer_version_takes_the_place_of_the_old(aioc) -> None:
    aioc("install", "--no-deps", "tiny==1.0", "--venv", "env")
    again = aioc("install", "--no-deps", "tiny==1.0", "--venv", "env")
    assert (again.code, again.out, again.err) == (0, "1 distribution already there\n", "")
    newer = aioc("install", "--no-deps", "tiny==2.0", "--venv", "env")
    assert newer.out == "Installed 1 distribution into HOME/env in TIME\n - tiny 1.0\n + tiny 2.0\n"
    forced = aioc("install", "--no-deps", "tiny==2.0", "--venv", "env", "--reinstall")
    assert forced.out == "Installed 1 distribution into HOME/env in TIME\n - tiny 2.0\n + tiny 2.0\n"


def test_a_dry_run_says_would_and_leaves_the_target_alone(aioc) -> None:
    ran = aioc("install", "--no-deps", "tiny==1.0", "--venv", "env", "-n")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "Would make the environment HOME/env\nWould install 1 distribution into HOME/env\n + tiny 1.0\n"
    assert not (aioc.home / "env").exists()


def test_the_json_of_an_installation_has_the_promised_keys(aioc) -> None:
    aioc("install", "--no-deps", "tiny==1.0", "other", "--venv", "env")
    ran = aioc("install", "--no-deps", "tiny==2.0", "other", "--venv", "env", "--json")
    document = ran.document
    assert (document["schema"], document["target"], document["dry_run"]) == ("aioc.install/1", "HOME/env", False)
    (installed,) = document["installed"]
    assert (
        installed["name"],
        installed["version"],
        installed["from"],
        len(installed["archive"]),
    ) == ("tiny", "2.0", "index", 32)
    assert document["removed"] == [{"name": "tiny", "version": "1.0"}]
    assert document["unchanged"] == [{"name": "other", "version": "1.0"}]
    assert {"resolve", "fetch", "link", "total"} == set(document["seconds"])
    assert ran.out.count("\n") == 1


def test_without_requirements_only_the_environment_is_made(aioc) -> None:
    ran = aioc("install", "--venv", "env")
    assert (ran.code, ran.out, ran.err) == (0, "Made the environment HOME/env\n", "")
    assert (aioc.home / "env/bin/python").exists()


def test_the_target_is_the_active_environment_else_the_one_in_this_directory(aioc) -> None:
    aioc("install", "--venv", "active")
    ran = aioc("install", "--no-deps", "tiny==1.0", VIRTUAL_ENV=str(aioc.home / "active"))
    assert ran.out == "Installed 1 distribution into HOME/active in TIME\n + tiny 1.0\n"
    ran = aioc("install", "--no-deps", "tiny==1.0")
    assert ran.out.startswith("Made the environment HOME/.venv\nInstalled 1 distribution into HOME/.venv ")


def test_a_plain_directory_is_a_target(aioc) -> None:
    ran = aioc("install", "--no-deps", "tiny==1.0", "--target", "lib")
    assert ran.out == "Made the directory HOME/lib\nInstalled 1 distribution into HOME/lib in TIME\n + tiny 1.0\n"
    assert (aioc.home / "lib/tiny/__init__.py").exists()


def test_a_requirements_file_with_hashes_comments_and_continued_lines_is_read(aioc, server: IndexServer) -> None:
    tiny, other = (server._sha256(f"{name}-1.0-py3-none-any.whl") for name in ("tiny", "other"))
    (aioc.home / "pins.txt").write_text(
        f"# pins\ntiny==1.0 \\\n    --hash=sha256:{tiny}\n"
        f"other==1.0 ; python_version >= '3' --hash=sha256:{other}\nalien ; python_version < '3'\n"
    )
    ran = aioc("install", "-r", "pins.txt", "--venv", "env")
    assert ran.out.endswith(" + other 1.0\n + tiny 1.0\n"), ran.err


def test_quiet_prints_nothing_and_verbose_prints_more(aioc) -> None:
    quiet = aioc("install", "--no-deps", "tiny==1.0", "--venv", "env", "-q")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    loud = aioc("install", "--no-deps", "other", "--venv", "env", "-v")
    assert loud.err == "aioc: fetched other-1.0-py3-none-any.whl\n"
    assert loud.out.splitlines()[-1] == "resolve TIME, fetch TIME, link TIME by hardlink"


def test_where_nothing_was_linked_no_way_of_linking_is_told(aioc) -> None:
    aioc("install", "--no-deps", "tiny==1.0", "--venv", "env")
    words = ("install", "--no-deps", "tiny==1.0", "--venv", "env")
    assert aioc(*words, "--json").document["link_mode"] is None
    assert aioc(*words, "-v").out.splitlines()[-1] == "resolve TIME, fetch TIME, link TIME"


def test_fetching_fills_the_cache_and_touches_nothing_else(aioc) -> None:
    ran = aioc("fetch", "--no-deps", "tiny==1.0", "other")
    assert (ran.code, ran.out, ran.err) == (0, "Fetched 2 wheels in TIME\n + other 1.0\n + tiny 1.0\n", "")
    assert os.listdir(aioc.home) == ["cache"]
    again = aioc("fetch", "--no-deps", "tiny==1.0", "tiny>=1", "--offline")
    assert (again.code, again.out) == (0, "1 wheel already in the cache\n")
    document = aioc("fetch", "--no-deps", "tiny==1.0", "tiny==1.0", "--json").document
    assert ("aioc.fetch/1", {"resolve", "fetch", "total"}) == (document["schema"], set(document["seconds"]))
    assert [(one["name"], one["version"], one["from"]) for one in document["fetched"]] == [("tiny", "1.0", "cache")]


def test_the_environment_of_a_named_interpreter_is_installed_into(aioc) -> None:
    aioc("install", "--venv", "env")
    ran = aioc("install", "--no-deps", "tiny==1.0", "--python", "env/bin/python")
    assert ran.out == "Installed 1 distribution into HOME/env in TIME\n + tiny 1.0\n"


def test_modules_come_with_their_bytecode_unless_no_compile_is_said(aioc) -> None:
    aioc("install", "--no-deps", "tiny==1.0", "--venv", "with")
    ran = aioc("install", "--no-deps", "--no-compile", "tiny==1.0", "--venv", "without")
    assert ran.code == 0
    assert [len(list(Path(aioc.home, name).rglob("tiny/**/*.pyc"))) for name in ("with", "without")] == [1, 0]


def test_a_link_mode_can_be_forced_by_option_and_by_variable(aioc) -> None:
    by_option = aioc("install", "--no-deps", "tiny==1.0", "--venv", "a", "--link-mode", "copy", "--json")
    by_variable = aioc("install", "--no-deps", "tiny==1.0", "--venv", "b", "--json", AIOC_LINK_MODE="symlink")
    assert [by_option.document["link_mode"], by_variable.document["link_mode"]] == ["copy", "symlink"]


def test_options_win_over_variables(aioc) -> None:
    ran = aioc("fetch", "--no-deps", "tiny==1.0", "--index-url", aioc.index_url, AIOC_INDEX_URL="http://127.0.0.1:9/")
    assert ran.code == 0, ran.err
    elsewhere = aioc("dir", "--cache-dir", "elsewhere")
    assert elsewhere.out == "HOME/elsewhere\n"


def test_the_installed_script_is_the_same_command(aioc) -> None:
    script = Path(sys.executable).parent / "aioc"
    ran = subprocess.run([script, "dir", "--json"], env=aioc.environ, capture_output=True, text=True, check=True)
    assert str(aioc.cache_dir) == json.loads(ran.stdout)["entries"][0]["path"]
