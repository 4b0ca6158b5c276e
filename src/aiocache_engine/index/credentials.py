"""User names and passwords for indexes: from their URLs, netrc, and keyring the way pip asks it.

A secret belongs to one origin (scheme, host and port) and is given for URLs of that origin only; netrc, which knows
hosts alone, is asked for the host of the URL, and its `default` entry, which fits any host, is never used. The
keyring may be slow or talk to somebody: it is asked only after an index refused, and once per origin. Nothing of this
is written to disk or named in a message.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Mapping

from aiocache_engine.hints import Any
from aiocache_engine.index.urls import origin_of, shown
from aiocache_engine.model.index import IndexSettings, UrlCredentials

_KEYRING_SECONDS = 60.0  #: a keyring may wait for somebody to unlock it

Login = tuple[str, str]  #: user name and password


def _ignore(_message: str) -> None:
    """Warn nobody."""


class Credentials:
    """Finds the login for a URL."""

    def __init__(
        self,
        settings: IndexSettings,
        *,
        environ: Mapping[str, str] = os.environ,
        warn: Callable[[str], None] = _ignore,
    ) -> None:
        self._known = list(settings.credentials)
        self._index_urls = [index.url for index in settings.indexes]
        self._provider = settings.keyring_provider
        self._environ = environ
        self._warn = warn
        self._netrc: Any = None  #: parsed at the first question; False where there is none
        self._from_keyring: dict[tuple[str, str, int], Login | None] = {}

    def remember(self, secret: UrlCredentials | None) -> None:
        """Learn the credentials of a direct URL."""
        if secret is not None and secret not in self._known:
            self._known.append(secret)

    def login_for(self, url: str) -> Login | None:
        """Give what is known without asking anybody: URL, earlier keyring answer, netrc."""
        if secret := self._nearest(url):
            if secret.password is not None:
                return secret.user, secret.password
            if not secret.user:
                return None
        if login := self._from_keyring.get(origin_of(url)):
            return login
        login = self._netrc_login(url)
        if secret and login and login[0] != secret.user:
            return None
        return login

    async def login_after_refusal(self, url: str) -> Login | None:
        """Ask the keyring for a URL that was refused; None if it knows nothing or was asked before."""
        origin = origin_of(url)
        if origin in self._from_keyring or self._provider == "disabled":
            return None
        import anyio  # noqa: PLC0415 - not needed on the warm road

        self._from_keyring[origin] = None
        secret = self._nearest(url)
        user = secret.user if secret else None
        for service in (self._index_url_for(url), f"{origin[1]}:{origin[2]}", origin[1]):
            if service and (login := await anyio.to_thread.run_sync(self._ask_keyring, service, user)):
                self._from_keyring[origin] = login
                return login
        return None

    def _nearest(self, url: str) -> UrlCredentials | None:
        """Give the credentials of the same origin whose path has most in common with the URL's."""
        origin = origin_of(url)
        same = [secret for secret in self._known if origin_of(secret.url) == origin]
        return max(same, key=lambda secret: _shared_parts(secret.url, url), default=None)

    def _index_url_for(self, url: str) -> str | None:
        origin = origin_of(url)
        same = [index for index in self._index_urls if origin_of(index) == origin]
        nearest = max(same, key=lambda index: _shared_parts(index, url), default=None)
        return nearest and nearest + "/"

    def _netrc_login(self, url: str) -> Login | None:
        if self._netrc is None:
            self._netrc = self._read_netrc() or False
        host = origin_of(url)[1]
        if not self._netrc or host not in self._netrc.hosts:
            return None
        user, account, password = self._netrc.hosts[host]
        return (user or account or "", password or "")

    def _read_netrc(self) -> Any:
        import netrc  # noqa: PLC0415 - only where a login is looked for

        named = self._environ.get("NETRC")
        for path in [named] if named else [os.path.expanduser("~/.netrc"), os.path.expanduser("~/_netrc")]:
            try:
                return netrc.netrc(path)
            except FileNotFoundError:
                continue
            except (OSError, UnicodeDecodeError, netrc.NetrcParseError) as error:
                reason = error.msg if isinstance(error, netrc.NetrcParseError) else str(error)
                self._warn(f"{path} is ignored: {reason}")
        return None

    def _ask_keyring(self, service: str, user: str | None) -> Login | None:
        """Ask as pip does: the library, then the program; a keyring that fails is reported and left alone."""
        try:
            if self._provider in {"import", "auto"} and (keyring := _library()) is not None:
                found = keyring.get_credential(service, user)
                return (found.username, found.password) if found else None
            if self._provider in {"subprocess", "auto"} and (program := shutil.which("keyring")):
                return _ask_program(program, service, user)
        except Exception as error:  # noqa: BLE001 - keyring backends raise anything
            self._warn(f"keyring is ignored for {shown(service)}: {type(error).__name__}")
        return None


def _shared_parts(one: str, other: str) -> int:
    """Count the leading path components that two URLs have in common."""
    pairs = zip(one.split("/"), other.split("/"), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _library() -> Any:
    import importlib  # noqa: PLC0415 - only where a keyring is asked

    try:
        return importlib.import_module("keyring")
    except ImportError:
        return None


def _ask_program(program: str, service: str, user: str | None) -> Login | None:
    import subprocess  # noqa: PLC0415 - only where a keyring is asked

    arguments = [program, "--mode=creds", "--output=json", "get", service, *([user] if user else [])]
    answer = subprocess.run(
        arguments,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=_KEYRING_SECONDS,
        check=False,
    )
    if answer.returncode == 0:
        found = json.loads(answer.stdout)
        return found["username"], found["password"]
    if not user:
        return None
    # A keyring older than 25.2 knows neither option, and gives the password of a known user alone.
    answer = subprocess.run(
        [program, "get", service, user],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_KEYRING_SECONDS,
        check=False,
    )
    password = answer.stdout.decode().rstrip("\r\n")
    return (user, password) if answer.returncode == 0 and password else None
