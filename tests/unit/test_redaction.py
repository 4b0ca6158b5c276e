"""No error, no requirement and no command line shows the secrets of the URLs in it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aiocache_engine.errors import (
    CacheEngineError,
    IndexSettingsError,
    InvalidNameError,
    InvalidRequirementError,
    NoMatchingWheelError,
    OfflineError,
    ProjectNotFoundError,
    redacted,
)
from aiocache_engine.index.settings import IndexOptions, discover_settings
from aiocache_engine.index.urls import direct_file
from aiocache_engine.model.requirement import Wanted
from aiocache_engine.pipeline.inputs.requirements import one_per_project, parse_clean_target, parse_requirement
from aiocache_engine.pipeline.inputs.requirements_file import read_requested
from aiocache_engine.python.interpreter import probe
from aiocache_engine.system import process

WHEEL = "alpha-1.0-py3-none-any.whl"
SECRET_URL = f"http://user:s3cr3t@127.0.0.1:9/{WHEEL}"
SHOWN_URL = f"http://***@127.0.0.1:9/{WHEEL}"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("no wheel fits alpha: there is none", "no wheel fits alpha: there is none"),
        (f"alpha @ {SECRET_URL} ; x", f"alpha @ {SHOWN_URL} ; x"),
        (f"{SECRET_URL!r} and {SECRET_URL}, too", f"{SHOWN_URL!r} and {SHOWN_URL}, too"),
        ("http://s3cr3t@h/simple", "http://***@h/simple"),
        ("http://user:s3c/r3t@h/simple", "http://***@h/simple"),
        ("http://user:s3c@r3t@h/simple", "http://***@h/simple"),
        ("http://user:s3c?r3t@h/simple", "http://***@h/simple"),
        ("http://user:s3c r3t@h/simple", "http://***@h/simple"),
        ("http://user:s3c'r3t@h/simple", "http://***@h/simple"),
        ("'http://user:s3cr3t'", "'http://***'"),
        ("/here/http:/user:s3cr3t@h/simple", "/here/http:/***@h/simple"),
        ("git+ssh://user:s3cr3t@h/x", "git+ssh://***@h/x"),
        ("https://h/a.whl?sig=s3cr3t#sha256=abc", "https://h/a.whl#sha256=abc"),
        ("https://h/a.whl?sig=s3cr3t: it is gone", "https://h/a.whl: it is gone"),
        ("('https://h/a.whl?sig=s3cr3t', 1)", "('https://h/a.whl', 1)"),
        ("http://[::1]:80/x: a@b", "http://[::1]:80/x: a@b"),
        ("http://h:80: say a@b", "http://h:80: say a@b"),
        ("http://h: say a@b", "http://h: say a@b"),
        ("what? me@home", "what? me@home"),
    ],
)
def test_secrets_of_urls_go_and_all_else_stays(text: str, safe: str) -> None:
    assert redacted(text) == safe


def test_a_very_long_text_is_redacted_in_a_moment() -> None:
    assert "s3cr3t" not in redacted("http://user:s3cr3t@h/" + "http://a:b" * 20_000 + "a" * 100_000)


@pytest.mark.parametrize(
    "error",
    [
        InvalidNameError("URL", SECRET_URL, f"{SECRET_URL} is odd"),
        InvalidRequirementError(SECRET_URL, f"{SECRET_URL} is odd"),
        NoMatchingWheelError(SECRET_URL, f"{SECRET_URL} is odd"),
        OfflineError(SECRET_URL),
        ProjectNotFoundError("alpha", (SECRET_URL, "beta")),
        CacheEngineError(f"{SECRET_URL} is odd"),
    ],
)
def test_an_error_holds_no_secret_in_its_message_or_its_attributes(error: CacheEngineError) -> None:
    held = f"{error} {error!r} {error.args} {vars(error)}"
    assert "s3cr3t" not in held
    assert SHOWN_URL in held


def test_a_long_text_that_is_refused_shows_no_part_of_a_secret() -> None:
    assert "s3cr3t" not in str(InvalidRequirementError(f"http://{'s3cr3t' * 100}@127.0.0.1/{WHEEL}", "it is odd"))


def test_a_requirement_keeps_the_secret_in_its_url_alone_and_shows_none() -> None:
    wanted = parse_requirement(f"alpha @ {SECRET_URL}", {})
    assert wanted is not None
    assert wanted.url == SECRET_URL
    assert wanted.text == f"alpha @ {SHOWN_URL}"
    assert "s3cr3t" not in repr(wanted)


@pytest.mark.parametrize(
    "line",
    [
        "alpha @ http://user:s3cr3t@127.0.0.1:9/alpha.tar.gz",
        f"{SECRET_URL} nonsense",
        f"http://user:s3cr3t\u2100@127.0.0.1:9/{WHEEL}",
        "http://user:s3cr3t@127.0.0.1:9/alpha 1.0.whl",
        "http://user:x/s3cr3t@127.0.0.1:9/alpha.whl",
        "http://user:s3cr3t/x@127.0.0.1:9/alpha.whl",
        "--extra-index-url=http://user:s3cr3t@127.0.0.1:9/simple --nonsense",
        f"alpha @ {SECRET_URL}\nalpha @ {SECRET_URL}#x",
    ],
)
def test_a_line_of_a_requirements_file_that_is_refused_shows_no_secret(line: str, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(f"{line}\n", "utf-8")
    with pytest.raises(CacheEngineError) as caught:
        one_per_project(read_requested([], [str(file)], interpreter=probe(sys.executable), environ={}).roots)
    assert "s3cr3t" not in f"{caught.value} {vars(caught.value)}"


def test_a_clean_target_that_is_refused_shows_no_secret() -> None:
    with pytest.raises(InvalidRequirementError) as caught:
        parse_clean_target(f"alpha @ {SECRET_URL}")
    assert "s3cr3t" not in f"{caught.value} {vars(caught.value)}"


@pytest.mark.parametrize("parse", [parse_clean_target, lambda text: parse_requirement(text, {})])
def test_the_cause_that_a_log_shows_holds_no_secret_either(parse: Callable[[str], object]) -> None:
    with pytest.raises(InvalidRequirementError) as caught:
        parse(f"alpha @@ {SECRET_URL}")
    assert SHOWN_URL in str(caught.value.__cause__)
    assert "s3cr3t" not in str(caught.value.__cause__)


@pytest.mark.parametrize("user_info", ["user:s3cr3t/x", "user:x/s3cr3t", "user:s3cr3t]", "user:s3cr3t\u2100"])
def test_a_malformed_url_is_refused_without_showing_what_stands_in_it(user_info: str) -> None:
    with pytest.raises(IndexSettingsError) as from_settings:
        discover_settings(IndexOptions(index_url=f"http://{user_info}@127.0.0.1/simple"), {})
    assert "s3cr3t" not in f"{from_settings.value}"
    with pytest.raises(InvalidNameError) as from_url:
        direct_file(f"http://{user_info}@127.0.0.1/{WHEEL}")
    assert "s3cr3t" not in f"{from_url.value}"
    assert "%2F" in str(from_url.value)


def test_the_command_of_a_process_shows_neither_passwords_nor_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    two = f"{SECRET_URL},https://me:s3cr3t@127.0.0.1/b"
    monkeypatch.setattr(sys, "orig_argv", ["/bin/aioc", "fetch", two, "https://127.0.0.1/a.whl?sig=s3cr3t"])
    monkeypatch.setattr(process, "_identities", {})
    assert process.me().command == "aioc fetch http://***@127.0.0.1/b https://127.0.0.1/a.whl"


def test_a_requirement_that_is_put_together_holds_no_secret_either() -> None:
    assert "s3cr3t" not in Wanted(SECRET_URL, "alpha", "", None, frozenset(), SECRET_URL).text
