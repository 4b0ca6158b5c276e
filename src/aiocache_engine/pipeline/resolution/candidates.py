"""The versions of one project, as its pages list them; which file of a version is taken is looked at only when asked.

A page may list thousands of files and a resolution looks at a few: versions are ordered without decoding any of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from packaging.utils import canonicalize_version
from packaging.version import InvalidVersion, Version

from aiocache_engine.index.urls import direct_file, shown
from aiocache_engine.model.index import Index, IndexFile
from aiocache_engine.model.names import file_name
from aiocache_engine.model.page import StoredPage
from aiocache_engine.model.requirement import Refusal, Wanted
from aiocache_engine.model.value import replace
from aiocache_engine.pipeline.find import Choice, choice_of
from aiocache_engine.policy.choose import WheelChooser


class Candidates:
    """What may be chosen of one project."""

    def __init__(
        self,
        project: str,
        pages: Sequence[tuple[Index, StoredPage]],
        chooser: WheelChooser,
        *,
        sha256s: frozenset[str] | None,
    ) -> None:
        """Order the versions.

        Args:
            project: normalized.
            pages: those that count, in the order of their indexes.
            chooser: chooses among the files of a version.
            sha256s: one of them must fit, and of none at all none does; None: any will do.
        """
        self._project = project
        self._pages = pages
        self._chooser = chooser
        self._sha256s = sha256s
        self._choices: dict[Version, Choice | Refusal] = {}
        self._spellings: dict[Version, str] = {}  #: as the page groups by
        for _, page in pages:
            for line in page.lines.splitlines():
                canonical, _, files = line.partition(b"\t")
                try:
                    self._spellings.setdefault(Version(_spelled(canonical.decode(), files)), canonical.decode())
                except InvalidVersion:
                    continue
        self.versions: Sequence[Version] = sorted(self._spellings, reverse=True)  #: newest first

    def choose(self, version: Version) -> Choice | Refusal:
        """Give the best file of a version, or why there is none."""
        if version not in self._choices:
            self._choices[version] = self._choose(version)
        return self._choices[version]

    def where(self) -> str:
        """Say where was looked."""
        return ", ".join(shown(index.url) for index, _ in self._pages)

    def _choose(self, version: Version) -> Choice | Refusal:
        if refusal := _torn(self._sha256s):
            return refusal
        spelling = self._spellings.get(version)
        if spelling is None:
            return Refusal("there is no such version")
        found = [(index, file) for index, page in self._pages for file in page.files_of(spelling)]
        wanted = Wanted(
            text=f"{self._project}=={version}",
            project=self._project,
            specifier=f"=={version}",
            pinned=canonicalize_version(version),
            sha256s=self._sha256s or frozenset(),
            url=None,
        )
        chosen = self._chooser.choose(wanted, [file for _, file in found])
        if isinstance(chosen, Refusal):
            return chosen
        return choice_of(wanted, next(index for index, file in found if file is chosen), chosen, self._chooser)


class DirectCandidate:
    """The one version that a requirement names by URL or path."""

    def __init__(self, wanted: Wanted, chooser: WheelChooser, *, sha256s: frozenset[str] | None) -> None:
        """Take the file apart; `sha256s` as for `Candidates`, from whoever states any."""
        index, file, self.credentials = direct_file(wanted.url or "")
        name = file_name(file.filename, wanted.project)
        stated = common(sha256s, None if file.sha256 is None else frozenset({file.sha256}))
        refusal = chooser.check(name) or _torn(stated)
        only = next(iter(stated)) if stated is not None and len(stated) == 1 else None
        limited = replace(wanted, sha256s=stated or frozenset())
        self._choice = refusal or choice_of(limited, index, _with_hash(file, only), chooser)
        self.versions: Sequence[Version] = (Version(name.version),)

    def choose(self, _: Version) -> Choice | Refusal:
        """Give the file, or why it cannot be installed."""
        return self._choice

    def where(self) -> str:
        """Say where was looked."""
        return ""


def common(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """Give the hashes that are among both; None: any will do."""
    if one is None or other is None:
        return one if other is None else other
    return one & other


def _torn(sha256s: frozenset[str] | None) -> Refusal | None:
    """Say so where no hash is left that all who state some would take."""
    if sha256s is None or sha256s:
        return None
    return Refusal("the hashes given for it exclude each other; check the --hash options")


def _spelled(canonical: str, files: bytes) -> str:
    """Give a version as its maker writes it (2.9.0.post0 for 2.9.post0), by the name of its first wheel, or file."""
    wheel = files.find(b'.whl"')
    start = 3 if wheel < 0 else files.rfind(b'["', 0, wheel) + 2
    name = files[start : files.find(b'"', start)].decode()
    parts = name.split("-")
    spelled = parts[1] if wheel >= 0 and len(parts) > 1 else parts[-1].removesuffix(".tar.gz").removesuffix(".zip")
    try:
        is_same = spelled == canonical or canonicalize_version(Version(spelled)) == canonical
    except InvalidVersion:  # an old source file has dashes wherever it likes
        return canonical
    return spelled if is_same else canonical


def _with_hash(file: IndexFile, sha256: str | None) -> IndexFile:
    return IndexFile(
        filename=file.filename,
        url=file.url,
        sha256=sha256,
        size_bytes=file.size_bytes,
        requires_python=file.requires_python,
        yanked=file.yanked,
        metadata_sha256=file.metadata_sha256,
    )
