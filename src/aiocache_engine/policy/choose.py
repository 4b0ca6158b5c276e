"""Which wheel of a project is taken: the best version that is allowed, and of it the most specific wheel.

Follows PEP 440 (versions and pre-releases), PEP 425 (tags), PEP 592 (yanked files) and PEP 503 (requires-python).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import lru_cache

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from aiocache_engine.errors import InvalidNameError
from aiocache_engine.model.index import IndexFile
from aiocache_engine.model.names import WheelName, wheel_name
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.requirement import Refusal, Wanted


class WheelChooser:
    """Chooses for one interpreter; its tags are looked up once."""

    def __init__(
        self,
        interpreter: Interpreter,
        *,
        takes_pre_releases: bool = False,
        is_to_be_built: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Keep what choices rest on.

        Args:
            interpreter: whose tags and version count.
            takes_pre_releases: they count like any other version.
            is_to_be_built: tells whether a project's wheels were ruled out (pip's `--no-binary`).
        """
        self._interpreter = interpreter
        self._takes_pre_releases = takes_pre_releases or None  # None: where there is nothing else
        self._is_to_be_built = is_to_be_built
        self._ranks = {tag: rank for rank, tag in enumerate(interpreter.tags)}

    def choose(self, wanted: Wanted, files: Iterable[IndexFile]) -> IndexFile | Refusal:
        """Give the best wheel for what is wanted, or why there is none."""
        if self._is_to_be_built(wanted.project):
            return _TO_BE_BUILT
        files = list(files)
        wheels = [(name, file) for file in files if (name := _as_wheel(file, wanted.project)) is not None]
        if not wheels:
            sources = [file.filename for file in files if not file.filename.endswith(".whl")]
            if not sources:
                return Refusal("it has no wheels at all")
            # Indexes list the newest last.
            return Refusal(f"it is there only as source, {sources[-1]}, and building is not supported yet")
        allowed = self._of_allowed_versions(wanted, wheels)
        if not allowed:
            newest = newest_of(
                [_version(name.version) for name, file in wheels if file.yanked is None],
                takes_pre_releases=bool(self._takes_pre_releases or SpecifierSet(wanted.specifier).prereleases),
            ) or max(_version(name.version) for name, _ in wheels)
            return Refusal(f"no version of it matches; the newest with a wheel is {newest}")
        steps = (
            (self._fits_platform, self._platform_reason(allowed)),
            (self._fits_python, f"its wheels need another Python than {self._interpreter.version}"),
            (lambda _, file: not wanted.sha256s or file.sha256 in wanted.sha256s or file.sha256 is None, _HASHES),
            (lambda _, file: file.yanked is None or wanted.pinned is not None, _yanked_reason(allowed)),
        )
        for fits, reason in steps:
            allowed = [(name, file) for name, file in allowed if fits(name, file)]
            if not allowed:
                return Refusal(reason)
        return max(allowed, key=lambda each: self._preference(each[0]))[1]

    def hopeless(self, wanted: Wanted) -> Refusal | None:
        """Tell why no file at all could be taken, whoever had it; None: nothing speaks against every file."""
        if self._is_to_be_built(wanted.project):
            return _TO_BE_BUILT
        if SpecifierSet(wanted.specifier).is_unsatisfiable():
            return Refusal("what is asked of its version contradicts itself, so that none can match")
        return None

    def check(self, name: WheelName) -> Refusal | None:
        """Tell why a wheel named directly cannot be installed for this interpreter; None: it can."""
        return None if self._rank(name) is not None else Refusal(self._platform_reason([(name, None)]))

    def _of_allowed_versions(
        self, wanted: Wanted, wheels: list[tuple[WheelName, IndexFile]]
    ) -> list[tuple[WheelName, IndexFile]]:
        specifiers = SpecifierSet(wanted.specifier)
        usable = [each for each in wheels if self._is_usable(wanted, *each)] or wheels
        # filter() gives pre-releases only where nothing else matches, so it must see what could really be taken.
        offered = {_version(name.version) for name, _ in usable}
        versions = set(specifiers.filter(offered, prereleases=self._takes_pre_releases))
        return [(name, file) for name, file in usable if _version(name.version) in versions]

    def _is_usable(self, wanted: Wanted, name: WheelName, file: IndexFile) -> bool:
        return (
            self._fits_platform(name, file)
            and self._fits_python(name, file)
            and (not wanted.sha256s or file.sha256 is None or file.sha256 in wanted.sha256s)
            and (file.yanked is None or wanted.pinned is not None)
            and _contains(wanted.specifier, name.version)
        )

    def _fits_platform(self, name: WheelName, _: IndexFile) -> bool:
        return self._rank(name) is not None

    def _fits_python(self, _: WheelName, file: IndexFile) -> bool:
        return file.requires_python is None or python_fits(file.requires_python, self._interpreter.version)

    def _rank(self, name: WheelName) -> int | None:
        return min((self._ranks[tag] for tag in name.tags() if tag in self._ranks), default=None)

    def _preference(self, name: WheelName) -> tuple[Version, int, tuple[int, str]]:
        rank = self._rank(name)
        return (_version(name.version), -(rank if rank is not None else len(self._ranks)), _build(name.build))

    def _platform_reason(self, wheels: list[tuple[WheelName, IndexFile]] | list[tuple[WheelName, None]]) -> str:
        offered = sorted({f"{'.'.join(n.pythons)}-{'.'.join(n.abis)}-{'.'.join(n.platforms)}" for n, _ in wheels})
        shown = ", ".join(offered[:4]) + (", …" if len(offered) > 4 else "")  # noqa: PLR2004 - a line stays a line
        return f"it has wheels for {shown} only, none for this Python {self._interpreter.version} on this platform"


_TO_BE_BUILT = Refusal("--no-binary wants it built from source, and building is not supported yet")
_HASHES = "none of its wheels has one of the hashes given; check the --hash options"


def newest_of(versions: Collection[Version], *, takes_pre_releases: bool) -> Version | None:
    """Give the newest version that a person would call so: a pre-release where they count, or where all are some."""
    finished = [version for version in versions if not version.is_prerelease]
    return max(versions if takes_pre_releases or not finished else finished, default=None)


def _yanked_reason(wheels: list[tuple[WheelName, IndexFile]]) -> str:
    why = next((file.yanked for _, file in wheels if file.yanked), "")
    return f"every release that matches was yanked{f' ({why})' if why else ''}; pin one with == to take it all the same"


def _as_wheel(file: IndexFile, project: str) -> WheelName | None:
    if not file.filename.endswith(".whl"):
        return None
    try:
        name = wheel_name(file.filename)
        _version(name.version)
    except (InvalidNameError, InvalidVersion):
        return None
    return name if name.project == project else None


def _build(build: str) -> tuple[int, str]:
    """Order build tags as the binary distribution format says: the leading number first."""
    digits = len(build) - len(build.lstrip("0123456789"))
    return (int(build[:digits] or 0), build[digits:])


@lru_cache(maxsize=4096)
def _version(text: str) -> Version:
    return Version(text)


@lru_cache(maxsize=4096)
def _contains(specifier: str, version: str) -> bool:
    return SpecifierSet(specifier).contains(_version(version), prereleases=True)


@lru_cache(maxsize=1024)
def python_fits(specifier: str, python: str) -> bool:
    """Tell whether a Requires-Python allows a version of Python; nobody has one with a number without end."""
    try:
        return SpecifierSet(specifier).contains(python, prereleases=True)
    except InvalidSpecifier:  # pip and uv take such files too
        return True
    except ValueError:  # a number of more digits than Python reads
        return False
