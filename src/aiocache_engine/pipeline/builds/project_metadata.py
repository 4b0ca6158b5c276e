"""METADATA from the table [project] of pyproject.toml (PEP 621): what it states, a build backend may not change.

For sdists whose PKG-INFO is older than PEP 643. Whatever is not plain is left to the backend.
"""

from __future__ import annotations

from packaging.requirements import InvalidRequirement

from aiocache_engine.hints import Any
from aiocache_engine.pipeline.builds.pyproject import read_pyproject
from aiocache_engine.pipeline.inputs.pep508 import read_requirement

_COUNTS = frozenset({"version", "requires-python", "dependencies", "optional-dependencies"})  #: for resolving


def project_metadata(root: str) -> bytes | None:
    """Give the fields that resolving needs, if the project in the directory `root` states all of them.

    Raises:
        DiskError: pyproject.toml cannot be read.
    """
    try:
        document = read_pyproject(root) or {}
        lines = _lines(document["project"], is_of_poetry="poetry" in document.get("tool", {}))
    except (ValueError, TypeError, KeyError, AttributeError, InvalidRequirement):
        return None  # who builds it says what is wrong
    if lines is None or any(not line.isprintable() for line in lines):
        return None
    return "\n".join([*lines, "", ""]).encode()


def _lines(project: dict[str, Any], *, is_of_poetry: bool) -> list[str] | None:
    if _COUNTS.intersection(project.get("dynamic", ())):
        return None
    if is_of_poetry and "dependencies" not in project:  # it may have them in a table of its own
        return None
    lines = ["Metadata-Version: 2.2", f"Name: {_text(project['name'])}", f"Version: {_text(project['version'])}"]
    if "requires-python" in project:
        lines.append(f"Requires-Python: {_text(project['requires-python'])}")
    lines += [f"Requires-Dist: {_requirement(text)}" for text in project.get("dependencies", [])]
    for extra, texts in project.get("optional-dependencies", {}).items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f"Requires-Dist: {_requirement(text, extra)}" for text in texts]
    return lines


def _requirement(text: str, extra: str = "") -> str:
    """Give a requirement as METADATA has it, that of an extra with a marker that says so."""
    requirement = read_requirement(_text(text))
    if not extra:
        return text
    marker = f'extra == "{extra}"' if requirement.marker is None else f'({requirement.marker}) and extra == "{extra}"'
    requirement.marker = None
    return f"{requirement} ; {marker}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
