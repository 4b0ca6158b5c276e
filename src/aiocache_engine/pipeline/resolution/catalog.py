"""The catalog of real projects: pages and metadata, wherever a `Source` has them from, in the resolver's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from aiocache_engine.errors import InvalidWheelError, ProjectNotFoundError
from aiocache_engine.hints import Protocol
from aiocache_engine.model.index import Index
from aiocache_engine.model.names import is_sdist
from aiocache_engine.model.page import StoredPage
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.requirement import Refusal, Wanted
from aiocache_engine.pipeline.builds.metadata import is_version_of
from aiocache_engine.pipeline.find import Choice
from aiocache_engine.pipeline.inputs.pep440 import read_version
from aiocache_engine.pipeline.resolution.candidates import Candidates, DirectCandidate, common
from aiocache_engine.pipeline.resolution.metadata import (
    CoreMetadata,
    MetadataError,
    check_requirements,
    demands_of,
    parse_metadata,
    shortened,
)
from aiocache_engine.policy.choose import WheelChooser, python_fits
from aiocache_engine.policy.resolution import Demand, Problem


class Source(Protocol):
    """Where pages and metadata come from. Called from one thread at a time; may wait, may raise."""

    def pages(self, project: str) -> Sequence[tuple[Index, StoredPage]]:
        """Give the pages that count for a project, in the order of their indexes; empty: nobody knows it."""

    def metadata(self, choice: Choice) -> bytes:
        """Give the METADATA of a wheel."""

    def expect(self, demands: Sequence[Demand]) -> None:
        """Hear what is about to be asked for."""

    def expect_files(self, choices: Sequence[Choice]) -> None:
        """Hear whose metadata is about to be asked for."""


class IndexCatalog:
    """What can be chosen for one interpreter."""

    def __init__(
        self,
        problem: Problem,
        interpreter: Interpreter,
        chooser: WheelChooser,
        source: Source,
        *,
        not_found: Callable[[str], ProjectNotFoundError],
    ) -> None:
        """Keep what the answers rest on; `not_found` makes the error for a project that nobody knows."""
        self._source = source
        self._not_found = not_found
        self._chooser = chooser
        self._markers: Mapping[str, str] = interpreter.markers
        self._python = interpreter.version
        self._direct: dict[str, Wanted] = {}
        self._sha256s: dict[str, frozenset[str] | None] = {}  #: that suit all who state some; None: nobody does
        self._asked = {each.project for each in problem.roots}
        for each in (*problem.roots, *problem.constraints):
            if each.url is not None:
                self._direct.setdefault(each.project, each)
            self._sha256s[each.project] = common(self._sha256s.get(each.project), each.sha256s or None)
        self._candidates: dict[str, Candidates | DirectCandidate] = {}
        self._metadata: dict[tuple[str, Version], CoreMetadata | str] = {}
        self._flaws: dict[tuple[str, Version], str | None] = {}

    def versions(self, project: str) -> Sequence[Version]:
        """Give every version, newest first.

        Raises:
            ProjectNotFoundError: the user asked for a project that nobody knows.
        """
        return self.candidates(project).versions

    def preferred(self, _: str) -> None:
        """Prefer none: the newest is best."""

    def candidates(self, project: str) -> Candidates | DirectCandidate:
        """Give what may be chosen of a project; as `versions`."""
        if project not in self._candidates:
            if project in self._direct:
                direct = DirectCandidate(self._direct[project], self._chooser, sha256s=self._sha256s[project])
                self._candidates[project] = direct
            else:
                self._among(project, self._source.pages(project))
        return self._candidates[project]

    def sha256s(self, project: str) -> frozenset[str]:
        """Give the hashes by which a project's file is looked for; empty: any will do, or none at all."""
        return self._sha256s.get(project) or frozenset()

    def is_direct(self, project: str) -> bool:
        """Tell whether the user named the one file of a project by URL or path."""
        return project in self._direct

    def foresee(self, project: str, pages: Sequence[tuple[Index, StoredPage]], specifier: str) -> Choice | None:
        """Guess which file of a project will be wanted, from its pages and one requirement on it. From any thread."""
        candidates = self._candidates.get(project) or self._among(project, pages)
        inside = SpecifierSet(specifier)
        for version in candidates.versions:
            if inside.contains(version):
                chosen = candidates.choose(version)
                if isinstance(chosen, Choice):
                    return chosen
        return None

    def foresee_demands(self, choice: Choice, content: bytes, extras: Iterable[str]) -> list[Demand]:
        """Guess what will be asked for next, if this file is taken. From any thread."""
        key = (choice.wanted.project, Version(choice.wanted.pinned or "0"))
        try:
            metadata = self._metadata[key] = parse_metadata(content)
            return [demand for extra in ("", *extras) for demand in demands_of(metadata, extra, self._markers)]
        except MetadataError:
            return []

    def _among(self, project: str, pages: Sequence[tuple[Index, StoredPage]]) -> Candidates | DirectCandidate:
        if not pages and project in self._asked:
            raise self._not_found(project)
        found = Candidates(project, pages, self._chooser, sha256s=self._sha256s.get(project))
        return self._candidates.setdefault(project, found)

    def choice(self, project: str, version: Version) -> Choice:
        """Give the file that stands for a version that was pinned."""
        chosen = self.candidates(project).choose(version)
        if isinstance(chosen, Refusal):  # nobody pins what was refused
            raise self._not_found(project)
        return chosen

    def is_yanked(self, project: str, version: Version) -> bool:
        """Tell whether the file that would be taken was yanked."""
        chosen = self.candidates(project).choose(version)
        return isinstance(chosen, Choice) and chosen.file.yanked is not None

    def refusal(self, project: str, version: Version) -> str | None:
        """Say why no file of a version can be taken."""
        chosen = self.candidates(project).choose(version)
        return chosen.reason if isinstance(chosen, Refusal) else None

    def flaw(self, project: str, version: Version) -> str | None:
        """Read the metadata of a version, and say why it cannot be used."""
        key = (project, version)
        if key not in self._flaws:
            self._flaws[key] = self._flaw(project, version)
        return self._flaws[key]

    def demands(self, project: str, version: Version, extra: str) -> Sequence[Demand]:
        """Give what a version, or one extra of it, depends on."""
        metadata = self._read(project, version)
        if isinstance(metadata, str):
            return ()
        try:
            return demands_of(metadata, extra, self._markers)
        except MetadataError as error:
            raise InvalidWheelError(self.choice(project, version).file.filename, str(error)) from error

    def expect(self, demands: Iterable[Demand]) -> None:
        """Pass on what is about to be asked for."""
        self._source.expect([demand for demand in demands if demand.project not in self._candidates])

    def expect_versions(self, project: str, versions: Sequence[Version]) -> None:
        """Pass on which files' metadata is about to be asked for."""
        candidates = self.candidates(project)
        chosen = [candidates.choose(version) for version in versions if (project, version) not in self._metadata]
        self._source.expect_files([choice for choice in chosen if isinstance(choice, Choice)])

    def has_extra(self, project: str, version: Version, extra: str) -> bool:
        """Tell whether a version that was read has such an extra."""
        metadata = self._read(project, version)
        return isinstance(metadata, str) or extra in metadata.extras

    def requires(self, project: str, version: Version) -> frozenset[str]:
        """Give what the metadata of a version that was read says of its requirements, as written."""
        metadata = self._read(project, version)
        return frozenset() if isinstance(metadata, str) else frozenset(metadata.requires)

    def _flaw(self, project: str, version: Version) -> str | None:
        metadata = self._read(project, version)
        if isinstance(metadata, str):
            return metadata
        if metadata.project != project or not self._is_version(metadata.version, project, version):
            return f"its metadata says that it is {shortened(f'{metadata.project} {metadata.version}')}"
        if metadata.requires_python and not python_fits(metadata.requires_python, self._python):
            return f"it needs Python {shortened(metadata.requires_python)}, and this is {self._python}"
        try:
            check_requirements(metadata, self._markers)
        except MetadataError as error:
            return str(error)
        return None

    def _is_version(self, text: str, project: str, version: Version) -> bool:
        try:
            is_it = read_version(text) == version
        except InvalidVersion:
            return False
        return is_it or (is_sdist(self.choice(project, version).file.filename) and is_version_of(text, str(version)))

    def _read(self, project: str, version: Version) -> CoreMetadata | str:
        key = (project, version)
        if key not in self._metadata:
            try:
                self._metadata[key] = parse_metadata(self._source.metadata(self.choice(project, version)))
            except MetadataError as error:
                self._metadata[key] = str(error)
        return self._metadata[key]
