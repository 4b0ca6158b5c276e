"""Build small wheels quickly, for tests: right by default, with as much in them as a test needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aiocache_engine.model.record import RecordRow, format_record, hash_field
from aiocache_engine.testing.zips import ZipEntry, zip_bytes

Content = bytes | str


def build_wheel(
    directory: Path | str,
    name: str,
    version: str,
    *,
    files: Mapping[str, Content] | None = None,
    data: Mapping[str, Mapping[str, Content]] | None = None,
    entry_points: Mapping[str, Mapping[str, str]] | str = "",
    requires: Sequence[str] = (),
    requires_python: str = "",
    tag: str = "py3-none-any",
    build: str = "",
    executables: Iterable[str] = (),
    file_count: int = 0,
    root_is_purelib: bool = True,
) -> Path:
    """Write a wheel into the directory; give its path.

    Args:
        directory: where the file is made, under its proper name; it must exist.
        name: of the project, as METADATA spells it.
        version: of the release.
        files: content by path; without any, a package with the project's name is made.
        data: content by path within a scheme of .data, by scheme ("scripts", "headers", …).
        entry_points: object references by name, by group; or the text of the file itself.
        requires: requirements, one Requires-Dist each.
        requires_python: Requires-Python; none if empty.
        tag: the compressed tag set of the file name.
        build: build tag.
        executables: paths that get the executable bit; scripts of .data have it anyway.
        file_count: how many generated modules to add, a hundred to a directory.
        root_is_purelib: as WHEEL says it.
    """
    entries = wheel_entries(
        name,
        version,
        files=files,
        data=data,
        entry_points=entry_points,
        requires=requires,
        requires_python=requires_python,
        tag=tag,
        build=build,
        executables=executables,
        file_count=file_count,
        root_is_purelib=root_is_purelib,
    )
    path = Path(directory, wheel_filename(name, version, tag=tag, build=build))
    path.write_bytes(zip_bytes(entries))
    return path


def wheel_filename(name: str, version: str, *, tag: str = "py3-none-any", build: str = "") -> str:
    """Give the file name that belongs to a wheel."""
    return "-".join(part for part in (_escaped(name), version, build, tag) if part) + ".whl"


def wheel_entries(
    name: str,
    version: str,
    *,
    files: Mapping[str, Content] | None = None,
    data: Mapping[str, Mapping[str, Content]] | None = None,
    entry_points: Mapping[str, Mapping[str, str]] | str = "",
    requires: Sequence[str] = (),
    requires_python: str = "",
    tag: str = "py3-none-any",
    build: str = "",
    executables: Iterable[str] = (),
    file_count: int = 0,
    root_is_purelib: bool = True,
) -> list[ZipEntry]:
    """Give the entries of a wheel, RECORD last; see `build_wheel`."""
    package = _escaped(name).lower()
    stem = f"{_escaped(name)}-{version}"
    contents: dict[str, Content] = dict(files or {})
    if files is None:
        contents[f"{package}/__init__.py"] = f"__version__ = {version!r}\n"
    for number in range(file_count):
        contents[f"{package}/generated/d{number // 100}/m{number}.py"] = f"value = {number}\n" * (1 + number % 40)
    for scheme, parts in (data or {}).items():
        contents |= {f"{stem}.data/{scheme}/{path}": content for path, content in parts.items()}
    contents[f"{stem}.dist-info/METADATA"] = _metadata(name, version, requires, requires_python)
    contents[f"{stem}.dist-info/WHEEL"] = _wheel(tag, build, root_is_purelib=root_is_purelib)
    if entry_points:
        contents[f"{stem}.dist-info/entry_points.txt"] = _entry_points(entry_points)
    bearing = set(executables)
    return with_record(
        [
            ZipEntry(
                path,
                content.encode() if isinstance(content, str) else content,
                mode=0o100755 if path in bearing or path.startswith(f"{stem}.data/scripts/") else 0o100644,
            )
            for path, content in contents.items()
        ],
        f"{stem}.dist-info",
    )


def with_record(entries: Sequence[ZipEntry], dist_info: str) -> list[ZipEntry]:
    """Give the entries with a RECORD that lists exactly their files, in place of the one that was there."""
    path = f"{dist_info}/RECORD"
    others = [entry for entry in entries if entry.name != path]
    rows = [
        RecordRow(_text(entry.name), hash_field("sha256", hashlib.sha256(entry.content).digest()), len(entry.content))
        for entry in others
        if not _text(entry.name).endswith("/")
    ]
    return [*others, ZipEntry(path, format_record([*rows, RecordRow(path, "", None)]).encode())]


def replaced(entries: Sequence[ZipEntry], path: str, **changes: object) -> list[ZipEntry]:
    """Give the entries with fields of one of them changed. RECORD stays as it was."""
    return [replace(entry, **changes) if entry.name == path else entry for entry in entries]  # type: ignore[arg-type]


def _escaped(name: str) -> str:
    return name.replace("-", "_")


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "replace")


def _metadata(name: str, version: str, requires: Sequence[str], requires_python: str) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    return "\n".join(lines) + "\n"


def _wheel(tag: str, build: str, *, root_is_purelib: bool) -> str:
    lines = ["Wheel-Version: 1.0", "Generator: aiocache-engine", f"Root-Is-Purelib: {str(root_is_purelib).lower()}"]
    pythons, abis, platforms = (part.split(".") for part in tag.split("-"))
    lines += [f"Tag: {python}-{abi}-{platform}" for python in pythons for abi in abis for platform in platforms]
    if build:
        lines.append(f"Build: {build}")
    return "\n".join(lines) + "\n"


def _entry_points(entry_points: Mapping[str, Mapping[str, str]] | str) -> str:
    if isinstance(entry_points, str):
        return entry_points
    return "\n".join(
        f"[{group}]\n" + "".join(f"{name} = {reference}\n" for name, reference in scripts.items())
        for group, scripts in entry_points.items()
    )
