"""Call the hooks of a build backend (PEP 517), each in a process group of its own that never outlives the call.

The one door to pyproject-hooks. What a backend prints goes to its log, not to our streams. What it answers is checked
before anybody relies on it; what it writes elsewhere than where it was told to is not prevented, since it is code of
the user's choice that runs as that user.

Whoever calls holds the build slot, and the key lock if there is one.
"""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from aiocache_engine.errors import BuildError
from aiocache_engine.hints import TYPE_CHECKING, Any, Final, TypeVar
from aiocache_engine.model.value import field, value
from aiocache_engine.pipeline.builds.log import BuildLog
from aiocache_engine.pipeline.builds.surroundings import backend_environ
from aiocache_engine.pipeline.threads import in_thread
from aiocache_engine.system.child import Child, ChildLostError, ChildNotStartedError, ChildTimeoutError, Command
from aiocache_engine.system.disk import translated

if TYPE_CHECKING:
    from pyproject_hooks import BuildBackendHookCaller

    from aiocache_engine.pipeline.builds.project import BuildSystem

Answer = TypeVar("Answer")

_LARGEST_ANSWER_BYTES: Final = 16 * 1024 * 1024


@value
class BackendCall:
    """A project, its backend and where the backend works. Good for any number of hooks, one after the other."""

    what: str  #: the project as messages name it: a file name, or a directory
    root: str  #: the directory of the project, where the backend is started
    system: BuildSystem
    python: str  #: the interpreter of the build environment
    scripts: str  #: the directory of the build environment's commands
    log: str  #: path of the file to which all output is appended
    home: str  #: an existing directory for this build alone: its HOME, with its temporary files in it
    time_limit_seconds: float  #: for each hook
    variables: Mapping[str, str]  #: the environment to start from: `surroundings.backend_environ` tells what is kept
    config_settings: Mapping[str, str | list[str]] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()  #: descriptors that all processes of the build keep open: of its lease


async def requires_for_wheel(call: BackendCall) -> tuple[str, ...]:
    """Ask what the build of a wheel needs beside what the project says; nothing if the backend lacks that hook.

    This and the following: cancelling ends and reaps all processes of the call before it returns.

    Raises:
        BuildError: it failed, did not end in time, or gave no proper answer.
        DiskError: the log or a temporary file cannot be written.
    """
    return await _ask(call, "get_requires_for_build_wheel", lambda hooks: _requirements(call, hooks))


async def prepare_metadata(call: BackendCall, directory: str) -> str | None:
    """Have the metadata of the wheel written into an empty directory; give the name of the .dist-info directory.

    None if the backend lacks that hook.
    """
    return await _ask(call, "prepare_metadata_for_build_wheel", lambda hooks: _metadata(call, hooks, directory))


async def build_wheel(
    call: BackendCall,
    directory: str,
    *,
    metadata_directory: str | None = None,
) -> str:
    """Have a wheel built into an empty directory; give its file name.

    Its name is one component that ends in .whl, and it is a regular file. Nothing else about it was looked at.

    Args:
        call: whom to ask, and where.
        directory: where the wheel goes.
        metadata_directory: the .dist-info directory (its whole path) that `prepare_metadata` made.
    """
    return await _ask(call, "build_wheel", lambda hooks: _wheel(call, hooks, directory, metadata_directory))


async def _ask(
    call: BackendCall,
    hook: str,
    ask: Callable[[BuildBackendHookCaller], Answer],
) -> Answer:
    from anyio import CapacityLimiter  # noqa: PLC0415 - a warm command has no event loop

    child = Child()
    return await in_thread(
        lambda: _asked(call, hook, ask, child),
        limiter=CapacityLimiter(1),  # who holds a build slot waits for no thread
        on_cancel=child.stop,
    )


def _asked(
    call: BackendCall,
    hook: str,
    ask: Callable[[BuildBackendHookCaller], Answer],
    child: Child,
) -> Answer:
    """Ask in this thread, and turn whatever comes of it into an answer or an error of ours."""
    from pyproject_hooks import BackendUnavailable, BuildBackendHookCaller, HookMissing  # noqa: PLC0415 - rarely needed

    with translated(call.log), BuildLog(call.log) as log:

        def failed(reason: str) -> BuildError:
            return BuildError(call.what, reason, log=call.log, last_lines=log.last_lines)

        backend = call.system.backend
        log.write(f"[{hook} of {backend}]\n".encode("utf-8", "backslashreplace"))
        runner = _Runner(call, child, log)
        paths = call.system.backend_path
        try:
            hooks = BuildBackendHookCaller(
                call.root, backend, backend_path=paths, runner=runner, python_executable=call.python
            )
        except ValueError as error:
            raise failed(f"its backend-path leaves the project: {', '.join(paths)}") from error
        try:
            return ask(hooks)
        except BackendUnavailable as error:
            log.write(str(error.traceback).encode("utf-8", "backslashreplace"))
            log.finish()
            raise failed(f"its build backend {backend!r} cannot be imported") from error
        except HookMissing as error:
            raise failed(f"its build backend {backend!r} has no {error.hook_name}") from error
        except _FailedError as error:
            raise failed(f"{hook} of its build backend {backend!r} {error}") from error
        except ChildTimeoutError as error:
            reason = f"{hook} of its build backend {backend!r} did not end within {call.time_limit_seconds:g} s"
            raise failed(reason) from error
        except ChildLostError as error:
            raise failed(f"{hook} of its build backend {backend!r} killed the process that watches over it") from error
        except ChildNotStartedError as error:
            raise failed(str(error)) from error


class _FailedError(Exception):
    """What the backend did, or answered, in words that follow its name."""


class _Runner:
    """Starts the process in which pyproject-hooks calls the backend."""

    def __init__(self, call: BackendCall, child: Child, log: BuildLog) -> None:
        self._call, self._child, self._log = call, child, log

    def __call__(
        self, cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None
    ) -> None:
        call = self._call
        environ = backend_environ(call.variables, home=call.home, scripts=call.scripts)
        command = Command(
            arguments=cmd,
            directory=cwd or call.root,
            environ=environ | dict(extra_environ or {}),
            python=call.python,
            pass_fds=call.pass_fds,
            time_limit_seconds=call.time_limit_seconds,
        )
        try:
            code = self._child.run(command, on_output=self._log.write)
        finally:
            self._log.finish()
        if code != 0:
            raise _FailedError(_told_by(code))
        self._settle(os.path.join(cmd[-1], "output.json"))

    def _settle(self, path: str) -> None:
        """Leave an answer that pyproject-hooks reads without harm: it would raise the backend's warnings in here."""
        try:
            answer = json.loads(_read_small(path))
            warnings = [
                f"{each['filename']}:{each['lineno']}: {each['message']}\n" for each in answer.pop("warnings", ())
            ]
            content = json.dumps({"return_val": None, **answer})
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _FailedError("ended without an answer") from error
        self._log.write("".join(warnings).encode("utf-8", "backslashreplace"))
        os.unlink(path)
        with open(path, "x", encoding="utf-8") as file:
            file.write(content)


def _read_small(path: str) -> bytes:
    """Read a file that strange code made.

    Raises:
        OSError, ValueError: there is none, or it is something else.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(path)
        content = file.read(_LARGEST_ANSWER_BYTES + 1)
    if len(content) > _LARGEST_ANSWER_BYTES:
        raise ValueError(path)
    return content


def _told_by(code: int) -> str:
    if code >= 0:
        return f"failed with exit code {code}"
    name = f"signal {-code}"
    with suppress(ValueError):  # a real-time signal has no name
        name = signal.Signals(-code).name
    return f"was killed by {name}"


def _settings(call: BackendCall) -> dict[str, Any] | None:
    return dict(call.config_settings) or None


def _requirements(call: BackendCall, hooks: BuildBackendHookCaller) -> tuple[str, ...]:
    answer: object = hooks.get_requires_for_build_wheel(_settings(call))
    if not isinstance(answer, list) or not all(isinstance(each, str) for each in answer):
        raise _FailedError(f"answered {_shown(answer)}, which is no list of requirements")
    return tuple(answer)


def _metadata(call: BackendCall, hooks: BuildBackendHookCaller, directory: str) -> str | None:
    from pyproject_hooks import HookMissing  # noqa: PLC0415 - rarely needed

    try:
        answer: object = hooks.prepare_metadata_for_build_wheel(directory, _settings(call), _allow_fallback=False)
    except HookMissing:
        return None
    name = _component(answer, ".dist-info", "the name of a .dist-info directory")
    if not _is_there(os.path.join(directory, name), stat.S_IFDIR) or not _is_there(
        os.path.join(directory, name, "METADATA"), stat.S_IFREG
    ):
        raise _FailedError(f"answered {_shown(name)}, and did not write such a directory with METADATA in it")
    return name


def _wheel(call: BackendCall, hooks: BuildBackendHookCaller, directory: str, metadata_directory: str | None) -> str:
    answer: object = hooks.build_wheel(directory, _settings(call), metadata_directory)
    name = _component(answer, ".whl", "the file name of a wheel")
    if not _is_there(os.path.join(directory, name), stat.S_IFREG):
        raise _FailedError(f"answered {_shown(name)}, and did not write such a file")
    return name


def _component(answer: object, ending: str, meant: str) -> str:
    if (
        not isinstance(answer, str)
        or not answer.endswith(ending)
        or "/" in answer
        or os.sep in answer
        or not answer.isprintable()
    ):
        raise _FailedError(f"answered {_shown(answer)}, which is not {meant}")
    return answer


def _is_there(path: str, kind: int) -> bool:
    try:
        return stat.S_IFMT(os.lstat(path).st_mode) == kind
    except OSError:
        return False


def _shown(answer: object) -> str:
    text = repr(answer)
    return text if len(text) <= 80 else f"{text[:79]}…"  # noqa: PLR2004 - what fits in a line
