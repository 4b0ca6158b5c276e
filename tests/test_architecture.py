"""Who may import whom, and which room is the one door to a third party (docs/decisions/0001 and the page on the code).

The table is read from the source, imports inside functions included, so that a lazy import is no way round it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "aiocache_engine"
SOURCE = Path(__file__).resolve().parents[1] / "src" / PACKAGE

# A room is a folder of the package or a file at its top. `api` is the package's own __init__, `main` its __main__.
_LOW = {"model", "errors", "redaction", "hints"}
_MIDDLE = _LOW | {"config", "report", "system"}
_PIPELINE = _MIDDLE | {"index", "python", "store", "policy"}
_ENGINE = _PIPELINE | {"pipeline"}
ALLOWED: Mapping[str, set[str]] = {
    "hints": set(),
    "redaction": {"hints"},
    "errors": {"redaction", "hints"},
    "model": {"errors", "redaction", "hints"},
    "policy": _LOW,
    "config": _LOW,
    "report": _LOW,
    "system": _LOW,
    "index": _MIDDLE,
    "python": _MIDDLE,
    "store": _MIDDLE,
    "pipeline": _PIPELINE,
    "keeper": _ENGINE,
    "supplier": _ENGINE | {"keeper"},
    "engine": _ENGINE | {"keeper", "supplier"},
    "blocking_keeper": _ENGINE | {"engine"},
    "blocking": _ENGINE | {"engine", "blocking_keeper"},
    "cli": _ENGINE | {"engine", "api"},
    "api": _ENGINE | {"engine", "blocking", "blocking_keeper"},
    "main": _ENGINE | {"engine", "cli", "api"},
}

# One third party, one door: where a package of that import name may be imported.
DOORS: Mapping[str, tuple[str, ...]] = {
    "fasteners": ("system/lock",),
    "psutil": ("system/process",),
    "aiofiles": ("system/disk",),
    "httpx": ("no room: httpx2 is its actively kept line",),
    "httpx2": ("index/",),
    "hishel": ("index/",),
    "pip": ("index/",),
    "nab_resolver": ("pipeline/resolution/nab.py",),
    "pyproject_hooks": ("pipeline/builds/backend.py",),
    "typer": ("cli/",),
    "click": ("cli/",),
    "rich": ("cli/",),
}


@dataclass(frozen=True)
class Import:
    """One import, as it stands in a file."""

    file: str  #: path below the package, with slashes
    line: int
    module: str  #: full dotted name of the module that is imported


def module_name(file: str) -> str:
    parts = [PACKAGE, *file.removesuffix(".py").split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def file_room(file: str) -> str:
    first, _, rest = file.partition("/")
    return first if rest else {"__init__.py": "api", "__main__.py": "main"}.get(first, first.removesuffix(".py"))


def module_room(module: str) -> str:
    parts = module.split(".")
    return "api" if len(parts) == 1 else {"__main__": "main"}.get(parts[1], parts[1])


def read_imports(file: str, text: str, modules: set[str]) -> Iterator[Import]:
    """List every import of a file, those inside functions and those by `import_module` with a plain name included."""
    own = module_name(file).split(".")
    package = own if file.endswith("__init__.py") else own[:-1]
    for node in ast.walk(ast.parse(text, file)):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(file, node.lineno, alias.name)
            case ast.ImportFrom(module=name, names=names, level=level):
                base = [*(package[: len(package) - level + 1] if level else ()), *([name] if name else ())]
                for alias in names:
                    whole = ".".join([*base, alias.name])
                    yield Import(file, node.lineno, whole if whole in modules else ".".join(base))
            case ast.Call(func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module")) if (
                node.args and isinstance(node.args[0], ast.Constant)
            ):
                yield Import(file, node.lineno, str(node.args[0].value))


def find_circle(arrows: Mapping[str, set[str]]) -> list[str] | None:
    """Find files that import each other in a ring; the ring is returned with its first file again at the end."""
    done: set[str] = set()

    def walk(file: str, way: list[str]) -> list[str] | None:
        if file in way:
            return [*way[way.index(file) :], file]
        if file in done:
            return None
        for target in sorted(arrows.get(file, ())):
            if circle := walk(target, [*way, file]):
                return circle
        done.add(file)
        return None

    return next((circle for file in sorted(arrows) if (circle := walk(file, []))), None)


def find_faults(sources: Mapping[str, str]) -> list[str]:
    """Tell what breaks the table in a package given as path and text; each fault begins with file:line."""
    files = {module_name(file): file for file in sources}
    imports = [found for file, text in sources.items() for found in read_imports(file, text, set(files))]
    faults = []
    arrows: dict[str, set[str]] = {}
    for found in imports:
        place = f"{found.file}:{found.line}"
        room = file_room(found.file)
        top = found.module.split(".")[0]
        if top in DOORS and room != "testing" and not found.file.startswith(DOORS[top]):
            faults.append(f"{place}: {top} may only be imported by {', '.join(DOORS[top])}")
        if top != PACKAGE:
            continue
        target = module_room(found.module)
        if room not in {target, "testing"} and target not in ALLOWED.get(room, set()):
            faults.append(f"{place}: {room} may not import {target} ({found.module})")
        if target == room and files.get(found.module, found.file) != found.file:
            arrows.setdefault(found.file, set()).add(files[found.module])
    faults += [f"{file}:1: no room of the table" for file in sources if file_room(file) not in {*ALLOWED, "testing"}]
    if circle := find_circle(arrows):
        faults.append(f"{circle[0]}:1: files import each other in a ring: {' -> '.join(circle)}")
    return faults


def test_the_package_keeps_to_the_direction_table() -> None:
    sources = {str(path.relative_to(SOURCE).as_posix()): path.read_text("utf-8") for path in SOURCE.rglob("*.py")}
    assert len(sources) > 10  # the table is held over the real package, not over an empty folder
    assert not find_faults(sources)


@pytest.mark.parametrize(
    ("file", "text", "line", "fault"),
    [
        ("store/objects.py", "import aiocache_engine.pipeline.link", 1, "store may not import pipeline"),
        ("store/objects.py", "from aiocache_engine.index import pages", 1, "store may not import index"),
        ("store/objects.py", "from aiocache_engine import policy", 1, "store may not import policy"),
        ("store/objects.py", "from ..engine import CacheEngine", 1, "store may not import engine"),
        ("store/objects.py", "def f():\n    import aiocache_engine.cli.app", 2, "store may not import cli"),
        ("policy/mark.py", "from aiocache_engine.system import clock", 1, "policy may not import system"),
        ("config.py", "from aiocache_engine import report", 1, "config may not import report"),
        ("system/disk.py", "import aiocache_engine.config", 1, "system may not import config"),
        ("model/key.py", "from aiocache_engine.system.disk import x", 1, "model may not import system"),
        ("errors.py", "from aiocache_engine.model import names", 1, "errors may not import model"),
        ("engine.py", "from aiocache_engine import testing", 1, "engine may not import testing"),
        ("engine.py", "import aiocache_engine.blocking", 1, "engine may not import blocking"),
        ("cli/run.py", "from aiocache_engine import blocking", 1, "cli may not import blocking"),
        (
            "pipeline/fetch.py",
            "import importlib\nimportlib.import_module('aiocache_engine.cli')",
            2,
            "pipeline may not import cli",
        ),
        ("system/disk.py", "import fasteners", 1, "fasteners may only"),
        ("pipeline/fetch.py", "def f():\n    from httpx2 import Client", 2, "httpx2 may only"),
        ("store/objects.py", "import pip._internal.models", 1, "pip may only"),
        ("engine.py", "import rich.console", 1, "rich may only"),
        ("shed/tools.py", "", 1, "no room of the table"),
    ],
)
def test_a_wrong_arrow_is_found_where_it_stands(file: str, text: str, line: int, fault: str) -> None:
    others = dict.fromkeys(
        ["__init__.py", "errors.py", "config.py", "report.py", "blocking.py", "engine.py", "policy/__init__.py",
         "system/__init__.py", "system/clock.py", "index/__init__.py", "index/pages.py", "testing/__init__.py"],
        "",
    )  # fmt: skip
    (found,) = find_faults({**others, file: text})
    assert found.startswith(f"{file}:{line}: {fault}")


def test_two_files_of_one_room_may_not_import_each_other() -> None:
    faults = find_faults(
        {
            "store/names.py": "from aiocache_engine.store.objects import Archive",
            "store/objects.py": "def f():\n    from aiocache_engine.store import names",
        }
    )
    assert faults == [
        "store/names.py:1: files import each other in a ring: store/names.py -> store/objects.py -> store/names.py"
    ]


def test_an_allowed_arrow_is_no_fault() -> None:
    assert not find_faults(
        {
            "pipeline/link.py": "from aiocache_engine.store.objects import Archive\nfrom aiocache_engine import errors",
            "store/objects.py": "from aiocache_engine.model.key import Key",
            "model/key.py": "from aiocache_engine.errors import CacheEngineError",
            "errors.py": "",
            "testing/fakes.py": "import httpx2\nimport aiocache_engine.engine",
            "system/lock_files.py": "import fasteners",
        }
    )
