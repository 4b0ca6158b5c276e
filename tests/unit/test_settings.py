from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiocache_engine.errors import IndexSettingsError
from aiocache_engine.index.settings import IndexOptions, discover_settings
from aiocache_engine.model.index import IndexKind, IndexSettings, IndexStrategy


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_", "AIOC_"))]:
        monkeypatch.delenv(name)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CLIENT_CERT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "pip.conf").write_text("")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pip_conf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    return tmp_path / "pip.conf"


def discover(memo_path: Path | None = None, **options: object) -> IndexSettings:
    return discover_settings(
        IndexOptions(**options),  # type: ignore[arg-type]
        os.environ,
        memo_path=str(memo_path) if memo_path else None,
    )


def urls(settings: IndexSettings) -> list[str]:
    return [index.url for index in settings.indexes]


def test_without_any_setting_pips_default_index_is_asked() -> None:
    from pip._internal.models.index import PyPI  # noqa: PLC0415 - the authority

    settings = discover()

    assert [PyPI.simple_url] == urls(settings)
    assert settings.strategy is IndexStrategy.FIRST_INDEX
    assert (settings.timeout_seconds, settings.retries, settings.keyring_provider) == (15.0, 5, "auto")


def test_the_highest_source_that_names_an_index_replaces_lower_ones_whole(
    monkeypatch: pytest.MonkeyPatch, pip_conf: Path
) -> None:
    pip_conf.write_text("[global]\nindex-url = http://127.0.0.1/conf\nextra-index-url = http://127.0.0.1/conf-extra\n")
    assert urls(discover()) == ["http://127.0.0.1/conf-extra", "http://127.0.0.1/conf"]

    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1/pip")
    assert urls(discover()) == ["http://127.0.0.1/pip"]
    monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1/uv")
    assert urls(discover()) == ["http://127.0.0.1/uv"]
    monkeypatch.setenv("AIOC_INDEX_URL", "http://127.0.0.1/aioc")
    assert urls(discover()) == ["http://127.0.0.1/aioc"]
    assert urls(discover(index_url="http://127.0.0.1/option")) == ["http://127.0.0.1/option"]


def test_an_extra_index_alone_comes_before_pips_default_and_hides_lower_sources(pip_conf: Path) -> None:
    default = urls(discover())
    pip_conf.write_text("[global]\nindex-url = http://127.0.0.1/conf\n")

    assert ["http://127.0.0.1/a", "http://127.0.0.1/b", *default] == urls(
        discover(extra_index_urls=("http://127.0.0.1/a", "http://127.0.0.1/b/"))
    )


def test_find_links_alone_hides_only_lower_find_links(monkeypatch: pytest.MonkeyPatch, pip_conf: Path) -> None:
    pip_conf.write_text("[global]\nindex-url = http://127.0.0.1/conf\nfind-links = /conf\n")
    monkeypatch.setenv("PIP_FIND_LINKS", "/env http://127.0.0.1/page.html")

    assert urls(discover()) == ["file:///env", "http://127.0.0.1/page.html", "http://127.0.0.1/conf"]
    assert urls(discover(index_url="http://127.0.0.1/option")) == ["http://127.0.0.1/option"]


def test_no_index_leaves_find_links_alone(monkeypatch: pytest.MonkeyPatch, pip_conf: Path) -> None:
    pip_conf.write_text("[global]\nfind-links = /conf\n")
    monkeypatch.setenv("PIP_NO_INDEX", "yes")

    assert urls(discover()) == ["file:///conf"]


def test_the_install_section_wins_over_global_and_an_empty_value_is_none(pip_conf: Path) -> None:
    pip_conf.write_text(
        "[global]\nindex-url = http://127.0.0.1/global\ntimeout = 7\n"
        "[install]\nindex_url = http://127.0.0.1/install\ntimeout =\n"
        "[list]\nindex-url = http://127.0.0.1/list\n"
    )

    settings = discover()

    assert urls(settings) == ["http://127.0.0.1/install"]
    assert settings.timeout_seconds == 7.0


def test_other_settings_have_their_own_precedence(monkeypatch: pytest.MonkeyPatch, pip_conf: Path) -> None:
    pip_conf.write_text("[global]\ncert = /conf.pem\nproxy = http://127.0.0.1:1\ntrusted-host = a b:1\nretries = 2\n")
    monkeypatch.setenv("PIP_CERT", "/env.pem")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "180")
    monkeypatch.setenv("UV_HTTP_RETRIES", "9")

    settings = discover(index_url="http://127.0.0.1/option")

    assert (settings.ca_bundle, settings.proxy, settings.trusted_hosts) == (
        "/env.pem",
        "http://127.0.0.1:1",
        ("a", "b:1"),
    )
    assert (settings.timeout_seconds, settings.retries) == (180.0, 9)


def test_relative_directories_and_file_urls_are_one_spelling(tmp_path: Path) -> None:
    (tmp_path / "my wheels").mkdir()

    settings = discover(find_links=("my wheels",), index_url=f"file://localhost{tmp_path}/my%20wheels/")

    assert [index.kind for index in settings.indexes] == [IndexKind.FIND_LINKS, IndexKind.SIMPLE]
    assert urls(settings) == [f"file://{tmp_path}/my%20wheels"] * 2


def test_the_spelling_of_a_url_does_not_change_its_digest() -> None:
    one, other = (
        discover(index_url=url).indexes[0] for url in ("HTTP://u:p@LocalHost:80/simple/", "http://localhost/simple")
    )

    assert one == other


@pytest.mark.parametrize("url", ["nowhere", "ftp://127.0.0.1/x", "http://[bad/", "http:///simple", "http://h:port/x"])
def test_what_is_no_index_is_refused_with_its_source(url: str) -> None:
    with pytest.raises(IndexSettingsError, match="the options"):
        discover(index_url=url)


def test_a_number_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_TIMEOUT", "soon")

    with pytest.raises(IndexSettingsError, match="timeout"):
        discover()


def test_a_malformed_file_of_pip_is_named_without_its_secrets(pip_conf: Path) -> None:
    pip_conf.write_text("index-url = http://me:hunter2@127.0.0.1/simple\n")

    with pytest.raises(IndexSettingsError) as caught:
        discover()

    assert str(pip_conf) in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_password_is_kept_apart_and_never_written_or_shown(tmp_path: Path, pip_conf: Path) -> None:
    pip_conf.write_text("[global]\nindex-url = http://me:hunter2%21@127.0.0.1:1/simple\n")
    memo = tmp_path / "memo"

    settings = discover(memo)

    assert urls(settings) == ["http://127.0.0.1:1/simple"]
    assert [(secret.user, secret.password) for secret in settings.credentials] == [("me", "hunter2!")]
    assert "hunter2" not in repr(settings)
    assert not memo.exists()


def test_the_memo_answers_until_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pip_conf: Path
) -> None:
    memo = tmp_path / "memo"
    pip_conf.write_text("[global]\nindex-url = http://127.0.0.1/one\n")
    first = discover(memo)
    assert first == discover(memo)

    pip_conf.write_text("[global]\nindex-url = http://127.0.0.1/other\n")
    assert urls(discover(memo)) == ["http://127.0.0.1/other"]
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1/env")
    assert urls(discover(memo)) == ["http://127.0.0.1/env"]
    assert urls(discover(memo, index_url="http://127.0.0.1/option")) == ["http://127.0.0.1/option"]


def test_a_file_that_pip_would_read_and_that_appears_later_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path.home()
    monkeypatch.delenv("PIP_CONFIG_FILE")
    memo = tmp_path / "memo"
    discover(memo)
    (home / ".pip").mkdir()
    (home / ".pip" / "pip.conf").write_text("[global]\nindex-url = http://127.0.0.1/late\n")

    assert urls(discover(memo)) == ["http://127.0.0.1/late"]


@pytest.mark.parametrize("location", ["wheels", "file:wheels"])
def test_a_relative_location_is_remembered_for_its_directory_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    memo = tmp_path / "memo"
    discover(memo, find_links=(location,))
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")

    assert urls(discover(memo, find_links=(location,)))[0] == f"file://{tmp_path}/sub/wheels"


def test_a_damaged_memo_is_none(tmp_path: Path) -> None:
    memo = tmp_path / "memo"
    expected = discover(memo)
    content = bytearray(memo.read_bytes())
    content[100] ^= 1
    memo.write_bytes(content)

    assert expected == discover(memo)


def test_a_memo_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    assert discover(tmp_path / "absent" / "memo").indexes


def test_a_remembered_answer_imports_neither_pip_nor_an_http_library(tmp_path: Path) -> None:
    program = (
        "import os, sys; from aiocache_engine.index.settings import IndexOptions, discover_settings;"
        f"discover_settings(IndexOptions(), os.environ, memo_path={str(tmp_path / 'memo')!r});"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    cold, warm = (
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    )

    assert "'pip'" in cold
    assert not any(f"'{name}'" in warm for name in ("pip", "urllib", "anyio", "asyncio", "httpx2", "msgspec"))
