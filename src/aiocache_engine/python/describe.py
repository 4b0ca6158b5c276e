"""What an interpreter tells about itself: a script that every interpreter is asked with.

It runs under any Python from 3.9 on, so it uses nothing newer, and nothing of this package. Its one argument is the
directory of `packaging`, of which it loads `tags` and nothing else that lies beside it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import sys
import sysconfig
from typing import Any


def describe(tags: Any) -> dict[str, Any]:
    """Give everything that `model.python.Interpreter` holds; `tags` is the module `packaging.tags`."""
    paths = sysconfig.get_paths()
    in_environment = sys.prefix != sys.base_prefix
    return {
        "executable": sys.executable,
        "base_executable": getattr(sys, "_base_executable", None) or sys.executable,
        "version": platform.python_version(),
        "implementation": sys.implementation.name,
        "cache_tag": sys.implementation.cache_tag or "",
        "magic": importlib.util.MAGIC_NUMBER.hex(),
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "externally_managed": None if in_environment else _externally_managed(paths["stdlib"]),
        "tags": [str(tag) for tag in tags.sys_tags()],
        "markers": _markers(),
        "scheme": {
            "stdlib": paths["stdlib"],
            "purelib": paths["purelib"],
            "platlib": paths["platlib"],
            "scripts": paths["scripts"],
            "data": paths["data"],
            "headers": os.path.join(paths["data"], *_headers_below_data(paths["include"], in_environment)),
        },
        "venv_scheme": _venv_scheme(),
    }


def _headers_below_data(include: str, in_environment: bool) -> tuple[str, ...]:  # noqa: FBT001 - one caller
    folder = os.path.basename(include)
    return ("include", "site", folder) if in_environment else ("include", folder)


def _venv_scheme() -> dict[str, str]:
    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
    bases = dict.fromkeys(("base", "platbase", "installed_base", "installed_platbase"), "")
    paths = sysconfig.get_paths(scheme, vars=bases)
    relative = {name: paths[name].lstrip("/") for name in ("purelib", "platlib", "scripts")}
    folder = os.path.basename(paths["include"])
    return {**relative, "data": "", "headers": os.path.join("include", "site", folder)}


def _externally_managed(stdlib: str) -> str | None:
    import configparser  # noqa: PLC0415 - few interpreters bear the file

    path = os.path.join(stdlib, "EXTERNALLY-MANAGED")
    if not os.path.isfile(path):
        return None
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read([path], encoding="utf-8")
        return parser.get("externally-managed", "Error", fallback="").strip()
    except (configparser.Error, UnicodeDecodeError):
        return ""


def _markers() -> dict[str, str]:
    release = sys.implementation.version
    implementation_version = "{}.{}.{}".format(*release[:3])
    if release.releaselevel != "final":
        implementation_version += release.releaselevel[0] + str(release.serial)
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": implementation_version,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "platform_python_implementation": platform.python_implementation(),
        "python_version": "{}.{}".format(*sys.version_info[:2]),
        "sys_platform": sys.platform,
    }


def _main(packaging_directory: str) -> None:
    spec = importlib.util.spec_from_file_location(
        "packaging",
        os.path.join(packaging_directory, "__init__.py"),
        submodule_search_locations=[packaging_directory],
    )
    if spec is None:
        raise SystemExit(f"{packaging_directory} holds no package")
    sys.modules["packaging"] = importlib.util.module_from_spec(spec)
    from packaging import tags  # noqa: PLC0415 - found through the line above

    sys.stdout.write(json.dumps(describe(tags)))


if __name__ == "__main__":
    _main(sys.argv[1])
