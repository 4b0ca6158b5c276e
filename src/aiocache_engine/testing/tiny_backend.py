"""A build backend (PEP 517) made of the standard library alone, right or wrong as ``tiny-backend.json`` says.

Its source is copied into the sdists and wheels of `aiocache_engine.testing.sdists`, so it imports nothing of this
package and runs on every Python. It puts what lies under ``src/`` into a wheel whose bytes are always the same.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path
from typing import Any

FACTS: dict[str, Any] = json.loads(Path("tiny-backend.json").read_text(encoding="utf-8"))
__legacy__ = sys.modules[__name__]  # so that a wheel of this may stand in for setuptools
_LOUD_LINE = b"noise " * 170 + b"\n"


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """Ask for more build requirements."""
    _enter("get_requires_for_build_wheel", config_settings)
    return list(FACTS["wheel_requires"])


def prepare_metadata_for_build_wheel(directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Write the .dist-info directory without building."""
    _enter("prepare_metadata_for_build_wheel", config_settings)
    dist_info = f"{_stem()}.dist-info"
    for path, content in _dist_info().items():
        target = Path(directory, dist_info, path)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
    return dist_info


def build_wheel(
    directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> Any:
    """Write the wheel; give its file name, or what was asked for in its place."""
    behaviour = _enter("build_wheel", config_settings, metadata_directory=metadata_directory)
    files = {
        path.relative_to("src").as_posix(): path.read_bytes()
        for path in sorted(Path("src").rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    files.update({f"{_stem()}.dist-info/{path}": content for path, content in _dist_info().items()})
    record = "".join(
        f"{path},sha256={_base64(hashlib.sha256(content).digest())},{len(content)}\n" for path, content in files.items()
    )
    files[f"{_stem()}.dist-info/RECORD"] = f"{record}{_stem()}.dist-info/RECORD,,\n".encode()
    filename = f"{_stem()}-{_tag()}.whl"
    with zipfile.ZipFile(Path(directory, filename), "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    if behaviour == "broken wheel":
        Path(directory, filename).write_bytes(b"this is no wheel\n")
    return {
        "missing": "missing-1.0-py3-none-any.whl",
        "path": f"../{filename}",
        "no text": None,
    }.get(behaviour, filename)


def _enter(hook: str, config_settings: dict[str, Any] | None, **more: Any) -> str:
    """Trace the call, wait at the gate, and misbehave if it is here that it should; give the behaviour here."""
    behaviour: str = FACTS["behaviour"] if FACTS["misbehaves_in"] == hook else "right"
    if FACTS["trace"]:
        line = {
            "hook": hook,
            "name": FACTS["name"],
            "pid": os.getpid(),
            "directory": os.getcwd(),
            "prefix": sys.prefix,
            "path": sys.path,
            "environment": dict(os.environ),
            "config_settings": config_settings,
            **more,
        }
        fd = os.open(FACTS["trace"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(fd, json.dumps(line).encode() + b"\n")
        os.close(fd)
    while hook == "build_wheel" and FACTS["gate"] and not os.path.exists(FACTS["gate"]):
        time.sleep(0.01)
    for module in FACTS["imports"]:
        importlib.import_module(module)
    _misbehave(behaviour)
    return behaviour


def _misbehave(behaviour: str) -> None:
    if behaviour == "crash":
        raise RuntimeError("the backend crashed on purpose")
    if behaviour == "exit":
        os._exit(3)
    if behaviour == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "loud":
        for number in range(FACTS["loud_bytes"] // len(_LOUD_LINE) + 1):
            (sys.stderr if number % 2 else sys.stdout).buffer.write(_LOUD_LINE)
    if behaviour == "outside":
        for place in [os.environ.get("HOME", "."), "..", "../.."]:
            Path(place, "written-outside").write_text("by a build")
    if behaviour in ("child", "hang", "stubborn"):
        _stay(behaviour)


def _stay(behaviour: str) -> None:
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if behaviour in ("stubborn", "child"):
        # It inherits the output, so that who reads to its end waits for this one as well.
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        sys.stdout.write(f"child {child.pid}\n")
        sys.stdout.flush()
    if behaviour in ("hang", "stubborn"):
        time.sleep(3600)


def _stem() -> str:
    behaviour = FACTS["behaviour"]
    name = "another" if behaviour == "wrong name" else FACTS["name"]
    version = "99.9" if behaviour == "wrong version" else FACTS["version"]
    return "{}-{}".format(name.replace("-", "_").replace(".", "_").lower(), version)


def _tag() -> str:
    if not FACTS["is_platform_bound"]:
        return "py3-none-any"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return "cp{0}{1}-cp{0}{1}-{2}".format(*sys.version_info[:2], platform)


def _dist_info() -> dict[str, bytes]:
    name, version = _stem().split("-")
    if name != "another":
        name = FACTS["name"]
    if FACTS["behaviour"] == "wrong metadata":
        name = "another"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    if FACTS["requires_python"]:
        metadata.append("Requires-Python: " + FACTS["requires_python"])
    metadata += [f"Requires-Dist: {requirement}" for requirement in FACTS["requires"]]
    is_pure = str(not FACTS["is_platform_bound"]).lower()
    wheel = ["Wheel-Version: 1.0", "Generator: tiny-backend", f"Root-Is-Purelib: {is_pure}", f"Tag: {_tag()}"]
    found = {"METADATA": _lines(metadata), "WHEEL": _lines(wheel)}
    if FACTS["scripts"]:
        scripts = [f"{command} = {reference}" for command, reference in FACTS["scripts"].items()]
        found["entry_points.txt"] = _lines(["[console_scripts]", *scripts])
    return found


def _lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _base64(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


_enter("import", None)
for _hook in FACTS["without"]:
    del globals()[_hook]
