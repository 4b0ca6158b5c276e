"""Which file of a project is taken: of the best version that is allowed the most specific wheel, else the sdist.

Follows PEP 440 (versions and pre-releases), PEP 425 (tags), PEP 592 (yanked files) and PEP 503 (requires-python).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import lru_cache

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from aiocache_engine.errors import InvalidNameError
from aiocache_engine.model.index import IndexFile
from aiocache_engine.model.names import FileName, SdistName, WheelName, file_name, is_sdist
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.requirement import Refusal, Wanted

Named = tuple[FileName, IndexFile]
_LONGEST_SPECIFIER = 8192  #: characters of a Requires-Python


class WheelChooser:
    """Chooses for one interpreter; its tags are looked up once."""

    def __init__(
        self,
        interpreter: Interpreter,
        *,
        takes_pre_releases: bool = False,
        builds: bool = True,
        takes_wheels: bool = True,
        is_to_be_built: Callable[[str], bool] = lambda _: False,
        is_taken_built: Callable[[str], bool] = lambda _: False,
        build_settings: tuple[str, ...] | None = None,
    ) -> None:
        """Keep what choices rest on.

        Args:
            interpreter: whose tags and version count.
            takes_pre_releases: they count like any other version.
            builds: an sdist may be taken, to be built.
            takes_wheels: a wheel may be taken; if not, it is a build that is asked for, and no rule of anybody's.
            is_to_be_built: tells whether a project's wheels were ruled out (pip's `--no-binary`).
            is_taken_built: tells whether a project's sdists were (pip's `--only-binary`).
            build_settings: all that the wheel built of an sdist depends on beside the sdist and the interpreter; None:
                that cannot be told beforehand.
        """
        self.interpreter = interpreter
        self.build_settings = build_settings
        self._builds = builds
        self._takes_wheels = takes_wheels
        self._is_taken_built = is_taken_built
        self._takes_pre_releases = takes_pre_releases or None  # None: where there is nothing else
        self._is_to_be_built = is_to_be_built
        self._ranks = {tag: rank for rank, tag in enumerate(interpreter.tags)}

    def choose(self, wanted: Wanted, files: Iterable[IndexFile]) -> IndexFile | Refusal:
        """Give the best file for what is wanted, or why there is none."""
        kinds = self._kinds(wanted.project)
        if not kinds:
            return _CONTRADICTION
        files = list(files)
        offered, takeable = self._offered(wanted, files, kinds)
        if not offered:
            return Refusal(self._format_reason([name for name, _ in _named(files, wanted.project)]))
        allowed = self._of_allowed_versions(wanted, takeable, offered)
        if not allowed:
            newest = newest_of(
                [_version(name.version) for name, file in offered if file.yanked is None],
                takes_pre_releases=bool(self._takes_pre_releases or SpecifierSet(wanted.specifier).prereleases),
            ) or max(_version(name.version) for name, _ in offered)
            with_what = "" if SdistName in kinds else " with a wheel"
            return Refusal(f"no version of it matches; the newest{with_what} is {newest}")
        noun = "files" if SdistName in kinds else "wheels"
        steps = (
            (self._fits_platform, self._platform_reason([name for name, _ in allowed if isinstance(name, WheelName)])),
            (self._fits_python, f"its {noun} need another Python than {self.interpreter.version}"),
            (_fits_hashes(wanted), f"none of its {noun} has one of the hashes given; check the --hash options"),
            (lambda _, file: file.yanked is None or wanted.pinned is not None, _yanked_reason(allowed)),
        )
        for fits, reason in steps:
            allowed = [(name, file) for name, file in allowed if fits(name, file)]
            if not allowed:
                return Refusal(reason)
        return max(allowed, key=lambda each: self._preference(each[0]))[1]

    def hopeless(self, wanted: Wanted) -> Refusal | None:
        """Tell why no file at all could be taken, whoever had it; None: nothing speaks against every file."""
        if not self._kinds(wanted.project):
            return _CONTRADICTION
        if SpecifierSet(wanted.specifier).is_unsatisfiable():
            return Refusal("what is asked of its version contradicts itself, so that none can match")
        return None

    def check(self, name: FileName) -> Refusal | None:
        """Tell why a file named directly cannot be installed for this interpreter; None: it can."""
        if isinstance(name, SdistName):
            return None if SdistName in self._kinds(name.project) else Refusal(self._format_reason([name]))
        return None if self._rank(name) is not None else Refusal(self._platform_reason([name]))

    def _kinds(self, project: str) -> tuple[type[FileName], ...]:
        """Give which kinds of a project's files may be taken."""
        wheels = (WheelName,) if self._takes_wheels and not self._is_to_be_built(project) else ()
        return (*wheels, SdistName) if self._builds and not self._is_taken_built(project) else wheels

    def _format_reason(self, names: list[FileName]) -> str:
        """Say why no file is of a kind that may be taken."""
        if not self._takes_wheels:
            there = f"it is there only as wheels, {max(names, key=self._preference).filename}, and" if names else "it"
            return f"{there} has no source to build"
        if not names:
            return "it has neither a wheel nor an sdist" if self._builds else "it has no wheels at all"
        newest = max(names, key=self._preference).filename
        if is_sdist(newest):
            ruler = "--only-binary" if self._builds else "--no-build"
            return f"it is there only as source, {newest}, and {ruler} rules building it out"
        return f"--no-binary wants it built from source, and it is there only as wheels, {newest}"

    def _offered(
        self, wanted: Wanted, files: list[IndexFile], kinds: tuple[type[FileName], ...]
    ) -> tuple[list[Named], list[Named]]:
        """Give the files of these kinds, and those of them that could be taken whatever versions are wanted.

        An sdist beside a wheel that could be taken is left out, unread: a page may list thousands.
        """
        sources = [file for file in files if is_sdist(file.filename)] if SdistName in kinds else []
        wheels: list[Named] = []
        if WheelName in kinds:
            wheels = _named((file for file in files if file.filename.endswith(".whl")), wanted.project)
        takeable = [each for each in wheels if self._is_takeable(wanted, *each)]
        covered = {name.version for name, _ in takeable}
        left = (file for file in sources if _plain_version(file.filename, wanted.project) not in covered)
        sdists = _named(left, wanted.project)
        return [*wheels, *sdists], [*takeable, *(each for each in sdists if self._is_takeable(wanted, *each))]

    def _of_allowed_versions(self, wanted: Wanted, takeable: list[Named], offered: list[Named]) -> list[Named]:
        specifiers = SpecifierSet(wanted.specifier)
        usable = [each for each in takeable if _contains(wanted.specifier, each[0].version)] or offered
        # filter() gives pre-releases only where nothing else matches, so it must see what could really be taken.
        told = {_version(name.version) for name, _ in usable}
        versions = set(specifiers.filter(told, prereleases=self._takes_pre_releases))
        return [(name, file) for name, file in usable if _version(name.version) in versions]

    def _is_takeable(self, wanted: Wanted, name: FileName, file: IndexFile) -> bool:
        return (
            self._fits_platform(name, file)
            and self._fits_python(name, file)
            and (not wanted.sha256s or _fits_hashes(wanted)(name, file))
            and (file.yanked is None or wanted.pinned is not None)
        )

    def _fits_platform(self, name: FileName, _: IndexFile) -> bool:
        return isinstance(name, SdistName) or self._rank(name) is not None

    def _fits_python(self, _: FileName, file: IndexFile) -> bool:
        return file.requires_python is None or python_fits(file.requires_python, self.interpreter.version)

    def _rank(self, name: WheelName) -> int | None:
        return min((self._ranks[tag] for tag in name.tags() if tag in self._ranks), default=None)

    def _preference(self, name: FileName) -> tuple[Version, int, tuple[int, str]]:
        """Order files: by version, a wheel before an sdist, by how specific its tags are, by its build."""
        version, last = _version(name.version), len(self._ranks)
        if isinstance(name, SdistName):
            return (version, -last - 1, (name.filename.endswith(".tar.gz"), name.filename))
        rank = self._rank(name)
        return (version, -(rank if rank is not None else last), _build(name.build))

    def _platform_reason(self, wheels: list[WheelName]) -> str:
        offered = sorted({f"{'.'.join(n.pythons)}-{'.'.join(n.abis)}-{'.'.join(n.platforms)}" for n in wheels})
        shown = ", ".join(offered[:4]) + (", …" if len(offered) > 4 else "")  # noqa: PLR2004 - a line stays a line
        return f"it has wheels for {shown} only, none for this Python {self.interpreter.version} on this platform"


_CONTRADICTION = Refusal("--no-binary wants it built from source, and --no-build rules that out")


def newest_of(versions: Collection[Version], *, takes_pre_releases: bool) -> Version | None:
    """Give the newest version that a person would call so: a pre-release where they count, or where all are some."""
    finished = [version for version in versions if not version.is_prerelease]
    return max(versions if takes_pre_releases or not finished else finished, default=None)


def _yanked_reason(files: list[Named]) -> str:
    why = next((file.yanked for _, file in files if file.yanked), "")
    return f"every release that matches was yanked{f' ({why})' if why else ''}; pin one with == to take it all the same"


def _fits_hashes(wanted: Wanted) -> Callable[[FileName, IndexFile], bool]:
    return lambda _, file: not wanted.sha256s or file.sha256 is None or file.sha256 in wanted.sha256s


def _named(files: Iterable[IndexFile], project: str) -> list[Named]:
    """Take the names of a project's files apart; what has none is left out."""
    named: list[Named] = []
    for file in files:
        try:
            name = file_name(file.filename, project)
            _version(name.version)
        except (InvalidNameError, InvalidVersion):
            continue
        if name.project == project:
            named.append((name, file))
    return named


def _plain_version(sdist: str, project: str) -> str | None:
    """Give the version in an sdist's name that is plain; None: it has to be parsed."""
    name, _, rest = sdist.rpartition("-")
    is_plain = name.replace("_", "-").replace(".", "-").lower() == project
    return rest.removesuffix(".zip").removesuffix(".tar.gz") if is_plain else None


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
    if len(specifier) > _LONGEST_SPECIFIER:
        return False
    try:
        return SpecifierSet(specifier).contains(python, prereleases=True)
    except InvalidSpecifier:  # pip and uv take such files too
        return True
    except ValueError:  # a number of more digits than Python reads
        return False
