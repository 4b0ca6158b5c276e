"""Where distributions come from, as options, environment and pip's configuration say.

Option > requirements file > `AIOC_*` > `UV_*` > `PIP_*` > pip's configuration files > pip's default. The highest source
that names an index (`index-url` or `extra-index-url`) replaces all lower ones whole; find-links locations named by it
or above it are kept, and a source that names only those does not hide the indexes below. What requirements files add
(`--extra-index-url`, `--find-links`, `--trusted-host`) comes in front, and hides nothing. Every other setting (proxy,
certificates, time-outs …) has its own precedence among `UV_*`, `PIP_*` and pip's files.

User names and passwords leave the URLs here and travel in `IndexSettings.credentials` alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiocache_engine.errors import IndexSettingsError
from aiocache_engine.index.settings_memo import Question, recall, remember
from aiocache_engine.model.index import Index, IndexKind, IndexSettings, IndexStrategy, UrlCredentials
from aiocache_engine.model.value import field, value

_TIMEOUT_SECONDS = 15.0
_RETRIES = 5
_TRUE = frozenset({"y", "yes", "t", "true", "on", "1"})
_FILES = "requirements files"
_IN_NAMES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"


@value(kw_only=True)
class IndexOptions:
    """What the command line or the embedding program says about indexes; None or empty: nothing."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    strategy: IndexStrategy | None = None
    file_index_url: str | None = None  #: what requirements files say
    is_no_index: bool = False  #: requirements files want find-links locations alone
    added_index_urls: tuple[str, ...] = ()  #: asked before the chosen indexes
    added_find_links: tuple[str, ...] = ()  #: looked at before everything else
    added_trusted_hosts: tuple[str, ...] = ()


@value(kw_only=True)
class _Source:
    """What one source names."""

    name: str  #: how messages call it
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    is_no_index: bool = False

    def names_an_index(self) -> bool:
        """Tell whether it hides the indexes of lower sources."""
        return bool(self.index_url or self.extra_index_urls or self.is_no_index)


@value
class _Location:
    """One place to look, as its source wrote it."""

    kind: IndexKind
    source: str
    text: str = field(repr=False)  #: may hold a password

    def is_relative(self) -> bool:
        """Tell whether it depends on the current directory."""
        return "://" not in self.text and not self.text.startswith(("/", "~", "file:/"))


def discover_settings(
    options: IndexOptions, environ: Mapping[str, str], *, memo_path: str | None = None
) -> IndexSettings:
    """Find out where to look for distributions, in which order, and how to get there.

    Args:
        options: the highest source.
        environ: the process's environment. pip itself looks into `os.environ` for the places of its files.
        memo_path: a file that remembers the answer for as long as nothing that it rests on changes, so that the next
            call imports no pip. Nothing with a user name or password in it is written there.

    Raises:
        IndexSettingsError: a value cannot be used; it names the source.
    """
    strategy = options.strategy and options.strategy.value
    by_files = [options.file_index_url, options.added_index_urls, options.added_find_links, options.added_trusted_hosts]
    said = [options.index_url, options.extra_index_urls, options.find_links, strategy, options.is_no_index, *by_files]
    question = Question.of(said, environ)
    if memo_path and (remembered := recall(memo_path, question)) is not None:
        return remembered
    # pip costs 50 ms, urllib 5: a warm command is answered above.
    from aiocache_engine.index.pip_config import read_pip_files  # noqa: PLC0415

    pip = read_pip_files()
    pip_environ = _pip_environ(environ)
    locations = [
        *(_Location(IndexKind.FIND_LINKS, _FILES, text) for text in options.added_find_links),
        *_chosen(_sources(options, environ, pip_environ, pip.values), pip.default_index_url, options.added_index_urls),
    ]
    settings = _settled(options, environ, {**pip.values, **pip_environ}, locations)
    if memo_path:
        is_relative = any(location.is_relative() for location in locations)
        remember(memo_path, question, settings, pip.paths, is_relative=is_relative)
    return settings


def _settled(
    options: IndexOptions, environ: Mapping[str, str], pip: Mapping[str, str], locations: list[_Location]
) -> IndexSettings:
    indexes, credentials = _indexes(locations)
    return IndexSettings(
        indexes=indexes,
        strategy=options.strategy or _uv_strategy(environ),
        trusted_hosts=(
            *options.added_trusted_hosts,
            *(_words(environ.get("UV_INSECURE_HOST")) or _words(pip.get("trusted-host"))),
        ),
        ca_bundle=pip.get("cert") or environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or None,
        client_cert=environ.get("SSL_CLIENT_CERT") or pip.get("client-cert"),
        proxy=pip.get("proxy"),
        timeout_seconds=_number("timeout", environ.get("UV_HTTP_TIMEOUT") or _timeout(pip), _TIMEOUT_SECONDS),
        retries=int(_number("retries", environ.get("UV_HTTP_RETRIES") or pip.get("retries"), _RETRIES)),
        keyring_provider=environ.get("UV_KEYRING_PROVIDER") or pip.get("keyring-provider") or "auto",
        credentials=(*credentials, *_uv_credentials(environ, indexes)),
    )


def _sources(
    options: IndexOptions,
    environ: Mapping[str, str],
    pip_environ: Mapping[str, str],
    pip_files: Mapping[str, str],
) -> list[_Source]:
    """Give all sources, the highest first."""
    return [
        _Source(
            name="the options",
            index_url=options.index_url,
            extra_index_urls=options.extra_index_urls,
            find_links=options.find_links,
        ),
        _Source(name=_FILES, index_url=options.file_index_url, is_no_index=options.is_no_index),
        _Source(
            name="AIOC_* variables",
            index_url=environ.get("AIOC_INDEX_URL") or None,
            extra_index_urls=_words(environ.get("AIOC_EXTRA_INDEX_URL")),
            find_links=_words(environ.get("AIOC_FIND_LINKS")),
        ),
        _uv_source(environ),
        _pip_source("PIP_* variables", pip_environ),
        _pip_source("pip's configuration files", pip_files),
    ]


def _pip_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Read `PIP_*` variables as pip does: any option by its long name, empty ones ignored."""
    return {
        name[4:].lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("PIP_") and value
    }


def _pip_source(name: str, values: Mapping[str, str]) -> _Source:
    return _Source(
        name=name,
        index_url=values.get("index-url") or values.get("pypi-url"),
        extra_index_urls=_words(values.get("extra-index-url")),
        find_links=_words(values.get("find-links")),
        is_no_index=values.get("no-index", "").lower() in _TRUE,
    )


def _uv_source(environ: Mapping[str, str]) -> _Source:
    default = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL")
    extra = (*_words(environ.get("UV_INDEX")), *_words(environ.get("UV_EXTRA_INDEX_URL")))
    return _Source(
        name="UV_* variables",
        index_url=_named(default)[1] if default else None,
        extra_index_urls=tuple(_named(text)[1] for text in extra),
        find_links=tuple(filter(None, (environ.get("UV_FIND_LINKS") or "").split(","))),
        is_no_index=environ.get("UV_NO_INDEX", "").lower() in _TRUE,
    )


def _named(text: str) -> tuple[str, str]:
    """Give the name ("" for none) and the URL of `NAME=URL`."""
    name, _, url = text.partition("=")
    return (name, url) if name and url and not name.strip(_IN_NAMES) else ("", text)


def _uv_credentials(environ: Mapping[str, str], indexes: tuple[Index, ...]) -> list[UrlCredentials]:
    """Read `UV_INDEX_<NAME>_USERNAME` and `_PASSWORD` of the indexes that `UV_INDEX` and `UV_DEFAULT_INDEX` name."""
    from aiocache_engine.index.urls import index_of  # noqa: PLC0415 - imports urllib

    found = []
    for text in (*_words(environ.get("UV_INDEX")), environ.get("UV_DEFAULT_INDEX") or ""):
        name, url = _named(text)
        if not name:
            continue
        variable = "UV_INDEX_" + "".join(each if each.isalnum() else "_" for each in name.upper())
        user, password = environ.get(variable + "_USERNAME"), environ.get(variable + "_PASSWORD")
        index, _ = index_of(url, IndexKind.SIMPLE)
        if index in indexes and (user or password):
            found.append(UrlCredentials(url=index.url, user=user or "", password=password))
    return found


def _uv_strategy(environ: Mapping[str, str]) -> IndexStrategy:
    is_unsafe = environ.get("UV_INDEX_STRATEGY", "").startswith("unsafe-")
    return IndexStrategy.BEST_MATCH if is_unsafe else IndexStrategy.FIRST_INDEX


def _chosen(sources: list[_Source], default_index_url: str, added_index_urls: tuple[str, ...]) -> list[_Location]:
    """Choose what is asked, in order: find-links first, then the indexes of one source."""
    naming = next((source for source in sources if source.names_an_index()), None)
    visible = sources if naming is None or naming.is_no_index else sources[: sources.index(naming) + 1]
    linking = next((source for source in visible if source.find_links), None)
    chosen = [_Location(IndexKind.FIND_LINKS, linking.name, text) for text in linking.find_links] if linking else []
    if naming is not None and naming.is_no_index:
        return chosen
    chosen += [_Location(IndexKind.SIMPLE, _FILES, url) for url in added_index_urls]
    if naming is None:
        return [*chosen, _Location(IndexKind.SIMPLE, "pip's default", default_index_url)]
    urls = (*naming.extra_index_urls, naming.index_url or default_index_url)
    return [*chosen, *(_Location(IndexKind.SIMPLE, naming.name, url) for url in urls)]


def _indexes(locations: list[_Location]) -> tuple[tuple[Index, ...], list[UrlCredentials]]:
    from aiocache_engine.index.urls import index_of, shown  # noqa: PLC0415 - imports urllib

    indexes: dict[Index, None] = {}  # one that is named twice is asked once, at its first place
    credentials = []
    for location in locations:
        try:
            index, secret = index_of(location.text, location.kind)
        except ValueError as error:
            raise IndexSettingsError(f"{location.source}: {shown(location.text)}", str(error)) from error
        indexes[index] = None
        if secret:
            credentials.append(secret)
    return tuple(indexes), credentials


def _words(text: str | None) -> tuple[str, ...]:
    return tuple((text or "").split())


def _timeout(pip: Mapping[str, str]) -> str | None:
    return pip.get("timeout") or pip.get("default-timeout")


def _number(name: str, text: str | None, default: float) -> float:
    if not text:
        return default
    try:
        number = float(text)
    except ValueError as error:
        raise IndexSettingsError(f"{name} = {text!r}", "a number is expected") from error
    if not 0 <= number < float("inf"):
        raise IndexSettingsError(f"{name} = {text!r}", "a number of at least 0 is expected")
    return number
