"""Ask interpreters what they are, and keep the answer in a form that a cache can hold.

The store keeps the bytes; this module gives the key and the codec. A key changes with everything that can change the
answer: the file behind the executable, the environment it belongs to, the running kernel and the C library.
"""

from __future__ import annotations

import os
import sys

from aiocache_engine.errors import InterpreterError
from aiocache_engine.model.digests import sha256_of
from aiocache_engine.model.names import digest
from aiocache_engine.model.plain_json import dump, load
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.value import field_names

_FORMAT = 1
_OLDEST = (3, 9)
_PROBE_TIMEOUT_SECONDS = 20.0


def probe(executable: str, *, timeout_seconds: float = _PROBE_TIMEOUT_SECONDS) -> Interpreter:
    """Run an interpreter once, isolated, and keep what it tells (about 50 ms).

    Raises:
        InterpreterError: it does not exist, is no Python, is too old, or does not answer in time.
    """
    import importlib.util  # noqa: PLC0415 - the running interpreter and a cached one need no process

    packaging = importlib.util.find_spec("packaging")
    if packaging is None or packaging.origin is None:  # a dependency of ours: only a broken installation lacks it
        raise InterpreterError(executable, "the package `packaging` is missing beside aiocache-engine; install it anew")
    script = os.path.join(os.path.dirname(__file__), "describe.py")
    code, output, complaint = _run(
        [executable, "-I", "-B", script, os.path.dirname(packaging.origin)], timeout_seconds=timeout_seconds
    )
    try:
        return _interpreter(load(output)) if code == 0 else _refuse(executable, complaint, timeout_seconds)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InterpreterError(executable, "it runs, but it is not a Python interpreter") from error


def resolve_executable(executable: str) -> str:
    """Give the interpreter behind a wrapper script (pyenv's shims, say), whose answer changes without the file.

    Raises:
        InterpreterError: there is no such file, or the wrapper leads to no interpreter.
    """
    try:
        with open(executable, "rb") as file:
            is_script = file.read(2) == b"#!"
    except OSError as error:
        raise InterpreterError(executable, f"it cannot be read ({error.strerror})") from error
    if not is_script:
        return executable
    code, output, complaint = _run(
        [executable, "-I", "-c", "import sys; print(sys.executable)"], timeout_seconds=_PROBE_TIMEOUT_SECONDS
    )
    resolved = output.strip()
    if code != 0 or not os.path.isabs(resolved):
        raise InterpreterError(executable, _telling_line(complaint) or "it leads to no Python interpreter")
    return resolved


def key_of(executable: str) -> str:
    """Give the key under which the answer of `probe` may be kept (32 hexadecimal digits).

    Raises:
        InterpreterError: there is no such file.
    """
    parts = [os.path.abspath(executable), *_file_of(executable)]
    try:
        config = os.stat(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(executable))), "pyvenv.cfg"))
        parts += [str(config.st_size), str(config.st_mtime_ns)]
    except OSError:
        parts.append("no environment")
    parts += [*os.uname(), _c_library()]
    return digest(*parts)


def identity_of(executable: str) -> str:
    """Give what tells an interpreter from all others for which environments are made (32 hexadecimal digits).

    An environment's interpreter is the one that it was made of. Unlike `key_of` it stays through a new kernel, and is
    the same in all containers that share a cache and the interpreter.

    Raises:
        InterpreterError: there is no such file.
    """
    machine = os.uname()
    return digest(*_file_of(executable), machine.sysname, machine.machine, _c_library())


def _file_of(executable: str) -> tuple[str, str, str]:
    """Give the real path of an interpreter, and size and time of change of the file there.

    Raises:
        InterpreterError: there is no such file.
    """
    real = os.path.realpath(executable)
    try:
        status = os.stat(real)
    except OSError as error:
        raise InterpreterError(executable, f"there is no such interpreter ({error.strerror})") from error
    return real, str(status.st_size), str(status.st_mtime_ns)


def encode_interpreter(interpreter: Interpreter) -> bytes:
    """Encode for the cache."""
    fields = {name: getattr(interpreter, name) for name in field_names(Interpreter)}
    body = dump({"format": _FORMAT, **fields})
    return _checksum(body) + b"\n" + body


def decode_interpreter(content: bytes) -> Interpreter | None:
    """Decode what `encode_interpreter` gave; None if it is damaged or of another format."""
    checksum, _, body = content.partition(b"\n")
    if checksum != _checksum(body):
        return None
    try:
        fields = load(body)
        if fields.pop("format") != _FORMAT:
            return None
        return _interpreter(fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _checksum(body: bytes) -> bytes:
    return sha256_of(body)[:32].encode()


def _interpreter(fields: dict[str, object]) -> Interpreter:
    values: dict[str, object] = {name: fields[name] for name in field_names(Interpreter)}
    values["tags"] = tuple(fields["tags"])  # type: ignore[arg-type]
    return Interpreter(**values)  # type: ignore[arg-type]


def _refuse(executable: str, complaint: str, timeout_seconds: float) -> Interpreter:
    """Find out why the probe failed; always raises."""
    code, output, _ = _run(
        [executable, "-c", "import sys; sys.stdout.write('%d.%d.%d' % sys.version_info[:3])"],
        timeout_seconds=timeout_seconds,
    )
    parts = output.strip().split(".")
    if code == 0 and all(part.isdigit() for part in parts) and tuple(map(int, parts[:2])) < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        raise InterpreterError(executable, f"it is Python {output.strip()}; {wanted} or newer is needed")
    raise InterpreterError(
        executable, f"it is not a Python that can be used ({_telling_line(complaint) or 'no answer'})"
    )


def _run(command: list[str], *, timeout_seconds: float) -> tuple[int, str, str]:
    import subprocess  # noqa: PLC0415 - as in probe

    executable = command[0]
    # __PYVENV_LAUNCHER__ would make a macOS framework build believe that it is another interpreter.
    environ = {name: value for name, value in os.environ.items() if name != "__PYVENV_LAUNCHER__"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout_seconds,
            env=environ,
            check=False,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise InterpreterError(executable, "there is no such interpreter") from error
    except subprocess.TimeoutExpired as error:
        raise InterpreterError(executable, f"it gave no answer within {timeout_seconds:g} s") from error
    except OSError as error:
        raise InterpreterError(executable, f"it cannot be started ({error.strerror})") from error
    return done.returncode, done.stdout, done.stderr


def _telling_line(complaint: str) -> str:
    """Choose the line that says what happened: Python's exceptions do so last, its fatal errors and wrappers first."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    for line in lines:
        if line.startswith("Fatal Python error"):
            return line
        if line.startswith(("Traceback (", 'File "')):
            return lines[-1]
    return lines[0] if lines else ""


def _c_library() -> str:
    """Name the C library and its version, on which the wheel tags depend."""
    if sys.platform != "linux":
        return ""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):  # musl
        return ""
