"""Which variables a build backend gets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiocache_engine.pipeline.builds.surroundings import backend_environ


def environ(home: Path, **variables: str) -> dict[str, str]:
    return backend_environ(variables, home=str(home), scripts="/env/bin")


@pytest.mark.parametrize(
    "name",
    [
        "PIP_INDEX_URL", "PIP_CONFIG_FILE", "UV_INDEX", "UV_DEFAULT_INDEX", "AIOC_INDEX_URL", "AIOC_EXTRA_INDEX_URL",
        "AIOC_FIND_LINKS", "TWINE_USERNAME", "HATCH_INDEX_USER",
        "GITHUB_TOKEN", "CARGO_REGISTRY_TOKEN", "NPM_TOKEN_READ", "DB_PASSWORD", "github_token",
        "AWS_SECRET_ACCESS_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS", "DOCKER_AUTH_CONFIG", "GH_PAT", "PGPASS_PASS", "OPENAI_API_KEY", "APIKEY",
        "SSH_AUTH_SOCK", "NETRC", "DBUS_SESSION_BUS_ADDRESS", "GIT_ASKPASS", "GIT_CONFIG_GLOBAL", "XDG_RUNTIME_DIR",
        "MYSQL_PWD", "PGPASSFILE", "PGSERVICEFILE", "CI_JOB_JWT", "CI_JOB_JWT_V2", "DEPLOY_KEY", "SSH_KEY_FILE",
        "AZURE_STORAGE_CONNECTION_STRING", "STORAGE_KEYS", "SESSION_COOKIE", "COOKIES", "HTTP_BEARER", "GNUPGHOME",
        "DOCKER_CONFIG", "AWS_CONFIG_FILE", "NPM_CONFIG_USERCONFIG",
        "PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS", "PYTHONSTARTUP", "VIRTUAL_ENV_PROMPT", "__PYVENV_LAUNCHER__",
    ],
)  # fmt: skip
def test_what_is_secret_or_leads_elsewhere_is_left_out(tmp_path: Path, name: str) -> None:
    assert name not in environ(tmp_path, **{name: "value"})


@pytest.mark.parametrize(
    "name",
    [
        "CFLAGS", "CC", "PKG_CONFIG_PATH", "LANG", "LC_ALL", "MAKEFLAGS", "CMAKE_ARGS",
        "SETUPTOOLS_SCM_PRETEND_VERSION",
        "PDM_BUILD_SCM_VERSION", "HATCH_BUILD_HOOKS_ENABLE", "RUSTFLAGS", "CARGO_HOME", "GIT_AUTHOR_NAME", "COMPASS",
        "AIOC_CACHE_DIR", "AIOC_LEASE", "AIOC_BUILD_CHAIN", "KEYBOARD", "XKB_KEYBOARD", "PWD", "OLDPWD", "KEY",
        "PATTERN", "CONDA_PREFIX",
    ],
)  # fmt: skip
def test_what_a_build_goes_by_is_kept(tmp_path: Path, name: str) -> None:
    assert environ(tmp_path, **{name: "/opt/python@3.11/bin:/b"})[name] == "/opt/python@3.11/bin:/b"


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "MIRROR", "SETTINGS"])
def test_a_url_is_left_out_if_and_only_if_it_names_a_user(tmp_path: Path, name: str) -> None:
    assert environ(tmp_path, **{name: "http://127.0.0.1:3128"})[name] == "http://127.0.0.1:3128"
    assert name not in environ(tmp_path, **{name: "a b=http://user:pa/ss@127.0.0.1:3128"})


def test_home_and_temporary_files_are_those_of_the_build(tmp_path: Path) -> None:
    found = environ(tmp_path, HOME="/home/me", TMPDIR="/tmp/me", TEMP="/tmp/me", TMP="/tmp/me")
    assert found["HOME"] == str(tmp_path)
    assert {found[name] for name in ("TMPDIR", "TEMP", "TMP")} == {str(tmp_path / "tmp")}
    assert os.path.isdir(tmp_path / "tmp")


def test_the_commands_of_the_build_environment_come_first(tmp_path: Path) -> None:
    found = environ(tmp_path, PATH="/usr/bin:/bin", VIRTUAL_ENV="/mine")
    assert found["PATH"] == "/env/bin:/usr/bin:/bin"
    assert found["VIRTUAL_ENV"] == "/env"


def test_times_and_hashes_are_the_same_each_time(tmp_path: Path) -> None:
    found = environ(tmp_path, PYTHONHASHSEED="7")
    assert (found["SOURCE_DATE_EPOCH"], found["PYTHONHASHSEED"]) == ("315532800", "0")
    assert found["PYTHONDONTWRITEBYTECODE"] == "1"
    assert environ(tmp_path, SOURCE_DATE_EPOCH="1700000000")["SOURCE_DATE_EPOCH"] == "1700000000"


def test_the_toolchains_of_rust_are_found_from_the_home_of_the_build(tmp_path: Path) -> None:
    mine = tmp_path / "me"
    (mine / ".rustup").mkdir(parents=True)
    assert environ(tmp_path, HOME=str(mine))["RUSTUP_HOME"] == str(mine / ".rustup")
    assert environ(tmp_path, HOME=str(mine), RUSTUP_HOME="/rust")["RUSTUP_HOME"] == "/rust"
    assert "RUSTUP_HOME" not in environ(tmp_path, HOME=str(tmp_path))
